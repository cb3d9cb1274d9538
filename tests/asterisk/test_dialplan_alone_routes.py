"""Calls that a real Asterisk runs by itself, from the routes in its own database, while no engine is there."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from pathlib import Path
from urllib.parse import unquote

import numpy as np
import pytest
import pytest_asyncio
from numpy.typing import NDArray

from engine.asterisk.manager import Manager
from engine.calls.causes import CAUSE_TOWARDS_CALLER
from engine.foundation.clock import SystemClock
from engine.foundation.phone_number import PhoneNumber, national
from engine.numbers.treatment import (
    CallerShown,
    Failure,
    Fallback,
    Limits,
    RecordMode,
    Target,
    TargetOrder,
    Then,
    Treatment,
    Whisper,
)
from engine.prompts.music import Music
from engine.prompts.wholeness import bytes_if_whole
from engine.routing.alone import Groups, entries, kind_name
from engine.routing.alone_text import (
    FAMILY,
    NOTICES,
    WHOLE,
    Sounds,
    caller_key,
    number_key,
    number_values,
    trunk_values,
)
from engine.routing.model import Condition, Line, Rule
from engine.sandbox.carrier import Carrier
from engine.sandbox.ear import tones
from engine.sandbox.leg import Leg
from engine.sandbox.phone import Answers, Busy, NeverAnswers, Rejects, Rings, Silent
from engine.settings import PRODUCT_FILES
from engine.trunks.model import NumberFormat, Trunk
from tests.damaged_sounds import BROKEN, damaged
from tests.engine_rig import TONES, make_sounds
from tests.eventually import eventually
from tests.hand_made_line import ACCOUNT, CALLER, NUMBER, SECOND, TARGET, line_of
from tests.real_asterisk import CallLine, RunningAsterisk, loopback, start_asterisk, write_tone
from tests.tones import strongest

SERVER, CARRIER, OTHER = (loopback(68, host) for host in (1, 2, 3))
TRUNK = Trunk(name="carrier", match=(CARRIER,), contact=f"sip:{CARRIER}:5070")
SECOND_TRUNK = Trunk(
    name="second",
    match=(OTHER,),
    contact=f"sip:{OTHER}:5070",
    prefix="9",
    number_format=NumberFormat.E164,
    caller_format=NumberFormat.INTERNATIONAL,
)
MORE_TONES = {"ko/busy": 3000, "ko/no-answer": 3100, "ko/unreachable": 3200, "ko/rejected": 3300, "ko/no-engine": 650}
CALLER_SAYS, SHOP_SAYS = 500, 1100
RING_SECONDS = 8
VIP, BAD = PhoneNumber("01099990000"), PhoneNumber("01066660000")


@pytest_asyncio.fixture(scope="module")
async def asterisk(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[RunningAsterisk]:
    folder = tmp_path_factory.mktemp("alone")
    make_sounds(folder / "sounds")
    for sound, hertz in MORE_TONES.items():
        write_tone(folder / "sounds" / f"{sound}.wav", (hertz, 0.6))
    running = await start_asterisk(folder, SERVER, [TRUNK, SECOND_TRUNK], claim_milliseconds=100)
    yield running
    await running.stop()


@pytest.fixture
async def carrier(asterisk: RunningAsterisk) -> AsyncIterator[Carrier]:
    async with Carrier(CARRIER, 5070, (SERVER, 5060)) as carrier:
        yield carrier
    await eventually(lambda: _no_channel(asterisk))


@pytest.fixture
async def other(asterisk: RunningAsterisk) -> AsyncIterator[Carrier]:
    async with Carrier(OTHER, 5070, (SERVER, 5060)) as carrier:
        yield carrier


async def _no_channel(asterisk: RunningAsterisk) -> bool:
    return "0 active channels" in await asterisk.ask("core show channels count")


@dataclass(frozen=True, slots=True)
class Kept:
    """Asterisk's own database, and what plays in it."""

    asterisk: RunningAsterisk
    manager: Manager
    sounds: Sounds

    async def put(self, values: dict[str, str]) -> None:
        for key, value in values.items():
            await self.manager.database_put(FAMILY, key, value)

    async def line(
        self, line: Line, *, groups: Groups | None = frozenset(), kind: str = "", now: datetime | None = None
    ) -> None:
        """Keeps the line for callers of that kind."""
        found = entries(line, groups, now or SystemClock().now(), RING_SECONDS)
        limits = (line.number.limits, line.account.limits)
        key = number_key(line.number.number, kind)
        await self.put(number_values(key, str(line.number.account_id), limits, found, self.sounds))


@pytest.fixture
async def kept(asterisk: RunningAsterisk) -> AsyncIterator[Kept]:
    """Empty but for the carrier's trunk, and complete."""
    schema = (PRODUCT_FILES / "asterisk-conf/music.sql").read_text()
    music = Music(asterisk.settings.music, asterisk.settings.sounds, schema)
    host, _, port = asterisk.ami_address.partition(":")
    await asterisk.ask(f"database deltree {FAMILY}")
    async with Manager(host, int(port), asterisk.ami_user, asterisk.ami_password) as manager:
        spoken = {"배달앱에서 온 전화입니다": "test/spoken"}
        kept = Kept(asterisk, manager, Sounds(music.ensure, spoken.get, CAUSE_TOWARDS_CALLER.__getitem__))
        sizes = [bytes_if_whole(asterisk.settings.sounds / f"ko/recording-notice{of}.wav") for of in ("", "-target")]
        await kept.put(trunk_values([TRUNK]) | {WHOLE: "1", NOTICES: "&".join(map(str, sizes))})
        yield kept


def heard(leg: Leg, *wanted: int) -> set[int]:
    """Which of these tones a party heard."""
    return {hertz for hertz in wanted if tones(leg.recording, [hertz])}


async def hears(leg: Leg, hertz: int) -> None:
    await eventually(lambda: bool(tones(leg.recording, [hertz])))


async def test_a_call_is_forwarded_with_all_that_the_number_is_set_to(
    asterisk: RunningAsterisk, carrier: Carrier, kept: Kept
) -> None:
    await kept.line(
        line_of(
            Treatment(
                ringback=("test/ringback",),
                whisper=Whisper(sound="test/whisper"),
                store_notice=True,
                fee_notice=True,
            )
        )
    )
    shop = carrier.shop(TARGET, Answers(after_seconds=1.5, tone=SHOP_SAYS))
    caller = await carrier.call(NUMBER, from_number=CALLER, tone=CALLER_SAYS)
    target = await shop.next_call()
    await caller.answered()
    await hears(caller, SHOP_SAYS)
    await hears(target, CALLER_SAYS)
    await caller.hang_up()
    await target.ended()
    whisper, ringback = TONES["test/whisper"], TONES["test/ringback"]
    notices = [TONES["ko/store-info-notice"], TONES["ko/fee-notice"]]
    assert heard(target, whisper, ringback, *notices) == {whisper}
    assert heard(caller, whisper, ringback, *notices) == {ringback, *notices}
    assert target.shown_number == CALLER
    assert f"sip:{NUMBER}@" in target.invite.get("Diversion")
    line = await asterisk.record_of(caller.call_id)
    assert told(line) == ("yes", NUMBER, "answered", TARGET, str(ACCOUNT), "")
    assert line.alone_notices == "ko/store-info-notice&ko/fee-notice"
    assert (line.caller, line.number, line.engine) == (CALLER, NUMBER, "TIMEOUT")
    assert float(line.answer) > 0


def told(line: CallLine) -> tuple[str, ...]:
    return (
        line.alone,
        line.alone_number,
        line.alone_result,
        line.alone_target,
        line.alone_account,
        line.alone_recording,
    )


async def refused(caller: Leg, asterisk: RunningAsterisk) -> CallLine:
    """The caller is refused, unanswered; Asterisk's own record of it."""
    await caller.ended()
    assert caller.answered_at is None
    return await asterisk.record_of(caller.call_id)


@pytest.mark.parametrize(
    ("behaviour", "failure", "code", "result"),
    [
        (Busy(), Failure.BUSY, 486, "busy"),
        (NeverAnswers(), Failure.NO_ANSWER, 480, "no answer"),
        (Rings(0.3, 480), Failure.NO_ANSWER, 480, "no answer"),
        (Rejects(480), Failure.UNREACHABLE, 502, "unreachable"),
        (Rejects(404), Failure.UNREACHABLE, 502, "unreachable"),
        (Rejects(603), Failure.REJECTED, 403, "rejected"),
        (Rejects(403), Failure.REJECTED, 403, "rejected"),
        (Rejects(503), Failure.UNREACHABLE, 503, "congestion"),
        (Silent(), Failure.UNREACHABLE, 502, "unreachable"),
    ],
)
async def test_how_it_fails_decides_what_the_caller_hears_and_gets(
    asterisk: RunningAsterisk,
    carrier: Carrier,
    kept: Kept,
    behaviour: Busy | NeverAnswers | Rejects | Rings | Silent,
    failure: Failure,
    code: int,
    result: str,
) -> None:
    sounds = {failure: "ko/closed"}
    said = tuple(Fallback(then=Then.ANNOUNCE, on=(one,), sounds=(sounds.get(one, "test/notice"),)) for one in Failure)
    carrier.shop(TARGET, behaviour)
    await kept.line(line_of(Treatment(ring_seconds=1, ringback=("test/ringback",), fallbacks=said)))
    caller = await carrier.call(NUMBER, from_number=CALLER)
    line = await refused(caller, asterisk)
    assert caller.final_code == code
    assert heard(caller, TONES["ko/closed"], TONES["test/notice"]) == {TONES["ko/closed"]}
    assert told(line) == ("yes", NUMBER, result, TARGET, str(ACCOUNT), "")


async def test_the_busy_sound_or_a_bare_refusal(asterisk: RunningAsterisk, carrier: Carrier, kept: Kept) -> None:
    carrier.shop(TARGET, Busy())
    await kept.line(line_of(Treatment(busy=("test/busy", "test/notice"))))
    first = await carrier.call(NUMBER)
    await refused(first, asterisk)
    assert heard(first, TONES["test/busy"], TONES["test/notice"]) == {TONES["test/busy"], TONES["test/notice"]}
    await kept.line(line_of())
    second = await carrier.call(NUMBER)
    assert (await refused(second, asterisk)).alone_result == "busy"
    assert second.final_code == 486
    assert not heard(second, MORE_TONES["ko/busy"], TONES["test/busy"])


async def test_whoever_would_leave_a_message_hears_why_instead(
    asterisk: RunningAsterisk, carrier: Carrier, kept: Kept
) -> None:
    carrier.shop(TARGET, Busy())
    await kept.line(line_of(Treatment(fallbacks=(Fallback(then=Then.VOICEMAIL),))))
    caller = await carrier.call(NUMBER)
    assert (await refused(caller, asterisk)).alone_result == "busy"
    assert heard(caller, MORE_TONES["ko/busy"], TONES["ko/voicemail-greeting"]) == {MORE_TONES["ko/busy"]}


async def test_all_at_once_and_then_the_chain(asterisk: RunningAsterisk, carrier: Carrier, kept: Kept) -> None:
    third, fourth = PhoneNumber("01022223333"), PhoneNumber("15881234")
    first, second = carrier.shop(TARGET, Busy()), carrier.shop(SECOND, Rejects(404))
    skipped, last = carrier.shop(third, Answers()), carrier.shop(fourth, Answers(tone=SHOP_SAYS))
    await kept.line(
        line_of(
            Treatment(
                targets=(Target(number=TARGET), Target(number=SECOND)),
                order=TargetOrder.ALL_AT_ONCE,
                fallbacks=(
                    Fallback(then=Then.RING, on=(Failure.NO_ANSWER,), targets=(Target(number=third),)),
                    Fallback(then=Then.RING, on=(Failure.BUSY,), targets=(Target(number=fourth),)),
                ),
            )
        )
    )
    caller = await carrier.call(NUMBER)
    await first.next_call()
    await second.next_call()
    await last.next_call()
    await caller.answered()
    await caller.hang_up()
    assert not skipped.calls
    line = await asterisk.record_of(caller.call_id)
    assert (line.alone_result, line.alone_target) == ("answered", fourth)


@pytest.mark.parametrize("place", [0, 1, 2])
async def test_one_is_drawn_by_the_shares_and_the_others_follow(
    asterisk: RunningAsterisk, carrier: Carrier, kept: Kept, place: int
) -> None:
    numbers = (TARGET, SECOND, PhoneNumber("01022223333"))
    for number in numbers:
        carrier.shop(number, Busy())
    targets = tuple(Target(number=one, share=100 if at == place else 0) for at, one in enumerate(numbers))
    await kept.line(line_of(Treatment(targets=targets, order=TargetOrder.BY_SHARE)))
    caller = await carrier.call(NUMBER)
    await refused(caller, asterisk)
    rung = [leg.invite.uri.partition(":")[2].partition("@")[0] for leg in carrier.targets]
    assert rung == [numbers[place], *(one for at, one in enumerate(numbers) if at != place)]


async def test_of_those_that_ring_together_the_one_that_answers_is_written_down(
    asterisk: RunningAsterisk, carrier: Carrier, kept: Kept
) -> None:
    other = carrier.shop(TARGET, NeverAnswers())
    carrier.shop(SECOND, Answers(after_seconds=0.2))
    targets = (Target(number=TARGET), Target(number=SECOND))
    await kept.line(line_of(Treatment(targets=targets, order=TargetOrder.ALL_AT_ONCE)))
    caller = await carrier.call(NUMBER)
    await caller.answered()
    cancelled = await other.next_call()
    await cancelled.ended()
    await caller.hang_up()
    assert cancelled.cancelled
    assert (await asterisk.record_of(caller.call_id)).alone_target == SECOND


async def test_a_talk_is_recorded_after_both_sides_were_told(
    asterisk: RunningAsterisk, carrier: Carrier, kept: Kept
) -> None:
    await kept.line(line_of(Treatment(recording=RecordMode.ALWAYS)))
    shop = carrier.shop(TARGET, Answers(tone=SHOP_SAYS))
    caller = await carrier.call(NUMBER, tone=CALLER_SAYS)
    target = await shop.next_call()
    await caller.answered()
    await hears(caller, SHOP_SAYS)

    def both_sides() -> bool:
        [file] = (asterisk.settings.spool / "monitor").glob("*.raw")
        sides = np.fromfile(file, np.int16)
        return near(sides[0::2], SHOP_SAYS) and near(sides[1::2], CALLER_SAYS)

    await eventually(both_sides)
    await caller.hang_up()
    line = await asterisk.record_of(caller.call_id)
    assert line.alone_recording == "yes"
    assert (asterisk.settings.spool / "monitor" / f"{line.unique}.raw").exists()
    told_caller, told_target = TONES["ko/recording-notice"], TONES["ko/recording-notice-target"]
    assert heard(caller, told_caller, told_target) == {told_caller}
    assert heard(target, told_caller, told_target) == {told_target}


def near(samples: NDArray[np.int16], hertz: int) -> bool:
    """Whether that is the frequency that stands out most."""
    return samples.size > 0 and abs(strongest(samples.astype(np.float64)) - hertz) < 20


@pytest.mark.parametrize("broken", BROKEN, ids=lambda broken: broken.__name__)
@pytest.mark.parametrize("notice", ["ko/recording-notice", "ko/recording-notice-target"])
async def test_nothing_is_recorded_without_the_whole_of_both_notices_and_the_call_goes_on(
    asterisk: RunningAsterisk, carrier: Carrier, kept: Kept, notice: str, broken: Callable[[Path], None]
) -> None:
    await kept.line(line_of(Treatment(recording=RecordMode.ALWAYS)))
    carrier.shop(TARGET, Answers(tone=SHOP_SAYS))
    async with damaged(asterisk.settings.sounds / f"{notice}.wav", broken):
        caller = await carrier.call(NUMBER, tone=CALLER_SAYS)
        await caller.answered()
        await hears(caller, SHOP_SAYS)
        await caller.hang_up()
    line = await asterisk.record_of(caller.call_id)
    assert (line.alone_result, line.alone_recording) == ("answered", "")
    assert not (asterisk.settings.spool / "monitor" / f"{line.unique}.raw").exists()


async def test_a_target_that_answers_and_leaves_before_the_talk_is_passed_over(
    asterisk: RunningAsterisk, carrier: Carrier, kept: Kept
) -> None:
    carrier.shop(TARGET, Answers(talk_seconds=0.2))
    second = carrier.shop(SECOND, Answers(tone=SHOP_SAYS))
    await kept.line(
        line_of(
            Treatment(targets=(Target(number=TARGET), Target(number=SECOND)), whisper=Whisper(sound="test/whisper"))
        )
    )
    caller = await carrier.call(NUMBER)
    await second.next_call()
    await caller.answered()
    await caller.hang_up()
    line = await asterisk.record_of(caller.call_id)
    assert (line.alone_result, line.alone_target) == ("answered", SECOND)


@pytest.mark.parametrize(("pressed", "result"), [("1", "answered"), (None, "not accepted")])
async def test_press_1_to_accept(
    asterisk: RunningAsterisk, carrier: Carrier, kept: Kept, pressed: str | None, result: str
) -> None:
    await kept.line(line_of(Treatment(accept=True, ringback=("test/ringback",))))
    shop = carrier.shop(TARGET, Answers(dtmf=pressed, dtmf_after=1.5, tone=None))
    caller = await carrier.call(NUMBER)
    target = await shop.next_call()
    if pressed:
        await caller.answered()
        await caller.hang_up()
    else:
        await caller.ended()
        assert caller.final_code == 480
    await target.ended()
    assert heard(target, TONES["ko/press-1-to-accept"])
    assert (await asterisk.record_of(caller.call_id)).alone_result == result


async def test_the_next_trunk_in_its_own_way_of_writing(
    asterisk: RunningAsterisk, carrier: Carrier, other: Carrier, kept: Kept
) -> None:
    await kept.put(trunk_values([TRUNK, SECOND_TRUNK]))
    await kept.line(line_of(Treatment(shown=CallerShown.NUMBER)))
    carrier.shop(TARGET, Rejects(503))
    shop = other.shop(f"9+82{TARGET[1:]}", Answers())
    caller = await carrier.call(NUMBER, from_number=CALLER)
    target = await shop.next_call()
    await caller.answered()
    await caller.hang_up()
    assert target.shown_number == f"82{NUMBER[1:]}"
    assert f"sip:82{NUMBER[1:]}@" in target.invite.get("Diversion")
    line = await asterisk.record_of(caller.call_id)
    assert (line.alone_target, line.caller) == (TARGET, CALLER)


async def test_a_busy_target_is_rung_on_no_other_trunk(
    asterisk: RunningAsterisk, carrier: Carrier, other: Carrier, kept: Kept
) -> None:
    await kept.put(trunk_values([TRUNK, SECOND_TRUNK]))
    await kept.line(line_of())
    carrier.shop(TARGET, Busy())
    caller = await carrier.call(NUMBER)
    assert (await refused(caller, asterisk)).alone_result == "busy"
    assert not other.targets


async def test_the_clock_chooses_the_route(asterisk: RunningAsterisk, carrier: Carrier, kept: Kept) -> None:
    now = SystemClock().now()
    kept_line = line_of(Treatment(announcement="ko/closed"))
    before, after = (entries(line, frozenset(), now, RING_SECONDS)[0] for line in (line_of(), kept_line))
    carrier.shop(TARGET, Busy())
    for switch, result in ((now + timedelta(hours=1), "busy"), (now - timedelta(seconds=2), "closed")):
        found = (replace(before, until=switch), after)
        limits = (Limits(), Limits())
        await kept.put(number_values(number_key(NUMBER), str(ACCOUNT), limits, found, kept.sounds))
        caller = await carrier.call(NUMBER)
        line = await refused(caller, asterisk)
        assert line.alone_result == result
    assert heard(caller, TONES["ko/closed"])


async def test_a_long_route_is_put_together(asterisk: RunningAsterisk, carrier: Carrier, kept: Kept) -> None:
    targets = tuple(Target(number=PhoneNumber(f"021234{n:04}")) for n in range(99))
    for one in targets:
        carrier.shop(one.number, Rejects(404))
    last = carrier.shop(SECOND, Answers())
    chain = Fallback(then=Then.RING, targets=(Target(number=SECOND),))
    await kept.line(line_of(Treatment(targets=targets, order=TargetOrder.ALL_AT_ONCE, fallbacks=(chain,))))
    caller = await carrier.call(NUMBER)
    await last.next_call()
    await caller.answered()
    await caller.hang_up()
    assert len({leg.invite.uri for leg in carrier.targets}) == 100


@pytest.mark.parametrize("sent", ["+{}", "{}", "0{}"])
async def test_numbers_are_read_as_the_engine_reads_them(
    asterisk: RunningAsterisk, carrier: Carrier, kept: Kept, sent: str
) -> None:
    carrier.shop(TARGET, Busy())
    await kept.line(line_of())
    called = sent.format(f"82{NUMBER[1:]}")
    caller = await carrier.call(called)
    line = await refused(caller, asterisk)
    assert line.alone_number == national(called)
    assert line.alone_result == ("busy" if national(called) == NUMBER else "not in service")


NOBODYS = (
    *("1", "112", "+1202555012345", "+8215881234", "8215881234", "821234", "+82", "+", "05071234567890123456789"),
    *("0507%22x", "0507)%3a3", "0507,1", "0507$%7bEXTEN%7d", "05+07", "0507&1%7c2"),
)


@pytest.mark.parametrize("sent", NOBODYS)
async def test_a_number_that_nobody_has(asterisk: RunningAsterisk, carrier: Carrier, kept: Kept, sent: str) -> None:
    caller = await carrier.call(sent)
    line = await refused(caller, asterisk)
    assert caller.final_code == 404
    assert heard(caller, TONES["ko/not-in-service"])
    assert line.alone_number == (national(unquote(sent)) or "")
    assert (line.alone, line.alone_result) == ("yes", "not in service")


async def test_as_long_as_not_all_numbers_are_written_nobody_says_that_one_is_not_in_service(
    asterisk: RunningAsterisk, carrier: Carrier, kept: Kept
) -> None:
    await kept.manager.database_delete(FAMILY, WHOLE)
    caller = await carrier.call(NUMBER)
    line = await refused(caller, asterisk)
    assert caller.final_code == 503
    assert heard(caller, MORE_TONES["ko/no-engine"])
    assert told(line) == ("yes", NUMBER, "", "", "", "")


async def test_kinds_of_callers(asterisk: RunningAsterisk, carrier: Carrier, kept: Kept) -> None:
    account = str(ACCOUNT)
    carrier.shop(TARGET, Busy())
    rules = (
        Rule(name="v", condition=Condition(callers=("vip",)), treatment=Treatment(announcement="ko/closed")),
        Rule(name="w", condition=Condition(callers=("withheld",)), treatment=Treatment(announcement="ko/over-limit")),
    )
    vips: Groups = frozenset({"vip"})
    await kept.line(line_of(rules=rules))
    await kept.line(line_of(rules=rules), groups=vips, kind=kind_name(vips))
    await kept.line(line_of(rules=rules), groups=None, kind=kind_name(None))
    await kept.put({caller_key(account, VIP): kind_name(vips), caller_key(account, BAD): "blocked"})
    results = {}
    for who in (CALLER, VIP, BAD, ""):
        caller = await carrier.call(NUMBER, from_number=who)
        line = await refused(caller, asterisk)
        results[who] = (line.alone_result, caller.final_code, *heard(caller, 640, 2700, 2800))
    assert results == {
        CALLER: ("busy", 486),
        VIP: ("closed", 480, TONES["ko/closed"]),
        BAD: ("blocked", 403, TONES["ko/blocked"]),
        "": ("closed", 480, TONES["ko/over-limit"]),
    }


async def test_a_withheld_number_goes_no_further(asterisk: RunningAsterisk, carrier: Carrier, kept: Kept) -> None:
    await kept.line(line_of())
    shop = carrier.shop(TARGET, Answers())
    caller = await carrier.call(NUMBER, from_number=CALLER, privacy=True)
    target = await shop.next_call()
    await caller.answered()
    await caller.hang_up()
    assert CALLER not in str(target.invite.build())
    assert (await asterisk.record_of(caller.call_id)).presentation.startswith("prohib")


@pytest.mark.parametrize(
    "hostile",
    ["1%22,x)%0AEXEC%20Hangup", "$%7BSHELL(id)%7D", "010)%3a2", "$%5B1%2F0%5D", "%7C%26~%3b", "a" * 200, "0102345678a"],
)
async def test_a_hostile_caller_id_changes_nothing(
    asterisk: RunningAsterisk, carrier: Carrier, kept: Kept, hostile: str
) -> None:
    await kept.line(line_of())
    shop = carrier.shop(TARGET, Answers())
    caller = await carrier.call(NUMBER, user_part=hostile)
    target = await shop.next_call()
    await caller.answered()
    await caller.hang_up()
    assert not set(target.shown_number) & set('${}()"|&~%,:;[]')
    line = await asterisk.record_of(caller.call_id)
    assert told(line) == ("yes", NUMBER, "answered", TARGET, str(ACCOUNT), "")


async def test_more_calls_at_once_than_the_number_may_have(
    asterisk: RunningAsterisk, carrier: Carrier, kept: Kept
) -> None:
    shop = carrier.shop(TARGET, Answers())
    await kept.line(line_of(limits=Limits(at_once=1)))
    first = await carrier.call(NUMBER)
    await shop.next_call()
    await first.answered()
    second = await carrier.call(NUMBER)
    line = await refused(second, asterisk)
    await first.hang_up()
    assert heard(second, TONES["ko/over-limit"])
    assert (line.alone_result, second.final_code) == ("over limit", 486)


async def test_a_call_that_this_number_sent_on_does_not_come_in_again(
    asterisk: RunningAsterisk, carrier: Carrier, kept: Kept
) -> None:
    await kept.line(line_of())
    diverted = f"<sip:+82{NUMBER[1:]}@{CARRIER}>;reason=unconditional"
    caller = await carrier.call(NUMBER, headers={"Diversion": diverted})
    line = await refused(caller, asterisk)
    assert (line.alone_result, caller.final_code) == ("not forwardable", 503)
    assert not carrier.targets


async def test_a_circle_ends(asterisk: RunningAsterisk, carrier: Carrier, kept: Kept) -> None:
    """The target sends each call back to the number: a carrier that keeps no Diversion."""
    await kept.line(line_of())
    shop = carrier.shop(TARGET, NeverAnswers())
    calls = [await carrier.call(NUMBER, from_number=CALLER)]
    for _ in range(4):
        await shop.next_call()
        calls.append(await carrier.call(NUMBER, from_number=CALLER))
    await shop.next_call()
    last = await carrier.call(NUMBER, from_number=CALLER)
    line = await refused(last, asterisk)
    for call in calls:
        await call.cancel()
        await call.ended()
    assert line.alone_result == "not forwardable"
    assert len(shop.calls) == 5


async def test_a_caller_who_leaves_before_anything_is_sure(
    asterisk: RunningAsterisk, carrier: Carrier, kept: Kept
) -> None:
    await kept.line(line_of())
    shop = carrier.shop(TARGET, NeverAnswers())
    caller = await carrier.call(NUMBER)
    target = await shop.next_call()
    await caller.cancel()
    await caller.ended()
    await target.ended()
    line = await asterisk.record_of(caller.call_id)
    assert told(line) == ("yes", NUMBER, "", TARGET, str(ACCOUNT), "")
    assert float(line.answer) == 0


async def test_a_call_over_the_systems_limits_is_told_apart(
    asterisk: RunningAsterisk, carrier: Carrier, kept: Kept
) -> None:
    await kept.line(line_of())
    shop = carrier.shop(TARGET, NeverAnswers())
    async with asterisk.ari() as ari:
        await ari.post("/ari/asterisk/variable", params={"variable": "DARI_CALLS", "value": "1"})
        try:
            first = await carrier.call(NUMBER)
            await shop.next_call()
            second = await carrier.call(NUMBER, from_number=VIP)
            await second.ended()
        finally:
            await ari.post("/ari/asterisk/variable", params={"variable": "DARI_CALLS", "value": "0"})
    await first.cancel()
    await first.ended()

    def refusals() -> list[CallLine]:
        return [line for line in asterisk.lines() if line.engine == "FULL"]

    await eventually(lambda: bool(refusals()))
    [line] = refusals()
    assert (line.caller, line.number, line.cause, line.alone) == (VIP, NUMBER, "42", "")
    assert (second.final_code, line.call_id, line.presentation) == (503, "", "allowed_not_screened")

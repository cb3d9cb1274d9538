"""An operator's own dialplan on a real Asterisk asks the engine, and acts by itself: the example in `dialplan/`."""

from __future__ import annotations

import asyncio
import re
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import datetime
from pathlib import Path

import pytest
import pytest_asyncio

from engine.calls.causes import CAUSE_TOWARDS_CALLER
from engine.foundation.clock import SystemClock
from engine.foundation.phone_number import PhoneNumber
from engine.numbers.treatment import CallerShown, Failure, Fallback, Target, TargetOrder, Then, Treatment, Whisper
from engine.routing.agi_door import Lookups, agi_door
from engine.routing.call_plan import CallPlan
from engine.routing.model import Condition, History, Line, Rule
from engine.routing.plan import plan
from engine.sandbox.carrier import Carrier
from engine.sandbox.ear import tones
from engine.sandbox.phone import Answers, Busy, NeverAnswers
from engine.settings import PRODUCT_FILES
from engine.trunks.model import Trunk
from tests.eventually import eventually
from tests.hand_made_line import NUMBER, SECOND, TARGET, line_of
from tests.real_asterisk import RunningAsterisk, loopback, start_asterisk, write_tone

SERVER, CARRIER = loopback(57, 1), loopback(57, 2)
AGI_PORT = 4573
TRUNKS = [Trunk(name="carrier", match=(CARRIER,), contact=f"sip:{CARRIER}:5070")]
SOUNDS = {"ko/no-engine": 650, "ko/not-in-service": 700, "own/busy": 900, "own/closed": 1000, "own/whisper": 2100}
NEEDED = ("res_speech", "res_agi", "app_dial", "app_exec", "func_math")
CALLER_SAYS, SHOP_SAYS = 500, 1100


@pytest_asyncio.fixture(scope="module")
async def asterisk(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[RunningAsterisk]:
    """Another's Asterisk: it has the example as its dialplan."""
    folder = tmp_path_factory.mktemp("agi")
    for sound, hertz in SOUNDS.items():
        write_tone(folder / "sounds" / f"{sound}.wav", (hertz, 0.6))
    running = await start_asterisk(folder, SERVER, TRUNKS)
    for module in NEEDED:
        await running.ask(f"module load {module}.so")
    example = (PRODUCT_FILES / "dialplan" / "example-agi.conf").read_text()
    example = example.replace("agi://127.0.0.1:4573/", f"agi://{SERVER}:{AGI_PORT}/")
    example = example.replace("/var/lib/dari/sounds", str(folder / "sounds"))
    (running.etc / "extensions.conf").write_text(f"{example}\n[dari-incoming]\ninclude => dari-agi\n")
    await running.ask("dialplan reload")
    yield running
    await running.stop()


@pytest.fixture
async def carrier(asterisk: RunningAsterisk) -> AsyncIterator[Carrier]:
    async with Carrier(CARRIER, 5070, (SERVER, 5060)) as carrier:
        yield carrier
    await eventually(lambda: _no_channel(asterisk))


async def _no_channel(asterisk: RunningAsterisk) -> bool:
    return "0 active channels" in await asterisk.ask("core show channels count")


@asynccontextmanager
async def engine_with(line: Line | None, sounds: Path, *, known: bool = True) -> AsyncIterator[None]:
    """The door of an engine that knows this one line."""

    async def planned(found: Line | None, caller: PhoneNumber | None, instant: datetime) -> CallPlan:
        return plan(found, caller, instant, History(), 8)

    lookups = Lookups(
        known=lambda: known,
        find=lambda number: line if line and number == line.number.number else None,
        plan=planned,
        cause=CAUSE_TOWARDS_CALLER.__getitem__,
    )
    async with agi_door(SERVER, AGI_PORT, lookups, sounds, SystemClock(), 2.0):
        yield


async def test_the_example_dials_by_what_the_engine_says(asterisk: RunningAsterisk, carrier: Carrier) -> None:
    line = line_of(Treatment(whisper=Whisper(sound="own/whisper"), shown=CallerShown.NUMBER))
    shop = carrier.shop(TARGET, Answers(tone=SHOP_SAYS))
    async with engine_with(line, asterisk.settings.sounds):
        caller = await carrier.call(NUMBER, tone=CALLER_SAYS)
        target = await shop.next_call()
        await caller.answered()
        await eventually(lambda: bool(tones(caller.recording, [SHOP_SAYS])))
        await eventually(lambda: bool(tones(target.recording, [CALLER_SAYS])))
        await caller.hang_up()
        await target.ended()
    assert target.shown_number == NUMBER
    assert tones(target.recording, [SOUNDS["own/whisper"]]), "the target did not hear the whisper"
    assert not tones(caller.recording, [SOUNDS["own/whisper"]]), "the caller heard the whisper"


async def test_all_at_once_and_then_the_chain(asterisk: RunningAsterisk, carrier: Carrier) -> None:
    second, third = carrier.shop(SECOND, Busy()), carrier.shop("01022223333", Answers(tone=SHOP_SAYS))
    first = carrier.shop(TARGET, Busy())
    line = line_of(
        Treatment(
            targets=(Target(number=TARGET), Target(number=SECOND)),
            order=TargetOrder.ALL_AT_ONCE,
            fallbacks=(
                Fallback(then=Then.RING, on=(Failure.NO_ANSWER,), targets=(Target(number=PhoneNumber("0519999999")),)),
                Fallback(then=Then.RING, on=(Failure.BUSY,), targets=(Target(number=PhoneNumber("01022223333")),)),
            ),
        )
    )
    async with engine_with(line, asterisk.settings.sounds):
        caller = await carrier.call(NUMBER)
        await first.next_call()
        await second.next_call()
        await third.next_call()
        await caller.answered()
        await caller.hang_up()


async def test_busy_is_said_unanswered_with_the_sound_for_it(asterisk: RunningAsterisk, carrier: Carrier) -> None:
    carrier.shop(TARGET, Busy())
    async with engine_with(line_of(Treatment(busy=("own/busy",))), asterisk.settings.sounds):
        caller = await carrier.call(NUMBER)
        await caller.ended()
    assert (caller.answered_at, caller.final_code) == (None, 486)
    assert tones(caller.recording, [SOUNDS["own/busy"]])


async def test_a_rule_closes_the_shop(asterisk: RunningAsterisk, carrier: Carrier) -> None:
    shop = carrier.shop(TARGET, NeverAnswers())
    closed = Rule(name='닫힘, $(evil) "x"', condition=Condition(), treatment=Treatment(announcement="own/closed"))
    async with engine_with(line_of(rules=[closed]), asterisk.settings.sounds):
        caller = await carrier.call(NUMBER)
        await caller.ended()
    assert caller.answered_at is None
    assert tones(caller.recording, [SOUNDS["own/closed"]])
    assert not shop.calls


async def test_a_number_that_nobody_has(asterisk: RunningAsterisk, carrier: Carrier) -> None:
    async with engine_with(None, asterisk.settings.sounds):
        caller = await carrier.call(NUMBER)
        await caller.ended()
    assert (caller.answered_at, caller.final_code) == (None, 404)
    assert tones(caller.recording, [SOUNDS["ko/not-in-service"]])


async def test_a_caller_who_writes_dialplan_into_his_number_changes_nothing(
    asterisk: RunningAsterisk, carrier: Carrier
) -> None:
    shop = carrier.shop(TARGET, Answers(tone=SHOP_SAYS))
    async with engine_with(line_of(), asterisk.settings.sounds):
        caller = await carrier.call(NUMBER, user_part="1%22,x)%0AEXEC%20Hangup")
        target = await shop.next_call()
        await caller.answered()
        await caller.hang_up()
    assert not re.search(r"\d", target.shown_number)


async def _says_it_is_away(caller_of: Carrier) -> None:
    caller = await caller_of.call(NUMBER)
    await caller.ended()
    assert (caller.answered_at, caller.final_code) == (None, 503)
    assert tones(caller.recording, [SOUNDS["ko/no-engine"]])


async def test_no_engine_a_clear_word_and_503(carrier: Carrier) -> None:
    await _says_it_is_away(carrier)


async def test_an_engine_that_knows_no_numbers_yet_says_so(asterisk: RunningAsterisk, carrier: Carrier) -> None:
    async with engine_with(None, asterisk.settings.sounds, known=False):
        await _says_it_is_away(carrier)


async def test_a_frozen_engine_does_not_hold_the_caller(carrier: Carrier) -> None:
    """It takes the connection and never says a word."""
    taken = asyncio.Event()

    async def silent(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        taken.set()
        await reader.read()
        writer.close()

    server = await asyncio.start_server(silent, SERVER, AGI_PORT)
    async with server:
        await _says_it_is_away(carrier)
    assert taken.is_set(), "nothing was frozen: the engine was never asked"

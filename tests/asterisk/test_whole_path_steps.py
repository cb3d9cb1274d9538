"""What callers go through on the whole system, from the commands that set it to what is written down, sent and kept."""

from __future__ import annotations

import asyncio
import json
import signal
import wave
from collections.abc import AsyncIterator, Iterator
from contextlib import AsyncExitStack, asynccontextmanager, contextmanager, redirect_stderr, redirect_stdout
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from io import StringIO
from itertools import groupby
from pathlib import Path
from threading import Lock
from typing import Any
from uuid import UUID
from zoneinfo import ZoneInfo

import numpy as np
import pytest
from sqlalchemy.ext.asyncio import AsyncEngine

from engine.accounts.book import account_named, register_sender
from engine.accounts.model import LOCAL_OPERATOR
from engine.app.speech import speech_setup
from engine.calls.control_client import engine_status
from engine.cdr.model import CallRecord, Result, StepKind
from engine.cdr.search import recent
from engine.cli.main import run
from engine.contacts.consents import find_valid
from engine.contacts.model import ConsentChannel, Covers
from engine.foundation.database import open_database, transaction
from engine.foundation.errors import TryLater
from engine.foundation.phone_number import PhoneNumber
from engine.messages.model import Message, Purpose, Status
from engine.messages.search import messages
from engine.numbers import inventory
from engine.numbers.model import NumberKind, ServiceNumber
from engine.numbers.treatment import ConsentOffer, Failure, Fallback, RecordMode, Then, Treatment, Whisper
from engine.prompts.speech.setup import opened_speech
from engine.prompts.speech.speech import Speech
from engine.recordings.model import Recording
from engine.recordings.store import of_call
from engine.routing.known import read_known
from engine.sandbox import g711
from engine.sandbox.caller import CallerLeg
from engine.sandbox.carrier import Carrier, Shop
from engine.sandbox.ear import read, sounds, tones
from engine.sandbox.leg import Leg
from engine.sandbox.phone import Answers, Behaviour, Busy, TargetLeg
from engine.sandbox.sdp import Codec
from engine.settings import PRODUCT_FILES, Settings, read_settings
from engine.supervisor.wiring import connected, embedded_database
from tests.eventually import PATIENCE, eventually
from tests.real_asterisk import loopback
from tests.running_shop import CALLER, SHOP, RunningShop
from tests.tones import strongest
from tests.whole_system import whole_system

DARI, CARRIER = (loopback(22, host) for host in (21, 22))
WAY, PROMISE = "찾아오시는 길: 종로 1길 1", "통화 중이어서 곧 연락드리겠습니다."
TOLD, COUNTED, TALKED = "단골", ", {count_this_week}", "[, {last_talk}]"
ORDINALS = ("첫", "두", "세", "네", "다섯", "여섯", "일곱", "여덟", "아홉", "열")
BEEP = 1000
"""Hz; ko/beep is too short to be known by its shape."""
KOREA = ZoneInfo("Asia/Seoul")
ANNOUNCED = ("ko/closed", "ko/holiday", "ko/blocked", "ko/over-limit", "ko/busy")
_TYPING = Lock()
OFFER, LEAVE, PROMISED, RECORDED, KNOWN, CHANGED, LIMITED, FOLLOWED = (PhoneNumber(f"0507300{n:05}") for n in range(8))
SENDER = PhoneNumber("0212345678")
TAKES = Answers(after_seconds=0.2, tone=SHOP)
NUMBERS: dict[PhoneNumber, tuple[Behaviour, Treatment]] = {
    OFFER: (replace(TAKES, talk_seconds=0.5), Treatment(consent=ConsentOffer(text=WAY))),
    LEAVE: (Busy(), Treatment(fallbacks=(Fallback(then=Then.VOICEMAIL),))),
    PROMISED: (Busy(), Treatment(fallbacks=(Fallback(then=Then.TEXT, on=(Failure.BUSY,), text=PROMISE),))),
    RECORDED: (TAKES, Treatment(recording=RecordMode.ALWAYS)),
    KNOWN: (TAKES, Treatment(whisper=Whisper(text=TOLD + COUNTED + TALKED))),
    CHANGED: (TAKES, Treatment()),
    LIMITED: (TAKES, Treatment()),
    FOLLOWED: (TAKES, Treatment()),
}
"""Each with how its telephone behaves. It has an account and a target of its own, so that all may be called at once."""


@dataclass(frozen=True)
class Town:
    """The shops' numbers on one running system, and the database in which it writes everything down."""

    shop: RunningShop
    settings: Settings
    database: AsyncEngine
    speech: Speech
    targets: dict[PhoneNumber, Shop]
    """What each of NUMBERS rings."""

    @property
    def home(self) -> Path:
        return self.shop.home.folder

    async def dari(self, *arguments: object) -> str:
        """A command that must succeed, in this process: what it said on stdout."""
        return await asyncio.to_thread(typed, [str(argument) for argument in arguments])

    async def call(self, number: PhoneNumber, caller: str) -> CallerLeg:
        return await self.shop.carrier.call(number, from_number=caller, tone=CALLER)

    async def connected(self, number: PhoneNumber, caller: str) -> tuple[CallerLeg, TargetLeg]:
        """A call of which both sides hear each other."""
        rang = len(self.targets[number].calls)
        leg = await self.call(number, caller)
        await leg.answered(within=PATIENCE)
        [target] = self.targets[number].calls[rang:]
        await eventually(lambda: bool(tones(target.recording, [CALLER]) and tones(leg.recording, [SHOP])))
        return leg, target

    async def talk(self, number: PhoneNumber, caller: str) -> tuple[CallRecord, TargetLeg]:
        """A call that is answered, talked in and hung up by the caller, written down."""
        leg, target = await self.connected(number, caller)
        await self.shop.talk(leg, target, seconds=0.3)
        return await self.record(leg), target

    async def turned_away(self, number: PhoneNumber, caller: str, announced: str) -> CallRecord:
        """The first call that rings nobody and hears that; the engine learns of a change a moment after the command."""
        async with asyncio.timeout(PATIENCE):
            while True:
                rang = len(self.targets[number].calls)
                leg = await self.call(number, caller)
                await eventually(lambda leg=leg: leg.is_over or leg.answered_at is not None)
                await leg.hang_up()
                record = await self.record(leg)
                if [step.sound for step in record.steps] == [announced]:
                    assert hears(leg, *ANNOUNCED) == [announced]
                    assert leg.answered_at is None
                    assert len(self.targets[number].calls) == rang
                    return record

    async def record(self, leg: CallerLeg) -> CallRecord:
        """The only record of the call, once it is written."""
        found: list[CallRecord] = []

        async def is_written() -> bool:
            async with transaction(self.database) as connection:
                calls = await recent(connection, limit=1000)
            found[:] = [call for call in calls if call.sip_call_id == leg.call_id]
            return bool(found)

        await eventually(is_written)
        [record] = found
        return record

    async def message(self, call: CallRecord) -> Message:
        """The only message about the call, once nothing more happens to it."""
        found: list[Message] = []

        async def is_settled() -> bool:
            found[:] = await messages(self.database, call_id=call.call_id)
            return bool(found) and found[0].status in (Status.DELIVERED, Status.FAILED, Status.HELD)

        await eventually(is_settled)
        [message] = found
        return message

    async def let_hear(self, call: CallRecord) -> None:
        """The shop lets the operator of this machine hear its calls."""
        leave = ("--days", "1", "--reason", "a test", "--evidence", "paper 1")
        await self.dari("account", "grant", call.account_id, *leave)

    async def kept(self, call: CallRecord) -> Recording:
        """The only recording of the call, once it is sealed."""
        found: list[Recording] = []

        async def is_kept() -> bool:
            async with transaction(self.database) as connection:
                found[:] = await of_call(connection, call.call_id)
            return bool(found)

        await eventually(is_kept)
        [recording] = found
        return recording

    async def explained(self, call: CallRecord) -> dict[str, Any]:
        """What `dari explain` says of a call like this one at its instant; the rules that decide are the call's."""
        assert call.number
        asked = ("explain", call.number, "--from", call.caller, "--at", call.arrived_at.isoformat(), "--json")
        told: dict[str, Any] = json.loads(await self.dari(*asked))
        assert tuple(rule["rule"] for rule in told["rules"] if rule["settings"]) == call.rules
        announcement = told["announcement"]
        heard = [step.sound for step in call.steps if step.kind is StepKind.ANNOUNCEMENT]
        if announcement is not None:
            assert (announcement["result"], [announcement["sound"]]) == (call.result.value, heard)
        return told


@asynccontextmanager
async def town() -> AsyncIterator[Town]:
    """A system with NUMBERS in service, each with an account of its own."""
    async with AsyncExitStack() as stack:
        home = await stack.enter_async_context(whole_system(DARI))
        carrier = await stack.enter_async_context(Carrier(CARRIER, 5070, (DARI, 5060)))
        shop = RunningShop(home, await home.up(), carrier)
        await shop.dari("trunk", "add", "carrier", "--match", CARRIER, "--contact", f"sip:{CARRIER}:5070")
        settings = connected(read_settings(home=home.folder))
        database = open_database(settings.database_url, 30.0, application_name="dari test")
        stack.push_async_callback(database.dispose)
        speech = await stack.enter_async_context(opened_speech(speech_setup(settings), settings.paths.sounds))
        targets = [carrier.shop(f"02111100{n:02}", behaviour) for n, (behaviour, _) in enumerate(NUMBERS.values())]
        async with transaction(database) as connection:
            for (number, (_, treatment)), target in zip(NUMBERS.items(), targets, strict=True):
                account = await account_named(connection, LOCAL_OPERATOR, f"shop {number}", datetime.now(UTC))
                await register_sender(
                    connection, LOCAL_OPERATOR, account.id, SENDER, "the shop's own line", datetime.now(UTC)
                )
                new = ServiceNumber(
                    number=number,
                    kind=NumberKind.VIRTUAL,
                    account_id=account.id,
                    target=PhoneNumber(target.number),
                    treatment=treatment,
                    sender=SENDER,
                )
                await inventory.add(connection, new)
        await eventually(carrier.is_known)
        snapshot = settings.paths.spool / "routing.snapshot"
        await eventually(lambda: is_in(snapshot, FOLLOWED))
        yield Town(shop, settings, database, speech, dict(zip(NUMBERS, targets, strict=True)))


def is_in(snapshot: Path, number: PhoneNumber, rules: int = 0) -> bool:
    """Whether the engine knows the number, with so many rules."""
    known = read_known(snapshot)
    line = known.line(number) if known else None
    return line is not None and len(line.rules) == rules


def typed(arguments: list[str]) -> str:
    """One command after the other: what is said while one runs is its own."""
    with _TYPING, redirect_stdout(StringIO()) as said, redirect_stderr(StringIO()) as errors:
        code = run(arguments)
    assert code == 0, errors.getvalue()
    return said.getvalue()


@pytest.fixture(scope="module")
async def here() -> AsyncIterator[Town]:
    async with town() as running:
        with pytest.MonkeyPatch.context() as patch:
            for name, value in running.shop.home.environment.items():
                patch.setenv(name, value)
            yield running


def hears(leg: Leg, *names: str) -> list[str]:
    """Which of these sounds that ship with Dari were heard, in order; one in pieces is named once."""
    known = {name: read(PRODUCT_FILES / "prompts" / "sounds" / f"{name}.wav") for name in names}
    return [name for name, _ in groupby(one.what for one in sounds(leg.recording, known))]


async def who_stays_on_and_presses_1_gets_the_message_asked_for_once_in_a_while(here: Town, _folder: Path) -> None:
    async def asks() -> tuple[CallRecord, Message]:
        caller = await here.call(OFFER, "01040000001")
        await caller.answered()
        await eventually(lambda: hears(caller, "ko/consent-offer") != [])
        caller.press("1")
        await caller.ended()
        assert hears(caller, "ko/consent-thanks") == ["ko/consent-thanks"]
        record = await here.record(caller)
        return record, await here.message(record)

    record, message = await asks()
    assert (message.purpose, message.status, message.text) == (Purpose.CONSENT, Status.DELIVERED, WAY)
    assert [order["id"] for order in here.shop.sent("01040000001")] == [str(message.id)]
    basis = message.certificate[0]
    assert record.consent
    assert (basis.rule, basis.passed) == ("the caller asked for it in the call", True)
    for evidence in ("pressed 1 at ", "after the talk", "ko/consent-offer", record.consent.sound_version):
        assert evidence in basis.evidence
    assert record.account_id
    async with transaction(here.database) as connection:
        given = await find_valid(
            connection,
            record.account_id,
            PhoneNumber("01040000001"),
            OFFER,
            ConsentChannel.TEXT,
            Covers.MESSAGE_ASKED_FOR,
        )
    assert given
    assert (given.call_id, given.given_at, given.evidence.key) == (record.call_id, record.consent.at, "1")
    assert given.evidence.sound_version == record.consent.sound_version

    again, held = await asks()
    assert (held.status, again.consent is not None) == (Status.HELD, True)
    assert held.reason.startswith("the caller already got the message asked for a short while ago: ")
    assert len(here.shop.sent("01040000001")) == 1
    await here.explained(again)


async def a_busy_shops_caller_hears_that_a_text_comes_and_gets_it(here: Town, _folder: Path) -> None:
    caller = await here.call(PROMISED, "01040000002")
    await caller.ended()
    assert (caller.final_code, caller.answered_at) == (486, None)
    assert hears(caller, "ko/text-only") == ["ko/text-only"]
    record = await here.record(caller)
    assert (record.result, record.text_only) == (Result.BUSY, PROMISE)
    message = await here.message(record)
    assert (message.purpose, message.status, message.text) == (Purpose.TEXT_ONLY, Status.DELIVERED, PROMISE)
    assert [order["text"] for order in here.shop.sent("01040000002")] == [PROMISE]
    told = await here.explained(record)
    assert [(one["purpose"], one["text"]) for one in told["messages"]] == [("text-only", PROMISE)]


async def a_voicemail_is_kept_encrypted_only_and_given_back_to_its_owner(here: Town, folder: Path) -> None:
    caller = await here.call(LEAVE, "01040000003")
    await caller.answered()
    await eventually(lambda: tones(caller.recording, [BEEP], shortest=0.3) != [])
    begun = caller.recording.duration
    await eventually(lambda: caller.recording.duration > begun + 2.0)
    caller.press("#")
    await caller.ended()
    assert hears(caller, "ko/voicemail-greeting", "ko/voicemail-thanks") == [
        "ko/voicemail-greeting",
        "ko/voicemail-thanks",
    ]
    record = await here.record(caller)
    recording = await here.kept(record)
    assert (record.result, caller.final_code) == (Result.VOICEMAIL, 200)

    file = folder / "voicemail.wav"
    await here.let_hear(record)
    await here.dari("recording", "export", record.call_id, file, "--voicemail", "--reason", "the shop listens")
    with wave.open(str(file), "rb") as sound:
        assert (sound.getnchannels(), sound.getframerate(), sound.getsampwidth()) == (1, 8000, 2)
        left = np.frombuffer(sound.readframes(sound.getnframes()), "<i2")
    assert strongest(left.astype(np.float64)) == pytest.approx(CALLER, abs=5)
    middle = left[len(left) // 2 :][:400]
    plain = [middle.tobytes(), *(g711.encode(codec, middle) for codec in Codec)]
    assert list(holding(folder, plain)) == [file], "the search finds no plain sound where there is one"
    assert (here.home / "recordings" / recording.file).stat().st_size == recording.size
    await eventually(lambda: list(holding(here.home, plain)) == [])


def holding(folder: Path, pieces: list[bytes]) -> Iterator[Path]:
    """The files under `folder` with one of these pieces in them."""
    for path in folder.rglob("*"):
        try:
            content = path.read_bytes() if path.is_file() else b""
        except FileNotFoundError:
            continue
        if any(piece in content for piece in pieces):
            yield path


async def the_shop_hears_which_call_of_the_week_it_is_and_when_they_last_talked(here: Town, _folder: Path) -> None:
    """A call does not wait long for its history or for the voice: one that missed them tells less, never a lie."""
    past: list[CallRecord] = []
    told: list[str] = []
    while len(told) < 3 and len(past) < len(ORDINALS):
        record, target = await here.talk(KNOWN, "01040000004")
        expected = whisper_of(record, past)
        past.append(record)
        spoken = [step.sound for step in record.steps if step.kind is StepKind.WHISPER]
        if spoken == [here.speech.ready(expected)]:
            sound = str(spoken[0])
            known = {sound: read(here.settings.paths.sounds / f"{sound}.wav")}
            assert sum(heard.seconds for heard in sounds(target.recording, known, shortest=0.3)) > 1.0
            told.append(sound)
        else:
            assert spoken in ([], [here.speech.ready(TOLD)])
    assert len(set(told)) == len(told) == 3
    assert (await here.explained(record))["forwarding"]["whisper_text"] == expected


def whisper_of(call: CallRecord, past: list[CallRecord]) -> str:
    """What the shop is told about a call that came after these."""
    at = call.arrived_at.astimezone(KOREA)
    days = [before.arrived_at.astimezone(KOREA) for before in past]
    this_week = sum(day.isocalendar()[:2] == at.isocalendar()[:2] for day in days)
    last = f", {days[-1].month}월 {days[-1].day}일" if days else ""
    return TOLD + COUNTED.format(count_this_week=f"{ORDINALS[this_week]} 번째") + last


async def what_is_set_holds_for_the_next_call_without_a_restart(here: Town, _folder: Path) -> None:
    parts = here.shop.home.parts()
    before, _ = await here.talk(CHANGED, "01040000005")
    assert before.rules == ()

    await here.dari("rule", "add", CHANGED, "점심", "--announcement", "ko/closed")
    await here.dari("group", "add", "blocked", "01040000006", "--account", f"shop {CHANGED}")
    closed = await here.turned_away(CHANGED, "01040000005", "ko/closed")
    assert (closed.result, closed.rules) == (Result.CLOSED, ("점심",))
    blocked = await here.turned_away(CHANGED, "01040000006", "ko/blocked")
    assert blocked.result is Result.BLOCKED
    await here.explained(closed)
    await here.explained(blocked)

    today = datetime.now(KOREA).date()
    await here.dari("closed", "add", today, today + timedelta(days=1), "--number", CHANGED)
    await here.dari("rule", "add", CHANGED, "휴무", "--days", "closed-day", "--announcement", "ko/holiday", "--at", 1)
    off = await here.turned_away(CHANGED, "01040000005", "ko/holiday")
    assert (off.result, off.rules) == (Result.CLOSED, ("휴무",))
    await here.explained(off)
    assert here.shop.home.parts() == parts


async def a_second_caller_at_once_is_turned_away_where_one_may_call(here: Town, _folder: Path) -> None:
    await here.dari("number", "set", LIMITED, "--limit-at-once", 1)
    live, target = await here.connected(LIMITED, "01040000011")
    over = await here.turned_away(LIMITED, "01040000012", "ko/over-limit")
    assert (over.result, live.is_over) == (Result.OVER_LIMIT, False)
    await here.shop.talk(live, target, seconds=0.1)
    await here.record(live)
    after, _ = await here.talk(LIMITED, "01040000012")
    assert after.result is Result.ANSWERED


async def a_recording_is_kept_its_time_and_whoever_takes_it_is_written_down(here: Town, folder: Path) -> None:
    caller, target = await here.connected(RECORDED, "01040000008")
    await here.shop.talk(caller, target)
    record = await here.record(caller)
    recording = await here.kept(record)
    assert recording.delete_after - recording.made_at == timedelta(days=here.settings.recording_days)
    await here.dari("recording", "term", "--account", f"shop {RECORDED}", "--days", "30")
    recording = await here.kept(record)
    assert recording.delete_after - recording.made_at == timedelta(days=30)

    file = folder / "talk.wav"
    assert await accesses(here, record.call_id) == []
    await here.let_hear(record)
    await here.dari("recording", "export", record.call_id, file, "--reason", "a complaint about an order")
    with wave.open(str(file), "rb") as sound:
        assert sound.getnframes() / sound.getframerate() == pytest.approx(recording.seconds, abs=0.01)
    [access] = await accesses(here, record.call_id)
    assert (access["deed"], access["reason"], access["granted"]) == ("export", "a complaint about an order", True)
    assert (await here.explained(record))["forwarding"]["recording"] == "always"


async def accesses(here: Town, call_id: UUID) -> list[dict[str, Any]]:
    """The access log of one call."""
    return [json.loads(line) for line in (await here.dari("recording", "access", call_id, "--json")).splitlines()]


STORIES = (
    who_stays_on_and_presses_1_gets_the_message_asked_for_once_in_a_while,
    a_busy_shops_caller_hears_that_a_text_comes_and_gets_it,
    a_voicemail_is_kept_encrypted_only_and_given_back_to_its_owner,
    the_shop_hears_which_call_of_the_week_it_is_and_when_they_last_talked,
    what_is_set_holds_for_the_next_call_without_a_restart,
    a_second_caller_at_once_is_turned_away_where_one_may_call,
    a_recording_is_kept_its_time_and_whoever_takes_it_is_written_down,
)
"""Each of numbers of its own."""


@pytest.fixture(scope="module")
async def told(here: Town, tmp_path_factory: pytest.TempPathFactory) -> dict[str, BaseException | None]:
    """How each story went; all are told at once, for they are mostly waiting."""
    folders = [tmp_path_factory.mktemp(story.__name__) for story in STORIES]
    going = [story(here, folder) for story, folder in zip(STORIES, folders, strict=True)]
    went = await asyncio.gather(*going, return_exceptions=True)
    return {story.__name__: how for story, how in zip(STORIES, went, strict=True)}


@pytest.mark.parametrize("story", [story.__name__ for story in STORIES])
async def test_it_happens_so(told: dict[str, BaseException | None], story: str) -> None:
    if failure := told[story]:
        raise failure


async def test_without_a_database_calls_follow_the_rules_that_are_on_disk_but_for_those_about_the_past(
    here: Town,
) -> None:
    """The engine has just been started then, so that it knows the numbers by its snapshot alone."""
    await here.dari("group", "add", "regulars", "01040000010", "--account", f"shop {FOLLOWED}")
    await here.dari("rule", "add", FOLLOWED, "단골", "--callers", "regulars", "--announcement", "ko/busy")
    await here.dari("rule", "add", FOLLOWED, "다시", "--last-call", "answered", "--announcement", "ko/closed")
    snapshot = here.settings.paths.spool / "routing.snapshot"
    await eventually(lambda: is_in(snapshot, FOLLOWED, rules=2))
    first, _ = await here.talk(FOLLOWED, "01040000009")
    assert first.rules == ()
    await eventually(lambda: holds_again(here))

    server = embedded_database(here.settings)
    killed = {name: here.shop.home.parts()[name] for name in ("postgres", "engine")}
    with database_that_does_not_start(here):
        for process in killed.values():
            process.send(signal.SIGKILL)
        await eventually(lambda: here.shop.home.parts().get("engine", killed["engine"]) != killed["engine"])
        await eventually(lambda: takes_calls(here))
        regular = await here.call(FOLLOWED, "01040000010")
        caller, target = await here.connected(FOLLOWED, "01040000009")
        await here.shop.talk(caller, target, seconds=0.1)
        await regular.ended()
        assert hears(regular, *ANNOUNCED) == ["ko/busy"]
        assert not await server.answers(), "the database was back too early"
    await eventually(server.answers)

    blind, by_rule = await here.record(caller), await here.record(regular)
    assert (blind.result, blind.rules) == (Result.ANSWERED, ())
    assert (by_rule.result, by_rule.rules) == (Result.CLOSED, ("단골",))
    await here.explained(by_rule)


async def takes_calls(here: Town) -> bool:
    try:
        return (await engine_status(here.settings.paths.engine_socket)).takes_calls
    except TryLater:
        return False


async def holds_again(here: Town) -> bool:
    """Whether the rule about the last call held for one more call: it does not where the past comes too late."""
    caller = await here.call(FOLLOWED, "01040000009")
    await eventually(lambda: caller.is_over or caller.answered_at is not None)
    await caller.hang_up()
    return (await here.record(caller)).rules == ("다시",)


@contextmanager
def database_that_does_not_start(here: Town) -> Iterator[None]:
    """Whenever its server ends meanwhile, it stays away."""
    file = here.settings.paths.postgres / "cluster" / "postgresql.conf"
    right = file.read_bytes()
    file.write_bytes(right + b"\nthis is no setting\n")
    try:
        yield
    finally:
        file.write_bytes(right)

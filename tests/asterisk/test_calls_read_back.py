"""Calls that a real Asterisk ran without an engine come into the log as the telephones had them, and once."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Iterable
from datetime import UTC, datetime
from pathlib import Path

import msgspec
import pytest
import pytest_asyncio
from sqlalchemy.ext.asyncio import AsyncEngine

from engine.asterisk.manager import Manager
from engine.callbacks.call_ended import call_ended
from engine.calls.causes import CAUSE_TOWARDS_CALLER
from engine.calls.without_engine import ALONE
from engine.cdr.agreement import compare
from engine.cdr.call_file import CallFile
from engine.cdr.model import CallRecord, Result, StepKind
from engine.foundation.clock import SystemClock
from engine.foundation.phone_number import PhoneNumber
from engine.messages.model import Status
from engine.messages.search import messages
from engine.numbers.model import ServiceNumber
from engine.numbers.treatment import RecordMode, Treatment
from engine.prompts.wholeness import bytes_if_whole
from engine.routing.alone import entries
from engine.routing.alone_text import FAMILY, NOTICES, WHOLE, Sounds, number_key, number_values, trunk_values
from engine.routing.model import AccountRouting, Holidays, Line
from engine.sandbox.carrier import Carrier
from engine.sandbox.leg import Leg
from engine.sandbox.phone import Answers, Busy, NeverAnswers
from engine.trunks.model import Trunk
from tests.answered_call import number_with_text
from tests.engine_rig import make_sounds
from tests.eventually import eventually
from tests.hand_made_line import CALLER, TARGET
from tests.reading_engine import ReadingEngine, reading, records_in
from tests.real_asterisk import RunningAsterisk, loopback, start_asterisk
from tests.shop import open_shop

SERVER, CARRIER = loopback(63, 1), loopback(63, 2)
TRUNK = Trunk(name="carrier", match=(CARRIER,), contact=f"sip:{CARRIER}:5070")
RECORDED, BUSY, AWAY = PhoneNumber("050712340001"), PhoneNumber("050712340002"), PhoneNumber("050712340003")
BUSY_TARGET, AWAY_TARGET = PhoneNumber("0311234567"), PhoneNumber("0321234567")
WITHIN = 1.0
"""Seconds by which a record and the telephones' own logs may differ."""


@pytest_asyncio.fixture(scope="module")
async def asterisk(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[RunningAsterisk]:
    folder = tmp_path_factory.mktemp("read back")
    make_sounds(folder / "sounds")
    running = await start_asterisk(folder, SERVER, [TRUNK], claim_milliseconds=1000)
    yield running
    await running.stop()


@pytest.fixture
async def carrier(asterisk: RunningAsterisk) -> AsyncIterator[Carrier]:
    async with Carrier(CARRIER, 5070, (SERVER, 5060)) as carrier:
        yield carrier


@pytest.fixture
async def shops(asterisk: RunningAsterisk, database: AsyncEngine) -> list[ServiceNumber]:
    """One that records, one that is busy, one where nobody answers; their routes are in Asterisk."""
    recorded = Treatment(recording=RecordMode.ALWAYS)
    wanted = [(RECORDED, TARGET, recorded), (BUSY, BUSY_TARGET, Treatment()), (AWAY, AWAY_TARGET, Treatment())]
    plain = msgspec.structs.replace(number_with_text(repeat_window_days=0), min_talk_seconds=1)
    shops: list[ServiceNumber] = []
    sizes = [bytes_if_whole(asterisk.settings.sounds / f"ko/recording-notice{of}.wav") for of in ("", "-target")]
    values = trunk_values([TRUNK]) | {WHOLE: "1", NOTICES: "&".join(map(str, sizes))}
    sounds = Sounds(lambda _: None, lambda _: None, CAUSE_TOWARDS_CALLER.__getitem__)
    for number, target, treatment in wanted:
        shop = msgspec.structs.replace(plain, number=number, target=target, treatment=treatment)
        shop = await open_shop(database, shop)
        shops.append(shop)
        line = Line(shop, (), AccountRouting(account_id=shop.account_id), (), Holidays())
        found = entries(line, frozenset(), SystemClock().now(), 2)
        limits = (shop.limits, line.account.limits)
        values |= number_values(number_key(number), str(shop.account_id), limits, found, sounds)
    host, _, port = asterisk.ami_address.partition(":")
    async with Manager(host, int(port), asterisk.ami_user, asterisk.ami_password) as manager:
        for key, value in values.items():
            await manager.database_put(FAMILY, key, value)
    return shops


async def _talk(carrier: Carrier, from_number: str, *, target_leaves: bool = False) -> Leg:
    shop = carrier.shop(TARGET, Answers(after_seconds=0.3, talk_seconds=2.5 if target_leaves else None))
    caller = await carrier.call(RECORDED, from_number=from_number)
    target = await shop.next_call()
    await caller.answered()
    if not target_leaves:
        await asyncio.sleep(2.5)  # they talk
        await caller.hang_up()
    await target.ended()
    await caller.ended()
    return caller


async def _refused(carrier: Carrier, number: str, from_number: str, *, privacy: bool = False) -> Leg:
    caller = await carrier.call(number, from_number=from_number, privacy=privacy)
    await caller.ended()
    assert caller.answered_at is None
    return caller


async def _given_up(carrier: Carrier, from_number: str, *, offered_on: RunningAsterisk | None = None) -> Leg:
    """While it rings, or while it is offered to engines."""
    phone = carrier.shop(AWAY_TARGET, NeverAnswers())
    caller = await carrier.call(AWAY, from_number=from_number)
    if offered_on is None:
        await phone.next_call()
    else:
        asterisk = offered_on

        async def is_offered() -> bool:
            channels = await asterisk.ask("core show channels concise")
            return "StasisBroadcast" in channels or "dari-alone" in channels

        await eventually(is_offered)
    await caller.cancel()
    return caller


def _seconds(leg: Leg) -> float:
    assert leg.ended_at is not None
    return leg.ended_at - leg.started_at


async def _read(engine: ReadingEngine, asterisk: RunningAsterisk, calls: Iterable[Leg]) -> None:
    """All these calls, once Asterisk has written them down."""
    await eventually(lambda: all(asterisk.lines_of(leg.call_id) for leg in calls))
    await engine.look(40)


async def test_what_happened_without_an_engine_is_known_once_there_is_one(
    asterisk: RunningAsterisk, carrier: Carrier, shops: list[ServiceNumber], database: AsyncEngine, tmp_path: Path
) -> None:
    began = datetime.now(UTC)
    carrier.shop(BUSY_TARGET, Busy())
    carrier.shop(AWAY_TARGET, NeverAnswers())
    talked = await _talk(carrier, CALLER)
    left = await _talk(carrier, "01023450002", target_leaves=True)
    busy, away, unknown, hidden = await asyncio.gather(
        _refused(carrier, BUSY, "01023450003"),
        _refused(carrier, AWAY, "01023450004"),
        _refused(carrier, "050799999999", "01023450005"),
        _refused(carrier, BUSY, "01023450006", privacy=True),
    )
    given_up = await _given_up(carrier, "01023450007")
    early = await _given_up(carrier, "01023450008", offered_on=asterisk)
    wanted = {
        talked: Result.ANSWERED,
        left: Result.ANSWERED,
        busy: Result.BUSY,
        away: Result.NO_ANSWER,
        unknown: Result.NOT_IN_SERVICE,
        hidden: Result.BUSY,
        given_up: Result.CALLER_GAVE_UP,
        early: Result.CALLER_GAVE_UP,
    }
    monitor = asterisk.settings.spool / "monitor"
    (tmp_path / "monitor").symlink_to(monitor)
    async with reading(tmp_path, database, *shops, file=asterisk.call_records) as engine:
        await _read(engine, asterisk, wanted)
        records = {record.sip_call_id: record for record in await records_in(database, len(wanted))}
    for leg, result in wanted.items():
        record = records[leg.call_id]
        assert (record.result, record.node) == (result, ALONE), record
        _agrees(record, leg)
    first = records[talked.call_id]
    assert (first.number, first.target, first.account_id, first.caller) == (
        RECORDED,
        TARGET,
        shops[0].account_id,
        CALLER,
    )
    assert first.recording is not None
    assert (monitor / f"{first.call_id}.turned.raw").stat().st_size > 0
    notices = [StepKind.RECORDING_NOTICE, StepKind.RECORDING_NOTICE]  # the caller's and the target's
    assert [step.kind for step in first.steps] == [*notices, StepKind.CONNECT, StepKind.RECORDING]
    assert (records[hidden.call_id].caller, records[hidden.call_id].caller_sent) == (None, "withheld")
    assert records[early.call_id].caller == "01023450008"
    assert records[unknown.call_id].account_id is None
    for record in records.values():
        for _ in range(2):
            await call_ended(database, record.call_id, datetime.now(UTC))
    sent = [message for message in await messages(database) if message.status is Status.QUEUED]
    assert sorted(message.recipient or "" for message in sent) == sorted([CALLER, "01023450002"])
    found = await compare(database, CallFile(asterisk.call_records), began, datetime.now(UTC))
    assert found.whole
    assert found.rows == len(wanted)


def _agrees(record: CallRecord, leg: Leg) -> None:
    """The record's times are the telephone's."""
    assert abs((record.ended_at - record.arrived_at).total_seconds() - _seconds(leg)) < WITHIN
    assert abs(record.talk_seconds - leg.talk_seconds) < WITHIN


async def test_asterisk_begins_a_new_file_when_the_old_one_is_renamed(
    asterisk: RunningAsterisk, carrier: Carrier, shops: list[ServiceNumber], database: AsyncEngine, tmp_path: Path
) -> None:
    file = CallFile(asterisk.call_records)
    file.rotate(3)
    carrier.shop(BUSY_TARGET, Busy())
    async with reading(tmp_path, database, *shops, file=asterisk.call_records) as engine:
        await engine.look()
        known = len(engine.counted)
        calls: list[Leg] = []
        for _ in range(3):
            # One that goes on while the file is renamed, one after it.
            calls.append(await _refused(carrier, BUSY, CALLER))
            going, _ = await asyncio.gather(_refused(carrier, BUSY, CALLER), asyncio.to_thread(file.rotate, 9))
            calls.append(going)
            await engine.look(3)

        async def all_are_read() -> bool:
            await engine.look(3)
            return len(engine.counted) >= known + len(calls)

        await eventually(all_are_read)
        assert sorted(record.sip_call_id or "" for record in engine.counted[known:]) == sorted(
            leg.call_id for leg in calls
        )
        assert file.files()[-1] == asterisk.call_records

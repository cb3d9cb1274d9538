"""Calls that went without an engine come into a real database: all of them, once, with what is known of them."""

from __future__ import annotations

import asyncio
import os
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any
from uuid import UUID

import msgspec
import pytest
from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncEngine

from engine.callbacks.call_ended import call_ended
from engine.callbacks.rules import LATEST
from engine.calls.without_engine import ALONE, UNKNOWN
from engine.cdr.agreement import compare
from engine.cdr.call_file import CallFile
from engine.cdr.drain import CALL_ENDED, KEEP_RECORDING, Drain
from engine.cdr.model import Leg, Result, Side
from engine.events.call_log_reader import read
from engine.foundation.database import open_database, transaction
from engine.foundation.ids import new_id
from engine.jobs.queue import ids_of
from engine.messages.model import Status
from engine.messages.search import messages
from engine.numbers.model import ServiceNumber
from engine.routing.call_plan import CallPlan
from tests.answered_call import number_with_text
from tests.call_records import CALLER, NUMBER, TARGET, arrival, record
from tests.call_rows import COLUMNS, append, written_row
from tests.eventually import eventually
from tests.planning import HandPlanner
from tests.reading_engine import ReadingEngine, reading, records_in
from tests.shop import open_shop

_LONG_ENOUGH = 40
"""Looks after which whatever has no record by then has got one."""


@pytest.fixture
async def shop(database: AsyncEngine) -> ServiceNumber:
    return await open_shop(database, msgspec.structs.replace(number_with_text(repeat_window_days=0), number=NUMBER))


async def _jobs(database: AsyncEngine, name: str) -> list[UUID]:
    async with transaction(database) as connection:
        rows = await connection.execute(text("SELECT payload FROM pgqueuer WHERE entrypoint = :name"), {"name": name})
        return sorted(call_id for payload in rows.scalars() for call_id in ids_of(payload))


def _ago(**before: float) -> datetime:
    return (datetime.now(UTC) - timedelta(**before)).replace(microsecond=0)


async def test_each_kind_of_call_alone_has_its_record(
    tmp_path: Path, database: AsyncEngine, shop: ServiceNumber
) -> None:
    began = _ago(minutes=5)
    account, number = str(shop.account_id), shop.number
    spoken: dict[str, Any] = {"account": account, "target": TARGET, "number": number}
    calls = [
        written_row(began=began, answered=4.0, lasted=34.5, result="answered", **spoken),
        written_row(began=began + timedelta(seconds=1), lasted=3.0, cause="17", result="busy", **spoken),
        written_row(began=began + timedelta(seconds=2), lasted=30.0, cause="19", result="no answer", **spoken),
        written_row(began=began + timedelta(seconds=3), lasted=5.0, cause="0", **spoken),
        written_row(began=began + timedelta(seconds=4), lasted=4.0, cause="1", result="not in service"),
        written_row(began=began + timedelta(seconds=5), lasted=0.1, cause="42", alone="full", number=number),
        written_row(began=began + timedelta(seconds=6), lasted=4.0, cause="34"),
        written_row(began=began + timedelta(seconds=7), sip_call_id="", answered=1.0),  # a leg
    ]
    async with reading(tmp_path, database, shop) as engine:
        append(engine.file, *calls)
        await engine.look()
        records = await records_in(database, 7)
        assert [record.result for record in records] == [
            Result.ANSWERED,
            Result.BUSY,
            Result.NO_ANSWER,
            Result.CALLER_GAVE_UP,
            Result.NOT_IN_SERVICE,
            Result.OVER_LIMIT,
            Result.FAILED,
        ]
        assert {record.node for record in records} == {ALONE}
        assert [record.cause for record in records] == [16, 17, 19, 16, 1, 42, 34]
        answered = records[0]
        assert (answered.arrived_at, answered.ended_at) == (began, began + timedelta(seconds=34.5))
        assert (answered.answered_at, answered.talk_seconds) == (began + timedelta(seconds=4), 30.5)
        assert (answered.number, answered.account_id, answered.target) == (number, shop.account_id, TARGET)
        assert (answered.caller, answered.trunk, answered.number_kind) == (CALLER, "carrier", shop.kind)
        assert [record.account_id for record in records[4:]] == [shop.account_id] * 3  # the number is ours by the cache
        assert await _jobs(database, CALL_ENDED) == sorted(record.call_id for record in records)
        assert [record.call_id for record in engine.counted] == [record.call_id for record in records]
        ended = [event for event in read(tmp_path / "logs") if event.call_id == answered.call_id]
        assert [event.detail for event in ended] == [
            "without an engine",
            "answered, talked 30.5 s, ended by caller; without an engine",
        ]


async def test_a_withheld_number_stays_withheld(tmp_path: Path, database: AsyncEngine, shop: ServiceNumber) -> None:
    hidden = [
        written_row(began=_ago(minutes=2), presentation="prohib_passed_screen"),
        written_row(began=_ago(minutes=1), presentation=""),  # Asterisk did not tell
    ]
    async with reading(tmp_path, database, shop) as engine:
        append(engine.file, *hidden)
        await engine.look()
        records = await records_in(database, 2)
        assert [(record.caller, record.caller_sent) for record in records] == [(None, "withheld")] * 2


async def test_hostile_rows_are_records_like_others(tmp_path: Path, database: AsyncEngine, shop: ServiceNumber) -> None:
    evil = "\"';DROP TABLE calls;--\n\0</script>é" * 3
    async with reading(tmp_path, database, shop) as engine:
        append(
            engine.file,
            written_row(began=_ago(minutes=1), caller=evil, number=evil, sip_call_id=evil, alone="full"),
            written_row(began=_ago(minutes=1), channel="1/../../etc/passwd", recording="yes", notices=evil),
        )
        await engine.look()
        for one in await records_in(database, 2):
            assert one.caller in (None, CALLER)
            assert len(one.caller_sent) <= 64
            assert one.caller_sent.isprintable()


async def test_live_calls_have_their_turn_before_each_record_and_their_history_is_not_asked(
    tmp_path: Path, database: AsyncEngine, shop: ServiceNumber, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked: list[object] = []

    async def plan(*arguments: object) -> CallPlan:
        asked.append(arguments)
        raise AssertionError("live calls' planning is asked")

    monkeypatch.setattr(HandPlanner, "plan", plan)
    async with reading(tmp_path, database, shop, drains=False) as engine:
        append(engine.file, *(written_row(began=_ago(minutes=n), number=shop.number) for n in range(1, 61)))
        at_each_turn: list[int] = []

        async def live_call() -> None:
            while True:
                at_each_turn.append(engine.spool.waiting)
                await asyncio.sleep(0)

        living = asyncio.ensure_future(live_call())
        await engine.look()
        living.cancel()
        await asyncio.gather(living, return_exceptions=True)
        assert {engine.spool.waiting, *at_each_turn} == set(range(61))
    assert asked == []


# -- the file ----------------------------------------------------------------------------------------------------------


async def _until_renamed(engine: ReadingEngine) -> None:
    async def renamed() -> bool:
        await engine.look()
        return not engine.file.exists()

    await eventually(renamed)


async def test_a_file_with_a_row_of_yesterday_is_renamed_once_it_was_read(
    tmp_path: Path, database: AsyncEngine, shop: ServiceNumber
) -> None:
    async with reading(tmp_path, database, shop) as engine:
        append(engine.file, written_row(began=_ago(hours=20)))
        await engine.look(3)
        assert engine.file.exists()
        append(engine.file.with_name("new"), written_row(began=_ago(hours=25)), written_row(began=_ago(minutes=1)))
        engine.file.rename(engine.file.with_name("calls.csv-mine"))
        engine.file.with_name("new").rename(engine.file)
        await _until_renamed(engine)
        await records_in(database, 3)
        assert sorted(path.name for path in engine.file.parent.iterdir()) == ["calls.csv-mine", "calls.csv.1"]


async def test_files_with_callers_numbers_go_after_a_fortnight_but_none_that_is_still_needed(
    tmp_path: Path, database: AsyncEngine, shop: ServiceNumber
) -> None:
    def last_written(name: str, at: datetime) -> Path:
        path = tmp_path / "log" / name
        os.utime(path, (at.timestamp(), at.timestamp()))
        return path

    async with reading(tmp_path, database, shop) as engine:
        for age, name in ((16, "calls.csv.2"), (15, "calls.csv.1"), (13, "calls.csv-mine.1"), (0, "calls.csv")):
            append(engine.file.with_name(name), written_row(began=_ago(days=age)))
        old = [last_written("calls.csv.2", _ago(days=16)), last_written("calls.csv.1", _ago(days=15))]
        theirs = last_written("calls.csv-mine.1", _ago(days=13))
        await engine.look()
        assert all(path.exists() for path in old)  # the second one was not read yet

        async def gone() -> bool:
            await engine.look()
            return not any(path.exists() for path in old)

        await eventually(gone)
        await records_in(database, 4)
        assert (theirs.exists(), engine.file.exists()) == (True, True)


async def test_a_file_with_a_call_that_waits_for_its_record_does_not_go(
    tmp_path: Path, database: AsyncEngine, shop: ServiceNumber
) -> None:
    async with reading(tmp_path, database, shop) as engine:
        append(engine.file, _taken(_ago(days=20)))
        os.utime(engine.file, (_ago(days=20).timestamp(),) * 2)
        await engine.look(10)
        assert engine.counted == []
        assert [path.name for path in engine.file.parent.iterdir()] == ["calls.csv.1"]
        await engine.look(_LONG_ENOUGH)
        assert len(engine.counted) == 1
        await engine.look(_LONG_ENOUGH)
        assert list(engine.file.parent.iterdir()) == []


# -- exactly once ------------------------------------------------------------------------------------------------------


async def test_what_is_read_again_doubles_nothing(tmp_path: Path, database: AsyncEngine, shop: ServiceNumber) -> None:
    rows = [written_row(began=_ago(minutes=n), lasted=20.0, answered=2.0) for n in range(1, 30)]
    async with reading(tmp_path, database, shop) as engine:
        append(engine.file, *rows)
        await engine.look()
        before = await records_in(database, 29)
    (tmp_path / "n1.read-back.json").unlink()  # it has forgotten all
    async with reading(tmp_path, database, shop) as engine:
        await engine.look()
        append(engine.file, written_row(began=_ago(seconds=30)))
        await engine.look()
        after = await records_in(database, 30)
        await eventually(lambda: engine.spool.waiting == 0)
    assert after[:29] == before
    assert await _jobs(database, CALL_ENDED) == sorted(record.call_id for record in after)


async def test_two_that_read_at_once_make_the_same_records(
    tmp_path: Path, database: AsyncEngine, shop: ServiceNumber
) -> None:
    rows = [written_row(began=_ago(minutes=n), lasted=20.0, answered=2.0) for n in range(1, 200)]
    async with (
        reading(tmp_path, database, shop, name="n1") as one,
        reading(tmp_path, database, shop, name="n2") as other,
    ):
        append(one.file, *rows)
        await asyncio.gather(one.look(), other.look())
        records = await records_in(database, 199)
        await eventually(lambda: one.spool.waiting == other.spool.waiting == 0)
    assert len(await records_in(database, 199)) == 199
    assert await _jobs(database, CALL_ENDED) == sorted(record.call_id for record in records)


async def test_the_next_life_goes_on_where_the_last_one_was(
    tmp_path: Path, database: AsyncEngine, shop: ServiceNumber
) -> None:
    async with reading(tmp_path, database, shop) as engine:
        append(engine.file, written_row(began=_ago(minutes=9)))
        await engine.look()
        CallFile(engine.file).rotate(3)
        append(engine.file, written_row(began=_ago(minutes=8)))
    async with reading(tmp_path, database, shop) as engine:
        append(engine.file, written_row(began=_ago(minutes=7)))
        await engine.look(5)
        await records_in(database, 3)
        assert len(engine.counted) == 2  # the first one was not even looked at


async def test_a_database_that_is_away_delays_them_only(
    tmp_path: Path, database: AsyncEngine, shop: ServiceNumber
) -> None:
    away = open_database("postgresql://nobody@127.0.0.1:1/none", 1.0)
    engine = ReadingEngine(tmp_path, away, shop)
    append(engine.file, written_row(began=_ago(minutes=2)), written_row(offer="SUCCESS", alone="", lasted=1.0))
    running = asyncio.ensure_future(engine.read_back.keep_reading())
    await eventually(lambda: bool(engine.read_back.reason) and engine.spool.waiting == 1)
    assert not running.done()
    running.cancel()
    await asyncio.gather(running, return_exceptions=True)
    await engine.die()
    await away.dispose()
    async with reading(tmp_path, database, shop) as engine:
        await engine.look(_LONG_ENOUGH)
        await records_in(database, 2)


# -- calls that an engine had ------------------------------------------------------------------------------------------


def _taken(began: datetime, **changes: Any) -> bytes:
    row: dict[str, Any] = {"began": began, "offer": "SUCCESS", "alone": ""}
    return written_row(**row | changes)


async def test_a_call_with_a_record_gets_no_other(tmp_path: Path, database: AsyncEngine, shop: ServiceNumber) -> None:
    began = _ago(minutes=1)
    with_leg, without = arrival(began), arrival(began + timedelta(seconds=10))
    leg = Leg(side=Side.CALLER, channel="1.1", sip_call_id="x", trunk="carrier", number=CALLER, started_at=began)
    async with reading(tmp_path, database, shop) as engine:
        append(
            engine.file,
            _taken(began, channel="1.1", sip_call_id="not what the record has"),
            _taken(began + timedelta(seconds=10), channel="1.2", sip_call_id=without.sip_call_id),
        )
        await engine.look(10)  # the rows come before the records do
        for came, legs in ((with_leg, (leg,)), (without, ())):
            engine.spool.closed(msgspec.structs.replace(record(came), legs=legs, recording=None))
        await records_in(database, 2)
        await engine.look(_LONG_ENOUGH)
        await eventually(lambda: engine.spool.waiting == 0)
        assert engine.counted == []
    await records_in(database, 2)


async def test_a_call_whose_engine_left_nothing_gets_one(
    tmp_path: Path, database: AsyncEngine, shop: ServiceNumber
) -> None:
    began = _ago(minutes=2)
    async with reading(tmp_path, database, shop) as engine:
        append(
            engine.file,
            _taken(began, answered=3.0, lasted=33.0),
            _taken(began + timedelta(seconds=1), lasted=3.0),
            written_row(began=began + timedelta(seconds=2), offer="", alone="", lasted=0.2),
        )
        await engine.look(10)
        assert engine.counted == []  # its record may still come
        await engine.look(_LONG_ENOUGH)
        records = await records_in(database, 3)
        assert [(one.result, one.node, one.talk_seconds) for one in records] == [
            (Result.ANSWERED, UNKNOWN, 30.0),
            (Result.LOST, UNKNOWN, 0.0),
            (Result.CALLER_GAVE_UP, ALONE, 0.0),
        ]


@pytest.mark.parametrize("columns", [COLUMNS, 22])
async def test_a_call_that_is_in_any_spool_is_waited_for(
    tmp_path: Path, database: AsyncEngine, shop: ServiceNumber, columns: int
) -> None:
    """Asterisk's row of such a call names its channel only; that of an earlier version the SIP Call-ID too."""
    began = _ago(minutes=2)
    leg = Leg(side=Side.CALLER, channel="1793577600.1", sip_call_id="a@b", trunk="t", number=CALLER, started_at=began)
    async with (
        reading(tmp_path, database, shop, name="n1") as engine,
        reading(tmp_path, database, shop, name="n2", drains=False) as dead,
    ):
        came = msgspec.structs.replace(arrival(began), channel="1793577600.1", sip_call_id="a@b")
        dead.spool.arrived(came)
        told = {"sip_call_id": "a@b"} if columns == 22 else {}
        append(engine.file, _taken(began, channel="1793577600.1", columns=columns, **told))
        await engine.look(3 * _LONG_ENOUGH)
        assert engine.counted == []
        legs = () if columns == 22 else (leg,)
        dead.spool.closed(msgspec.structs.replace(record(came), recording=None, legs=legs))
        await engine.look(3 * _LONG_ENOUGH)
        assert engine.counted == []
        drain = asyncio.ensure_future(Drain(dead.spool, database, tmp_path / "refused").run())
        await records_in(database, 1)
        drain.cancel()
        await asyncio.gather(drain, return_exceptions=True)
        await engine.look(_LONG_ENOUGH)
    await records_in(database, 1)


async def test_a_call_that_its_engine_gave_away_is_not_waited_for(
    tmp_path: Path, database: AsyncEngine, shop: ServiceNumber
) -> None:
    """The dialplan ran it on after its engine's death."""
    began = _ago(minutes=2)
    async with reading(tmp_path, database, shop) as engine, reading(tmp_path, database, shop, name="n2") as other:
        came = msgspec.structs.replace(arrival(began), channel="1793577600.1", sip_call_id="a@b")
        other.spool.arrived(came)
        row: dict[str, Any] = {"channel": "1793577600.1", "sip_call_id": "a@b", "answered": 2.0, "alone": "yes"}
        append(engine.file, _taken(began, **row))
        await engine.look(2 * _LONG_ENOUGH)
        assert engine.counted == []
        await other.spool.give_away([came.call_id])
        await engine.look(_LONG_ENOUGH)
        [record] = await records_in(database, 1)
        assert (record.result, record.node) == (Result.ANSWERED, ALONE)


async def test_a_record_made_of_a_row_is_found_again_though_the_row_tells_no_sip_call_id(
    tmp_path: Path, database: AsyncEngine, shop: ServiceNumber
) -> None:
    began = _ago(minutes=3)
    taken = _taken(began, answered=3.0, lasted=33.0)
    refused = written_row(began=began + timedelta(seconds=1), lasted=0.1, cause="42", offer="", alone="full")
    async with reading(tmp_path, database, shop) as engine:
        append(engine.file, taken, refused)
        await engine.look(_LONG_ENOUGH)
        lost, over = await records_in(database, 2)
        assert (lost.result, lost.node, over.result) == (Result.ANSWERED, UNKNOWN, Result.OVER_LIMIT)
        assert [one.sip_call_id for one in (lost, over)] == [None, None]
        found = await compare(database, CallFile(engine.file), began, datetime.now(UTC))
        assert (found.rows, found.whole) == (2, True)
        engine.file.write_bytes(b"")
        append(engine.file, taken, refused, taken)  # all are read again
        await engine.look(_LONG_ENOUGH)
    await records_in(database, 2)


async def test_a_call_that_waits_is_not_forgotten_by_a_death(
    tmp_path: Path, database: AsyncEngine, shop: ServiceNumber
) -> None:
    async with reading(tmp_path, database, shop) as engine:
        append(engine.file, _taken(_ago(minutes=2), lasted=3.0), written_row(began=_ago(minutes=1)))
        await engine.look(5)
        await records_in(database, 1)
    async with reading(tmp_path, database, shop) as engine:
        await engine.look(_LONG_ENOUGH)
        await records_in(database, 2)


# -- messages, recordings, agreement -----------------------------------------------------------------------------------


@pytest.mark.parametrize("late", [False, True])
async def test_its_message_goes_for_half_an_hour(
    tmp_path: Path, database: AsyncEngine, shop: ServiceNumber, *, late: bool
) -> None:
    began = _ago(seconds=LATEST.total_seconds() + (60 if late else -60))
    async with reading(tmp_path, database, shop) as engine:
        append(
            engine.file,
            written_row(began=began, answered=1.0, lasted=30.0, result="answered", account=str(shop.account_id)),
        )
        await engine.look()
        [call] = await records_in(database, 1)
    for _ in range(2):
        await call_ended(database, call.call_id, datetime.now(UTC))
    [message] = await messages(database)
    assert len(message.certificate) == 12
    refused = [check.rule for check in message.certificate if not check.passed]
    if late:
        assert message.status is Status.HELD
        assert message.reason.startswith("it is too late for a message about the call: the call ended 18")
        assert refused == ["the call ended a short while ago"]
    else:
        assert (message.status, message.recipient, refused) == (Status.QUEUED, CALLER, [])


async def test_a_number_of_another_account_by_now_lends_it_nothing(
    tmp_path: Path, database: AsyncEngine, shop: ServiceNumber
) -> None:
    was = new_id(_ago(days=1))
    async with reading(tmp_path, database, shop) as engine:
        append(engine.file, written_row(began=_ago(minutes=1), answered=1.0, result="answered", account=str(was)))
        await engine.look()
        [call] = await records_in(database, 1)
    assert (call.account_id, call.number_kind, call.rules) == (was, None, ())


async def test_its_recording_is_found_under_its_name_if_the_caller_was_told(
    tmp_path: Path, database: AsyncEngine, shop: ServiceNumber
) -> None:
    began = _ago(minutes=3)
    spoken: dict[str, Any] = {
        "answered": 2.0,
        "result": "answered",
        "recording": "yes",
        "account": str(shop.account_id),
    }
    async with reading(tmp_path, database, shop) as engine:
        append(
            engine.file,
            written_row(channel="1.1", began=began, notices="ko/recording-notice", **spoken),
            written_row(channel="1.2", began=began + timedelta(seconds=1), **spoken),
        )
        for channel in ("1.1", "1.2", "1.3"):
            (engine.monitor / f"{channel}.raw").write_bytes(channel.encode())
        await engine.look()
        told, untold = await records_in(database, 2)
        kept = engine.monitor / f"{told.call_id}.turned.raw"
        assert sorted(engine.monitor.iterdir()) == sorted([kept, engine.monitor / "1.3.raw"])
        assert kept.read_bytes() == b"1.1"
    assert told.recording == f"{began:%Y/%m/%d}/{told.call_id}.wav"
    assert (untold.recording, untold.recording_reason) == (None, "the caller did not hear the whole recording notice")
    assert await _jobs(database, KEEP_RECORDING) == [told.call_id]


async def test_rows_and_records_are_compared(tmp_path: Path, database: AsyncEngine, shop: ServiceNumber) -> None:
    began = _ago(minutes=3)
    async with reading(tmp_path, database, shop) as engine:
        append(engine.file, *(written_row(began=began + timedelta(seconds=n)) for n in range(5)))
        await engine.look()
        records = await records_in(database, 5)
        append(engine.file, written_row(channel="9.9", began=began), written_row(sip_call_id=""))
        doubled = msgspec.structs.replace(records[2], call_id=new_id(records[2].arrived_at))
        engine.spool.closed(doubled)
        await records_in(database, 6)
        found = await compare(database, CallFile(engine.file), began, datetime.now(UTC))
    assert not found.whole
    assert (found.rows, found.missing, found.doubled) == (6, 1, 1)
    assert set(found.examples) == {"9.9", doubled.legs[0].channel}

"""The doctor before Asterisk's own calls and our records in a real database."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from pathlib import Path

import msgspec
from sqlalchemy.ext.asyncio import AsyncEngine
from structlog.testing import capture_logs

from engine.app.housekeeping import compare_calls
from engine.app.opened import call_file_of
from engine.cdr import store
from engine.cdr.call_file import CallFile
from engine.foundation.clock import SystemClock
from engine.foundation.database import transaction
from engine.foundation.schema import newest
from engine.settings import PRODUCT_FILES, read_settings
from engine.supervisor.call_checks import call_checks
from engine.supervisor.check import Check, State
from engine.supervisor.report import DatabaseReport
from tests.call_records import arrival, record
from tests.call_rows import append, written_row


async def _looked_at(url: str, home: Path) -> Check:
    found = DatabaseReport(answers=True, version="18.1", step=newest(PRODUCT_FILES / "migrations"))
    [check] = await call_checks(read_settings(home=home, database_url=url), found)
    return check


def _file(home: Path) -> CallFile:
    return call_file_of(read_settings(home=home))


def _ago(minutes: float) -> datetime:
    return datetime.now(UTC).replace(microsecond=0) - timedelta(minutes=minutes)


async def _call(database: AsyncEngine, home: Path, minutes: float, *, records: int = 1) -> None:
    """A call that Asterisk had, with so many records of ours."""
    began = _ago(minutes)
    call_id = f"{minutes}@192.0.2.1"
    append(_file(home).path, written_row(began=began, sip_call_id=call_id, alone="", offer="SUCCESS"))
    for _ in range(records):
        # Without legs, as of a call of which its engine knew no more than how it came.
        kept = msgspec.structs.replace(record(arrival(began)), sip_call_id=call_id, legs=())
        async with transaction(database) as connection:
            await store.insert(connection, [kept])


async def test_before_any_call_all_agree(database_url: str, tmp_path: Path) -> None:
    check = await _looked_at(database_url, tmp_path)
    assert (check.state, check.found) == (
        State.OK,
        "one for each of the 0 calls that Asterisk had in the last hour",
    )


async def test_calls_with_one_record_each_agree(database: AsyncEngine, database_url: str, tmp_path: Path) -> None:
    await _call(database, tmp_path, 0.5, records=0)  # its record is under way
    await _call(database, tmp_path, 600, records=0)  # not of the last hour
    for minutes in (5, 10, 15):
        await _call(database, tmp_path, minutes)
    check = await _looked_at(database_url, tmp_path)
    assert check.state is State.OK
    assert check.found.startswith("one for each of the 3 calls")


async def test_a_missing_and_a_double_record_are_told(database: AsyncEngine, database_url: str, tmp_path: Path) -> None:
    await _call(database, tmp_path, 5, records=0)
    await _call(database, tmp_path, 10, records=2)
    await _call(database, tmp_path, 15)
    check = await _looked_at(database_url, tmp_path)
    assert check.state is State.BAD
    assert check.found.startswith("of 3 calls in the last hour 1 have no record and 1 several: ")
    with capture_logs() as logs:
        await compare_calls(database, _file(tmp_path), SystemClock())
    [told] = [line for line in logs if line["log_level"] == "error"]
    assert (told["calls"], told["without_record"], told["with_several"]) == (3, 1, 1)


async def test_nothing_is_asked_of_a_database_that_is_away(tmp_path: Path) -> None:
    assert await call_checks(read_settings(home=tmp_path), DatabaseReport(answers=False)) == []

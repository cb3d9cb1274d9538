"""Records are found for Asterisk's rows, and no more of the log is read for it than the calls nearby."""

from __future__ import annotations

from datetime import datetime, timedelta
from typing import Any

import msgspec
from sqlalchemy import text
from sqlalchemy.dialects import postgresql
from sqlalchemy.ext.asyncio import AsyncConnection, AsyncEngine

from engine.cdr import store
from engine.cdr.agreement import _records_near, count_records
from engine.cdr.call_row import Row, parse
from engine.cdr.model import Leg, Side
from engine.foundation.database import transaction
from tests.call_records import CALLER, MORNING, arrival, record
from tests.call_rows import written_row

_CALLS = 20_000
"""One a second."""
_COPIES = """
INSERT INTO calls
SELECT (jsonb_populate_record(one, jsonb_build_object(
    'arrived_at', one.arrived_at + make_interval(secs => serial),
    'call_id', gen_random_uuid(),
    'sip_call_id', 'sip' || serial,
    'legs', CASE serial % 2 WHEN 0 THEN jsonb_build_array(jsonb_build_object('channel', '17.' || serial)) ELSE '[]' END
))).* FROM calls AS one, generate_series(1, :calls) AS serial
"""


def row_of(serial: int, **changes: Any) -> Row:
    """Asterisk's row of the call that came so many seconds after the first."""
    began = MORNING + timedelta(seconds=serial)
    told: dict[str, Any] = {"channel": f"17.{serial}", "sip_call_id": f"sip{serial}", "began": began}
    row = parse(written_row(**told | changes))
    assert row is not None
    return row


async def fill(database: AsyncEngine) -> None:
    async with transaction(database) as connection:
        await store.insert(connection, [msgspec.structs.replace(record(arrival(MORNING)), recording=None)])
        await connection.execute(text(_COPIES), {"calls": _CALLS})
        await connection.execute(text("ANALYZE calls"))


async def rows_read(connection: AsyncConnection, rows: list[Row]) -> float:
    """How many rows of the log the server reads for these."""
    query = _records_near(rows).compile(dialect=postgresql.dialect(), compile_kwargs={"literal_binds": True})  # type: ignore[no-untyped-call]
    explained = f"EXPLAIN (ANALYZE, FORMAT JSON) {query}".replace(":", "\\:")
    [[told]] = (await connection.execute(text(explained))).scalars()
    return _read_by(told["Plan"])


def _read_by(node: dict[str, Any]) -> float:
    own = 0.0
    if str(node.get("Relation Name", "")).startswith("calls"):
        own = (node["Actual Rows"] + node.get("Rows Removed by Filter", 0)) * node["Actual Loops"]
    return own + sum(map(_read_by, node.get("Plans", ())))


async def test_one_old_call_among_fresh_ones_costs_no_hours_of_the_log(database: AsyncEngine) -> None:
    await fill(database)
    rows = [row_of(serial) for serial in (*range(_CALLS - 100, _CALLS), _CALLS - 3 * 3600)]
    far_apart = [row_of(serial) for serial in range(100, _CALLS, 100)]
    strangers = [row_of(_CALLS // 2, channel="9.9", sip_call_id="stranger")]
    async with transaction(database) as connection:
        found = await count_records(connection, rows + far_apart + strangers)
        assert found == {row.channel: 1 for row in rows + far_apart} | {"9.9": 0}
        assert 100 <= await rows_read(connection, rows) < 200
        assert len(far_apart) <= await rows_read(connection, far_apart) < 10 * len(far_apart)


async def test_a_call_is_known_by_its_leg_or_by_its_sip_call_id_at_its_instant(database: AsyncEngine) -> None:
    def leg(channel: str, at: datetime) -> Leg:
        return Leg(side=Side.CALLER, channel=channel, sip_call_id="x", trunk="t", number=CALLER, started_at=at)

    later = MORNING + timedelta(seconds=20)
    twice = [record(arrival(MORNING)), record(arrival(MORNING + timedelta(seconds=1)))]
    records = [msgspec.structs.replace(one, legs=(leg("17.0", MORNING),), sip_call_id="other") for one in twice]
    records.append(msgspec.structs.replace(record(arrival(later)), legs=(), sip_call_id="sip20"))
    async with transaction(database) as connection:
        await store.insert(connection, records)
        rows = [row_of(0), row_of(20), row_of(25, sip_call_id="sip20"), row_of(3 * 3600, channel="17.00")]
        found = await count_records(connection, rows)
        assert found == {"17.0": 2, "17.20": 1, "17.25": 0, "17.00": 0}
        unnamed = [row_of(serial, sip_call_id=None, offer="SUCCESS", alone="") for serial in (0, 20)]
        assert [row.sip_call_id for row in unnamed] == [None, None]
        assert await count_records(connection, unnamed) == {"17.0": 2, "17.20": 0}
        assert await count_records(connection, []) == {}

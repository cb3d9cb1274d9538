"""The calls table: one row per call, by month."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from datetime import UTC, datetime
from uuid import UUID

import msgspec
from sqlalchemy import (
    Column,
    ColumnElement,
    Double,
    Integer,
    MetaData,
    RowMapping,
    Table,
    Text,
    Uuid,
    and_,
    func,
    select,
    update,
)
from sqlalchemy.dialects import postgresql
from sqlalchemy.dialects.postgresql import JSONB, TIMESTAMP
from sqlalchemy.ext.asyncio import AsyncConnection

from engine.cdr.model import CallRecord, Leg, Step
from engine.foundation.errors import NotFound
from engine.foundation.ids import instant_of

_Instant = TIMESTAMP(timezone=True)

calls = Table(
    "calls",
    MetaData(),
    Column("arrived_at", _Instant, primary_key=True),
    Column("call_id", Uuid, primary_key=True),
    Column("node", Text),
    Column("sip_call_id", Text),
    Column("account_id", Uuid),
    Column("number", Text),
    Column("number_sent", Text),
    Column("number_kind", Text),
    Column("caller", Text),
    Column("caller_sent", Text),
    Column("target", Text),
    Column("trunk", Text),
    Column("ringing_at", _Instant),
    Column("answered_at", _Instant),
    Column("ended_at", _Instant),
    Column("ringback_seconds", Double),
    Column("talk_seconds", Double),
    Column("result", Text),
    Column("cause", Integer),
    Column("ended_by", Text),
    Column("recording", Text),
    Column("recording_reason", Text),
    Column("post_dial_delay", Double),
    Column("legs", JSONB),
    Column("steps", JSONB),
)

_IN_JSON = ("legs", "steps")
_PLAIN = tuple(name for name in CallRecord.__struct_fields__ if name not in _IN_JSON)


async def insert(connection: AsyncConnection, records: Sequence[CallRecord]) -> set[UUID]:
    """Writes the records that are not there yet, in the caller's transaction, and returns the ids of those."""
    if not records:
        return set()
    await ensure_months(connection, [instant_of(record.call_id) for record in records])
    statement = postgresql.insert(calls).on_conflict_do_nothing().returning(calls.c.call_id)
    return set((await connection.execute(statement, [_to_row(record) for record in records])).scalars())


async def ensure_months(connection: AsyncConnection, instants: Collection[datetime]) -> None:
    """Makes the tables of the months (UTC) of `instants` where they are missing."""
    for month in sorted({instant.astimezone(UTC).date().replace(day=1) for instant in instants}):
        await connection.execute(select(func.ensure_call_months(month, month)))


async def get(connection: AsyncConnection, call_id: UUID) -> CallRecord:
    """The record of a call. Raises NotFound."""
    row = (await connection.execute(select(calls).where(_is(call_id)))).mappings().one_or_none()
    if row is None:
        raise NotFound(f"call {call_id}: there is no record of it")
    return from_row(row)


async def set_recording(connection: AsyncConnection, call_id: UUID, recording: str | None, reason: str = "") -> None:
    """Notes where the recording is kept, or why there is none or only a part of one. Raises NotFound."""
    done = await connection.execute(
        update(calls).where(_is(call_id)).values(recording=recording, recording_reason=reason)
    )
    if not done.rowcount:
        raise NotFound(f"call {call_id}: there is no record of it to note its recording in")


def from_row(row: RowMapping) -> CallRecord:
    """The record in a row. `arrived_at` is the instant in the id: to the millisecond."""
    values: dict[str, object] = {name: row[name] for name in CallRecord.__struct_fields__}
    values["legs"] = msgspec.convert(values["legs"], tuple[Leg, ...])
    values["steps"] = msgspec.convert(values["steps"], tuple[Step, ...])
    return msgspec.convert(values, CallRecord)


def _to_row(record: CallRecord) -> dict[str, object]:
    values: dict[str, object] = msgspec.to_builtins(
        {name: getattr(record, name) for name in _PLAIN}, builtin_types=(datetime, UUID)
    )
    values["arrived_at"] = instant_of(record.call_id)
    for name in _IN_JSON:
        values[name] = msgspec.to_builtins(getattr(record, name))
    return values


def _is(call_id: UUID) -> ColumnElement[bool]:
    return and_(calls.c.arrived_at == instant_of(call_id), calls.c.call_id == call_id)

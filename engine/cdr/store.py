"""The calls table: one row per call, by month."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Sequence
from collections.abc import Set as AbstractSet
from contextlib import suppress
from datetime import UTC, date, datetime
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
    bindparam,
    func,
    select,
    text,
    tuple_,
    update,
)
from sqlalchemy.dialects.postgresql import ARRAY, JSONB, TIMESTAMP
from sqlalchemy.ext.asyncio import AsyncConnection

from engine.cdr.model import CallRecord, Consent, Leg, Step
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
    Column("direction", Text),
    Column("rules", JSONB),
    Column("callback", Text),
    Column("text_only", Text),
    Column("consent", JSONB),
    Column("voicemail", Text),
)

# However many they are, it is the same statement. PostgreSQL reads them itself, which costs least on both sides.
_INSERT = text(f"""
    INSERT INTO calls ({", ".join(calls.columns.keys())})
    SELECT {", ".join(calls.columns.keys())} FROM json_populate_recordset(CAST(NULL AS calls), CAST(:records AS json))
    ON CONFLICT DO NOTHING RETURNING call_id
""")  # noqa: S608 - our own column names

_FIND_ALL = (
    text(f"""
        SELECT {", ".join(f"calls.{column.name}" for column in calls.columns)}
        FROM unnest(:instants, :ids) AS wanted (arrived_at, call_id) JOIN calls USING (arrived_at, call_id)
    """)  # noqa: S608 - our own column names
    .bindparams(bindparam("instants", type_=ARRAY(_Instant)), bindparam("ids", type_=ARRAY(Uuid)))
    .columns(*calls.columns)
)


async def insert(
    connection: AsyncConnection, records: Sequence[CallRecord], there: AbstractSet[date] = frozenset()
) -> set[UUID]:
    """Writes the records that are not there yet, in the caller's transaction, and returns the ids of those.

    Makes the months' tables, but for the months that are known to be `there`.
    """
    if not records:
        return set()
    await ensure_months(connection, months_of(records) - there)
    rows = [msgspec.structs.replace(record, arrived_at=instant_of(record.call_id)) for record in records]
    return set((await connection.execute(_INSERT, {"records": msgspec.json.encode(rows).decode()})).scalars())


def months_of(records: Iterable[CallRecord]) -> set[date]:
    """The first days of the months (UTC) in which the records are kept."""
    return {_month(instant_of(record.call_id)) for record in records}


async def ensure_months(connection: AsyncConnection, days: Iterable[date]) -> None:
    """Makes the tables of the months of these days (UTC) where they are missing."""
    for month in sorted({day.replace(day=1) for day in days}):
        await connection.execute(select(func.ensure_call_months(month, month)))


def _month(instant: datetime) -> date:
    return instant.astimezone(UTC).date().replace(day=1)


async def get(connection: AsyncConnection, call_id: UUID) -> CallRecord:
    """The record of a call. Raises NotFound, also for an id of another kind than ours, which may tell no instant."""
    row = None
    with suppress(ValueError):  # an id of another kind than ours may name an instant that there is not
        row = (await connection.execute(select(calls).where(_is(call_id)))).mappings().one_or_none()
    if row is None:
        raise NotFound(f"call {call_id}: there is no record of it")
    return from_row(row)


async def find_all(connection: AsyncConnection, call_ids: Collection[UUID]) -> dict[UUID, CallRecord]:
    """The records of these calls, by id; those that are not kept (any more) are left out."""
    instants: dict[UUID, datetime] = {}
    for call_id in call_ids:
        with suppress(ValueError):  # as in `get`
            instants[call_id] = instant_of(call_id)
    if not instants:
        return {}
    rows = await connection.execute(_FIND_ALL, {"instants": list(instants.values()), "ids": list(instants)})
    return {row["call_id"]: from_row(row) for row in rows.mappings()}


async def set_recording(connection: AsyncConnection, call_id: UUID, recording: str | None, reason: str = "") -> None:
    """Notes where the recording is kept, or why there is none or only a part of one. Raises NotFound."""
    done = await connection.execute(
        update(calls).where(_is(call_id)).values(recording=recording, recording_reason=reason)
    )
    if not done.rowcount:
        raise NotFound(f"call {call_id}: there is no record of it to note its recording in")


async def set_voicemail(connection: AsyncConnection, call_id: UUID, voicemail: str | None, reason: str) -> None:
    """Notes where the voicemail is kept, or why there is none. Raises NotFound.

    The reason stands where the one of a missing recording does: a call with a voicemail had no talk.
    """
    values: dict[str, str | None] = {"voicemail": voicemail} | ({"recording_reason": reason} if reason else {})
    done = await connection.execute(update(calls).where(_is(call_id)).values(values))
    if not done.rowcount:
        raise NotFound(f"call {call_id}: there is no record of it to note its voicemail in")


async def forget_recordings(
    connection: AsyncConnection, talks: Collection[UUID], voicemails: Collection[UUID], reason: str
) -> None:
    """Takes recordings out of the records of these calls, which say `reason` from now on."""
    for call_ids, column in ((talks, calls.c.recording), (voicemails, calls.c.voicemail)):
        if call_ids:
            months = tuple_(calls.c.arrived_at, calls.c.call_id).in_(
                [(instant_of(call_id), call_id) for call_id in call_ids]
            )
            await connection.execute(update(calls).where(months).values({column: None, "recording_reason": reason}))


def from_row(row: RowMapping) -> CallRecord:
    """The record in a row. `arrived_at` is the instant in the id: to the millisecond."""
    values: dict[str, object] = {name: row[name] for name in CallRecord.__struct_fields__}
    values["legs"] = msgspec.convert(values["legs"], tuple[Leg, ...])
    values["steps"] = msgspec.convert(values["steps"], tuple[Step, ...])
    values["consent"] = msgspec.convert(values["consent"], Consent | None)
    return msgspec.convert(values, CallRecord)


def _is(call_id: UUID) -> ColumnElement[bool]:
    return and_(calls.c.arrived_at == instant_of(call_id), calls.c.call_id == call_id)

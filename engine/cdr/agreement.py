"""Asterisk's rows and our records, side by side: every call that got a final answer has one record, and only one."""

from __future__ import annotations

import asyncio
import re
from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from collections.abc import Set as AbstractSet
from contextlib import suppress
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from itertools import islice
from pathlib import Path
from typing import Any
from uuid import UUID

import msgspec
from sqlalchemy import Column, Select, String, cast, func, or_, select, true
from sqlalchemy.dialects.postgresql import ARRAY, TIMESTAMP
from sqlalchemy.ext.asyncio import AsyncConnection, AsyncEngine

from engine.cdr.call_file import CallFile
from engine.cdr.call_row import Row
from engine.cdr.model import Direction
from engine.cdr.segment import SUFFIX, Arrived, Broken, Closed, Drained, Entry, decode
from engine.cdr.store import calls
from engine.foundation.database import transaction

_Instant = TIMESTAMP(timezone=True)
_SAME_CALL = timedelta(seconds=2)
"""Between Asterisk's start of a channel and the arrival in the record of its call, which are one instant."""
_NEAR = timedelta(seconds=10)
"""Between calls for which the records are looked through once, with all in between."""
SETTLED = timedelta(minutes=2)
"""After a call's end, when its record is in the database for sure while engine and database are there."""
_AT_ONCE = 500
_EXAMPLES = 10
_NAMED = re.compile(rb'"(?:channel|sip_call_id)":("(?:[^"\\]|\\.)*")')


@dataclass(slots=True)
class Agreement:
    """What a comparison found."""

    rows: int = 0
    """Of calls from trunks."""
    missing: int = 0
    """Calls without a record."""
    doubled: int = 0
    """Calls with several."""
    examples: list[str] = field(default_factory=list)
    """Channels of some of both."""

    @property
    def whole(self) -> bool:
        return not (self.missing or self.doubled)

    def add(self, row: Row, records: int) -> None:
        self.rows += 1
        self.missing += records == 0
        self.doubled += records > 1
        if records != 1 and len(self.examples) < _EXAMPLES:
            self.examples.append(row.channel)


async def count_records(connection: AsyncConnection, rows: Sequence[Row]) -> Counter[str]:
    """How many records the call of each row has, by its channel. For some hundred rows, of calls from trunks."""
    if not rows:
        return Counter()
    by_channel: Counter[str] = Counter()
    without_legs: dict[str, list[datetime]] = defaultdict(list)
    for arrived_at, sip_call_id, of_channel in await connection.execute(_records_near(rows)):
        if of_channel is None:
            without_legs[sip_call_id].append(arrived_at)
        else:
            by_channel[of_channel] += 1
    found: Counter[str] = Counter()
    for row in rows:
        near = (abs(at - row.started_at) <= _SAME_CALL for at in without_legs.get(row.sip_call_id or "", ()))
        found[row.channel] = by_channel[row.channel] + sum(near)
    return found


def _records_near(rows: Sequence[Row]) -> Select[Any]:
    """When the calls that may be those of the rows arrived, their SIP Call-ID, and the channel of their first leg.

    Only the index of arrivals helps: one search in it for each while in which calls of the rows began. The OFFSET
    keeps the server from reading the table from end to end instead; of long arrays it hashes only those in a subquery.
    """
    whiles = _whiles(row.started_at for row in rows)
    unnested = func.unnest(
        cast([since for since, _ in whiles], ARRAY(_Instant)), cast([until for _, until in whiles], ARRAY(_Instant))
    )
    near = unnested.table_valued(Column("since", _Instant), Column("until", _Instant), name="near").render_derived()
    channel = calls.c.legs[0]["channel"].astext.label("channel")
    arrived = (
        select(calls.c.arrived_at, calls.c.sip_call_id, channel)
        .where(calls.c.arrived_at.between(near.c.since, near.c.until), calls.c.direction == Direction.INCOMING.value)
        .offset(0)
        .lateral()
    )
    channels = func.unnest(cast([row.channel for row in rows], ARRAY(String)))
    sip_call_ids = func.unnest(cast([row.sip_call_id for row in rows if row.sip_call_id], ARRAY(String)))
    return (
        select(arrived.c.arrived_at, arrived.c.sip_call_id, arrived.c.channel)
        .join_from(near, arrived, true())
        .where(or_(arrived.c.channel.in_(select(channels)), arrived.c.sip_call_id.in_(select(sip_call_ids))))
    )


def _whiles(began: Iterable[datetime]) -> list[tuple[datetime, datetime]]:
    """The times in which calls that began then may have arrived, in order; those near each other are one."""
    whiles: list[tuple[datetime, datetime]] = []
    for instant in sorted(began):
        since, until = instant - _SAME_CALL, instant + _SAME_CALL
        if whiles and since - whiles[-1][1] <= _NEAR:
            since, _ = whiles.pop()
        whiles.append((since, until))
    return whiles


async def compare(database: AsyncEngine, file: CallFile, since: datetime, until: datetime) -> Agreement:
    """Compares the rows of calls that ended from `since` to `until` with the records. Raises OSError, TryLater."""
    found = Agreement()
    rows = (row for row in file.rows(since) if row.from_trunk and row.ended_at <= until)
    while some := await asyncio.to_thread(lambda: list(islice(rows, _AT_ONCE))):
        async with transaction(database) as connection:
            records = await count_records(connection, some)
        for row in some:
            found.add(row, records[row.channel])
    return found


def spooled(folders: Iterable[Path], rows: Iterable[Row]) -> set[str]:
    """The channels of those rows whose call is in one of these spools, whoever's it is and however far it came.

    A call is in its engine's spool from its arrival until the database has it or it was given away; one whose file is
    moved just then may be missed once. Blocks: made for a thread. Raises OSError.
    """
    channels: dict[bytes, set[str]] = defaultdict(set)
    for row in rows:
        for name in filter(None, (row.channel, row.sip_call_id)):
            channels[msgspec.json.encode(name)].add(row.channel)
    there: dict[UUID, set[str]] = defaultdict(set)
    done: set[UUID] = set()
    for entry, line in _entries(folders, channels.keys()):
        match entry:
            case Arrived(call):
                there[call.arrival.call_id] |= _of(channels, line)
            case Closed(record):
                there[record.call_id] |= _of(channels, line)
            case Drained(call_ids):
                done.update(call_ids)
    return set[str]().union(*(found for call_id, found in there.items() if call_id not in done))


def _entries(folders: Iterable[Path], names: AbstractSet[bytes]) -> Iterator[tuple[Entry, bytes]]:
    """Every line of the spools that names one of `names`, or that tells which calls are done with."""
    for folder in folders:
        for path in folder.glob(f"*{SUFFIX}"):
            with suppress(FileNotFoundError):
                for line in path.read_bytes().splitlines(keepends=True):
                    if b'"drained"' in line or not names.isdisjoint(_NAMED.findall(line)):
                        with suppress(Broken):
                            yield decode(line), line


def _of(channels: Mapping[bytes, set[str]], line: bytes) -> set[str]:
    return set[str]().union(*(channels.get(name, set()) for name in _NAMED.findall(line)))

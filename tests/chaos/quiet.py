"""Waits until nothing of the calls moves any more: engine, Asterisk, log, jobs, files and events are looked at."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable, Sequence

from sqlalchemy import text

from engine.foundation.database import transaction
from engine.messages.model import Status
from tests.chaos.field import Field
from tests.chaos.receiver import not_told
from tests.chaos.scene import Placed
from tests.chaos.written import left_by_asterisk, messages_of, needs_record, records_of, sip_call_id_of

_WITHIN = 120.0
"""Seconds. Calls without an engine come into the log some time after they ended, and their messages after that."""
_ON_THEIR_WAY = {Status.QUEUED, Status.SENDING, Status.UNKNOWN, Status.ACCEPTED}


async def until_quiet(field: Field, calls: Sequence[Placed]) -> tuple[float, list[str]]:
    """How many seconds that took, and what still moves though it should not: each with its invariant."""
    began = time.monotonic()
    moved: list[str] = []
    while moves := [told for look in _LOOKS if (told := await look(field, calls))]:
        moved = moves
        if time.monotonic() - began > _WITHIN:
            break
        await asyncio.sleep(0.1)
    took = time.monotonic() - began
    print(f"at rest after {took:.1f} s; what moved last: {'; '.join(moved) or 'nothing'}")
    return took, moves


async def _engine(field: Field, _calls: Sequence[Placed]) -> str:
    status = await field.status()
    if status is None or not status.takes_calls:
        return "I4: no engine takes calls"
    busy = status.live_calls or status.spool_waiting
    return f"I4: the engine has {status.live_calls} calls, {status.spool_waiting} records" if busy else ""


async def _asterisk(field: Field, _calls: Sequence[Placed]) -> str:
    channels = [channel.name for channel in await field.ari.channels()]
    bridges = [bridge.id for bridge in await field.ari.bridges()]
    return f"I4: Asterisk has {channels} {bridges}" if channels or bridges else ""


async def _log(field: Field, calls: Sequence[Placed]) -> str:
    there = {sip_call_id_of(record, calls) for record in await records_of(field)}
    missing = {call.leg.call_id for call in calls if call.leg is not None and needs_record(call)} - there
    return f"I1: {len(missing)} calls are not written down" if missing else ""


async def _jobs(field: Field, _calls: Sequence[Placed]) -> str:
    """Each call that ended was decided about, and no message is on its way."""
    async with transaction(field.database) as connection:
        rows = await connection.execute(text("SELECT entrypoint FROM pgqueuer WHERE status <> 'failed'"))
        waiting = list(rows.scalars())
    moving = [message.status.value for message in await messages_of(field) if message.status in _ON_THEIR_WAY]
    return f"I2: jobs {waiting} wait, messages are {moving}" if waiting or moving else ""


async def _files(field: Field, _calls: Sequence[Placed]) -> str:
    left = left_by_asterisk(field)
    return f"I5: Asterisk's spool still has {left}" if left else ""


async def _events(field: Field, calls: Sequence[Placed]) -> str:
    ours = {call.leg.call_id for call in calls if call.leg is not None}
    records = [record for record in await records_of(field) if sip_call_id_of(record, calls) in ours]
    missing = not_told(field.sink, records)
    return f"events: {len(missing)} ends of calls have not reached their receiver" if missing else ""


_LOOKS: tuple[Callable[[Field, Sequence[Placed]], Awaitable[str]], ...] = (
    _engine,
    _asterisk,
    _log,
    _jobs,
    _files,
    _events,
)

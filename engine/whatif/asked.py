"""What is known about a call that might be, read from the database, and the call explained by it."""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime
from typing import NamedTuple

from sqlalchemy.ext.asyncio import AsyncConnection

from engine.callbacks.evidence import Evidence
from engine.callbacks.gather_evidence import evidence_now
from engine.foundation.errors import NotFound
from engine.foundation.phone_number import PhoneNumber
from engine.routing import current_lines
from engine.routing.model import History, Line
from engine.routing.plan import plan
from engine.whatif.explanation import Asking, Explanation, assumed_record, explain
from engine.whatif.past import history_at

DATABASE = "the database"


class Read(NamedTuple):
    """What is known of the number, and from where."""

    line: Line | None
    history: History
    evidence: Evidence | None
    at: datetime
    source: str


async def read_from_database(
    connection: AsyncConnection,
    number: PhoneNumber,
    caller: PhoneNumber | None,
    instant: Callable[[Line | None], datetime],
) -> Read:
    """`instant` says when the call is, for the number's line; None: nobody has the number."""
    try:
        line = await current_lines.find(connection, number)
    except NotFound:
        return Read(None, History(), Evidence(), instant(None), DATABASE)
    at = instant(line)
    history = await history_at(connection, line, caller, at)
    record = assumed_record(Asking(number, caller, at), line.number, None, None)
    return Read(line, history, await evidence_now(connection, record, line.number), at, DATABASE)


async def explained(
    connection: AsyncConnection, asking: Asking, *, ring_seconds: int, talk_seconds: float
) -> Explanation:
    """The call as it would be, by the settings that hold now."""
    read = await read_from_database(connection, asking.number, asking.caller, lambda _line: asking.at)
    made = plan(read.line, asking.caller, asking.at, read.history, ring_seconds)
    return explain(asking, read.line, read.history, made, read.evidence, source=read.source, talk_seconds=talk_seconds)

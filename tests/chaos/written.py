"""What the system has written down: in its tables, its gateway's journal and Asterisk's spool."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from contextlib import suppress
from uuid import UUID

import msgspec
from sqlalchemy import text

from engine.cdr.model import CallRecord
from engine.cdr.search import recent
from engine.foundation.database import transaction
from engine.messages import search
from engine.messages.model import Message
from engine.sandbox.gateway_journal import Kept
from tests.chaos.field import Field
from tests.chaos.scene import Placed

EVERYTHING = 100_000


def needs_record(call: Placed) -> bool:
    """A final answer reached the caller, who had not given up before Dari can have known of the call."""
    return call.leg is not None and call.leg.final_code is not None


def sip_call_id_of(record: CallRecord, calls: Sequence[Placed]) -> str:
    """The SIP Call-ID of the caller, one of those who placed these calls; "" when it is nobody's of them.

    A record made from Asterisk's row of a call that an engine took has none: each caller has a number of their own.
    """
    whose = (call.leg.call_id for call in calls if call.leg is not None and call.caller == record.caller)
    return record.sip_call_id or next(whose, "")


def accepted_by_gateway(field: Field) -> list[Kept]:
    """What the gateway wrote down, in its own file, as accepted."""
    journal = field.settings.paths.gateway / "messages.jsonl"
    whole = journal.read_bytes().rpartition(b"\n")[0] if journal.exists() else b""
    return [msgspec.json.decode(line, type=Kept) for line in whole.splitlines()]


async def records_of(field: Field) -> list[CallRecord]:
    async with transaction(field.database) as connection:
        return await recent(connection, limit=EVERYTHING)


async def ends_told(field: Field) -> Counter[UUID]:
    """How often the stream of events tells the end of which call."""
    async with transaction(field.database) as connection:
        rows = await connection.execute(text("SELECT call_id FROM events WHERE kind = 'call.ended'"))
        return Counter(rows.scalars())


async def messages_of(field: Field) -> list[Message]:
    return await search.messages(field.database, limit=EVERYTHING)


def left_by_asterisk(field: Field) -> list[str]:
    """Files in its spool that hold sound and were not fetched. An empty one is of a talk that never began."""
    spool = field.settings.paths.asterisk_spool
    paths = [path for folder in ("monitor", "recording") for path in (spool / folder).glob("*.*")]
    with suppress(FileNotFoundError):
        return [path.name for path in paths if path.stat().st_size]
    return [path.name for path in paths]

"""What is changed through the API where the deed itself does not write it down: into the audit and the stream."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from uuid import UUID

from sqlalchemy.ext.asyncio import AsyncConnection

from engine.accounts.model import Actor, Deed
from engine.audit import trail
from engine.events.kinds import EventKind
from engine.events.outbox import Event, append
from engine.numbers.model import ServiceNumber


@dataclass(frozen=True, slots=True)
class Thing:
    """What was changed: its kind, whose it is, and which one."""

    kind: str
    account_id: UUID
    id: object


async def write_down(
    rows: AsyncConnection,
    actor: Actor,
    deed: Deed,
    thing: Thing,
    *,
    before: Mapping[str, object] | None = None,
    after: Mapping[str, object] | None = None,
    now: datetime,
) -> None:
    """Writes the audit's entry in the transaction of the deed."""
    await trail.write(
        rows,
        who=actor.who,
        deed=deed.value,
        account_id=thing.account_id,
        object_kind=thing.kind,
        object_id=thing.id,
        before=before,
        after=after,
        now=now,
    )


async def number_changed(
    rows: AsyncConnection,
    actor: Actor,
    deed: Deed,
    number: ServiceNumber,
    *,
    before: Mapping[str, object] | None = None,
    after: Mapping[str, object] | None = None,
    now: datetime,
) -> None:
    """Writes both: the audit's entry, and the event for who takes the account's events.

    The event names what was changed, not how: that is for whoever may see the number.
    """
    await write_down(
        rows, actor, deed, Thing("number", number.account_id, number.number), before=before, after=after, now=now
    )
    fields = sorted({*(before or {}), *(after or {})})
    body = {"number": number.number, "change": deed.value, "fields": fields}
    event = Event(kind=EventKind.NUMBER_CHANGED.value, account_id=number.account_id, call_id=None, at=now, body=body)
    await append(rows, [event])

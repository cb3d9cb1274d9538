"""A deed is written down in its own transaction: in the audit, and one on an account for who takes its events, too."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from uuid import UUID

from sqlalchemy.ext.asyncio import AsyncConnection

from engine.accounts.model import Actor, Deed
from engine.audit import trail
from engine.events.outbox import Event, append

ACCOUNT_CHANGED = "account.changed"


@dataclass(frozen=True, slots=True)
class Thing:
    """What a deed was done to: its kind, whose it is, and which one."""

    kind: str
    account_id: UUID
    id: object


async def write_down(
    connection: AsyncConnection,
    actor: Actor,
    deed: Deed,
    thing: Thing,
    *,
    before: Mapping[str, object] | None = None,
    after: Mapping[str, object] | None = None,
    now: datetime,
) -> None:
    """Writes the audit's entry alone. `before` and `after` hold only what changes, as `trail.write` wants it."""
    await trail.write(
        connection,
        who=actor.who,
        deed=deed.value,
        account_id=thing.account_id,
        object_kind=thing.kind,
        object_id=thing.id,
        before=before,
        after=after,
        peer=actor.peer,
        now=now,
    )


async def tell(
    connection: AsyncConnection,
    actor: Actor,
    deed: Deed,
    account: UUID,
    now: datetime,
    *,
    before: Mapping[str, object] | None = None,
    after: Mapping[str, object] | None = None,
    thing: tuple[str, UUID] | None = None,
) -> None:
    """Writes both. `thing` is the kind and id of what was changed; None: the account itself.

    The event names the deed and the fields, not their values: those are for whoever may see the account.
    """
    kind, identifier = thing or ("account", account)
    await write_down(connection, actor, deed, Thing(kind, account, identifier), before=before, after=after, now=now)
    fields = sorted({*(before or {}), *(after or {})})
    body = {"change": deed.value, "thing": kind, "id": str(identifier), "fields": fields}
    await append(connection, [Event(kind=ACCOUNT_CHANGED, account_id=account, call_id=None, at=now, body=body)])

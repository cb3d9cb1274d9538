"""A deed on an account is told twice, in its own transaction: to the audit and to who takes the account's events."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime
from uuid import UUID

from sqlalchemy.ext.asyncio import AsyncConnection

from engine.accounts.model import Actor, Deed
from engine.audit import trail
from engine.events.outbox import Event, append

ACCOUNT_CHANGED = "account.changed"


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
    await trail.write(
        connection,
        who=actor.who,
        deed=deed.value,
        account_id=account,
        object_kind=kind,
        object_id=identifier,
        before=before,
        after=after,
        peer=actor.peer,
        now=now,
    )
    fields = sorted({*(before or {}), *(after or {})})
    body = {"change": deed.value, "thing": kind, "id": str(identifier), "fields": fields}
    await append(connection, [Event(kind=ACCOUNT_CHANGED, account_id=account, call_id=None, at=now, body=body)])

"""Groups of callers that rules ask for, the blocked among them: an account's lists of numbers, each under a name.

Deeds work in the caller's transaction and write there what they changed (`engine.routing.told`); whether the actor may
do it, the door has asked.
"""

from __future__ import annotations

from collections.abc import Collection
from datetime import datetime
from uuid import UUID

from sqlalchemy.ext.asyncio import AsyncConnection

from engine.accounts.model import Actor
from engine.foundation.errors import Invalid, NotFound
from engine.foundation.phone_number import PhoneNumber
from engine.routing import store, told
from engine.routing.entries import Member
from engine.routing.model import WITHHELD

_LONGEST_NAME = 60
_LONGEST_NOTE = 200


async def listing(connection: AsyncConnection, account_id: UUID, group: str | None = None) -> list[Member]:
    """Of one group, or of all of the account, by group and number."""
    return await store.members(connection, account_id, group)


async def add(
    connection: AsyncConnection,
    actor: Actor,
    account_id: UUID,
    group: str,
    numbers: Collection[PhoneNumber],
    now: datetime,
    *,
    note: str = "",
) -> int:
    """Puts callers into a group, which is there as long as anybody is in it; how many are new. Raises Invalid."""
    group = group.strip()
    if not 0 < len(group) <= _LONGEST_NAME or not group.isprintable() or "," in group or group == WITHHELD:
        raise Invalid(
            f"group: {group[:_LONGEST_NAME]!r} must be 1 to {_LONGEST_NAME} printable characters without a comma, "
            f"and not {WITHHELD}, which means callers without a number"
        )
    if len(note) > _LONGEST_NOTE or not note.isprintable():
        raise Invalid(f"note: it must be at most {_LONGEST_NOTE} printable characters")
    new = await store.add_members(connection, account_id, group, numbers, note.strip())
    if new:
        await told.tell_group(connection, actor, account_id, group, now, added=new)
    return len(new)


async def remove(
    connection: AsyncConnection,
    actor: Actor,
    account_id: UUID,
    group: str,
    now: datetime,
    numbers: Collection[PhoneNumber] | None = None,
) -> int:
    """Takes callers out of a group; None: all. How many were in it. Raises NotFound when nobody was."""
    removed = await store.remove_members(connection, account_id, group, numbers)
    if not removed:
        raise NotFound(f"group {group!r}: nobody of these is in it; look there who is")
    await told.tell_group(connection, actor, account_id, group, now, removed=removed)
    return len(removed)

"""What all numbers of an account have in common: its time zone, its limits, and what else holds for all their calls.

Deeds work in the caller's transaction and write there what they changed (`engine.routing.told`); whether the actor may
do it, the door has asked.
"""

from __future__ import annotations

from datetime import datetime
from uuid import UUID

from sqlalchemy.ext.asyncio import AsyncConnection

from engine.accounts.model import Actor
from engine.foundation.errors import NotFound
from engine.numbers.rules import check_limits
from engine.numbers.treatment import Limits
from engine.prompts import library
from engine.routing import store, told
from engine.routing.current_prompts import with_prompts
from engine.routing.model import AccountRouting
from engine.routing.opening import check_zone


async def find(connection: AsyncConnection, account_id: UUID) -> AccountRouting:
    """As it is now. Raises NotFound."""
    found = await store.account(connection, account_id)
    if found is None:
        raise NotFound(f"account {account_id}: there is none of that id")
    return with_prompts(found, await library.played(connection, account_id))


async def change(
    connection: AsyncConnection,
    actor: Actor,
    account_id: UUID,
    now: datetime,
    *,
    zone: str | None = None,
    limits: Limits | None = None,
) -> None:
    """Sets the account's time zone, or all of its limits anew; None stays. Raises NotFound or Invalid."""
    if zone is not None:
        check_zone(zone)
    if limits is not None:
        check_limits(limits)
    before = await find(connection, account_id)
    await store.set_account(connection, account_id, zone, limits)
    await told.tell_settings(connection, actor, before, await find(connection, account_id), now)

"""Functions that are switched on and off per account. What is off for an account is off for all under it."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from datetime import datetime
from types import MappingProxyType
from uuid import UUID

from sqlalchemy.ext.asyncio import AsyncConnection

from engine.accounts import store
from engine.accounts.model import Account, Actor, Deed, Module
from engine.accounts.permissions import check
from engine.accounts.permissions import check_on as check_on
from engine.accounts.told import tell
from engine.accounts.tree import find
from engine.foundation.errors import Conflict, NotFound

MEANINGS: Mapping[Module, str] = MappingProxyType(
    {
        Module.CALLS: "calls are put through; off: callers hear that the number is not in service",
        Module.RECORDING: "talks are recorded, where a number is set to it",
        Module.LISTENING: "live calls are listened to",
        Module.CALLBACK: "messages after calls: offered, promised and sent",
        Module.STORE_MESSAGE: "the notice that the shop's information comes by message, and that message",
        Module.API: "API keys",
        Module.WEBHOOKS: "webhooks",
        Module.STATISTICS: "nothing yet: kept for the figures to come",
        Module.MOBILE_TARGETS: "calls ring mobile telephones; off: they are passed over",
    }
)
"""What each is there for, in a few words. A switch holds from the next call on."""


async def switch(
    connection: AsyncConnection, actor: Actor, account: UUID, module: Module, on: bool, now: datetime
) -> Account:
    """Switches a function of the account; what is on above it only. Raises NotFound, NotAllowed or Conflict."""
    before = await find(connection, account)
    check(actor, Deed.SWITCH_MODULES, before.place)
    if on and before.parent is not None:
        above = await find(connection, before.parent)
        if module not in above.modules:
            raise Conflict(f"{module.value}: it is off for {above.name}, which is above; switch it on there first")
    if not await store.switch(connection, account, module, on):
        raise Conflict(f"account {before.name}: it is closed; open another one")
    after = await find(connection, account)
    if after.modules != before.modules:
        was, is_now = {module.value: module in before.modules}, {module.value: module in after.modules}
        await tell(connection, actor, Deed.SWITCH_MODULES, account, now, before=was, after=is_now)
    return after


async def switched_off(connection: AsyncConnection, accounts: Collection[UUID]) -> dict[UUID, frozenset[Module]]:
    """What is off for each of these accounts, there or above it. Raises NotFound."""
    off = await store.switched_off(connection, accounts) if accounts else {}
    for account in accounts:
        if account not in off:
            raise NotFound(f"account {account}: there is none that you may see")
    return off

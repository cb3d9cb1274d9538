"""Functions that are switched on and off per account. What is off for an account is off for all under it."""

from __future__ import annotations

from datetime import datetime
from uuid import UUID

from sqlalchemy.ext.asyncio import AsyncConnection

from engine.accounts import store
from engine.accounts.model import Account, Actor, Deed, Module
from engine.accounts.permissions import check
from engine.accounts.permissions import check_on as check_on
from engine.accounts.told import tell
from engine.accounts.tree import find
from engine.foundation.errors import Conflict, Invalid


def module_named(name: str) -> Module:
    """The function of that name. Raises Invalid."""
    try:
        return Module(name.strip().lower().replace("-", " "))
    except ValueError:
        known = ", ".join(module.value for module in Module)
        raise Invalid(f"module: {name[:40]!r} is no function; choose one of {known}") from None


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

"""Functions that are switched per account: what is off is not set either."""

from __future__ import annotations

from uuid import UUID

from sqlalchemy.ext.asyncio import AsyncConnection

from engine.accounts import tree
from engine.accounts.model import Module
from engine.accounts.permissions import check_on
from engine.numbers.treatment import Treatment
from engine.routing.functions import functions_of


async def check_switched_on(
    rows: AsyncConnection, account: UUID, *said: Treatment, callback: str | None = None
) -> None:
    """Raises NotAllowed when one of these settings needs a function that is off for the account.

    Where its calls may be forwarded to, the deed itself asks.
    """
    wanted = {module for treatment in said for module in functions_of(treatment)} - {Module.MOBILE_TARGETS}
    if callback:
        wanted.add(Module.CALLBACK)
    if wanted:
        found = await tree.find(rows, account)
        for module in sorted(wanted, key=lambda module: module.value):
            check_on(found, module)

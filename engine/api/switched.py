"""Functions that are switched per account: what is off is not set either."""

from __future__ import annotations

from collections.abc import Iterator
from uuid import UUID

from sqlalchemy.ext.asyncio import AsyncConnection

from engine.accounts import tree
from engine.accounts.model import Module
from engine.accounts.permissions import check_on
from engine.numbers.treatment import RecordMode, Then, Treatment


async def check_switched_on(
    rows: AsyncConnection, account: UUID, *said: Treatment, callback: str | None = None
) -> None:
    """Raises NotAllowed when one of these settings needs a function that is off for the account."""
    wanted = {module for treatment in said for module in modules_of(treatment)}
    if callback:
        wanted.add(Module.CALLBACK)
    if wanted:
        found = await tree.find(rows, account)
        for module in sorted(wanted, key=lambda module: module.value):
            check_on(found, module)


def modules_of(said: Treatment) -> Iterator[Module]:
    """The functions that a treatment needs. Pure."""
    if said.recording not in (None, RecordMode.NEVER):
        yield Module.RECORDING
    if said.store_notice:
        yield Module.STORE_MESSAGE
    if said.callback or said.consent or any(link.then is Then.TEXT for link in said.fallbacks or ()):
        yield Module.CALLBACK

"""What an auditor looked at, and why: an entry of the audit for each of their requests that was answered."""

from __future__ import annotations

from datetime import datetime
from uuid import UUID

from fastapi import Request
from sqlalchemy.ext.asyncio import AsyncConnection

from engine.accounts.model import Actor, Deed
from engine.accounts.permissions import may
from engine.accounts.tree import account_places
from engine.audit import trail
from engine.audit.model import PERSONAL
from engine.foundation.phone_number import parse
from engine.numbers import inventory

LOOKED = "look as auditor"
"""The deed of such an entry."""


async def note_look(connection: AsyncConnection, actor: Actor, request: Request, route: str, now: datetime) -> None:
    """Writes down who asked for what, and the reason that they gave. `route` is the pattern of the path.

    It stands with the account that the address names, itself or by one of its numbers, if the auditor may see that;
    else with the auditor's own. What the query narrows by may be people's numbers.
    """
    query = {name: request.query_params.getlist(name) for name in request.query_params}
    told: dict[str, object] = {"reason": actor.reason, "route": f"{request.method} {route.replace(':path}', '}')}"}
    await trail.write(
        connection,
        who=actor.who,
        deed=LOOKED,
        account_id=await _whose(connection, actor, request),
        object_kind="request",
        object_id=request.url.path,
        after=told | ({PERSONAL: {"query": query}} if query else {}),
        peer=actor.peer,
        now=now,
    )


async def _whose(connection: AsyncConnection, actor: Actor, request: Request) -> UUID:
    named = await _named(connection, request)
    if named is not None:
        place = (await account_places(connection, [named])).get(named)
        if place is not None and may(actor, Deed.SEE_ACCOUNTS, place):
            return named
    return actor.place.account


async def _named(connection: AsyncConnection, request: Request) -> UUID | None:
    """The account that the address names, whoever may see it."""
    named = {**request.query_params, **request.path_params}
    if "account" in named:
        return UUID(str(named["account"]))
    if "number" in request.path_params:
        found = await inventory.look_up(connection, parse(str(named["number"])))
        return found.account_id if found else None
    return None

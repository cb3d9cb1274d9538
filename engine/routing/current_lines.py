"""A number with all that decides about its calls, read from the database as it is in the caller's transaction."""

from __future__ import annotations

from sqlalchemy.ext.asyncio import AsyncConnection

from engine.foundation.phone_number import PhoneNumber
from engine.numbers import inventory
from engine.numbers.model import ServiceNumber
from engine.routing import account_settings, store
from engine.routing.current_prompts import with_current_prompts
from engine.routing.model import Line


async def find(connection: AsyncConnection, number: PhoneNumber) -> Line:
    """The number with all that decides about its calls, with the sounds that its prompts are now. Raises NotFound."""
    return with_current_prompts(await find_as_set(connection, number))


async def find_as_set(connection: AsyncConnection, number: PhoneNumber) -> Line:
    """As `find`, with prompts by their names. Raises NotFound."""
    return await of_number(connection, await inventory.find(connection, number))


async def of_number(connection: AsyncConnection, number: ServiceNumber) -> Line:
    """As `find_as_set`, of a number that was read already. Raises NotFound when its account is gone."""
    return Line(
        number=number,
        rules=await store.rules_of(connection, number.number),
        account=await account_settings.find(connection, number.account_id),
        closed_days=await store.closed_days_of(connection, number.number),
        holidays=await store.holidays_by_day(connection),
    )

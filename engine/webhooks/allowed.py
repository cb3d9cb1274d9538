"""A webhook that the actor may see or change."""

from __future__ import annotations

from uuid import UUID

from sqlalchemy.ext.asyncio import AsyncConnection

from engine.accounts.model import Actor, Deed
from engine.accounts.permissions import check
from engine.accounts.tree import place_of
from engine.foundation.errors import NotFound
from engine.webhooks import store
from engine.webhooks.model import Webhook


async def allowed(
    connection: AsyncConnection, actor: Actor, deed: Deed, identifier: UUID, *, keep: bool = False
) -> Webhook:
    """With `keep` nobody else changes it before the transaction ends. Raises NotFound or NotAllowed."""
    found = await there(connection, identifier, keep=keep)
    check(actor, deed, await place_of(connection, found.account_id), what=f"webhook {identifier}")
    return found


async def there(connection: AsyncConnection, identifier: UUID, *, keep: bool = False) -> Webhook:
    """As `allowed`, for whom it was allowed already. Raises NotFound."""
    found = await store.find(connection, identifier, keep=keep)
    if found is None:
        raise not_there(identifier)
    return found


def not_there(identifier: UUID) -> NotFound:
    """The error of one that there is not, or that the actor may not know of."""
    return NotFound(f"webhook {identifier}: there is none that you may see")

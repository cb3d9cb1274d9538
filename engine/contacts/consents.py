"""The book of consents: written when given, found when needed, ended when taken back.

Each deed works in the caller's transaction (`engine.foundation.database.transaction`).
"""

from __future__ import annotations

from datetime import datetime
from uuid import UUID

from sqlalchemy.ext.asyncio import AsyncConnection

from engine.contacts import store
from engine.contacts.model import Consent, ConsentChannel, Covers
from engine.foundation.errors import NotFound
from engine.foundation.phone_number import PhoneNumber


async def record_consent(connection: AsyncConnection, consent: Consent) -> bool:
    """Writes a consent down. False when that of its call is written already: the first one stays as it is."""
    return await store.insert(connection, consent)


async def find_valid(
    connection: AsyncConnection,
    account_id: UUID,
    recipient: PhoneNumber,
    service: PhoneNumber,
    channel: ConsentChannel,
    covers: Covers,
) -> Consent | None:
    """The latest consent for exactly that which has not been taken back; None when there is none."""
    return await store.latest_valid(connection, account_id, recipient, service, channel, covers)


async def revoke(connection: AsyncConnection, consent_id: UUID, now: datetime) -> None:
    """Ends a consent at once; its proof stays. One that has ended before ended then. Raises NotFound."""
    if not await store.set_revoked(connection, consent_id, now):
        raise NotFound(f"consent {consent_id}: there is none; name one that was given")

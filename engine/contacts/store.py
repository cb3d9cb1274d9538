"""The table of consents. Every function works in the caller's transaction."""

from __future__ import annotations

from datetime import datetime
from typing import Any
from uuid import UUID

import msgspec
from sqlalchemy import Row, text
from sqlalchemy.ext.asyncio import AsyncConnection

from engine.contacts.model import Consent, ConsentChannel, Covers, KeyPress
from engine.foundation.phone_number import PhoneNumber

_INSERT = text("""
    INSERT INTO consents (id, account_id, recipient, service, channel, covers, given_at, call_id, evidence, revoked_at)
    VALUES (:id, :account_id, :recipient, :service, :channel, :covers, :given_at, :call_id,
            CAST(:evidence AS jsonb), :revoked_at)
    ON CONFLICT (call_id, channel, covers) DO NOTHING
    RETURNING id
""")
_LATEST_VALID = text("""
    SELECT id, account_id, recipient, service, channel, covers, given_at, call_id,
           evidence::text AS evidence, revoked_at
    FROM consents
    WHERE account_id = :account_id AND recipient = :recipient AND service = :service AND channel = :channel
      AND covers = :covers AND revoked_at IS NULL
    ORDER BY given_at DESC, id DESC LIMIT 1
""")
_REVOKE = text("UPDATE consents SET revoked_at = COALESCE(revoked_at, :now) WHERE id = :id")


async def insert(connection: AsyncConnection, consent: Consent) -> bool:
    """False when its call has one for that channel and purpose already: nothing is changed then."""
    row = await connection.execute(
        _INSERT,
        {
            "id": consent.id,
            "account_id": consent.account_id,
            "recipient": consent.recipient,
            "service": consent.service,
            "channel": consent.channel.value,
            "covers": consent.covers.value,
            "given_at": consent.given_at,
            "call_id": consent.call_id,
            "evidence": msgspec.json.encode(consent.evidence).decode(),
            "revoked_at": consent.revoked_at,
        },
    )
    return row.first() is not None


async def latest_valid(
    connection: AsyncConnection,
    account_id: UUID,
    recipient: PhoneNumber,
    service: PhoneNumber,
    channel: ConsentChannel,
    covers: Covers,
) -> Consent | None:
    result = await connection.execute(
        _LATEST_VALID,
        {
            "account_id": account_id,
            "recipient": recipient,
            "service": service,
            "channel": channel.value,
            "covers": covers.value,
        },
    )
    row = result.one_or_none()
    return _consent(row) if row else None


async def set_revoked(connection: AsyncConnection, consent_id: UUID, now: datetime) -> bool:
    """False when there is no such consent."""
    return bool((await connection.execute(_REVOKE, {"id": consent_id, "now": now})).rowcount)


def _consent(row: Row[Any]) -> Consent:
    return Consent(
        id=row.id,
        account_id=row.account_id,
        recipient=row.recipient,
        service=row.service,
        channel=ConsentChannel(row.channel),
        covers=Covers(row.covers),
        given_at=row.given_at,
        call_id=row.call_id,
        evidence=msgspec.json.decode(row.evidence, type=KeyPress),
        revoked_at=row.revoked_at,
    )

"""The table of recipients: who last got a message of which repeat window, and when."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import NamedTuple
from uuid import UUID

from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncConnection

from engine.callbacks.rules import RepeatWindow
from engine.foundation.phone_number import PhoneNumber
from engine.messages.model import Purpose


class Place(NamedTuple):
    """Whose repeat window is meant: the table has one row for each."""

    account_id: UUID
    recipient: PhoneNumber
    purpose: Purpose
    number: str
    """Empty: of all the account's numbers."""


def place_of(account_id: UUID, recipient: PhoneNumber, window: RepeatWindow) -> Place:
    return Place(account_id, recipient, window.purpose, window.number or "")


@dataclass(frozen=True, slots=True)
class Claim:
    """A message that wants a place, unless another one came there within `length`."""

    place: Place
    length: timedelta
    message_id: UUID


# Whoever claims several places does it in this order: two that want the same ones do not wait for each other.
_CLAIMED = {purpose: number for number, purpose in enumerate((Purpose.CONSENT, Purpose.TEXT_ONLY, Purpose.CALLBACK))}

_LAST = text("""
    SELECT account_id, recipient, purpose, number, last_at FROM callback_recipients
    JOIN unnest(CAST(:accounts AS uuid[]), CAST(:recipients AS text[]),
                CAST(:purposes AS text[]), CAST(:numbers AS text[])) AS asked (account_id, recipient, purpose, number)
        USING (account_id, recipient, purpose, number)
""")
_CLAIM = text("""
    WITH claims AS (
        SELECT * FROM unnest(CAST(:accounts AS uuid[]), CAST(:recipients AS text[]), CAST(:purposes AS text[]),
                             CAST(:numbers AS text[]), CAST(:messages AS uuid[]), CAST(:lengths AS interval[]))
            WITH ORDINALITY AS claim (account_id, recipient, purpose, number, message_id, length, turn)
    )
    INSERT INTO callback_recipients AS kept (account_id, recipient, purpose, number, last_at, message_id)
    SELECT account_id, recipient, purpose, number, :now, message_id FROM claims ORDER BY turn
    ON CONFLICT (account_id, recipient, purpose, number) DO UPDATE
        SET last_at = GREATEST(kept.last_at, EXCLUDED.last_at), message_id = EXCLUDED.message_id
        WHERE (SELECT length = interval '0' OR kept.last_at <= EXCLUDED.last_at - length
               FROM claims WHERE claims.message_id = EXCLUDED.message_id)
    RETURNING message_id
""")


async def last_messages_at(connection: AsyncConnection, places: Collection[Place]) -> dict[Place, datetime]:
    """When each of these recipients last got a message that the window is about; those that never did are left out."""
    if not places:
        return {}
    rows = await connection.execute(_LAST, _columns(places))
    return {Place(row[0], PhoneNumber(row[1]), Purpose(row[2]), row[3]): row[4] for row in rows}


async def sent_before(connection: AsyncConnection, place: Place, instant: datetime) -> datetime | None:
    """As `last_messages_at`, of one, at an earlier instant: of the messages decided before it that went out."""
    result = await connection.execute(
        text("""
            SELECT max(decided_at) FROM messages
            WHERE account_id = :account_id AND recipient = :recipient AND call_id IS NOT NULL AND purpose = :purpose
              AND (CAST(:number AS text) = '' OR number = :number)
              AND status NOT IN ('held', 'failed') AND decided_at < :instant
        """),
        {
            "account_id": place.account_id,
            "recipient": place.recipient,
            "purpose": place.purpose.value,
            "number": place.number,
            "instant": instant,
        },
    )
    return result.scalar_one_or_none()


async def claim_windows(connection: AsyncConnection, claims: Sequence[Claim], now: datetime) -> set[UUID]:
    """Takes the recipients for these messages, at most one for each place; the messages that have them.

    The others came inside a window. Waits for claims under way.
    """
    if not claims:
        return set()
    claims = sorted(claims, key=_turn)
    values = _columns([claim.place for claim in claims])
    values["messages"] = [claim.message_id for claim in claims]
    values["lengths"] = [claim.length for claim in claims]
    return set((await connection.execute(_CLAIM, values | {"now": now})).scalars())


def _turn(claim: Claim) -> tuple[UUID, PhoneNumber, int, str]:
    account_id, recipient, purpose, number = claim.place
    return account_id, recipient, _CLAIMED[purpose], number


def _columns(places: Collection[Place]) -> dict[str, object]:
    return {
        "accounts": [place.account_id for place in places],
        "recipients": [place.recipient for place in places],
        "purposes": [place.purpose.value for place in places],
        "numbers": [place.number for place in places],
    }


async def release_window(connection: AsyncConnection, message_id: UUID) -> bool:
    """Gives back what a message had claimed: the recipient's last message is again the one before that went out.

    False when the message holds no window (any more).
    """
    result = await connection.execute(
        text("""
            DELETE FROM callback_recipients WHERE message_id = :id RETURNING account_id, recipient, purpose, number
        """),
        {"id": message_id},
    )
    row = result.first()
    if row is None:
        return False
    await connection.execute(
        text("""
            INSERT INTO callback_recipients (account_id, recipient, purpose, number, last_at, message_id)
            SELECT account_id, recipient, purpose, CAST(:number AS text), decided_at, id FROM messages
            WHERE account_id = :account_id AND recipient = :recipient AND call_id IS NOT NULL AND purpose = :purpose
              AND (CAST(:number AS text) = '' OR number = :number)
              AND status NOT IN ('held', 'failed') AND id <> :id
            ORDER BY decided_at DESC LIMIT 1
        """),
        {
            "account_id": row.account_id,
            "recipient": row.recipient,
            "purpose": row.purpose,
            "number": row.number,
            "id": message_id,
        },
    )
    return True

"""What the transfer of a number is, and what of its settings goes along. Pure."""

from __future__ import annotations

from datetime import datetime
from enum import Enum
from uuid import UUID

import msgspec

from engine.foundation.errors import Invalid
from engine.foundation.phone_number import PhoneNumber, written
from engine.numbers.model import ServiceNumber
from engine.numbers.treatment import Then, Treatment


class TransferStatus(Enum):
    """What has become of an offer."""

    OFFERED = "offered"
    ACCEPTED = "accepted"
    DECLINED = "declined"
    WITHDRAWN = "withdrawn"
    EXPIRED = "expired"


class Transfer(msgspec.Struct, frozen=True, kw_only=True):
    """A number offered by one account to another."""

    id: UUID
    number: PhoneNumber
    from_account: UUID
    to_account: UUID
    keep_settings: bool
    """Whether what the number does goes along; else it only rings a target that the receiver names."""
    status: TransferStatus
    offered_by: str
    offered_at: datetime
    expires_at: datetime
    decided_by: str | None = None
    decided_at: datetime | None = None
    reason: str = ""
    """Why it was declined or withdrawn."""


def settings_after(
    number: ServiceNumber,
    transfer: Transfer,
    target: PhoneNumber | None,
    announcement: str | None,
    *,
    sender_registered: bool,
) -> ServiceNumber:
    """What the number does for its new holder. `target` None: whom it rang before; `announcement`: what its callers
    hear when it is suspended.

    What needs a sender that the receiver has not registered stays behind. Raises Invalid when there is nobody to ring.
    """
    if not transfer.keep_settings:
        if target is None:
            raise Invalid(f"target: {written(number.number)} comes without its settings; name whom its calls ring")
        return ServiceNumber(
            number=number.number,
            kind=number.kind,
            account_id=transfer.to_account,
            target=target,
            suspended=announcement,
        )
    kept = msgspec.structs.replace(
        number, account_id=transfer.to_account, target=target or number.target, suspended=announcement
    )
    if sender_registered:
        return kept
    return msgspec.structs.replace(kept, sender=None, callback=None, treatment=without_texts(number.treatment))


def without_texts(treatment: Treatment) -> Treatment:
    """What is left for a number that can send no message."""
    chain = treatment.fallbacks
    kept = None if chain is None else tuple(link for link in chain if link.then is not Then.TEXT)
    return msgspec.structs.replace(treatment, fallbacks=kept or None, consent=None)

"""Transfer of numbers (이관, 명의변경): offered by one account, accepted or declined by the other."""

from __future__ import annotations

from datetime import datetime, timedelta
from http import HTTPStatus
from typing import Annotated, Any
from uuid import UUID

from fastapi import APIRouter, Path, Query
from pydantic import ConfigDict, Field

from engine.api.door import ActorDep, Now, Rows, door_router
from engine.api.pages import Page, PageOf
from engine.api.wire import Phone, PhoneIn, Shape, shown
from engine.numbers import transfer
from engine.numbers.transfer import LONGEST_OPEN, OPEN_FOR
from engine.numbers.transfer_model import Transfer, TransferStatus
from engine.routing import handed_over

TransferInPath = Annotated[UUID, Path(alias="transfer", description="A transfer's id.")]
Reason = Annotated[str, Field(max_length=200)]

_EXAMPLE: dict[str, Any] = {
    "id": "019a9f3e-aa00-7000-8000-000000000042",
    "number": {"national": "050712345678", "e164": "+8250712345678"},
    "from_account": "019a9f00-0000-7000-8000-000000000001",
    "to_account": "019a9f00-0000-7000-8000-000000000002",
    "keep_settings": True,
    "status": "offered",
    "offered_by": "user:019a9f00-0000-7000-8000-000000000009",
    "offered_at": "2026-11-22T00:30:00Z",
    "expires_at": "2026-11-29T00:30:00Z",
    "decided_by": None,
    "decided_at": None,
    "reason": "",
}


class TransferShown(Shape):
    """A number offered by one account to another. Calls that were stay with whoever had it then."""

    model_config = ConfigDict(json_schema_extra={"examples": [_EXAMPLE]})

    id: UUID
    number: Phone
    from_account: UUID
    to_account: UUID
    keep_settings: bool
    """Whether what the number does goes along."""
    status: TransferStatus
    offered_by: str
    offered_at: datetime
    expires_at: datetime
    decided_by: str | None
    decided_at: datetime | None
    reason: str
    """Why it was declined or withdrawn."""


class NewTransfer(Shape):
    """An offer."""

    model_config = ConfigDict(
        json_schema_extra={
            "examples": [{"number": "0507-1234-5678", "to_account": "019a9f00-0000-7000-8000-000000000002"}]
        }
    )

    number: PhoneIn
    to_account: UUID
    keep_settings: bool = True
    days: Annotated[int, Field(ge=1, le=LONGEST_OPEN.days)] = OPEN_FOR.days
    """How long it may be accepted."""


class Acceptance(Shape):
    """How a number is taken over."""

    model_config = ConfigDict(json_schema_extra={"examples": [{"target": "02-345-6789"}]})

    target: PhoneIn | None = None
    """Whom its calls ring from now on; null: as before, which goes only with kept settings."""


class Refusal(Shape):
    """Why an offer is declined or withdrawn."""

    model_config = ConfigDict(json_schema_extra={"examples": [{"reason": "다른 번호를 쓰기로 함"}]})

    reason: Reason = ""


def number_transfers_router() -> APIRouter:
    """`/number-transfers`."""
    router = door_router("number transfers")
    router.get("/number-transfers")(list_transfers)
    router.post("/number-transfers", status_code=HTTPStatus.CREATED)(offer_transfer)
    router.get("/number-transfers/{transfer}")(read_transfer)
    router.post("/number-transfers/{transfer}/accept")(accept_transfer)
    router.post("/number-transfers/{transfer}/decline")(decline_transfer)
    router.post("/number-transfers/{transfer}/withdraw")(withdraw_transfer)
    return router


async def list_transfers(
    actor: ActorDep,
    rows: Rows,
    page: PageOf,
    status: Annotated[TransferStatus | None, Query(description="What has become of it.")] = None,
) -> Page[TransferShown]:
    """Transfers from and to your accounts, the newest first."""
    found = await transfer.listing(rows, actor, status=status, before=page.behind(UUID), limit=page.rows)
    return page.page(found, _shown, lambda one: (one.id,))


async def offer_transfer(wanted: NewTransfer, actor: ActorDep, rows: Rows, now: Now) -> TransferShown:
    """Offer a number to another account."""
    made = await transfer.offer(
        rows,
        actor,
        wanted.number,
        wanted.to_account,
        now,
        keep_settings=wanted.keep_settings,
        open_for=timedelta(days=wanted.days),
    )
    return _shown(made)


async def read_transfer(which: TransferInPath, actor: ActorDep, rows: Rows) -> TransferShown:
    """One transfer, for either side."""
    return _shown(await transfer.find(rows, actor, which))


async def accept_transfer(
    which: TransferInPath, wanted: Acceptance, actor: ActorDep, rows: Rows, now: Now
) -> TransferShown:
    """Take the number over, for the receiver's side. From the next call on its calls are the receiver's.

    With its settings go its rules, and copies of the prompts that they play; rules that ask for a group of callers
    stay behind, for those are the giver's customers.
    """
    return _shown(await handed_over.accept(rows, actor, which, now, wanted.target))


async def decline_transfer(
    which: TransferInPath, wanted: Refusal, actor: ActorDep, rows: Rows, now: Now
) -> TransferShown:
    """Refuse the number, for the receiver's side."""
    return _shown(await transfer.decline(rows, actor, which, now, wanted.reason))


async def withdraw_transfer(
    which: TransferInPath, wanted: Refusal, actor: ActorDep, rows: Rows, now: Now
) -> TransferShown:
    """Take the offer back, for the side that made it."""
    return _shown(await transfer.withdraw(rows, actor, which, now, wanted.reason))


def _shown(one: Transfer) -> TransferShown:
    return TransferShown(
        id=one.id,
        number=shown(one.number),
        from_account=one.from_account,
        to_account=one.to_account,
        keep_settings=one.keep_settings,
        status=one.status,
        offered_by=one.offered_by,
        offered_at=one.offered_at,
        expires_at=one.expires_at,
        decided_by=one.decided_by,
        decided_at=one.decided_at,
        reason=one.reason,
    )

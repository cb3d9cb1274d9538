"""Messages sent and held back, each with its reason and the certificate of what was asked."""

from __future__ import annotations

from datetime import datetime
from http import HTTPStatus
from typing import Annotated, Any
from uuid import UUID

from fastapi import APIRouter, Path, Query
from pydantic import ConfigDict, Field

from engine.accounts import book
from engine.accounts.model import Deed
from engine.api.call_shapes import PhoneOrNone
from engine.api.door import ActorDep, Now, Rows, door_router
from engine.api.owned import allowed_account, check_owner, whose
from engine.api.pages import Page, PageOf, SpanOf
from engine.api.simulate import Check
from engine.api.wire import AccountInPath, Phone, PhoneIn, Shape, shown
from engine.foundation.errors import NotFound
from engine.messages import search
from engine.messages.model import Category, Channel, Message, MessagePlace, Purpose, Status, Wanted

_EXAMPLE: dict[str, Any] = {
    "id": "019a9f3e-9c20-7a11-8f01-1d2c3b4a5968",
    "account_id": "019a9f00-0000-7000-8000-000000000001",
    "call_id": "019a9f3e-7a10-7c3e-9d7b-2f0f6c1d4e55",
    "number": {"national": "050712345678", "e164": "+8250712345678"},
    "purpose": "callback",
    "recipient": {"national": "01023456789", "e164": "+821023456789"},
    "sender": {"national": "023456789", "e164": "+8223456789"},
    "channel": "sms",
    "category": "information",
    "text": "[다리분식] 전화 주셔서 감사합니다.",
    "status": "delivered",
    "reason": "",
    "decided_at": "2026-11-22T00:31:15Z",
    "accepted_at": "2026-11-22T00:31:15.400000Z",
    "finished_at": "2026-11-22T00:31:18Z",
}


class MessageShown(Shape):
    """A message to one recipient."""

    model_config = ConfigDict(json_schema_extra={"examples": [_EXAMPLE]})

    id: UUID
    account_id: UUID
    call_id: UUID | None
    """The call that brought it about."""
    number: PhoneOrNone
    """The number that was called."""
    purpose: Purpose
    recipient: PhoneOrNone
    sender: PhoneOrNone
    channel: Channel
    category: Category
    """What the law sees in it."""
    text: str
    status: Status
    reason: str
    """Why it was held, failed or still waits; empty otherwise."""
    decided_at: datetime
    accepted_at: datetime | None
    """When a gateway took it."""
    finished_at: datetime | None
    """When it was delivered or failed."""


class WholeMessage(MessageShown):
    """A message with the certificate of its decision."""

    model_config = ConfigDict(
        json_schema_extra={
            "examples": [
                _EXAMPLE
                | {
                    "certificate": [
                        {"rule": "repeat window", "version": "1", "passed": True, "evidence": "no message in 7 days"}
                    ]
                }
            ]
        }
    )

    certificate: tuple[Check, ...]


class Sender(Shape):
    """A number that an account's messages may come from, and how it may use it."""

    model_config = ConfigDict(
        json_schema_extra={"examples": [{"number": "02-345-6789", "evidence": "통신서비스 이용증명원 2026-11"}]}
    )

    number: PhoneIn
    """The account's own, 8 to 11 digits; never a forwarding 050 number."""
    evidence: Annotated[str, Field(min_length=1, max_length=1000)]


class SenderShown(Shape):
    """A registered sender number."""

    model_config = ConfigDict(
        json_schema_extra={
            "examples": [
                {
                    "number": {"national": "023456789", "e164": "+8223456789"},
                    "evidence": "통신서비스 이용증명원 2026-11",
                }
            ]
        }
    )

    number: Phone
    evidence: str


class Senders(Shape):
    """The numbers that an account's messages may come from, by number."""

    senders: tuple[SenderShown, ...]


def messages_router() -> APIRouter:
    """`/messages`, and the numbers that they come from."""
    router = door_router("messages")
    router.post("/accounts/{account}/senders", status_code=HTTPStatus.NO_CONTENT)(register_sender)
    router.get("/accounts/{account}/senders")(list_senders)
    router.get("/messages")(list_messages)
    router.get("/messages/{message}")(read_message)
    return router


async def list_messages(
    actor: ActorDep,
    rows: Rows,
    span: SpanOf,
    page: PageOf,
    account: Annotated[UUID | None, Query(description="Of this account and all below it.")] = None,
    number: Annotated[PhoneIn | None, Query(description="The number that was called.")] = None,
    call: Annotated[UUID | None, Query(description="The call that brought them about.")] = None,
    status: Annotated[Status | None, Query(description="How far they have come.")] = None,
) -> Page[MessageShown]:
    """Messages, the latest decision first."""
    of = await whose(rows, actor, Deed.SEE_MESSAGES, account)
    wanted = Wanted(
        under=of.under,
        account=of.account,
        number=number,
        call_id=call,
        status=status,
        since=span.since,
        until=span.until,
    )
    after = page.after(datetime, UUID)
    found = await search.page(rows, wanted, before=MessagePlace(*after) if after else None, limit=page.rows)
    return page.page(found, MessageShown.model_validate, lambda one: (one.decided_at, one.id))


async def read_message(
    message: Annotated[UUID, Path(description="A message's id.")], actor: ActorDep, rows: Rows
) -> WholeMessage:
    """One message with every rule that was asked about it."""
    found = await search.find(rows, message)
    if found is None:
        raise NotFound(f"message {message}: there is none that you may see")
    await check_owner(rows, actor, Deed.SEE_MESSAGES, found.account_id, f"message {message}")
    return _whole(found)


async def register_sender(account: AccountInPath, wanted: Sender, actor: ActorDep, rows: Rows, now: Now) -> None:
    """Register a number that messages may come from. One that is registered already stays as it is."""
    await allowed_account(rows, actor, Deed.CHANGE_MESSAGES, account)
    await book.register_sender(rows, actor, account, wanted.number, wanted.evidence, now)


async def list_senders(account: AccountInPath, actor: ActorDep, rows: Rows) -> Senders:
    """The numbers that an account's messages may come from."""
    await allowed_account(rows, actor, Deed.SEE_MESSAGES, account)
    found = await book.senders(rows, account)
    return Senders(senders=tuple(SenderShown(number=shown(number), evidence=proof) for number, proof in found))


def _whole(found: Message) -> WholeMessage:
    return WholeMessage.model_validate(found)

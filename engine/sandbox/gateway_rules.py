"""What a Korean carrier's gateway refuses. Apart from engine/messages on purpose: it is the other party."""

from __future__ import annotations

from typing import Annotated
from urllib.parse import urlsplit
from uuid import UUID

import msgspec

from engine.foundation.phone_number import NumberClass, PhoneNumber, classify

_LONGEST = 90  # bytes of cp949 in one SMS
_SENDERS = (
    NumberClass.MOBILE,
    NumberClass.LANDLINE,
    NumberClass.REPRESENTATIVE,
    NumberClass.INTERNET,
    NumberClass.TOLL_FREE,
)


class Order(msgspec.Struct, frozen=True, kw_only=True, rename={"recipient": "to", "sender": "from"}):
    """A message to be sent."""

    id: UUID
    recipient: PhoneNumber
    sender: PhoneNumber
    text: str
    callback: str = ""
    """URL for the delivery receipt; empty: none wanted."""


class Submission(msgspec.Struct, frozen=True, kw_only=True):
    """The body of POST /messages."""

    messages: Annotated[list[Order], msgspec.Meta(max_length=100)]


def refusal(order: Order) -> str:
    """The code with which the message is refused; empty when it is taken."""
    if classify(order.recipient) is not NumberClass.MOBILE:
        return "recipient-not-mobile"
    if order.sender.startswith("050"):
        return "sender-is-050"
    if classify(order.sender) not in _SENDERS:
        return "sender-not-registered"
    if order.callback and not _is_http(order.callback):
        return "callback-not-http"
    return _refused_text(order.text)


def _refused_text(text: str) -> str:
    if not text.strip():
        return "text-empty"
    try:
        length = len(text.encode("cp949"))
    except UnicodeEncodeError:
        return "text-not-cp949"
    return "text-too-long" if length > _LONGEST else ""


def _is_http(url: str) -> bool:
    try:
        parts = urlsplit(url)
    except ValueError:
        return False
    return parts.scheme in ("http", "https") and bool(parts.hostname)

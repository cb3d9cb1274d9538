"""The sandbox gateway's adapter: HTTP and JSON, our message id as the key, many at a time, signed delivery receipts."""

from __future__ import annotations

import base64
import hashlib
import hmac
import re
from collections.abc import Mapping, Sequence
from datetime import datetime, timedelta
from http import HTTPStatus
from typing import Literal
from uuid import UUID

import aiohttp
import msgspec

from engine.foundation.errors import Invalid, NotAllowed
from engine.messages.gateways.gateway import (
    Accepted,
    Answer,
    Away,
    Delivered,
    Finding,
    NeverSeen,
    Outgoing,
    Receipt,
    Rejected,
    Undelivered,
    Unknown,
)

SANDBOX_RECEIPTS = "/gateways/sandbox/receipts"
"""The path on Dari's own HTTP that its receipts come to."""

RECEIPT_WINDOW = timedelta(seconds=300)
"""How old, or how far ahead of our clock, a receipt's timestamp may be."""

_LARGEST_ANSWER = 65_536


class _State(msgspec.Struct, frozen=True, kw_only=True):
    """What the gateway says became of a message."""

    id: UUID
    reference: str
    status: Literal["accepted", "delivered", "failed"]
    reason: str = ""


class _Refusal(msgspec.Struct, frozen=True, kw_only=True):
    code: str


class _Told(msgspec.Struct, frozen=True, kw_only=True):
    """What the gateway answers about one message of a submission: what it has, or why it does not take it."""

    id: UUID
    reference: str = ""
    code: str = ""


class _Answers(msgspec.Struct, frozen=True, kw_only=True):
    answers: list[_Told]


class _Receipts(msgspec.Struct, frozen=True, kw_only=True):
    receipts: list[_State]


class SandboxGateway:
    """A `Gateway` over the sandbox's HTTP. The session belongs to whoever made it."""

    name = "sandbox"
    at_once = 100

    def __init__(self, session: aiohttp.ClientSession, url: str, key: str, receipt_url: str, timeout: float) -> None:
        """`receipt_url` is where receipts are to come; `timeout` seconds without an answer leave it unknown."""
        self._session = session
        self._messages = f"{url.rstrip('/')}/messages"
        self._headers = {"Authorization": f"Bearer {key}"}
        self._receipt_url = receipt_url
        self._timeout = aiohttp.ClientTimeout(total=timeout)

    async def submit(self, messages: Sequence[Outgoing]) -> list[Answer]:
        body = msgspec.json.encode({"messages": [self._order(message) for message in messages]})
        answer = await self._ask("POST", self._messages, body)
        if isinstance(answer, Away | Unknown):
            return [answer] * len(messages)
        status, told = answer
        if status == HTTPStatus.OK:
            return _answers(messages, told)
        refusal = _refusal(status, told)
        if isinstance(refusal, Rejected) and len(messages) > 1:  # nothing was taken, maybe for one that it cannot read
            return [answer for message in messages for answer in await self.submit([message])]
        return [refusal] * len(messages)

    def _order(self, message: Outgoing) -> dict[str, object]:
        return {
            "id": message.id,
            "to": message.recipient,
            "from": message.sender,
            "text": message.text,
            "callback": self._receipt_url,
        }

    async def look_up(self, message_id: UUID) -> Finding:
        answer = await self._ask("GET", f"{self._messages}/{message_id}")
        if isinstance(answer, Away | Unknown):
            return Unknown(answer.reason)
        status, body = answer
        if status == HTTPStatus.NOT_FOUND and _code(body) == "not-known":
            return NeverSeen()
        if status == HTTPStatus.OK and (state := _state(body)):
            return _finding(state)
        return Unknown(f"the gateway answered a look-up with {status}")

    async def _ask(self, method: str, url: str, body: bytes | None = None) -> tuple[int, bytes] | Away | Unknown:
        """Status and body of the answer, or what its absence means."""
        try:
            async with self._session.request(
                method, url, data=body, headers=self._headers, timeout=self._timeout, allow_redirects=False
            ) as response:
                return response.status, await _read(response)
        except (aiohttp.ClientConnectorError, aiohttp.ConnectionTimeoutError):
            return Away("the gateway cannot be reached")
        except TimeoutError:
            return Unknown("the gateway did not answer in time")
        except aiohttp.InvalidURL:
            return Away("the gateway's URL cannot be used; check DARI_GATEWAY_URL")
        except (aiohttp.ClientError, OSError):
            return Unknown("the connection to the gateway was lost")


def read_receipts(key: str, headers: Mapping[str, str], body: bytes, now: datetime) -> list[Receipt]:
    """The receipts in a POST from the gateway; without those that tell no final result yet.

    Raises NotAllowed when the signature is not the gateway's or its time is not now, Invalid when the signed body
    holds no receipts.
    """
    _check_signature(key, headers, body, now)
    try:
        states = msgspec.json.decode(body, type=_Receipts).receipts
    except (msgspec.DecodeError, UnicodeDecodeError):
        raise Invalid("receipts: the body holds none of the sandbox gateway's; send its JSON unchanged") from None
    findings = [(state.id, _finding(state)) for state in states]
    return [Receipt(message_id, result) for message_id, result in findings if not isinstance(result, Accepted)]


async def _read(response: aiohttp.ClientResponse) -> bytes:
    """The body, or its beginning when no answer of a gateway is so large."""
    body = b""
    async for chunk in response.content.iter_any():
        body += chunk
        if len(body) > _LARGEST_ANSWER:
            break
    return body


def _check_signature(key: str, headers: Mapping[str, str], body: bytes, now: datetime) -> None:
    webhook_id, timestamp = headers.get("webhook-id", ""), headers.get("webhook-timestamp", "")
    if not re.fullmatch(r"[0-9]{1,12}", timestamp):
        raise NotAllowed("receipt: it carries no webhook-timestamp; sign it as Standard Webhooks are signed")
    if abs(now.timestamp() - int(timestamp)) > RECEIPT_WINDOW.total_seconds():
        raise NotAllowed("receipt: its timestamp is more than 300 s away; set the clocks and send it anew")
    signed = f"{webhook_id}.{timestamp}.".encode() + body
    right = b"v1," + base64.b64encode(hmac.new(key.encode(), signed, hashlib.sha256).digest())
    sent = headers.get("webhook-signature", "").encode().split(b" ")
    if not any(hmac.compare_digest(right, signature) for signature in sent):
        raise NotAllowed("receipt: the signature is wrong; sign it with the gateway's key")


def _answers(messages: Sequence[Outgoing], body: bytes) -> list[Answer]:
    """What the gateway says of each message. Only what has a reference counts as accepted."""
    try:
        told = {one.id: one for one in msgspec.json.decode(body, type=_Answers).answers}
    except (msgspec.DecodeError, UnicodeDecodeError):
        told = {}
    return [_answer(told.get(message.id)) for message in messages]


def _answer(told: _Told | None) -> Answer:
    if told is not None and told.reference:
        return Accepted(told.reference)
    if told is not None and told.code:
        return Rejected(f"the gateway refused it: {_plain(told.code) or 'no reason given'}")
    return Unknown("the gateway's answer cannot be read")


def _refusal(status: int, body: bytes) -> Answer:
    """What it means for its messages that a submission was not dealt with."""
    if status in (HTTPStatus.SERVICE_UNAVAILABLE, HTTPStatus.TOO_MANY_REQUESTS):
        return Away("the gateway is busy")
    if status in (HTTPStatus.UNAUTHORIZED, HTTPStatus.FORBIDDEN):
        return Away("the gateway does not take our key; check DARI_GATEWAY_KEY", after=60.0)
    if HTTPStatus.BAD_REQUEST <= status < HTTPStatus.INTERNAL_SERVER_ERROR:
        return Rejected(f"the gateway refused it: {_code(body) or status}")
    if HTTPStatus.MULTIPLE_CHOICES <= status < HTTPStatus.BAD_REQUEST:
        return Away("the gateway points elsewhere; check DARI_GATEWAY_URL", after=60.0)
    return Unknown(f"the gateway answered with {status}")


def _finding(state: _State) -> Accepted | Delivered | Undelivered:
    match state.status:
        case "delivered":
            return Delivered(state.reference)
        case "failed":
            return Undelivered(state.reference, f"not delivered: {_plain(state.reason) or 'no reason given'}")
        case "accepted":
            return Accepted(state.reference)


def _state(body: bytes) -> _State | None:
    try:
        return msgspec.json.decode(body, type=_State)
    except (msgspec.DecodeError, UnicodeDecodeError):
        return None


def _code(body: bytes) -> str:
    try:
        return _plain(msgspec.json.decode(body, type=_Refusal).code)
    except (msgspec.DecodeError, UnicodeDecodeError):
        return ""


def _plain(code: str) -> str:
    """A gateway's code, when it is one: whatever else it sends could carry a number or a text into a log."""
    return code if re.fullmatch(r"[a-z][a-z0-9-]{0,63}", code) else ""

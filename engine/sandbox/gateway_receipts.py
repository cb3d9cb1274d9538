"""Delivery receipts of the sandbox gateway: signed POSTs to the sender's callback URL, tried a few times.

Those that are due within a moment go together: {receipts: [{id, reference, status, reason, at}, …]}. Signed as Standard
Webhooks are: `webhook-id`, `webhook-timestamp` (Unix seconds) and `webhook-signature`, which is `v1,` and the Base64 of
HMAC-SHA256, with the API key, over `ID.TIMESTAMP.BODY`.
"""

from __future__ import annotations

import asyncio
import base64
import hashlib
import hmac
from collections.abc import Sequence
from datetime import datetime, timedelta
from functools import partial
from http import HTTPStatus

import aiohttp
import msgspec
import structlog

from engine.foundation.clock import Clock
from engine.foundation.errors import NotAllowed, TryLater
from engine.foundation.gathering import Gathering
from engine.foundation.tasks import Tasks
from engine.sandbox.gateway_journal import Journal, Kept

log = structlog.get_logger(__name__)

DELIVERY_SECONDS = 0.3
"""From accepted to delivered, and so to the first receipt."""
_PAUSES = (1.0, 4.0, 15.0)
_ANSWER_SECONDS = 5.0
_MOMENT = 0.05
"""Seconds in which receipts are gathered: those of messages that came together."""
_AT_ONCE = 100


class State(msgspec.Struct, frozen=True, kw_only=True):
    """What became of a message: a receipt, and the answer to a look-up."""

    id: str
    reference: str
    status: str
    """accepted, delivered or failed."""
    reason: str
    at: datetime


def state_of(kept: Kept, now: datetime, delivery_seconds: float = DELIVERY_SECONDS) -> State:
    """The state of an accepted message at `now`: numbers ending in 0000 are switched off, others get it."""
    done_at = kept.at + timedelta(seconds=delivery_seconds)
    switched_off = kept.order.recipient.endswith("0000")
    if now < done_at:
        status, reason, at = "accepted", "", kept.at
    elif switched_off:
        status, reason, at = "failed", "recipient-switched-off", done_at
    else:
        status, reason, at = "delivered", "", done_at
    return State(id=str(kept.order.id), reference=kept.reference, status=status, reason=reason, at=at)


def signed_headers(key: str, webhook_id: str, timestamp: int, body: bytes) -> dict[str, str]:
    """The headers of a receipt."""
    signed = f"{webhook_id}.{timestamp}.".encode() + body
    digest = hmac.new(key.encode(), signed, hashlib.sha256).digest()
    return {
        "content-type": "application/json",
        "webhook-id": webhook_id,
        "webhook-timestamp": str(timestamp),
        "webhook-signature": f"v1,{base64.b64encode(digest).decode()}",
    }


class Receipts:
    """Hands receipts over in the background; what nobody took is tried again at the next start."""

    def __init__(
        self,
        session: aiohttp.ClientSession,
        key: str,
        journal: Journal,
        clock: Clock,
        delivery_seconds: float,
    ) -> None:
        self._session = session
        self._key = key
        self._journal = journal
        self._clock = clock
        self._delivery_seconds = delivery_seconds
        self._sending: dict[str, Gathering[Kept, None]] = {}
        """By the URL that they go to."""
        self._tasks = Tasks("gateway receipts")

    def start(self, kept: Kept, copies: int = 1) -> None:
        """Sends the receipt of `kept` `copies` times, once the message counts as delivered."""
        if kept.order.callback:
            self._tasks.start(str(kept.order.id), self._hand_over(kept, copies))

    async def close(self) -> None:
        await self._tasks.close()
        for sending in self._sending.values():
            await sending.close()

    async def _hand_over(self, kept: Kept, copies: int) -> None:
        await asyncio.sleep(self._seconds_to_go(kept))
        for pause in (*_PAUSES, None):
            taken = [await self._send(kept) for _ in range(copies)]
            if all(taken):
                await self._journal.hand_over(kept.order.id, self._clock.now())
                return
            if pause is not None:
                await asyncio.sleep(pause)
        log.warning("nobody took the receipt", message_id=str(kept.order.id))

    def _seconds_to_go(self, kept: Kept) -> float:
        return max(0.0, (self._done_at(kept) - self._clock.now()).total_seconds())

    def _done_at(self, kept: Kept) -> datetime:
        return kept.at + timedelta(seconds=self._delivery_seconds)

    async def _send(self, kept: Kept) -> bool:
        url = kept.order.callback
        if url not in self._sending:
            self._sending[url] = Gathering(
                "sending receipts", partial(self._post, url), within=_MOMENT, at_most=_AT_ONCE
            )
        try:
            await self._sending[url].add(kept)
        except (TryLater, NotAllowed):
            return False
        return True

    async def _post(self, url: str, lot: Sequence[Kept]) -> Sequence[None]:
        """Raises NotAllowed when the receiver refuses them, maybe for one of them, TryLater when it is away."""
        now = self._clock.now()
        # A loop's timers may be short of the clock by a millisecond, and a receipt tells the end.
        states = [state_of(kept, max(now, self._done_at(kept)), self._delivery_seconds) for kept in lot]
        body = msgspec.json.encode({"receipts": states})
        headers = signed_headers(self._key, _webhook_id(lot), int(now.timestamp()), body)
        try:
            async with self._session.post(
                url,
                data=body,
                headers=headers,
                allow_redirects=False,
                timeout=aiohttp.ClientTimeout(total=_ANSWER_SECONDS),
            ) as response:
                status = response.status
        except (aiohttp.ClientError, TimeoutError, OSError):
            raise TryLater("nobody answers") from None
        if status == HTTPStatus.SERVICE_UNAVAILABLE:
            raise TryLater("the receiver is away")
        if status >= HTTPStatus.MULTIPLE_CHOICES:
            raise NotAllowed(f"refused with {status}")
        return [None] * len(lot)


def _webhook_id(lot: Sequence[Kept]) -> str:
    """The same for the same receipts, whenever they are sent."""
    return f"receipts-{hashlib.sha256(''.join(str(kept.order.id) for kept in lot).encode()).hexdigest()[:32]}"

"""Delivery receipts of the sandbox gateway: a signed POST to the sender's callback URL, tried a few times.

Signed as Standard Webhooks are: `webhook-id`, `webhook-timestamp` (Unix seconds) and `webhook-signature`,
which is `v1,` and the Base64 of HMAC-SHA256, with the API key, over `ID.TIMESTAMP.BODY`.
"""

from __future__ import annotations

import asyncio
import base64
import hashlib
import hmac
from datetime import datetime, timedelta

import aiohttp
import msgspec
import structlog

from engine.foundation.clock import Clock
from engine.foundation.tasks import Tasks
from engine.sandbox.gateway_journal import Journal, Kept

log = structlog.get_logger(__name__)

DELIVERY_SECONDS = 0.3
"""From accepted to delivered, and so to the first receipt."""
_PAUSES = (1.0, 4.0, 15.0)
_ANSWER_SECONDS = 5.0


class State(msgspec.Struct, frozen=True, kw_only=True):
    """What became of a message: the body of a receipt and the answer to a look-up."""

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
        self._tasks = Tasks("gateway receipts")

    def start(self, kept: Kept, copies: int = 1) -> None:
        """Sends the receipt of `kept` `copies` times, once the message counts as delivered."""
        if kept.order.callback:
            self._tasks.start(str(kept.order.id), self._hand_over(kept, copies))

    async def close(self) -> None:
        await self._tasks.close()

    async def _hand_over(self, kept: Kept, copies: int) -> None:
        await asyncio.sleep(self._seconds_to_go(kept))
        for pause in (*_PAUSES, None):
            taken = [await self._post(kept) for _ in range(copies)]
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

    async def _post(self, kept: Kept) -> bool:
        now = self._clock.now()
        # A loop's timers may be short of the clock by a millisecond, and a receipt tells the end.
        told_at = max(now, self._done_at(kept))
        body = msgspec.json.encode(state_of(kept, told_at, self._delivery_seconds))
        headers = signed_headers(self._key, f"receipt-{kept.order.id}", int(now.timestamp()), body)
        try:
            async with self._session.post(
                kept.order.callback,
                data=body,
                headers=headers,
                allow_redirects=False,
                timeout=aiohttp.ClientTimeout(total=_ANSWER_SECONDS),
            ) as response:
                return response.status < 300
        except (aiohttp.ClientError, TimeoutError, OSError):
            return False

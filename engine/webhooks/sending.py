"""One letter to one receiver, once: signed, to its first address or its second, while the lease lasts."""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import datetime
from uuid import UUID

from sqlalchemy.ext.asyncio import AsyncEngine

from engine.foundation.clock import Clock
from engine.foundation.database import transaction
from engine.foundation.errors import Conflict, TryLater
from engine.foundation.sealing import SealingKey
from engine.webhooks import signature, store
from engine.webhooks.egress import Egress
from engine.webhooks.ladder import FALLBACK_FOR, Answer
from engine.webhooks.letters import Letter
from engine.webhooks.logbook import Logbook
from engine.webhooks.model import SealedSecrets, Webhook

HEADERS = {"content-type": "application/json", "user-agent": "Dari-Webhooks/1"}


@dataclass(frozen=True, slots=True)
class Secrets:
    """What a receiver's signatures are made with."""

    current: bytes = field(repr=False)
    old: bytes | None = field(repr=False)
    old_until: datetime | None

    @classmethod
    def opened(cls, key: SealingKey, webhook: UUID, sealed: SealedSecrets) -> Secrets:
        """Raises Invalid when they were sealed with another key."""
        old = None if sealed.old is None else key.open(sealed.old, whose(webhook))
        return cls(key.open(sealed.current, whose(webhook)), old, sealed.old_until)

    def valid(self, now: datetime) -> list[bytes]:
        """Those that sign now, the newest first."""
        if self.old is None or self.old_until is None or now >= self.old_until:
            return [self.current]
        return [self.current, self.old]


def whose(webhook: UUID) -> str:
    """For whom its secret is sealed."""
    return f"webhook {webhook}"


@dataclass(slots=True)
class Sending:
    """To one receiver."""

    database: AsyncEngine
    egress: Egress
    key: SealingKey
    clock: Clock
    webhook: Webhook
    logbook: Logbook
    leased_until: float
    """On the monotonic clock: after that, somebody else may be sending."""
    _secrets: Secrets | None = None

    def forget_secrets(self) -> None:
        """They may be others now."""
        self._secrets = None

    async def send(self, letter: Letter) -> Answer:
        """Tries the first address and, if it fails, the second; or the other way round while the first is known bad.

        Raises TryLater when the lease is over, Conflict when the receiver was removed.
        """
        now = self.clock.now()
        second = self.webhook.fallback_url
        on_second = second is not None and (self.logbook.progress.fallback_until or now) > now
        urls = [self.webhook.url] if second is None else [self.webhook.url, second]
        answer, is_first = Answer(None, "nothing was sent"), True
        for url in reversed(urls) if on_second else urls:
            answer = await self._post(url, letter)
            is_first = url == self.webhook.url
            if answer.gone and is_first:
                return answer
            if answer.delivered:
                break
        if second is not None and answer.delivered and not on_second:
            self.logbook.now_is(fallback_until=None if is_first else self.clock.now() + FALLBACK_FOR)
        return Answer(None, answer.reason, answer.seconds) if answer.gone else answer

    async def _post(self, url: str, letter: Letter) -> Answer:
        now, body = self.clock.now(), letter.body
        secrets = await self._valid_secrets(now)
        if self.clock.monotonic() >= self.leased_until:  # last of all: nothing else may take time after it
            raise TryLater("the lease was not renewed: somebody else may be sending")
        signed = signature.headers(secrets, letter.id, int(now.timestamp()), body)
        return await self.egress.post(url, signed | HEADERS, body)

    async def _valid_secrets(self, now: datetime) -> list[bytes]:
        if self._secrets is None:
            async with transaction(self.database) as connection:
                sealed = await store.secrets_of(connection, self.webhook.id)
            if sealed is None:
                raise Conflict(f"webhook {self.webhook.id}: it was removed")
            self._secrets = Secrets.opened(self.key, self.webhook.id, sealed)
        return self._secrets.valid(now)

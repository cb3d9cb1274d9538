"""An event made up to see whether a receiver takes it: signed like any other, and in no stream."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from uuid import UUID

import msgspec
from sqlalchemy.ext.asyncio import AsyncConnection

from engine.accounts.model import Actor, Deed, Module
from engine.accounts.permissions import check_on
from engine.accounts.tree import find as find_account
from engine.events import stream
from engine.events.kinds import EventKind
from engine.foundation.ids import new_id
from engine.webhooks import signature, store
from engine.webhooks.allowed import allowed, not_there
from engine.webhooks.egress import Egress
from engine.webhooks.ladder import Answer
from engine.webhooks.letters import in_envelope
from engine.webhooks.sending import HEADERS, Secrets
from engine.webhooks.settings import Rules


@dataclass(frozen=True, slots=True)
class Trial:
    """Where it goes, and what."""

    urls: tuple[str, ...] = field(repr=False)
    headers: Mapping[str, str]
    body: bytes

    async def send(self, egress: Egress) -> list[tuple[str, Answer]]:
        """What came of each address. Holds no transaction: it may last as long as the receiver lets it."""
        return [(url, await egress.post(url, self.headers, self.body)) for url in self.urls]


async def trial(connection: AsyncConnection, rules: Rules, actor: Actor, identifier: UUID, now: datetime) -> Trial:
    """The event for this receiver, in an envelope where others are. Raises NotFound or NotAllowed."""
    found = await allowed(connection, actor, Deed.CHANGE_WEBHOOKS, identifier)
    check_on(await find_account(connection, found.account_id), Module.WEBHOOKS)
    sealed = await store.secrets_of(connection, identifier)
    if sealed is None:
        raise not_there(identifier)
    uid = new_id(now)
    body = msgspec.json.encode(
        {
            "id": stream.event_id(uid),
            "type": EventKind.WEBHOOK_TEST.value,
            "sequence": None,
            "timestamp": now,
            "account_id": found.account_id,
            "call_id": None,
            "data": {"webhook_id": identifier},
        }
    )
    if found.batch > 1:
        body = in_envelope([body])
    signed = signature.headers(
        Secrets.opened(rules.key, identifier, sealed).valid(now), stream.event_id(uid), int(now.timestamp()), body
    )
    urls = (found.url,) if found.fallback_url is None else (found.url, found.fallback_url)
    return Trial(urls, signed | HEADERS, body)

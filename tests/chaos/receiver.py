"""Somebody who takes the events of the calls by webhook: whatever dies, each is told once, in order, none left out."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Sequence
from datetime import UTC, datetime
from itertools import pairwise
from uuid import UUID

from sqlalchemy.ext.asyncio import AsyncEngine

from engine.accounts.model import LOCAL_OPERATOR
from engine.app.opened import webhook_rules_of
from engine.cdr.model import CallRecord
from engine.events.kinds import EventKind
from engine.foundation.database import transaction
from engine.settings import Settings
from engine.webhooks import book
from engine.webhooks.settings import WebhookSettings
from tests.webhook_sink import WebhookSink

LOOPBACK = "127.0.0.0/8"
"""Where a system's webhooks may go, for DARI_WEBHOOK_NETWORKS."""


async def send_events_to(sink: WebhookSink, database: AsyncEngine, settings: Settings, account: UUID) -> None:
    """The account's events go to `sink` from now on."""
    async with transaction(database) as connection:
        wanted = WebhookSettings(url=sink.url)
        rules = webhook_rules_of(settings)
        _, secret = await book.add(connection, rules, LOCAL_OPERATOR, account, wanted, datetime.now(UTC))
    sink.secrets.append(secret)


def not_told(sink: WebhookSink, records: Sequence[CallRecord]) -> set[str]:
    """The calls, by id, whose end has not come yet."""
    return {str(record.call_id) for record in records} - set(_ends(sink))


def wrong_with_the_told(sink: WebhookSink, records: Sequence[CallRecord]) -> list[str]:
    """What did not come as it should: an end for each of these calls, once and last; no place left out or changed."""
    wrong = [f"{len(sink.unproven)} events whose signature proves nothing"] if sink.unproven else []
    ends = _ends(sink)
    wrong += [
        f"the end of {record.call_id} came {count} times"
        for record in records
        if (count := ends[str(record.call_id)]) != 1
    ]
    places = sink.places
    if jumps := [(one, other) for one, other in pairwise(places) if other != one + 1]:
        wrong.append(f"{len(places)} events did not come one after the other: {jumps[:10]}")
    kinds: defaultdict[str, list[str]] = defaultdict(list)
    for body in sink.taken:
        if body["call_id"] and body["type"].startswith("call."):
            kinds[body["call_id"]].append(body["type"])
    last = EventKind.CALL_ENDED.value
    wrong += [f"{call_id} was told as {told}" for call_id, told in kinds.items() if last in told[:-1]]
    return wrong


def _ends(sink: WebhookSink) -> Counter[str]:
    return Counter(body["call_id"] for body in sink.taken if body["type"] == EventKind.CALL_ENDED.value)

"""Dead letters, and the wishes to be sent events once more, dead ones or others, which `again` fulfils.

Each deed works in the caller's transaction, asks `permissions`, and writes the audit's entry and the event with the
change. Raises NotFound, NotAllowed, Invalid or Conflict.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import datetime
from uuid import UUID

from sqlalchemy.ext.asyncio import AsyncConnection

from engine.accounts.model import Actor, Deed
from engine.events import stream
from engine.foundation.errors import Conflict, Invalid, NotFound
from engine.foundation.ids import new_id
from engine.webhooks import store_dead_letters, store_replays
from engine.webhooks.allowed import allowed
from engine.webhooks.model import DeadLetter, Replay, Span, Webhook
from engine.webhooks.told import tell_webhook

MOST_REPLAYS = 10
"""Ranges that wait to be sent again to one receiver."""
_LAST_PLACE = 10**18 - 1


async def replay(
    connection: AsyncConnection, actor: Actor, identifier: UUID, first: int, last: int, now: datetime
) -> Replay:
    """Sends the events of these places once more, beside what is new; what it has not come to yet comes once, as new.

    Raises Invalid for places that there are not.
    """
    found = await allowed(connection, actor, Deed.CHANGE_WEBHOOKS, identifier, keep=True)
    head = await stream.head(connection, found.top)
    if not 0 < first <= last or first > head:
        raise Invalid(f"first: the places {first} to {last} are no range of the stream, which has places 1 to {head}")
    await _check_kept(connection, found, first)
    span = Span(found.top, first - 1, min(last, head))
    return (await _replay(connection, actor, found, [span], now, only_dead=False))[0]


async def replay_dead(
    connection: AsyncConnection,
    actor: Actor,
    identifier: UUID,
    now: datetime,
    *,
    first: int = 1,
    last: int = _LAST_PLACE,
) -> list[Replay]:
    """Sends dead letters once more, all or those at these places: a range for each stream, at least one.

    There are several where the account was moved. Raises NotFound when there are no dead letters.
    """
    found = await allowed(connection, actor, Deed.CHANGE_WEBHOOKS, identifier, keep=True)
    spans = await store_dead_letters.spans(connection, identifier, first, last)
    if not spans:
        raise NotFound(f"webhook {identifier}: there are no dead letters there; nothing is to be sent again")
    return await _replay(connection, actor, found, spans, now, only_dead=True)


async def listing(connection: AsyncConnection, actor: Actor, identifier: UUID) -> list[Replay]:
    """The ranges that are still to be sent again, oldest first."""
    await allowed(connection, actor, Deed.SEE_WEBHOOKS, identifier)
    return await store_replays.listing(connection, identifier)


async def dead_letters(
    connection: AsyncConnection,
    actor: Actor,
    identifier: UUID,
    *,
    after: tuple[int, UUID] | None = None,
    limit: int = 100,
) -> list[DeadLetter]:
    """What it did not take in time, by place and stream; `after` the place and the stream of the last one before."""
    await allowed(connection, actor, Deed.SEE_WEBHOOKS, identifier)
    return await store_dead_letters.listing(connection, identifier, after, limit)


async def dead_counts(connection: AsyncConnection, webhooks: Sequence[Webhook]) -> Mapping[UUID, int]:
    """How many dead letters each of these, which the actor may see, has; those without are left away."""
    return await store_dead_letters.counts(connection, [webhook.id for webhook in webhooks])


async def _replay(
    connection: AsyncConnection,
    actor: Actor,
    webhook: Webhook,
    spans: Sequence[Span],
    now: datetime,
    *,
    only_dead: bool,
) -> list[Replay]:
    if len(await store_replays.listing(connection, webhook.id)) >= MOST_REPLAYS:
        raise Conflict(f"webhook {webhook.id}: {MOST_REPLAYS} ranges wait already; wait until they are sent")
    wanted = [
        Replay(
            id=new_id(now),
            top=span.top,
            first_seq=span.after + 1,
            last_seq=span.upto,
            only_dead=only_dead,
            position=span.after,
            asked_at=now,
        )
        for span in spans
    ]
    for one in wanted:
        await store_replays.add(connection, webhook.id, one)
    told: dict[str, object] = {
        "replay": [[one.first_seq, one.last_seq] for one in wanted],
        "only_dead": only_dead,
    }
    await tell_webhook(connection, actor, webhook, now, after=told)
    return wanted


async def _check_kept(connection: AsyncConnection, webhook: Webhook, first: int) -> None:
    kept = await stream.check_kept(connection, webhook.top, first - 1)
    if kept >= first:
        raise NotFound(f"first: the events up to place {kept} were deleted when their time was over; begin behind it")

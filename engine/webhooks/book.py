"""The deeds on webhooks: add, change, pause, resume, rotate, remove, send again, test.

Each works in the caller's transaction, asks `permissions`, and writes the audit's entry and the event with the change.
Deeds raise NotFound, NotAllowed, Invalid or Conflict. A secret is shown by the deed that makes it, and never again.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from uuid import UUID

import msgspec
from sqlalchemy.ext.asyncio import AsyncConnection

from engine.accounts.model import Actor, Deed, Module, Place
from engine.accounts.permissions import check, check_on, reach
from engine.accounts.told import tell
from engine.accounts.tree import find as find_account
from engine.accounts.tree import kept_open, place_of
from engine.events import stream
from engine.events.kinds import EventKind, read_kinds
from engine.foundation.errors import Conflict, Invalid, NotFound
from engine.foundation.ids import new_id
from engine.foundation.sealing import SealingKey
from engine.webhooks import signature, store
from engine.webhooks.addresses import Network, check_url, shown_url
from engine.webhooks.egress import Egress
from engine.webhooks.ladder import Answer
from engine.webhooks.lane import HEADERS, Secrets, whose
from engine.webhooks.model import DeadLetter, Progress, Replay, Webhook, WebhookStatus

MOST = 20
"""Webhooks of one account."""
BOTH_VALID_FOR = timedelta(hours=24)
"""How long the secret before a new one goes on to sign, unless said otherwise."""
LONGEST_OVERLAP = timedelta(days=7)
MOST_REPLAYS = 10
"""Ranges that wait to be sent again to one receiver."""
_LONGEST_DESCRIPTION = 200
_LAST_PLACE = 10**18 - 1


@dataclass(frozen=True, slots=True, kw_only=True)
class Settings:
    """What is set of a webhook."""

    url: str
    fallback_url: str | None = None
    kinds: tuple[str, ...] = ()
    description: str = ""


@dataclass(frozen=True, slots=True)
class Rules:
    """What all deeds on webhooks of one process go by."""

    key: SealingKey
    """What secrets are sealed with."""
    opened: tuple[Network, ...] = ()
    """Networks that may be sent to although they are not public."""


async def add(
    connection: AsyncConnection,
    rules: Rules,
    actor: Actor,
    account: UUID,
    wanted: Settings,
    now: datetime,
    *,
    secret: str | None = None,
    after: int | None = None,
) -> tuple[Webhook, str]:
    """A new receiver of the account's events, and its secret.

    It gets what happens from now on, or what is behind the place `after`.
    """
    found = await kept_open(connection, account)
    check(actor, Deed.CHANGE_WEBHOOKS, found.place)
    check_on(found, Module.WEBHOOKS)
    if await store.count(connection, account) >= MOST:
        raise Conflict(f"webhooks: {found.name} has {MOST} already; remove one that is not needed any more")
    wanted = checked(wanted, rules)
    raw = signature.read_secret(secret) if secret is not None else signature.new_secret()
    top = stream.top_of(found.place.path)
    position = await _place(connection, top, after)
    identifier = new_id(now)
    webhook = Webhook(
        id=identifier,
        account_id=account,
        top=top,
        url=wanted.url,
        fallback_url=wanted.fallback_url,
        kinds=wanted.kinds,
        description=wanted.description,
        created_at=now,
        progress=Progress(position=position, positioned_at=now, next_at=now),
    )
    await store.insert(connection, webhook, rules.key.seal(raw, whose(identifier)))
    await _tell(connection, actor, webhook, now, after=_shown(wanted))
    return webhook, signature.written(raw)


async def find(connection: AsyncConnection, actor: Actor, identifier: UUID) -> Webhook:
    """The webhook, as the actor may see it."""
    return await _allowed(connection, actor, Deed.SEE_WEBHOOKS, identifier)


async def listing(
    connection: AsyncConnection,
    actor: Actor,
    *,
    account: UUID | None = None,
    after: UUID | None = None,
    limit: int = 100,
) -> list[Webhook]:
    """Those of the account and of all below it, by id; `after` the last id before. None: the actor's own account."""
    if account is None:
        root = reach(actor, Deed.SEE_WEBHOOKS)
    else:
        root = account
        check(actor, Deed.SEE_WEBHOOKS, await place_of(connection, account))
    return await store.under(connection, root, after, limit)


async def change(
    connection: AsyncConnection, rules: Rules, actor: Actor, identifier: UUID, wanted: Settings, now: datetime
) -> Webhook:
    """Sets all of its settings; what waits is tried at once."""
    before = await _allowed(connection, actor, Deed.CHANGE_WEBHOOKS, identifier, keep=True)
    wanted = checked(wanted, rules)
    changed = replace(
        before,
        url=wanted.url,
        fallback_url=wanted.fallback_url,
        kinds=wanted.kinds,
        description=wanted.description,
    )
    await store.set_settings(connection, changed, now)
    await _tell(connection, actor, changed, now, before=_shown(settings_of(before)), after=_shown(wanted))
    return await _again(connection, identifier)


async def pause(connection: AsyncConnection, actor: Actor, identifier: UUID, now: datetime) -> Webhook:
    """Sends nothing until it is resumed; its place is kept."""
    return await _moved(connection, actor, identifier, WebhookStatus.PAUSED, (WebhookStatus.ACTIVE,), now)


async def resume(connection: AsyncConnection, actor: Actor, identifier: UUID, now: datetime) -> Webhook:
    """Goes on where it stopped, at once; an active one whose receiver failed is tried at once."""
    found = await _allowed(connection, actor, Deed.CHANGE_WEBHOOKS, identifier, keep=True)
    if found.status is WebhookStatus.ACTIVE:
        await store.try_now(connection, identifier, now)
        return await _again(connection, identifier)
    stopped = (WebhookStatus.PAUSED, WebhookStatus.DISABLED)
    return await _moved(connection, actor, identifier, WebhookStatus.ACTIVE, stopped, now)


async def rotate(
    connection: AsyncConnection,
    rules: Rules,
    actor: Actor,
    identifier: UUID,
    now: datetime,
    *,
    secret: str | None = None,
    both_valid_for: timedelta = BOTH_VALID_FOR,
) -> str:
    """A new secret. For a time everything is signed with the one before as well, so that receivers change in peace."""
    found = await _allowed(connection, actor, Deed.CHANGE_WEBHOOKS, identifier, keep=True)
    if not timedelta(0) <= both_valid_for <= LONGEST_OVERLAP:
        raise Invalid(f"both_valid_for: it must be 0 to {LONGEST_OVERLAP.days * 24} hours")
    raw = signature.read_secret(secret) if secret is not None else signature.new_secret()
    until = now + both_valid_for if both_valid_for else None
    await store.rotate(connection, identifier, rules.key.seal(raw, whose(identifier)), until)
    await _tell(connection, actor, found, now, before={"secret": "old"}, after={"secret": "new", "old_until": until})
    return signature.written(raw)


async def remove(connection: AsyncConnection, actor: Actor, identifier: UUID, now: datetime) -> None:
    """It gets nothing any more, and its dead letters go with it."""
    found = await _allowed(connection, actor, Deed.CHANGE_WEBHOOKS, identifier, keep=True)
    await store.remove(connection, identifier)
    await _tell(connection, actor, found, now, before=_shown(settings_of(found)))


async def replay(
    connection: AsyncConnection, actor: Actor, identifier: UUID, first: int, last: int, now: datetime
) -> Replay:
    """Sends the events of these places once more, beside what is new. Raises Invalid for places that there are not."""
    found = await _allowed(connection, actor, Deed.CHANGE_WEBHOOKS, identifier, keep=True)
    head = await stream.head(connection, found.top)
    if not 0 < first <= last or first > head:
        raise Invalid(f"first: the places {first} to {last} are no range of the stream, which has places 1 to {head}")
    await _check_kept(connection, found, first)
    return await _replay(connection, actor, found, first, min(last, head), now, only_dead=False)


async def replay_dead(
    connection: AsyncConnection,
    actor: Actor,
    identifier: UUID,
    now: datetime,
    *,
    first: int = 1,
    last: int = _LAST_PLACE,
) -> Replay:
    """Sends dead letters once more, all or those of a range. Raises NotFound when there are none."""
    found = await _allowed(connection, actor, Deed.CHANGE_WEBHOOKS, identifier, keep=True)
    span = await store.dead_span(connection, identifier, first, last)
    if span is None:
        raise NotFound(f"webhook {identifier}: there are no dead letters there; nothing is to be sent again")
    return await _replay(connection, actor, found, span[0], span[1], now, only_dead=True)


async def replays(connection: AsyncConnection, actor: Actor, identifier: UUID) -> list[Replay]:
    """The ranges that are still to be sent again, oldest first."""
    await find(connection, actor, identifier)
    return await store.replays(connection, identifier)


async def dead_letters(
    connection: AsyncConnection, actor: Actor, identifier: UUID, *, after: int = 0, limit: int = 100
) -> list[DeadLetter]:
    """What it did not take in time, by place."""
    await find(connection, actor, identifier)
    return await store.dead_letters(connection, identifier, after, limit)


async def dead_counts(connection: AsyncConnection, webhooks: Sequence[Webhook]) -> Mapping[UUID, int]:
    """How many dead letters each of these, which the actor may see, has; those without are left away."""
    return await store.dead_counts(connection, [webhook.id for webhook in webhooks])


@dataclass(frozen=True, slots=True)
class Trial:
    """An event made up to see whether a receiver takes it: where it goes, and what."""

    urls: tuple[str, ...]
    headers: Mapping[str, str]
    body: bytes

    async def send(self, egress: Egress) -> list[tuple[str, Answer]]:
        """What came of each address. Holds no transaction: it may last as long as the receiver lets it."""
        return [(url, await egress.post(url, self.headers, self.body)) for url in self.urls]


async def trial(connection: AsyncConnection, rules: Rules, actor: Actor, identifier: UUID, now: datetime) -> Trial:
    """A test event, signed like any other; it is in no stream."""
    found = await _allowed(connection, actor, Deed.CHANGE_WEBHOOKS, identifier)
    check_on(await find_account(connection, found.account_id), Module.WEBHOOKS)
    sealed = await store.secrets_of(connection, identifier)
    if sealed is None:
        raise _not_there(identifier)
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
    signed = signature.headers(
        Secrets.opened(rules.key, identifier, sealed).valid(now), stream.event_id(uid), int(now.timestamp()), body
    )
    urls = (found.url,) if found.fallback_url is None else (found.url, found.fallback_url)
    return Trial(urls, signed | HEADERS, body)


def settings_of(webhook: Webhook) -> Settings:
    return Settings(
        url=webhook.url, fallback_url=webhook.fallback_url, kinds=webhook.kinds, description=webhook.description
    )


def checked(wanted: Settings, rules: Rules) -> Settings:
    """The settings as they are kept. Raises Invalid naming the field."""
    description = wanted.description.strip()
    if len(description) > _LONGEST_DESCRIPTION or not (description.isprintable() or not description):
        raise Invalid(f"description: it must be at most {_LONGEST_DESCRIPTION} printable characters")
    url = check_url(wanted.url, rules.opened)
    fallback = check_url(wanted.fallback_url, rules.opened, "fallback_url") if wanted.fallback_url else None
    if fallback == url:
        raise Invalid("fallback_url: it is the first address again; name another, or none")
    return Settings(url=url, fallback_url=fallback, kinds=read_kinds(wanted.kinds), description=description)


async def _allowed(
    connection: AsyncConnection, actor: Actor, deed: Deed, identifier: UUID, *, keep: bool = False
) -> Webhook:
    found = await store.find(connection, identifier, keep=keep)
    if found is None:
        raise _not_there(identifier)
    place: Place = await place_of(connection, found.account_id)
    check(actor, deed, place, what=f"webhook {identifier}")
    return found


async def _again(connection: AsyncConnection, identifier: UUID) -> Webhook:
    found = await store.find(connection, identifier)
    if found is None:
        raise _not_there(identifier)
    return found


async def _moved(
    connection: AsyncConnection,
    actor: Actor,
    identifier: UUID,
    status: WebhookStatus,
    expected: Sequence[WebhookStatus],
    now: datetime,
) -> Webhook:
    before = await _allowed(connection, actor, Deed.CHANGE_WEBHOOKS, identifier)
    if not await store.move(connection, identifier, status, expected, now):
        raise Conflict(f"webhook {identifier}: it is {before.status.value}; nothing was changed")
    shown = {"status": before.status.value}, {"status": status.value}
    await _tell(connection, actor, before, now, before=shown[0], after=shown[1])
    return await _again(connection, identifier)


async def _replay(
    connection: AsyncConnection,
    actor: Actor,
    webhook: Webhook,
    first: int,
    last: int,
    now: datetime,
    *,
    only_dead: bool,
) -> Replay:
    if len(await store.replays(connection, webhook.id)) >= MOST_REPLAYS:
        raise Conflict(f"webhook {webhook.id}: {MOST_REPLAYS} ranges wait already; wait until they are sent")
    wanted = Replay(
        id=new_id(now), first_seq=first, last_seq=last, only_dead=only_dead, position=first - 1, asked_at=now
    )
    await store.add_replay(connection, webhook.id, wanted)
    told: dict[str, object] = {"replay": [first, last], "only_dead": only_dead}
    await _tell(connection, actor, webhook, now, after=told)
    return wanted


async def _place(connection: AsyncConnection, top: UUID, after: int | None) -> int:
    head = await stream.head(connection, top)
    if after is None:
        return head
    if not 0 <= after <= head:
        raise Invalid(f"after: place {after} is none of the stream, which is at {head}")
    return await stream.check_kept(connection, top, after)


async def _check_kept(connection: AsyncConnection, webhook: Webhook, first: int) -> None:
    kept = await stream.check_kept(connection, webhook.top, first - 1)
    if kept >= first:
        raise NotFound(f"first: the events up to place {kept} were deleted when their time was over; begin behind it")


async def _tell(
    connection: AsyncConnection,
    actor: Actor,
    webhook: Webhook,
    now: datetime,
    *,
    before: Mapping[str, object] | None = None,
    after: Mapping[str, object] | None = None,
) -> None:
    await tell(
        connection,
        actor,
        Deed.CHANGE_WEBHOOKS,
        webhook.account_id,
        now,
        before=before,
        after=after,
        thing=("webhook", webhook.id),
    )


def _shown(wanted: Settings) -> dict[str, object]:
    return {
        "url": shown_url(wanted.url),
        "fallback_url": shown_url(wanted.fallback_url) if wanted.fallback_url else None,
        "kinds": list(wanted.kinds),
        "description": wanted.description,
    }


def _not_there(identifier: UUID) -> NotFound:
    return NotFound(f"webhook {identifier}: there is none that you may see")

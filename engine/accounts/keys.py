"""API keys: made with scopes, shown once, known again by their hash, revoked at any time.

A key acts as the manager of its account, does nothing beyond its scopes, and is good while whoever made it could make
it again. Deeds work in the caller's transaction, ask `permissions`, and write the audit's entry and the event.
"""

from __future__ import annotations

import hmac
from collections.abc import Set
from datetime import datetime, timedelta
from uuid import UUID

from sqlalchemy.ext.asyncio import AsyncConnection

from engine.accounts import store_keys as store
from engine.accounts import store_users, tree
from engine.accounts.model import MANAGERS, Actor, Deed
from engine.accounts.permissions import check, check_scopes, reach
from engine.accounts.tokens import PREFIX_LETTERS, Expired, hash_of, letters, new_key, prefix_of
from engine.accounts.told import tell
from engine.accounts.user import ApiKey, UserStatus
from engine.foundation.errors import Conflict, DariError, Invalid, NotAllowed, NotFound, TryLater
from engine.foundation.ids import new_id

LONGEST_LIFE = timedelta(days=3660)
_LONGEST_NAME = 100
_NOTED_EVERY = timedelta(minutes=1)
_TRIES = 3


async def make(
    connection: AsyncConnection,
    actor: Actor,
    account: UUID,
    name: str,
    scopes: Set[Deed],
    now: datetime,
    *,
    expires_at: datetime | None = None,
) -> tuple[ApiKey, str]:
    """A new key of the account, and its secret, which nobody can be shown again. Raises NotAllowed for scopes that
    the actor does not have, Invalid for a name, an end or scopes that cannot be.

    A key makes none: what one with an end, or one that is revoked, had made would go on.
    """
    if actor.scopes is not None:
        raise NotAllowed("key: a key makes no keys; sign in to make one")
    place = (await tree.kept_open(connection, account)).place
    name = name.strip()
    if not name or len(name) > _LONGEST_NAME or not name.isprintable():
        raise Invalid(f"name: {name[:40]!r} must be 1 to {_LONGEST_NAME} printable characters")
    if not scopes:
        raise Invalid("scopes: name at least one thing that the key may do")
    if expires_at is not None and not now < expires_at <= now + LONGEST_LIFE:
        raise Invalid(
            f"expires_at: {expires_at:%Y-%m-%d %H:%M} must lie ahead, ten years at most; leave it out for none"
        )
    check_scopes(actor, place, scopes)
    for _ in range(_TRIES):
        key = ApiKey(
            id=new_id(now),
            place=place,
            name=name,
            prefix=letters(PREFIX_LETTERS),
            scopes=frozenset(scopes),
            created_at=now,
            created_by=actor.who,
            expires_at=expires_at,
            used_at=None,
            revoked_at=None,
        )
        secret = new_key(key.prefix)
        if await store.insert(connection, key, hash_of(secret)):
            await _tell(connection, actor, key, now, after=_shown(key))
            return key, secret
    raise TryLater("key: no free prefix was found; try again")


async def actor_of(connection: AsyncConnection, secret: str, now: datetime, *, peer: str = "") -> Actor:
    """Who comes with that key. Raises NotAllowed, Expired when its time is over."""
    prefix = prefix_of(secret)
    known = await store.by_prefix(connection, prefix) if prefix else None
    if known is None or not hmac.compare_digest(known.hash, hash_of(secret)):
        raise NotAllowed("key: it is not known, or was revoked; make another one")
    await _check_good(connection, known, now)
    key = known.key
    if key.used_at is None or key.used_at <= now - _NOTED_EVERY:
        await store.touch(connection, key.id, now, now - _NOTED_EVERY)
    return _actor(key, peer)


async def again(connection: AsyncConnection, key: UUID, now: datetime, *, peer: str = "") -> Actor:
    """As `actor_of`, for somebody who came with that key before."""
    found = await store.find(connection, key)
    known = await store.by_prefix(connection, found.prefix) if found else None
    if known is None:
        raise NotAllowed("key: it is not known; make another one")
    await _check_good(connection, known, now)
    return _actor(known.key, peer)


def _actor(key: ApiKey, peer: str) -> Actor:
    return Actor(who=key.who, place=key.place, role=MANAGERS[key.place.kind], scopes=key.scopes, peer=peer)


async def _check_good(connection: AsyncConnection, known: store.KnownKey, now: datetime) -> None:
    key = known.key
    if key.revoked_at:
        raise NotAllowed("key: it is not known, or was revoked; make another one")
    if key.expires_at is not None and now >= key.expires_at:
        raise Expired(f"key {key.prefix}: its time was over on {key.expires_at:%Y-%m-%d}; make another one")
    if known.account_closed or known.switched_off:
        raise NotAllowed(f"key {key.prefix}: its account has no API (any more); ask whoever manages the account above")
    await _check_maker(connection, key)


async def _check_maker(connection: AsyncConnection, key: ApiKey) -> None:
    """Raises NotAllowed unless whoever made the key, and knows it, could make it now.

    They may be locked or gone, something else in the account by now, or above it no more.
    """
    kind, _, identifier = key.created_by.partition(":")
    if kind != "user":
        return
    maker = await store_users.find(connection, UUID(identifier))
    refused = NotAllowed(f"key {key.prefix}: whoever made it may not make it any more; have another one made")
    if maker is None or maker.status is not UserStatus.ACTIVE:
        raise refused
    try:
        check_scopes(maker.actor(), key.place, key.scopes)
    except DariError:
        raise refused from None


async def find(connection: AsyncConnection, actor: Actor, key: UUID) -> ApiKey:
    """A key that the actor may see. Raises NotFound."""
    found = await store.find(connection, key)
    if found is None:
        raise NotFound(f"key {key}: there is none that you may see")
    check(actor, Deed.SEE_KEYS, found.place, what=f"key {key}")
    return found


async def find_by_prefix(connection: AsyncConnection, actor: Actor, prefix: str) -> ApiKey:
    """As `find`, by what is shown of it."""
    known = await store.by_prefix(connection, prefix.strip().removeprefix("dari_"))
    if known is None:
        raise NotFound(f"key {prefix}: there is none that you may see")
    return await find(connection, actor, known.key.id)


async def listing(
    connection: AsyncConnection,
    actor: Actor,
    *,
    account: UUID | None = None,
    revoked: bool = False,
    after: UUID | None = None,
    limit: int = 100,
) -> list[ApiKey]:
    """Those that the actor may see, by id, after the id `after`; of one account or of all."""
    within = reach(actor, Deed.SEE_KEYS)
    return await store.listing(connection, within=within, account=account, revoked=revoked, after=after, limit=limit)


async def revoke(connection: AsyncConnection, actor: Actor, key: UUID, now: datetime) -> ApiKey:
    """Ends it for good, from the next request on. Raises NotFound, NotAllowed, Conflict when it was before."""
    found = await store.find(connection, key)
    if found is None:
        raise NotFound(f"key {key}: there is none that you may change")
    check(actor, Deed.CHANGE_KEYS, found.place, what=f"key {key}")
    if not await store.revoke(connection, key, now):
        raise Conflict(f"key {found.prefix}: it was revoked before")
    await _tell(connection, actor, found, now, before={"revoked_at": None}, after={"revoked_at": now})
    after = await store.find(connection, key)
    assert after is not None  # noqa: S101 - keys are never deleted
    return after


async def _tell(
    connection: AsyncConnection,
    actor: Actor,
    key: ApiKey,
    now: datetime,
    *,
    before: dict[str, object] | None = None,
    after: dict[str, object],
) -> None:
    thing = ("key", key.id)
    await tell(connection, actor, Deed.CHANGE_KEYS, key.place.account, now, before=before, after=after, thing=thing)


def _shown(key: ApiKey) -> dict[str, object]:
    return {
        "name": key.name,
        "prefix": key.prefix,
        "scopes": sorted(deed.value for deed in key.scopes),
        "expires_at": key.expires_at,
    }

"""Listening grants: a shop lets an account above it hear its calls for a time. Without one nobody else hears them."""

from __future__ import annotations

from datetime import datetime
from uuid import UUID

from sqlalchemy.ext.asyncio import AsyncConnection

from engine.accounts import store_grants
from engine.accounts.model import LONGEST_GRANT, Account, AccountKind, Actor, Deed, ListeningGrant, Standing
from engine.accounts.permissions import check, may
from engine.accounts.told import tell
from engine.accounts.tree import find, kept_open, seen
from engine.foundation.errors import Conflict, Invalid, NotFound
from engine.foundation.ids import new_id

_LONGEST_TEXT = 500
_MOST_SHOWN = 500


async def standing(connection: AsyncConnection, account: UUID, now: datetime) -> Standing:
    """The account with its running grants: for `permissions.check`. Raises NotFound."""
    return Standing(account=await find(connection, account), grants=await running(connection, account, now))


async def running(connection: AsyncConnection, shop: UUID, now: datetime) -> tuple[ListeningGrant, ...]:
    """The shop's grants that hold at `now`."""
    return tuple(await store_grants.running(connection, shop, now))


async def give(
    connection: AsyncConnection,
    actor: Actor,
    shop: UUID,
    to_account: UUID,
    now: datetime,
    *,
    until: datetime,
    reason: str,
    begins: datetime | None = None,
    evidence: str = "",
) -> ListeningGrant:
    """The shop lets `to_account`, which is above it, hear its calls from `begins` (None: `now`) to `until`.

    The shop's owner gives it; the operator writes down one that was given on paper, with evidence. Raises NotFound,
    NotAllowed, Invalid or Conflict.
    """
    giver = await kept_open(connection, shop)
    if not may(actor, Deed.GRANT_LISTENING, giver.place):
        check(actor, Deed.RECORD_GRANTS, giver.place)
        if not evidence.strip():
            raise Invalid("evidence: name the paper on which the shop gave its leave; without it nothing is granted")
    begins = begins or now
    grant = ListeningGrant(
        id=new_id(now),
        shop=shop,
        to_account=to_account,
        by=actor.who,
        reason=_text("reason", reason),
        evidence=_text("evidence", evidence) if evidence.strip() else "",
        begins=begins,
        until=until,
    )
    _check_grant(grant, giver, now)
    await store_grants.insert(connection, grant)
    told = {"to_account": to_account, "begins": begins, "until": until, "reason": grant.reason, "evidence": evidence}
    await tell(connection, actor, Deed.GRANT_LISTENING, shop, now, after=told, thing=("listening grant", grant.id))
    return grant


async def take_back(connection: AsyncConnection, actor: Actor, grant: UUID, now: datetime) -> ListeningGrant:
    """Ends the grant at once. Raises NotFound, NotAllowed or Conflict."""
    found = await store_grants.by_id(connection, grant)
    if found is None:
        raise NotFound(f"grant {grant}: there is none that you may see")
    shop = await find(connection, found.shop)
    if not may(actor, Deed.GRANT_LISTENING, shop.place):
        check(actor, Deed.RECORD_GRANTS, shop.place, what=f"grant {grant}")
    if not await store_grants.take_back(connection, grant, actor.who, now):
        raise Conflict(f"grant {grant}: it does not run any more; there is nothing to take back")
    told = {"taken_back_at": now}
    await tell(connection, actor, Deed.GRANT_LISTENING, found.shop, now, after=told, thing=("listening grant", grant))
    return await _again(connection, grant)


async def of_shop(connection: AsyncConnection, actor: Actor, shop: UUID) -> list[ListeningGrant]:
    """The shop's grants, the newest first, those that are over too. Raises NotFound or NotAllowed."""
    await seen(connection, actor, shop)
    return await store_grants.of_shop(connection, shop, _MOST_SHOWN)


async def _again(connection: AsyncConnection, grant: UUID) -> ListeningGrant:
    found = await store_grants.by_id(connection, grant)
    assert found is not None  # noqa: S101 - grants are never removed
    return found


def _check_grant(grant: ListeningGrant, giver: Account, now: datetime) -> None:
    """Raises Invalid for a grant that cannot be one."""
    if giver.kind is not AccountKind.SHOP:
        raise Invalid(f"shop: {giver.name} is a {giver.kind.value}; only a shop has calls that others may hear")
    if grant.to_account == giver.id or grant.to_account not in giver.path:
        raise Invalid(f"to_account: {grant.to_account} does not stand above {giver.name}; name an account that does")
    if not grant.begins < grant.until or grant.until <= now:
        raise Invalid("until: it must be after the beginning, and not over yet")
    if grant.until - grant.begins > LONGEST_GRANT:
        raise Invalid(f"until: a grant runs {LONGEST_GRANT.days} days at most; give another one later")


def _text(field: str, text: str) -> str:
    text = text.strip()
    if not text or len(text) > _LONGEST_TEXT or "\0" in text:
        raise Invalid(f"{field}: say it in 1 to {_LONGEST_TEXT} characters")
    return text

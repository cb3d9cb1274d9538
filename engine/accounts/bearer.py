"""Who comes with a token: somebody who has signed in, or a program with its key."""

from __future__ import annotations

from datetime import datetime
from uuid import UUID

import msgspec
from sqlalchemy.ext.asyncio import AsyncConnection

from engine.accounts import keys, sessions, store_users
from engine.accounts.model import Actor
from engine.accounts.tokens import is_session_token, prefix_of
from engine.accounts.user import UserStatus
from engine.foundation.errors import NotAllowed


async def actor_of(connection: AsyncConnection, token: str, now: datetime, *, peer: str = "") -> Actor:
    """The actor. Raises NotAllowed for one that is not known, and `tokens.Expired` for one whose time is over."""
    if is_session_token(token):
        return await sessions.actor_of(connection, token, now, peer=peer)
    if prefix_of(token):
        return await keys.actor_of(connection, token, now, peer=peer)
    raise NotAllowed("token: it is neither a session's nor a key's; sign in, or make a key")


async def again(connection: AsyncConnection, actor: Actor, now: datetime) -> Actor:
    """Somebody who came in before, as they are now. Raises NotAllowed when they may not come in any more."""
    kind, _, identifier = actor.who.partition(":")
    if kind == "key":
        found = await keys.again(connection, UUID(identifier), now, peer=actor.peer)
    elif actor.session is not None:
        found = await sessions.again(connection, actor.session, now, peer=actor.peer)
    elif kind == "user":
        known = await store_users.credentials(connection, UUID(identifier))
        if known is None or known.account_closed or known.user.status is not UserStatus.ACTIVE:
            raise NotAllowed(f"{actor.who}: they may not come in any more; ask the manager of their account")
        found = known.user.actor(actor.peer)
    else:
        found = actor
    return msgspec.structs.replace(found, reason=actor.reason, read_only=actor.read_only)

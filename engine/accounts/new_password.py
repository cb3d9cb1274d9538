"""Setting one's own password: with the token of an invitation or reset, or with the old password."""

from __future__ import annotations

from datetime import datetime

from sqlalchemy.ext.asyncio import AsyncConnection, AsyncEngine

from engine.accounts import attempts, passwords, store_sessions
from engine.accounts import store_users as store
from engine.accounts.model import Actor
from engine.accounts.tokens import Expired, hash_of
from engine.accounts.user import User
from engine.accounts.users import tell_user, user_id_of
from engine.audit import trail
from engine.foundation.database import transaction
from engine.foundation.errors import Conflict, NotAllowed, NotFound


async def set_password(
    connection: AsyncConnection, token: str, password: str, now: datetime, *, peer: str = ""
) -> User:
    """Sets the password of the user whom the token was given for, and ends their sessions.

    Raises NotFound for a token that is unknown or was used, Expired, and Invalid for a password that will not do.
    """
    hashed_token = hash_of(token)
    known = await store.token(connection, hashed_token)
    gone = NotFound("token: it is not known, or was used or replaced; ask for another one")
    if known is None:
        raise gone
    if now >= known.until:
        raise Expired("token: its time is over; ask for another one")
    user = await store.find(connection, known.user_id)
    if user is None:
        raise gone
    passwords.check_password(password, user.login)
    kept = await passwords.hashed(password)
    await store.find(connection, user.id, lock=True)  # as whoever gives tokens: the user first, then the token
    if not await store.use_token(connection, hashed_token, now):
        raise gone
    if not await store.set_password(connection, user.id, kept, now):
        raise gone
    await store_sessions.end_all(connection, user.id, now)
    await attempts.forgive(connection, user.login, now)
    after = await store.find(connection, user.id)
    assert after is not None  # noqa: S101 - users are never deleted
    shown = {"password": "set", "status": after.status}
    await tell_user(connection, user.actor(peer), after, now, before={"status": user.status}, after=shown)
    return after


async def change_password(
    database: AsyncEngine, actor: Actor, old: str, new: str, now: datetime, *, session_token: str | None = None
) -> None:
    """Sets one's own password and ends one's other sessions; the one with `session_token` goes on.

    The old password is judged like a sign-in: raises NotAllowed when it is wrong, and TryLater after too many.
    """
    user = user_id_of(actor)
    async with transaction(database) as connection:
        found = await store.credentials(connection, user)
        if found is None or found.password_hash is None:
            raise NotFound(f"user {user}: there is none that you may see")
        passwords.check_password(new, found.user.login)
        counted = await attempts.admit(connection, found.user.login, actor.peer, now)
    if not await passwords.matches(found.password_hash, old):
        async with transaction(database) as connection:
            await _note_wrong(connection, actor, found.user, now)
        raise NotAllowed("password: the old one is wrong; type it again, or ask for a new one")
    kept = await passwords.hashed(new)
    async with transaction(database) as connection:
        if not await store.replace_password(connection, user, found.password_hash, kept, now):
            raise Conflict("password: it was changed meanwhile; sign in again")
        await attempts.succeeded(connection, counted)
        await store.drop_tokens(connection, user)
        await store_sessions.end_all(connection, user, now, hash_of(session_token) if session_token else None)
        await tell_user(connection, actor, found.user, now, after={"password": "changed"})


async def _note_wrong(connection: AsyncConnection, actor: Actor, user: User, now: datetime) -> None:
    await trail.write(
        connection,
        who=actor.who,
        deed="fail to change password",
        account_id=user.place.account,
        object_kind="user",
        object_id=user.id,
        after={"why": "wrong password"},
        peer=actor.peer,
        now=now,
    )

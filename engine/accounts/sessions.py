"""Sessions: signing in with password and one-time code, who a token stands for, and how sessions end.

A session is a row that can be ended at any time; what is kept of its token is a hash. It ends after a time without use,
and after its longest time in any case.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import NamedTuple
from uuid import UUID

import msgspec
from sqlalchemy.ext.asyncio import AsyncConnection, AsyncEngine

from engine.accounts import attempts, passwords, store_users, totp
from engine.accounts import store_sessions as store
from engine.accounts.attempts import Counted
from engine.accounts.lockout import FORGOTTEN_AFTER
from engine.accounts.model import Actor, Deed
from engine.accounts.permissions import check
from engine.accounts.store_sessions import KnownSession
from engine.accounts.store_users import Credentials
from engine.accounts.tokens import Expired, hash_of, is_session_token, new_session_token
from engine.accounts.user import Session, User, UserStatus, is_login
from engine.audit import trail
from engine.foundation.clock import Clock
from engine.foundation.database import transaction
from engine.foundation.errors import NotAllowed, NotFound, TryLater
from engine.foundation.ids import new_id
from engine.foundation.sealing import SealingKey

_NOTED_EVERY = timedelta(minutes=1)
_KEPT_AFTER_END = timedelta(days=30)
_WRONG = "sign-in: login, password or code is wrong"


class CodeNeeded(NotAllowed):
    """The password is right; a one-time code is asked for too."""


@dataclass(frozen=True, slots=True)
class SessionTerms:
    """How long sessions last, and the key of the one-time codes."""

    key: SealingKey
    idle: timedelta
    """Without use."""
    longest: timedelta


@dataclass(frozen=True, slots=True, kw_only=True)
class SignedIn:
    """Somebody has signed in."""

    token: str = field(repr=False)
    """`Authorization: Bearer`; shown once."""
    session: Session
    user: User
    actor: Actor

    @property
    def until(self) -> datetime:
        """The longest that it can last."""
        return self.session.until


class _Verdict(NamedTuple):
    """What a sign-in came to; exactly one of the two."""

    signed_in: SignedIn | None = None
    refused: NotAllowed | None = None


async def sign_in(
    database: AsyncEngine,
    login: str,
    password: str,
    code: str | None,
    *,
    peer: str,
    now: datetime,
    terms: SessionTerms,
) -> SignedIn:
    """Opens a session. A login that nobody has takes as long, and is told in the same words, as a wrong password.

    Raises NotAllowed, CodeNeeded when only the code is missing, and TryLater for whoever failed too often.
    """
    login = login.strip().lower()
    async with transaction(database) as connection:
        counted = await attempts.admit(connection, login, peer, now)
        found = await store_users.credentials_by_login(connection, login) if is_login(login) else None
    kept = found.password_hash if found else None
    right, anew = await _judged(database, counted, kept, password)
    async with transaction(database) as connection:
        if found is None or not right:
            verdict = await _refused(
                connection, found, login, "wrong password" if found else "unknown login", peer, now
            )
        else:
            verdict = await _second_step(connection, found, code, counted, peer=peer, now=now, terms=terms)
        if verdict.signed_in and kept and anew:
            await store_users.rehash(connection, verdict.signed_in.user.id, kept, anew)
    if verdict.refused:
        raise verdict.refused
    assert verdict.signed_in is not None  # noqa: S101 - one of the two
    return verdict.signed_in


async def open_session(
    connection: AsyncConnection, user: User, *, peer: str, now: datetime, terms: SessionTerms
) -> SignedIn:
    """A session of somebody who has shown who they are."""
    token = new_session_token()
    session = Session(
        id=new_id(now), user_id=user.id, peer=peer, created_at=now, used_at=now, until=now + terms.longest
    )
    await store.insert(connection, session, hash_of(token), terms.idle)
    actor = msgspec.structs.replace(user.actor(peer), session=session.id)
    return SignedIn(token=token, session=session, user=user, actor=actor)


async def actor_of(connection: AsyncConnection, token: str, now: datetime, *, peer: str = "") -> Actor:
    """Who signed in with that token, as they are now. Raises NotAllowed, Expired when its time is over."""
    known = await store.by_hash(connection, hash_of(token)) if is_session_token(token) else None
    return await _used(connection, known, now, peer)


async def again(connection: AsyncConnection, session: UUID, now: datetime, *, peer: str = "") -> Actor:
    """Who signed in with a session that goes on being used, as they are now. Raises as `actor_of`."""
    return await _used(connection, await store.by_id(connection, session), now, peer)


async def sessions_of(connection: AsyncConnection, actor: Actor, user: UUID, now: datetime) -> list[Session]:
    """The open ones of oneself, or of a user whom the actor may see; the newest first."""
    await _check_whose(connection, actor, user, Deed.SEE_USERS)
    return await store.of_user(connection, user, now)


async def end(connection: AsyncConnection, actor: Actor, session: UUID, now: datetime) -> None:
    """Ends one of one's own, or of a user whom the actor may change. Raises NotFound."""
    user = await store.user_of(connection, session)
    missing = NotFound(f"session {session}: there is none that you may end; it may have ended")
    if user is None:
        raise missing
    try:
        whose = await _check_whose(connection, actor, user, Deed.CHANGE_USERS)
    except NotFound:
        raise missing from None
    if not await store.end(connection, session, now):
        raise missing
    await _note_end(connection, actor, whose, 1, now)


async def end_all(
    connection: AsyncConnection, actor: Actor, user: UUID, now: datetime, *, but: str | None = None
) -> int:
    """Ends all of one's own, or of a user whom the actor may change, but the one with the token `but`. How many."""
    whose = await _check_whose(connection, actor, user, Deed.CHANGE_USERS)
    ended = await store.end_all(connection, user, now, hash_of(but) if but else None)
    await _note_end(connection, actor, whose, ended, now)
    return ended


async def sign_out(connection: AsyncConnection, token: str, now: datetime, *, peer: str = "") -> None:
    """Ends the session of that token. One that was ended before is left as it is."""
    ended = await store.end_by_hash(connection, hash_of(token), now)
    if ended and (user := await store_users.find(connection, ended[1])):
        await _note_end(connection, user.actor(peer), user, 1, now)


async def forget_old(database: AsyncEngine, clock: Clock) -> None:
    """Removes sessions that were over a month ago, attempts that do not count any more, and tokens too old to use."""
    now = clock.now()
    async with transaction(database) as connection:
        await store.drop_old(connection, now - _KEPT_AFTER_END)
        await store.drop_old_attempts(connection, now - FORGOTTEN_AFTER)
        await store_users.drop_old_tokens(connection, now - _KEPT_AFTER_END)


async def _judged(database: AsyncEngine, counted: Counted, kept: str | None, password: str) -> tuple[bool, str | None]:
    """Whether it is the password, and how it is to be kept from now on if otherwise than it is."""
    try:
        right = await passwords.matches(kept, password)
        return right, await passwords.hashed(password) if right and kept and passwords.outdated(kept) else None
    except TryLater:
        async with transaction(database) as connection:
            await attempts.not_failed(connection, counted)
        raise


async def _second_step(
    connection: AsyncConnection,
    found: Credentials,
    code: str | None,
    counted: Counted,
    *,
    peer: str,
    now: datetime,
    terms: SessionTerms,
) -> _Verdict:
    """The password was right."""
    user = found.user
    if found.account_closed or user.status is not UserStatus.ACTIVE:
        why = "account closed" if found.account_closed else f"user {user.status.value}"
        told = NotAllowed(f"sign-in: {user.login} is locked; ask the manager of your account")
        return await _refused(connection, found, user.login, why, peer, now, told)
    if user.one_time_codes:
        if not (code or "").strip():
            await attempts.not_failed(connection, counted)
            return _Verdict(refused=CodeNeeded("sign-in: type the one-time code of your authenticator too"))
        if not await _code_taken(connection, found, code or "", now, terms):
            return await _refused(connection, found, user.login, "wrong code", peer, now)
    kept = found.password_hash or ""
    if not await store_users.signed_in(connection, user.id, kept, now):
        return await _refused(connection, found, user.login, "changed meanwhile", peer, now)
    await attempts.succeeded(connection, counted)
    signed_in = await open_session(connection, user, peer=peer, now=now, terms=terms)
    await trail.write(
        connection,
        who=user.who,
        deed="sign in",
        account_id=user.place.account,
        object_kind="user",
        object_id=user.id,
        after={"session": signed_in.session.id, "one_time_code": user.one_time_codes},
        peer=peer,
        now=now,
    )
    return _Verdict(signed_in=signed_in)


async def _code_taken(
    connection: AsyncConnection, found: Credentials, code: str, now: datetime, terms: SessionTerms
) -> bool:
    sealed = found.totp or b""
    secret = terms.key.open(sealed, found.user.who).decode()
    step = totp.step_of(secret, code, now, found.totp_used)
    return step is not None and await store_users.use_code(connection, found.user.id, sealed, step)


async def _refused(
    connection: AsyncConnection,
    found: Credentials | None,
    login: str,
    why: str,
    peer: str,
    now: datetime,
    told: NotAllowed | None = None,
) -> _Verdict:
    """Writes down that somebody was turned away; an unknown login by its hash.

    Of what is no login nothing is written: it may be a password, and a hash of one that is easily guessed tells it.
    """
    unknown = hash_of(login).hex()[:16] if is_login(login) else "-"
    await trail.write(
        connection,
        who="nobody",
        deed="fail to sign in",
        account_id=found.user.place.account if found else None,
        object_kind="user" if found else "login",
        object_id=found.user.id if found else unknown,
        after={"why": why},
        peer=peer,
        now=now,
    )
    return _Verdict(refused=told or NotAllowed(_WRONG))


async def _used(connection: AsyncConnection, known: KnownSession | None, now: datetime, peer: str) -> Actor:
    _check_open(known, now)
    assert known is not None  # noqa: S101 - checked
    if known.used_at <= now - _NOTED_EVERY:
        await store.touch(connection, known.id, now, now - _NOTED_EVERY)
    return msgspec.structs.replace(known.actor, peer=peer)


def _check_open(known: KnownSession | None, now: datetime) -> None:
    if known is None or known.ended:
        raise NotAllowed("session: it is not known, or was ended; sign in again")
    if now >= known.until or now >= known.used_at + known.idle:
        raise Expired("session: its time is over; sign in again")
    if not known.user_active or known.account_closed:
        raise NotAllowed("session: its user is locked; ask the manager of your account")


async def _check_whose(connection: AsyncConnection, actor: Actor, user: UUID, deed: Deed) -> User:
    """The user, who is the actor or one with whom they may do that. Raises NotFound, NotAllowed."""
    found = await store_users.find(connection, user)
    if found is None:
        raise NotFound(f"user {user}: there is none that you may see")
    if actor.who != found.who:
        check(actor, deed, found.place, what=f"user {user}")
    return found


async def _note_end(connection: AsyncConnection, actor: Actor, user: User, ended: int, now: datetime) -> None:
    await trail.write(
        connection,
        who=actor.who,
        deed="sign out",
        account_id=user.place.account,
        object_kind="user",
        object_id=user.id,
        after={"sessions_ended": ended},
        peer=actor.peer,
        now=now,
    )

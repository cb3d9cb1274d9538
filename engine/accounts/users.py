"""Users: inviting, changing, locking and removing them.

Each deed works in the caller's transaction, asks `permissions`, and writes the audit's entry and the event with the
change. Deeds raise NotFound, NotAllowed, Invalid or Conflict. Nobody but the user ever knows a password: whoever
invites hands over a token, with which one is set (`engine.accounts.new_password`).
"""

from __future__ import annotations

from datetime import datetime, timedelta
from uuid import UUID

import msgspec
from sqlalchemy.ext.asyncio import AsyncConnection

from engine.accounts import attempts, store_sessions, tree
from engine.accounts import store_users as store
from engine.accounts.model import LOCAL_OPERATOR, MANAGERS, Actor, Deed, Place, Role
from engine.accounts.permissions import check, check_giving, may, reach
from engine.accounts.tokens import hash_of, new_token
from engine.accounts.told import tell
from engine.accounts.user import NewUser, Token, TokenKind, User, UserChange, UserStatus, is_login
from engine.foundation.errors import Conflict, DariError, Invalid, NotAllowed, NotFound
from engine.foundation.ids import new_id

INVITE_LASTS = timedelta(days=7)
RESET_LASTS = timedelta(hours=1)

_LONGEST_NAME = 100


async def add(
    connection: AsyncConnection, actor: Actor, account: UUID, wanted: NewUser, now: datetime
) -> tuple[User, Token]:
    """Invites somebody to the account; with the token they set their password. Raises Conflict for a login taken."""
    place = (await tree.kept_open(connection, account)).place
    await _check_giving(connection, actor, place, wanted.role, _allowed(wanted.role, wanted.allowed))
    user = User(
        id=new_id(now),
        place=place,
        login=checked_login(wanted.login),
        name=_checked_name(wanted.name),
        role=wanted.role,
        allowed=wanted.allowed,
        status=UserStatus.INVITED,
        one_time_codes=False,
        created_at=now,
        signed_in_at=None,
    )
    if not await store.insert(connection, user):
        raise Conflict(f"login: {user.login} is another user's; choose another one")
    token = await _give_token(connection, user, now)
    await tell_user(connection, actor, user, now, after=_shown(user))
    return user, token


async def find(connection: AsyncConnection, actor: Actor, user: UUID) -> User:
    """A user whom the actor may see, themselves in any case. Raises NotFound."""
    found = await store.find(connection, user)
    return _seen(actor, found, f"user {user}")


async def find_by_login(connection: AsyncConnection, actor: Actor, login: str) -> User:
    """As `find`; removed users have no login."""
    login = login.strip().lower()
    found = await store.by_login(connection, login) if is_login(login) else None
    return _seen(actor, found, f"user {login}")


async def listing(
    connection: AsyncConnection,
    actor: Actor,
    *,
    account: UUID | None = None,
    removed: bool = False,
    after: UUID | None = None,
    limit: int = 100,
) -> list[User]:
    """Those whom the actor may see, by id, after the id `after`; of one account or of all."""
    within = reach(actor, Deed.SEE_USERS)
    return await store.listing(connection, within=within, account=account, removed=removed, after=after, limit=limit)


async def change(connection: AsyncConnection, actor: Actor, user: UUID, wanted: UserChange, now: datetime) -> User:
    """Changes name, role, what is allowed. One's own role is for another manager to change."""
    before = await _changeable(connection, actor, user)
    role = before.role if wanted.role is None else wanted.role
    allowed = before.allowed if wanted.allowed is None else wanted.allowed
    name = before.name if wanted.name is None else _checked_name(wanted.name)
    if role is not Role.STAFF and wanted.allowed is None:
        allowed = frozenset()
    if (role, allowed) != (before.role, before.allowed):
        _check_not_oneself(actor, before)
        if role is not before.role:
            await _check_another_manages(connection, actor, before)
        await _check_giving(connection, actor, before.place, role, _allowed(role, allowed), to=before)
    after = msgspec.structs.replace(before, name=name, role=role, allowed=allowed)
    if after != before:
        await store.change(connection, after)
        await tell_user(connection, actor, after, now, before=_shown(before), after=_shown(after))
    return after


async def lock(connection: AsyncConnection, actor: Actor, user: UUID, now: datetime) -> User:
    """Keeps somebody out until they are unlocked, and ends their sessions."""
    before = await _changeable(connection, actor, user)
    _check_not_oneself(actor, before)
    await _check_another_manages(connection, actor, before)
    if not await store.move(connection, user, (UserStatus.INVITED, UserStatus.ACTIVE), UserStatus.LOCKED):
        raise Conflict(f"user {before.login}: they are {before.status.value} already")
    return await _left(connection, actor, before, UserStatus.LOCKED, now)


async def unlock(connection: AsyncConnection, actor: Actor, user: UUID, now: datetime) -> User:
    """Lets somebody in again who was locked; failed sign-ins count no more."""
    before = await _changeable(connection, actor, user)
    if before.status is UserStatus.LOCKED and not await store.unlock(connection, user):
        raise Conflict(f"user {before.login}: somebody else changed them meanwhile; look again")
    await attempts.forgive(connection, before.login, now)
    after = await store.find(connection, user)
    assert after is not None  # noqa: S101 - users are never deleted
    await tell_user(connection, actor, after, now, before={"status": before.status}, after={"status": after.status})
    return after


async def remove(connection: AsyncConnection, actor: Actor, user: UUID, now: datetime) -> User:
    """Takes somebody away for good; what they did stays written down, and the login is free."""
    before = await _changeable(connection, actor, user)
    _check_not_oneself(actor, before)
    await _check_another_manages(connection, actor, before)
    every = (UserStatus.INVITED, UserStatus.ACTIVE, UserStatus.LOCKED)
    if not await store.move(connection, user, every, UserStatus.REMOVED):
        raise Conflict(f"user {before.login}: they are {before.status.value} already")
    await store.drop_tokens(connection, user)
    return await _left(connection, actor, before, UserStatus.REMOVED, now)


async def reset(connection: AsyncConnection, actor: Actor, user: UUID, now: datetime) -> Token:
    """A token with which the user sets a new password; the old one goes on until then. Only the newest token counts.

    Whoever holds it becomes that user, so it is only for those who could have given the user all that they may.
    """
    found = await _changeable(connection, actor, user)
    _check_not_oneself(actor, found)
    first = await _first(connection, actor, found.place.account)
    check_giving(actor, found.place, found.role, found.allowed, first=first)
    token = await _give_token(connection, found, now)
    await tell_user(connection, actor, found, now, after={"token": token.kind, "until": token.until})
    return token


def user_id_of(actor: Actor) -> UUID:
    """Which user it is. Raises NotAllowed for a key and for the machine's operator: they are nobody."""
    kind, _, identifier = actor.who.partition(":")
    if kind != "user":
        raise NotAllowed("this is for somebody who has signed in; sign in with login and password")
    return UUID(identifier)


def checked_login(login: str) -> str:
    """As it is kept. Raises Invalid for one that cannot be a login."""
    login = login.strip().lower()
    if not is_login(login):
        raise Invalid(f"login: {login[:80]!r} is not an e-mail address; write one like kim@example.com")
    return login


def check_may_act_for(actor: Actor, user: User) -> None:
    """Raises unless the actor could have given the user all that they may do: for whatever weakens their sign-in."""
    _check_not_oneself(actor, user)
    check_giving(actor, user.place, user.role, user.allowed, first=_at_the_machine(actor))


def _at_the_machine(actor: Actor) -> bool:
    """Whoever has a shell on the machine has the keys anyway; they give managers their way back in."""
    return actor.who == LOCAL_OPERATOR.who


def _checked_name(name: str) -> str:
    name = name.strip()
    if not name or len(name) > _LONGEST_NAME or not name.isprintable():
        raise Invalid(f"name: {name[:40]!r} must be 1 to {_LONGEST_NAME} printable characters")
    return name


def _allowed(role: Role, allowed: frozenset[Deed]) -> frozenset[Deed]:
    if allowed and role is not Role.STAFF:
        raise Invalid(f"allowed: a {role.value} does what the role may; only staff are allowed more, one by one")
    return allowed


def _seen(actor: Actor, found: User | None, what: str) -> User:
    if found is None:
        raise NotFound(f"{what}: there is none that you may see")
    if actor.who != found.who:
        check(actor, Deed.SEE_USERS, found.place, what=what)
    return found


async def _changeable(connection: AsyncConnection, actor: Actor, user: UUID) -> User:
    """The user, whom nobody else changes before this transaction ends.

    Whoever invites the first owner of a shop may also put that invitation right.
    """
    found = await store.find(connection, user, lock=True)
    if found is None or found.status is UserStatus.REMOVED:
        raise NotFound(f"user {user}: there is none that you may change")
    if may(actor, Deed.INVITE_OWNER, found.place) and not await store.ever_used(connection, found.place.account):
        return found
    check(actor, Deed.CHANGE_USERS, found.place, what=f"user {user}")
    return found


async def _check_giving(
    connection: AsyncConnection,
    actor: Actor,
    place: Place,
    role: Role,
    allowed: frozenset[Deed],
    *,
    to: User | None = None,
) -> None:
    """As `permissions.check_giving`; from above only one person at a time is invited as the first of an account.

    A second invitation would be a way in that is kept until after the account has its own manager.
    """
    first = await _first(connection, actor, place.account)
    check_giving(actor, place, role, allowed, first=first)
    if _at_the_machine(actor) or _gives(actor, place, role, allowed):
        return
    await tree.alone_with(connection, place.account)
    if await store.anybody(connection, place.account, but=to.id if to else None):
        raise Conflict("user: somebody was invited already as the first of this account; remove them to invite another")


def _gives(actor: Actor, place: Place, role: Role, allowed: frozenset[Deed]) -> bool:
    """Whether they may give that without it being the first user's."""
    try:
        check_giving(actor, place, role, allowed)
    except DariError:
        return False
    return True


async def _first(connection: AsyncConnection, actor: Actor, account: UUID) -> bool:
    """Whether the account is without anybody who ever set a password: then its manager is made from above."""
    return _at_the_machine(actor) or not await store.ever_used(connection, account)


def _check_not_oneself(actor: Actor, user: User) -> None:
    if actor.who == user.who:
        raise NotAllowed(f"user {user.login}: another manager has to do this; nobody does it to themselves")


async def _check_another_manages(connection: AsyncConnection, actor: Actor, user: User) -> None:
    """Raises Conflict when nobody would be left who manages the account, were `user` no manager of it any more.

    Of two who take each other away at once the second is refused. Who does it from above the account answers for it.
    """
    manager = MANAGERS[user.place.kind]
    if user.status is not UserStatus.ACTIVE or user.role is not manager or actor.place.account != user.place.account:
        return
    if _at_the_machine(actor):
        return
    await tree.alone_with(connection, user.place.account)
    if not await store.managed(connection, user.place.account, manager, but=user.id):
        raise Conflict(
            f"user {user.login}: they are the last {manager.value} of their account who signs in; "
            "make another one first"
        )


async def _give_token(connection: AsyncConnection, user: User, now: datetime) -> Token:
    """Instead of an older one."""
    invited = user.status is UserStatus.INVITED
    kind = TokenKind.INVITE if invited else TokenKind.RESET
    token = Token(secret=new_token(), kind=kind, until=now + (INVITE_LASTS if invited else RESET_LASTS))
    await store.put_token(connection, user.id, hash_of(token.secret), kind, token.until)
    return token


async def _left(connection: AsyncConnection, actor: Actor, user: User, to: UserStatus, now: datetime) -> User:
    """Ends the sessions of somebody who was locked or removed."""
    await store_sessions.end_all(connection, user.id, now)
    await tell_user(connection, actor, user, now, before={"status": user.status}, after={"status": to})
    return msgspec.structs.replace(user, status=to)


async def tell_user(
    connection: AsyncConnection,
    actor: Actor,
    user: User,
    now: datetime,
    *,
    before: dict[str, object] | None = None,
    after: dict[str, object] | None = None,
) -> None:
    """To the audit and the stream: of what was before and is after, when both are told, only what differs."""
    if before and after and before.keys() == after.keys():
        same = {field for field in before if before[field] == after[field]}
        before = {field: value for field, value in before.items() if field not in same}
        after = {field: value for field, value in after.items() if field not in same}
    thing = ("user", user.id)
    await tell(connection, actor, Deed.CHANGE_USERS, user.place.account, now, before=before, after=after, thing=thing)


def _shown(user: User) -> dict[str, object]:
    return {
        "login": user.login,
        "name": user.name,
        "role": user.role,
        "allowed": sorted(deed.value for deed in user.allowed),
        "status": user.status,
    }

"""Users, actors and keys for tests, without the work of real passwords where that is not what is tested."""

from __future__ import annotations

from collections.abc import Set
from datetime import UTC, datetime, timedelta
from uuid import UUID

import pyotp
from argon2 import PasswordHasher
from argon2.profiles import CHEAPEST
from sqlalchemy.ext.asyncio import AsyncConnection, AsyncEngine

from engine.accounts import store_users, users
from engine.accounts.model import LOCAL_OPERATOR, Actor, Deed, Role
from engine.accounts.sessions import SessionTerms, SignedIn, open_session
from engine.accounts.user import NewUser, User
from engine.foundation.database import transaction
from engine.foundation.sealing import SealingKey

NOW = datetime(2026, 11, 22, 3, tzinfo=UTC)
PASSWORD = "말은 나면 제주도로"
PEER = "192.0.2.7"
TERMS = SessionTerms(key=SealingKey(bytes(range(32))), idle=timedelta(minutes=60), longest=timedelta(hours=12))

QUICKLY_KEPT = PasswordHasher.from_parameters(CHEAPEST).hash(PASSWORD)
"""PASSWORD, kept with so little work that it is put right at the first sign-in."""


async def new_user(
    connection: AsyncConnection,
    account: UUID,
    role: Role = Role.OWNER,
    login: str = "kim@example.com",
    *,
    allowed: Set[Deed] = frozenset(),
    actor: Actor = LOCAL_OPERATOR,
    now: datetime = NOW,
) -> User:
    """An active user with PASSWORD."""
    wanted = NewUser(login=login, name="김", role=role, allowed=frozenset(allowed))
    user, _ = await users.add(connection, actor, account, wanted, now)
    assert await store_users.set_password(connection, user.id, QUICKLY_KEPT, now)
    found = await store_users.find(connection, user.id)
    assert found is not None
    return found


async def user_in(
    database: AsyncEngine,
    account: UUID,
    role: Role = Role.OWNER,
    login: str = "kim@example.com",
    *,
    allowed: Set[Deed] = frozenset(),
    actor: Actor = LOCAL_OPERATOR,
) -> User:
    """As `new_user`, in a transaction of its own."""
    async with transaction(database) as connection:
        return await new_user(connection, account, role, login, allowed=allowed, actor=actor)


async def signed_in(database: AsyncEngine, user: User, now: datetime = NOW) -> SignedIn:
    """An open session, without the password having been asked for."""
    async with transaction(database) as connection:
        return await open_session(connection, user, peer=PEER, now=now, terms=TERMS)


class Authenticator:
    """The user's: knows the secret, gives the code of an instant."""

    def __init__(self, secret: str) -> None:
        self._generator = pyotp.TOTP(secret)

    def __call__(self, now: datetime) -> str:
        return self._generator.at(now)

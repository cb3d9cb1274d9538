"""Turning one-time codes on for oneself, and off again. What is changed is told.

Nothing is asked for until a first code has shown that the authenticator has the secret.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import datetime
from uuid import UUID

from sqlalchemy.ext.asyncio import AsyncConnection, AsyncEngine

from engine.accounts import attempts, totp
from engine.accounts import store_users as store
from engine.accounts.model import Actor
from engine.accounts.store_users import Credentials
from engine.accounts.users import check_may_act_for, tell_user, user_id_of
from engine.accounts.users import find as find_user
from engine.foundation.database import transaction
from engine.foundation.errors import Conflict, Invalid, NotFound
from engine.foundation.sealing import SealingKey


@dataclass(frozen=True, slots=True)
class Enrolment:
    """What an authenticator is told, once."""

    secret: str = field(repr=False)
    """In base32, for typing."""
    address: str = field(repr=False)
    """otpauth://…, for a QR code."""


async def begin(connection: AsyncConnection, actor: Actor, key: SealingKey) -> Enrolment:
    """A new secret for oneself; `confirm` turns it on. Raises Conflict when codes are asked for already."""
    found = await _own(connection, actor)
    secret = totp.new_secret()
    if not await store.begin_codes(connection, found.user.id, key.seal(secret.encode(), found.user.who)):
        raise Conflict("one-time codes: they are on already; turn them off first")
    return Enrolment(secret=secret, address=totp.address_of(secret, found.user.login))


async def confirm(connection: AsyncConnection, actor: Actor, code: str, key: SealingKey, now: datetime) -> None:
    """Turns them on for oneself. Raises Invalid for a wrong code, Conflict when nothing was begun."""
    found = await _own(connection, actor)
    if found.user.one_time_codes or found.totp is None:
        raise Conflict("one-time codes: nothing is to be confirmed; begin anew")
    step = _step(found, found.totp, code, key, now)
    if not await store.confirm_codes(connection, found.user.id, found.totp, step, now):
        raise Conflict("one-time codes: they were changed meanwhile; begin anew")
    await tell_user(connection, actor, found.user, now, before={"codes": False}, after={"codes": True})


async def turn_off(database: AsyncEngine, actor: Actor, code: str, key: SealingKey, now: datetime) -> None:
    """For oneself, with a code. Raises Invalid for a wrong one, and TryLater after too many, as a sign-in does."""
    async with transaction(database) as connection:
        login = (await _own(connection, actor)).user.login
        counted = await attempts.admit(connection, login, actor.peer, now)
    async with transaction(database) as connection:
        found = await _own(connection, actor)
        if not found.user.one_time_codes or found.totp is None:
            raise Conflict("one-time codes: they are not on")
        step = _step(found, found.totp, code, key, now)
        if not await store.use_code(connection, found.user.id, found.totp, step):
            raise Invalid("code: it was used before; wait for the next one")
        await attempts.succeeded(connection, counted)
        await _off(connection, actor, found, now)


async def take_off(connection: AsyncConnection, actor: Actor, user: UUID, now: datetime) -> None:
    """For a user who has lost their authenticator, by somebody who could have given them all that they may do."""
    target = await find_user(connection, actor, user)
    check_may_act_for(actor, target)
    found = await store.credentials(connection, user)
    assert found is not None  # noqa: S101 - users are never deleted
    await _off(connection, actor, found, now)


async def _off(connection: AsyncConnection, actor: Actor, found: Credentials, now: datetime) -> None:
    if not await store.drop_codes(connection, found.user.id):
        raise Conflict("one-time codes: they are not on")
    await tell_user(connection, actor, found.user, now, before={"codes": True}, after={"codes": False})


async def _own(connection: AsyncConnection, actor: Actor) -> Credentials:
    found = await store.credentials(connection, user_id_of(actor))
    if found is None:
        raise NotFound(f"{actor.who}: there is none any more; sign in again")
    return found


def _step(found: Credentials, sealed: bytes, code: str, key: SealingKey, now: datetime) -> int:
    secret = key.open(sealed, found.user.who).decode()
    step = totp.step_of(secret, code, now, found.totp_used)
    if step is None:
        raise Invalid("code: it is wrong or was used before; check the clock of your authenticator and type the next")
    return step

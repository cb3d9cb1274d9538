"""Keys of programs: what they may, how long, and that they are shown once."""

from __future__ import annotations

from datetime import timedelta
from uuid import UUID

import pytest
from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncEngine

from engine.accounts import bearer, keys
from engine.accounts.model import LOCAL_OPERATOR, OPERATOR_ID, Actor, Deed, Role
from engine.accounts.permissions import check
from engine.accounts.tokens import Expired
from engine.accounts.user import ApiKey, User
from engine.foundation.database import transaction
from engine.foundation.errors import Conflict, Invalid, NotAllowed, NotFound
from tests.opened_shop import open_shop
from tests.signed_in import NOW, PEER, user_in

SEE = frozenset({Deed.SEE_CALLS, Deed.SEE_ACCOUNTS})


@pytest.fixture
async def shop(database: AsyncEngine) -> UUID:
    return await open_shop(database)


@pytest.fixture
async def owner(database: AsyncEngine, shop: UUID) -> User:
    return await user_in(database, shop)


async def made(
    database: AsyncEngine, actor: Actor, account: UUID, scopes: frozenset[Deed] = SEE, days: int | None = None
) -> tuple[ApiKey, str]:
    async with transaction(database) as connection:
        until = None if days is None else NOW + timedelta(days=days)
        return await keys.make(connection, actor, account, "cash register", scopes, NOW, expires_at=until)


async def known(database: AsyncEngine, secret: str, days: float = 0) -> Actor:
    async with transaction(database) as connection:
        return await bearer.actor_of(connection, secret, NOW + timedelta(days=days), peer=PEER)


async def test_a_key_acts_for_its_account_within_its_scopes(database: AsyncEngine, owner: User, shop: UUID) -> None:
    key, secret = await made(database, owner.actor(), shop)
    actor = await known(database, secret)
    assert (actor.who, actor.role, actor.scopes, actor.peer) == (f"key:{key.id}", Role.OWNER, SEE, PEER)
    assert actor.place == owner.place
    check(actor, Deed.SEE_CALLS, owner.place)
    with pytest.raises(NotAllowed, match="scope"):
        check(actor, Deed.CHANGE_RULES, owner.place)
    assert secret.startswith(f"dari_{key.prefix}_")


async def test_the_key_itself_is_nowhere_in_the_database(database: AsyncEngine, owner: User, shop: UUID) -> None:
    _, secret = await made(database, owner.actor(), shop)
    async with transaction(database) as connection:
        for table in ("api_keys", "audit", "events"):
            for row in await connection.execute(text("SELECT t::text FROM TABLE_NAME t".replace("TABLE_NAME", table))):
                assert secret[-43:] not in row[0]


async def test_a_wrong_secret_with_a_right_prefix_is_nobodys(database: AsyncEngine, owner: User, shop: UUID) -> None:
    _, secret = await made(database, owner.actor(), shop)
    other = secret[:-1] + ("a" if secret[-1] != "a" else "b")
    with pytest.raises(NotAllowed, match="not known"):
        await known(database, other)


async def test_a_key_ends_in_time_or_by_hand(database: AsyncEngine, owner: User, shop: UUID) -> None:
    _, secret = await made(database, owner.actor(), shop, days=1)
    await known(database, secret, 0.99)
    with pytest.raises(Expired, match="2026-11-23"):
        await known(database, secret, 1)
    key, secret = await made(database, owner.actor(), shop)
    await known(database, secret, 10_000)
    async with transaction(database) as connection:
        assert (await keys.revoke(connection, owner.actor(), key.id, NOW)).revoked_at == NOW
        with pytest.raises(Conflict):
            await keys.revoke(connection, owner.actor(), key.id, NOW)
    with pytest.raises(NotAllowed, match="revoked"):
        await known(database, secret)


async def test_its_last_use_is_noted_to_the_minute(database: AsyncEngine, owner: User, shop: UUID) -> None:
    key, secret = await made(database, owner.actor(), shop)
    for days, noted in ((0, 0), (0.0001, 0), (1, 1)):
        await known(database, secret, days)
        async with transaction(database) as connection:
            assert (await keys.find(connection, owner.actor(), key.id)).used_at == NOW + timedelta(days=noted)


async def test_nobody_makes_a_key_with_more_than_they_have(database: AsyncEngine, owner: User, shop: UUID) -> None:
    operator = await user_in(database, OPERATOR_ID, Role.OPERATOR, "operator@example.com")
    with pytest.raises(NotAllowed, match="hear recordings"):
        await made(database, operator.actor(), shop, frozenset({Deed.HEAR_RECORDINGS}))
    staff = await user_in(database, shop, Role.STAFF, "staff@example.com", actor=owner.actor())
    with pytest.raises(NotAllowed):
        await made(database, staff.actor(), shop)
    _, secret = await made(database, owner.actor(), shop, frozenset({Deed.CHANGE_KEYS, Deed.SEE_ACCOUNTS}))
    program = await known(database, secret)
    with pytest.raises(NotAllowed, match="key makes no keys"):
        await made(database, program, shop, frozenset({Deed.SEE_ACCOUNTS}))
    await made(database, owner.actor(), shop, frozenset({Deed.HEAR_RECORDINGS}))


async def test_a_key_of_another_shop_looks_like_none(database: AsyncEngine, owner: User, shop: UUID) -> None:
    other = await open_shop(database, "other")
    key, secret = await made(database, LOCAL_OPERATOR, other)
    async with transaction(database) as connection:
        for deed in (keys.find(connection, owner.actor(), key.id), keys.revoke(connection, owner.actor(), key.id, NOW)):
            with pytest.raises(NotFound):
                await deed
        with pytest.raises(NotFound):
            await keys.find_by_prefix(connection, owner.actor(), key.prefix)
        assert await keys.listing(connection, owner.actor()) == []
        assert await keys.listing(connection, LOCAL_OPERATOR) == [key]
        assert await keys.find_by_prefix(connection, LOCAL_OPERATOR, key.prefix) == key
    with pytest.raises(NotFound):
        await made(database, owner.actor(), other)
    await known(database, secret)


async def test_keys_rest_while_the_api_is_switched_off_above(database: AsyncEngine, owner: User, shop: UUID) -> None:
    _, secret = await made(database, owner.actor(), shop)
    for account in (shop, OPERATOR_ID):
        for off in ("false", "true"):
            async with database.begin() as connection:
                await connection.execute(
                    text(
                        "UPDATE accounts SET modules = jsonb_build_object('api', CAST(:on AS boolean)) WHERE id = :id"
                    ),
                    {"on": off == "true", "id": account},
                )
            if off == "false":
                with pytest.raises(NotAllowed, match="no API"):
                    await known(database, secret)
            else:
                await known(database, secret)


@pytest.mark.parametrize(
    ("name", "scopes", "days"),
    [
        ("", SEE, None),
        ("x" * 101, SEE, None),
        ("a\n", SEE, 0),
        ("a", frozenset(), None),
        ("a", SEE, -1),
        ("a", SEE, 4000),
    ],
)
async def test_what_cannot_be_a_key_is_refused(
    database: AsyncEngine, owner: User, shop: UUID, name: str, scopes: frozenset[Deed], days: int | None
) -> None:
    until = None if days is None else NOW + timedelta(days=days)
    async with transaction(database) as connection:
        with pytest.raises(Invalid):
            await keys.make(connection, owner.actor(), shop, name, scopes, NOW, expires_at=until)

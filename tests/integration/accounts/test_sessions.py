"""Signing in, being known by a token, and not being any more."""

from __future__ import annotations

import asyncio
from collections import Counter
from datetime import datetime, timedelta
from uuid import UUID

import msgspec
import pytest
from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncEngine

from engine.accounts import bearer, one_time_codes, passwords, sessions, store_users, users
from engine.accounts.lockout import FREE_FOR_LOGIN
from engine.accounts.model import LOCAL_OPERATOR, Actor, Deed, Role
from engine.accounts.passwords import outdated
from engine.accounts.sessions import CodeNeeded, SignedIn, forget_old, sign_in
from engine.accounts.tokens import Expired
from engine.accounts.user import NewUser, User, UserChange
from engine.audit.model import Wanted
from engine.audit.trail import entries
from engine.foundation.database import transaction
from engine.foundation.errors import DariError, NotAllowed, NotFound, TryLater
from tests.hand_clock import HandClock
from tests.opened_shop import open_shop
from tests.signed_in import NOW, PASSWORD, PEER, QUICKLY_KEPT, TERMS, Authenticator, signed_in, user_in


async def tried(
    database: AsyncEngine,
    login: str = "kim@example.com",
    password: str = PASSWORD,
    code: str | None = None,
    *,
    now: datetime = NOW,
    peer: str = PEER,
) -> SignedIn:
    return await sign_in(database, login, password, code, peer=peer, now=now, terms=TERMS)


async def refused(database: AsyncEngine, login: str = "kim@example.com", **values: str) -> str:
    with pytest.raises(NotAllowed) as told:
        await tried(database, login, **values)  # type: ignore[arg-type]
    return str(told.value)


async def known(database: AsyncEngine, token: str, now: datetime = NOW) -> Actor:
    async with transaction(database) as connection:
        return await bearer.actor_of(connection, token, now, peer=PEER)


async def deeds(database: AsyncEngine) -> Counter[tuple[str, str, object]]:
    """Who did what, and why it failed if it did; what has one instant has no order."""
    async with transaction(database) as connection:
        found = await entries(connection, Wanted())
    return Counter((entry.who, entry.deed, (entry.after or {}).get("why")) for entry in found)


@pytest.fixture
async def shop(database: AsyncEngine) -> UUID:
    return await open_shop(database)


@pytest.fixture
async def user(database: AsyncEngine, shop: UUID) -> User:
    return await user_in(database, shop)


async def test_whoever_signs_in_is_known_by_the_token(database: AsyncEngine, user: User, shop: UUID) -> None:
    made = await tried(database, " Kim@Example.com ")
    actor = await known(database, made.token)
    assert actor == made.actor
    assert (actor.who, actor.role, actor.place.account, actor.peer) == (f"user:{user.id}", Role.OWNER, shop, PEER)
    assert actor.place == user.place
    assert made.until == NOW + TERMS.longest
    written = await deeds(database)
    assert [written[one] for one in ((LOCAL_OPERATOR.who, "change users", None), (user.who, "sign in", None))] == [1, 1]


async def test_neither_password_nor_token_is_in_the_database(database: AsyncEngine, user: User) -> None:
    made = await tried(database)
    async with transaction(database) as connection:
        for table in ("users", "sessions", "user_tokens", "sign_in_attempts", "audit", "events"):
            for row in await connection.execute(text("SELECT t::text FROM TABLE_NAME t".replace("TABLE_NAME", table))):
                assert PASSWORD not in row[0]
                assert made.token[-43:] not in row[0]
    assert made.token not in repr(made)


async def test_an_unknown_login_and_a_wrong_password_are_told_in_the_same_words(
    database: AsyncEngine, user: User
) -> None:
    wrong = await refused(database, password="something else")
    assert wrong == await refused(database, "nobody@example.com")
    assert wrong == await refused(database, "not even\0 a login")
    written = await deeds(database)
    assert written["nobody", "fail to sign in", "wrong password"] == 1
    assert written["nobody", "fail to sign in", "unknown login"] == 2


async def test_an_unknown_login_takes_its_turn_as_a_known_one_does_and_no_turn_is_no_failure(
    database: AsyncEngine, user: User, monkeypatch: pytest.MonkeyPatch
) -> None:
    with monkeypatch.context() as patched:
        patched.setattr(passwords._threads(), "_under_way", 10**6)
        for login in ("kim@example.com", "nobody@example.com", "no login"):
            for _ in range(FREE_FOR_LOGIN + 1):
                with pytest.raises(TryLater, match="too many sign-ins at once"):
                    await tried(database, login)
    await tried(database)


async def test_a_password_typed_as_login_is_not_written_down(database: AsyncEngine) -> None:
    await refused(database, "My Secret Password 1")
    async with transaction(database) as connection:
        [entry] = await entries(connection, Wanted())
        assert "secret" not in str(entry).lower()
        assert entry.object_id == "-"


async def test_who_has_not_set_a_password_cannot_sign_in(database: AsyncEngine, shop: UUID) -> None:
    async with transaction(database) as connection:
        wanted = NewUser(login="kim@example.com", name="김", role=Role.OWNER)
        await users.add(connection, LOCAL_OPERATOR, shop, wanted, NOW)
    await refused(database, password="")


async def test_a_locked_user_is_told_so_only_with_the_right_password(database: AsyncEngine, user: User) -> None:
    async with transaction(database) as connection:
        await users.lock(connection, LOCAL_OPERATOR, user.id, NOW)
    assert "is wrong" in await refused(database, password="something else")
    assert "locked" in await refused(database)


async def test_a_user_of_a_closed_account_is_kept_out(database: AsyncEngine, user: User, shop: UUID) -> None:
    made = await tried(database)
    async with database.begin() as connection:
        await connection.execute(
            text("UPDATE accounts SET status = 'closed', closed_at = now() WHERE id = :id"), {"id": shop}
        )
    with pytest.raises(NotAllowed, match="locked"):
        await known(database, made.token)
    assert "locked" in await refused(database)


async def test_a_hash_with_too_little_work_is_made_anew(database: AsyncEngine, user: User) -> None:
    assert outdated(QUICKLY_KEPT)
    await tried(database)
    async with transaction(database) as connection:
        found = await store_users.credentials(connection, user.id)
    assert found is not None
    assert found.password_hash is not None
    assert not outdated(found.password_hash)
    await tried(database)


async def test_after_some_failures_one_has_to_wait_even_with_the_right_password(
    database: AsyncEngine, user: User
) -> None:
    for _ in range(FREE_FOR_LOGIN):
        await refused(database, password="wrong")
    with pytest.raises(TryLater, match="too many failed") as told:
        await tried(database)
    assert told.value.after == 1.0
    later = NOW + timedelta(seconds=1)
    await tried(database, now=later)
    for _ in range(FREE_FOR_LOGIN - 1):  # the success began the count anew
        with pytest.raises(NotAllowed):
            await tried(database, password="wrong", now=later)
    await tried(database, now=later)


async def test_a_hundred_guesses_at_once_are_a_hundred(database: AsyncEngine, user: User) -> None:
    async with transaction(database) as connection:
        await store_users.rehash(connection, user.id, QUICKLY_KEPT, "another")
    line = asyncio.Semaphore(4)

    async def guess(number: int) -> DariError:
        async with line:
            with pytest.raises(DariError) as told:
                await tried(database, password=f"guess {number}")
        return told.value

    answers = await asyncio.gather(*(guess(number) for number in range(100)))
    assert sum(isinstance(answer, NotAllowed) for answer in answers) == FREE_FOR_LOGIN
    assert sum(isinstance(answer, TryLater) for answer in answers) == 100 - FREE_FOR_LOGIN


async def test_an_address_that_fails_with_many_logins_waits_too(
    database: AsyncEngine, user: User, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("engine.accounts.attempts.FREE_FOR_PEER", 3)
    for number in range(3):
        await refused(database, f"nobody{number}@example.com")
    with pytest.raises(TryLater):
        await tried(database)
    await tried(database, peer="192.0.2.8")


async def test_many_who_succeed_from_one_address_do_not_wait(
    database: AsyncEngine, user: User, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("engine.accounts.attempts.FREE_FOR_PEER", 1)
    for _ in range(3):
        await tried(database)


async def test_a_code_is_asked_for_and_taken_once(database: AsyncEngine, user: User) -> None:
    generator = await with_codes(database, user)
    later = NOW + timedelta(minutes=5)
    with pytest.raises(CodeNeeded):
        await tried(database, now=later)
    code = generator(later)
    with pytest.raises(NotAllowed, match="wrong"):
        await tried(database, code=str((int(code) + 1) % 10**6).zfill(6), now=later)
    await tried(database, code=code, now=later)
    with pytest.raises(NotAllowed, match="wrong"):
        await tried(database, code=code, now=later)
    assert (await deeds(database))["nobody", "fail to sign in", "wrong code"] == 2


async def test_two_with_the_same_code_at_once_are_one(database: AsyncEngine, user: User) -> None:
    generator = await with_codes(database, user)
    later = NOW + timedelta(minutes=5)
    answers = await asyncio.gather(
        *(tried(database, code=generator(later), now=later) for _ in range(4)), return_exceptions=True
    )
    assert sum(isinstance(answer, SignedIn) for answer in answers) == 1
    assert sum(isinstance(answer, NotAllowed) for answer in answers) == 3


async def test_guessing_codes_is_slowed_down_and_leaving_the_code_out_does_not_help(
    database: AsyncEngine, user: User
) -> None:
    await with_codes(database, user)
    later = NOW + timedelta(minutes=5)
    for failures in range(1, FREE_FOR_LOGIN + 1):
        with pytest.raises(NotAllowed, match="wrong"):
            await tried(database, code="000000", now=later)
        if failures < FREE_FOR_LOGIN:
            with pytest.raises(CodeNeeded):
                await tried(database, now=later)
    with pytest.raises(TryLater):
        await tried(database, code="000000", now=later)


async def with_codes(database: AsyncEngine, user: User) -> Authenticator:
    async with transaction(database) as connection:
        begun = await one_time_codes.begin(connection, user.actor(), TERMS.key)
        generator = Authenticator(begun.secret)
        await one_time_codes.confirm(connection, user.actor(), generator(NOW), TERMS.key, NOW)
    return generator


async def test_a_session_ends_after_a_time_without_use(database: AsyncEngine, user: User) -> None:
    made = await signed_in(database, user)
    step = TERMS.idle - timedelta(minutes=1)
    now = NOW
    for _ in range(5):
        now += step
        await known(database, made.token, now)
    with pytest.raises(Expired):
        await known(database, made.token, now + TERMS.idle)


async def test_a_session_ends_after_its_longest_time_however_much_it_is_used(database: AsyncEngine, user: User) -> None:
    made = await signed_in(database, user)
    now = NOW
    while now + timedelta(minutes=30) < NOW + TERMS.longest:
        now += timedelta(minutes=30)
        await known(database, made.token, now)
    with pytest.raises(Expired):
        await known(database, made.token, NOW + TERMS.longest)


@pytest.mark.parametrize("token", ["", "x", "dari_session_" + "x" * 43, "dari_abcdefgh_" + "x" * 43, "\0", "가"])
async def test_an_unknown_token_is_nobodys(database: AsyncEngine, user: User, token: str) -> None:
    with pytest.raises(NotAllowed):
        await known(database, token)


async def test_who_signed_out_or_was_locked_is_known_no_more(database: AsyncEngine, user: User) -> None:
    first, second = await signed_in(database, user), await signed_in(database, user)
    async with transaction(database) as connection:
        await sessions.sign_out(connection, first.token, NOW, peer=PEER)
        await sessions.sign_out(connection, first.token, NOW, peer=PEER)
    with pytest.raises(NotAllowed, match="ended"):
        await known(database, first.token)
    await known(database, second.token)
    async with transaction(database) as connection:
        await users.lock(connection, LOCAL_OPERATOR, user.id, NOW)
    with pytest.raises(NotAllowed):
        await known(database, second.token)
    assert (await deeds(database))[user.who, "sign out", None] == 1


async def test_what_somebody_may_is_as_it_is_now_not_as_it_was_then(
    database: AsyncEngine, user: User, shop: UUID
) -> None:
    owner = user.actor()
    staff = await user_in(database, shop, Role.STAFF, "lee@example.com", allowed={Deed.CHANGE_RULES}, actor=owner)
    made = await signed_in(database, staff)
    assert (await known(database, made.token)).allowed == {Deed.CHANGE_RULES}
    async with transaction(database) as connection:
        await users.change(connection, owner, staff.id, UserChange(allowed=frozenset()), NOW)
    assert (await known(database, made.token)).allowed == frozenset()


async def test_one_sees_and_ends_ones_own_sessions(database: AsyncEngine, user: User) -> None:
    made = [await signed_in(database, user, NOW + timedelta(seconds=number)) for number in range(3)]
    at = NOW + timedelta(minutes=1)
    async with transaction(database) as connection:
        found = await sessions.sessions_of(connection, user.actor(), user.id, at)
        assert found == [each.session for each in reversed(made)]
        await sessions.end(connection, user.actor(), made[0].session.id, at)
        with pytest.raises(NotFound):
            await sessions.end(connection, user.actor(), made[0].session.id, at)
        assert await sessions.end_all(connection, user.actor(), user.id, at, but=made[2].token) == 1
        assert await sessions.sessions_of(connection, user.actor(), user.id, at) == [made[2].session]
    with pytest.raises(NotAllowed):
        await known(database, made[1].token, at)


async def test_a_session_of_another_shop_looks_like_none(database: AsyncEngine, user: User) -> None:
    other = await user_in(database, await open_shop(database, "other"), login="lee@example.com")
    made = await signed_in(database, other)
    async with transaction(database) as connection:
        with pytest.raises(NotFound):
            await sessions.end(connection, user.actor(), made.session.id, NOW)
        with pytest.raises(NotFound):
            await sessions.sessions_of(connection, user.actor(), other.id, NOW)
        with pytest.raises(NotFound):
            await sessions.end_all(connection, user.actor(), other.id, NOW)
    await known(database, made.token)


async def test_parallel_requests_with_one_token_do_not_wait_for_each_other(database: AsyncEngine, user: User) -> None:
    made = await signed_in(database, user)
    later = NOW + timedelta(minutes=5)
    async with transaction(database) as slow:
        await bearer.actor_of(slow, made.token, later)
        await asyncio.wait_for(known(database, made.token, later), 5)


async def test_old_sessions_attempts_and_tokens_are_removed(database: AsyncEngine, user: User) -> None:
    await refused(database, password="wrong")
    await signed_in(database, user)
    async with transaction(database) as connection:
        await users.reset(connection, LOCAL_OPERATOR, user.id, NOW)
    await forget_old(database, HandClock(NOW + timedelta(hours=20)))
    assert await counted(database) == (1, 2, 1)
    await forget_old(database, HandClock(NOW + timedelta(days=32)))
    assert await counted(database) == (0, 0, 0)


async def counted(database: AsyncEngine) -> tuple[int, int, int]:
    async with transaction(database) as connection:
        found = await connection.execute(
            text("""
                SELECT (SELECT count(*) FROM sessions), (SELECT count(*) FROM sign_in_attempts),
                       (SELECT count(*) FROM user_tokens)
            """)
        )
        sessions_, attempts, tokens = found.one()
    return sessions_, attempts, tokens


async def test_whoever_came_in_by_a_session_is_out_with_its_end(database: AsyncEngine, user: User) -> None:
    ended, other, removed = [await tried(database) for _ in range(3)]

    async def goes_on(came: SignedIn, now: datetime = NOW) -> Actor:
        async with transaction(database) as connection:
            actor = msgspec.structs.replace(await bearer.actor_of(connection, came.token, NOW, peer=PEER), reason="why")
            return await bearer.again(connection, actor, now)

    for came in (ended, other, removed):
        assert (await goes_on(came)).session == came.session.id
    before = {came.session.id: came.actor for came in (ended, other, removed)}

    async def is_out(came: SignedIn, now: datetime = NOW) -> bool:
        try:
            async with transaction(database) as connection:
                again = await bearer.again(connection, before[came.session.id], now)
        except NotAllowed:
            return True
        assert again.who == user.who
        return False

    async with transaction(database) as connection:
        await sessions.end(connection, user.actor(), ended.session.id, NOW)
    assert await is_out(ended)
    assert not await is_out(other), "another session of the same user goes on"
    async with transaction(database) as connection:
        await sessions.sign_out(connection, other.token, NOW)
    assert await is_out(other)
    later = NOW + TERMS.idle - timedelta(minutes=1)
    assert not await is_out(removed, later), "it is in use, and this is a use of it"
    assert not await is_out(removed, later + TERMS.idle - timedelta(minutes=1))
    assert await is_out(removed, NOW + TERMS.longest)
    async with transaction(database) as connection:
        await users.remove(connection, LOCAL_OPERATOR, user.id, NOW)
    assert await is_out(removed)

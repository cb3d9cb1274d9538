"""Inviting people, what they may be made, keeping them out, and how they set their passwords."""

from __future__ import annotations

import asyncio
from datetime import timedelta
from uuid import UUID

import pytest
from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncEngine

from engine.accounts import bearer, one_time_codes, tree, users
from engine.accounts.lockout import FREE_FOR_LOGIN
from engine.accounts.model import LOCAL_OPERATOR, OPERATOR_ID, AccountKind, Actor, Deed, Role
from engine.accounts.new_password import change_password, set_password
from engine.accounts.sessions import sign_in
from engine.accounts.tokens import Expired
from engine.accounts.user import NewUser, Token, TokenKind, User, UserChange, UserStatus
from engine.audit.model import Wanted
from engine.audit.trail import entries
from engine.events import outbox
from engine.events.kinds import EventKind
from engine.foundation.database import transaction
from engine.foundation.errors import Conflict, DariError, Invalid, NotAllowed, NotFound, TryLater
from tests.opened_shop import open_shop
from tests.signed_in import NOW, PASSWORD, PEER, TERMS, Authenticator, signed_in, user_in

ANOTHER = "사람은 나면 서울로"


class Trade:
    """An agency with a shop under it, another shop beside, and who answers for each."""

    agency: UUID
    shop: UUID
    other: UUID
    operator: User
    manager: User
    owner: User


@pytest.fixture
async def trade(database: AsyncEngine) -> Trade:
    made = Trade()
    async with transaction(database) as connection:
        agency = await tree.open_account(connection, LOCAL_OPERATOR, OPERATOR_ID, AccountKind.AGENCY, "agency", NOW)
        made.agency = agency.id
        made.shop = (await tree.open_account(connection, LOCAL_OPERATOR, agency.id, AccountKind.SHOP, "shop", NOW)).id
    made.other = await open_shop(database, "other")
    made.operator = await user_in(database, OPERATOR_ID, Role.OPERATOR, "operator@example.com")
    made.manager = await user_in(database, made.agency, Role.AGENCY, "agency@example.com")
    made.owner = await user_in(database, made.shop, Role.OWNER, "owner@example.com", actor=made.manager.actor())
    return made


async def added(
    database: AsyncEngine, actor: Actor, account: UUID, role: Role, login: str = "new@example.com", *allowed: Deed
) -> tuple[User, Token]:
    async with transaction(database) as connection:
        wanted = NewUser(login=login, name="새 사람", role=role, allowed=frozenset(allowed))
        return await users.add(connection, actor, account, wanted, NOW)


async def password_set(database: AsyncEngine, token: Token, password: str = PASSWORD) -> User:
    async with transaction(database) as connection:
        return await set_password(connection, token.secret, password, NOW, peer=PEER)


async def enters(database: AsyncEngine, login: str, password: str = PASSWORD) -> bool:
    try:
        await sign_in(database, login, password, None, peer=PEER, now=NOW, terms=TERMS)
    except NotAllowed:
        return False
    return True


async def test_somebody_invited_sets_a_password_once_and_signs_in(database: AsyncEngine, trade: Trade) -> None:
    staff, token = await added(database, trade.owner.actor(), trade.shop, Role.STAFF, "New@Example.com ")
    assert (staff.login, staff.status, token.kind) == ("new@example.com", UserStatus.INVITED, TokenKind.INVITE)
    assert token.until == NOW + users.INVITE_LASTS
    assert token.secret not in repr(token)
    assert not await enters(database, staff.login)
    after = await password_set(database, token)
    assert after.status is UserStatus.ACTIVE
    assert await enters(database, staff.login)
    with pytest.raises(NotFound, match="used"):
        await password_set(database, token, ANOTHER)
    assert not await enters(database, staff.login, ANOTHER)


async def test_a_token_is_used_once_by_however_many_at_once(database: AsyncEngine, trade: Trade) -> None:
    _, token = await added(database, trade.owner.actor(), trade.shop, Role.STAFF)
    answers = await asyncio.gather(*(password_set(database, token) for _ in range(4)), return_exceptions=True)
    assert sum(isinstance(answer, User) for answer in answers) == 1
    assert sum(isinstance(answer, NotFound) for answer in answers) == 3


async def test_a_token_is_good_for_a_time_and_only_the_newest(database: AsyncEngine, trade: Trade) -> None:
    staff, first = await added(database, trade.owner.actor(), trade.shop, Role.STAFF)
    async with transaction(database) as connection:
        second = await users.reset(connection, trade.owner.actor(), staff.id, NOW)
        assert second.kind is TokenKind.INVITE
        with pytest.raises(NotFound):
            await set_password(connection, first.secret, PASSWORD, NOW)
        with pytest.raises(Expired):
            await set_password(connection, second.secret, PASSWORD, second.until)
        with pytest.raises(NotFound):
            await set_password(connection, "x\0", PASSWORD, NOW)
    await password_set(database, second)
    async with transaction(database) as connection:
        third = await users.reset(connection, trade.owner.actor(), staff.id, NOW)
    assert (third.kind, third.until) == (TokenKind.RESET, NOW + users.RESET_LASTS)


async def test_a_bad_password_leaves_the_token_good(database: AsyncEngine, trade: Trade) -> None:
    _, token = await added(database, trade.owner.actor(), trade.shop, Role.STAFF)
    with pytest.raises(Invalid, match="password"):
        await password_set(database, token, "1234567890")
    await password_set(database, token)


async def test_a_reset_ends_sessions_and_the_old_password(database: AsyncEngine, trade: Trade) -> None:
    session = await signed_in(database, trade.owner)
    async with transaction(database) as connection:
        token = await users.reset(connection, LOCAL_OPERATOR, trade.owner.id, NOW)
    assert await enters(database, trade.owner.login)
    await password_set(database, token, ANOTHER)
    assert not await enters(database, trade.owner.login)
    assert await enters(database, trade.owner.login, ANOTHER)
    async with transaction(database) as connection:
        with pytest.raises(NotAllowed):
            await bearer.actor_of(connection, session.token, NOW)


async def test_no_two_users_have_one_login_until_one_is_removed(database: AsyncEngine, trade: Trade) -> None:
    with pytest.raises(Conflict, match=r"owner@example\.com is another user's"):
        await added(database, LOCAL_OPERATOR, trade.other, Role.OWNER, "Owner@example.com")
    answers = await asyncio.gather(
        *(added(database, LOCAL_OPERATOR, trade.other, Role.OWNER, "same@example.com") for _ in range(5)),
        return_exceptions=True,
    )
    assert sum(isinstance(answer, Conflict) for answer in answers) == 4
    async with transaction(database) as connection:
        same = await users.find_by_login(connection, LOCAL_OPERATOR, "same@example.com")
        await users.remove(connection, LOCAL_OPERATOR, same.id, NOW)
        with pytest.raises(NotFound):
            await users.find_by_login(connection, LOCAL_OPERATOR, "same@example.com")
    await added(database, LOCAL_OPERATOR, trade.other, Role.OWNER, "same@example.com")


@pytest.mark.parametrize(
    "login",
    [
        "",
        "kim",
        "kim@",
        "@example.com",
        "kim@example",
        "김@example.com",
        "a b@example.com",
        "a\0@example.com",
        "a" * 65 + "@example.com",
        "a@" + "b" * 260 + ".com",
    ],
)
async def test_what_is_no_login_is_refused(database: AsyncEngine, trade: Trade, login: str) -> None:
    with pytest.raises(Invalid, match="login"):
        await added(database, trade.owner.actor(), trade.shop, Role.STAFF, login)


async def test_only_the_first_owner_of_a_shop_is_made_from_above(database: AsyncEngine, trade: Trade) -> None:
    operator, manager = trade.operator.actor(), trade.manager.actor()
    with pytest.raises(NotAllowed):
        await added(database, manager, trade.shop, Role.OWNER)
    with pytest.raises(NotAllowed):
        await added(database, operator, trade.shop, Role.OWNER)
    first, _ = await added(database, operator, trade.other, Role.OWNER)
    async with transaction(database) as connection:  # nobody has used it: it can be put right
        await users.remove(connection, operator, first.id, NOW)
    _, token = await added(database, operator, trade.other, Role.OWNER, "right@example.com")
    await password_set(database, token)
    with pytest.raises(NotAllowed):
        await added(database, operator, trade.other, Role.OWNER)
    async with transaction(database) as connection:
        owner = await users.find_by_login(connection, operator, "right@example.com")
        await users.remove(connection, operator, owner.id, NOW)
    with pytest.raises(NotAllowed):  # removing the owner does not open the shop's recordings
        await added(database, operator, trade.other, Role.OWNER)


async def test_nobody_above_a_shop_can_become_one_of_its_users(database: AsyncEngine, trade: Trade) -> None:
    for actor in (trade.operator.actor(), trade.manager.actor()):
        async with transaction(database) as connection:
            for deed in (users.reset, one_time_codes.take_off):
                with pytest.raises(NotAllowed):
                    await deed(connection, actor, trade.owner.id, NOW)


async def test_an_invitation_that_went_astray_is_given_again_by_whoever_invited(
    database: AsyncEngine, trade: Trade
) -> None:
    async with transaction(database) as connection:
        shop = await tree.open_account(
            connection, trade.manager.actor(), trade.agency, AccountKind.SHOP, "second shop", NOW
        )
    owner, first = await added(database, trade.manager.actor(), shop.id, Role.OWNER)
    async with transaction(database) as connection:
        second = await users.reset(connection, trade.manager.actor(), owner.id, NOW)
    with pytest.raises(NotFound):
        await password_set(database, first)
    await password_set(database, second)
    async with transaction(database) as connection:
        with pytest.raises(NotAllowed):
            await users.reset(connection, trade.manager.actor(), owner.id, NOW)


async def test_another_shop_sees_none_of_them(database: AsyncEngine, trade: Trade) -> None:
    stranger = (await user_in(database, trade.other, Role.OWNER, "stranger@example.com")).actor()
    staff, _ = await added(database, trade.owner.actor(), trade.shop, Role.STAFF)
    async with transaction(database) as connection:
        for deed in (users.lock, users.unlock, users.remove, users.reset, one_time_codes.take_off):
            with pytest.raises(NotFound):
                await deed(connection, stranger, staff.id, NOW)
        with pytest.raises(NotFound):
            await users.change(connection, stranger, staff.id, UserChange(name="x"), NOW)
        with pytest.raises(NotFound):
            await users.find(connection, stranger, staff.id)
        assert [user.login for user in await users.listing(connection, stranger)] == ["stranger@example.com"]
    with pytest.raises(NotFound):
        await added(database, stranger, trade.shop, Role.STAFF)


async def test_nobody_gives_more_than_they_have(database: AsyncEngine, trade: Trade) -> None:
    staff, _ = await added(database, trade.owner.actor(), trade.shop, Role.STAFF)
    as_staff = staff.actor()
    with pytest.raises(NotAllowed):
        await added(database, as_staff, trade.shop, Role.STAFF, "more@example.com")
    narrow = Actor(
        who="key:x", place=trade.owner.place, role=Role.OWNER, scopes=frozenset({Deed.CHANGE_USERS, Deed.SEE_USERS})
    )
    with pytest.raises(NotAllowed):
        await added(database, narrow, trade.shop, Role.OWNER, "more@example.com")
    async with transaction(database) as connection:
        with pytest.raises(NotAllowed):
            await users.reset(connection, narrow, trade.owner.id, NOW)


@pytest.mark.parametrize("role", [Role.OPERATOR, Role.AGENCY, Role.CONTENT])
async def test_a_role_that_the_account_does_not_have_is_refused(
    database: AsyncEngine, trade: Trade, role: Role
) -> None:
    with pytest.raises(Invalid, match="role"):
        await added(database, LOCAL_OPERATOR, trade.shop, role)


async def test_only_staff_are_allowed_more(database: AsyncEngine, trade: Trade) -> None:
    with pytest.raises(Invalid, match="only staff"):
        await added(database, trade.owner.actor(), trade.shop, Role.AUDITOR, "x@example.com", Deed.CHANGE_RULES)
    staff, _ = await added(database, trade.owner.actor(), trade.shop, Role.STAFF, "x@example.com", Deed.CHANGE_RULES)
    async with transaction(database) as connection:
        changed = await users.change(connection, trade.owner.actor(), staff.id, UserChange(role=Role.OWNER), NOW)
        assert (changed.role, changed.allowed) == (Role.OWNER, frozenset())


async def test_nobody_locks_removes_or_promotes_themselves(database: AsyncEngine, trade: Trade) -> None:
    owner = trade.owner
    async with transaction(database) as connection:
        for deed in (users.lock, users.remove, users.reset, one_time_codes.take_off):
            with pytest.raises(NotAllowed, match="themselves"):
                await deed(connection, owner.actor(), owner.id, NOW)
        with pytest.raises(NotAllowed, match="themselves"):
            await users.change(connection, owner.actor(), owner.id, UserChange(role=Role.STAFF), NOW)
        assert (await users.change(connection, owner.actor(), owner.id, UserChange(name="새"), NOW)).name == "새"


async def second_owner(database: AsyncEngine, trade: Trade) -> User:
    return await user_in(database, trade.shop, Role.OWNER, "second@example.com", actor=trade.owner.actor())


@pytest.mark.parametrize("deed", ["remove", "lock", "change"])
async def test_two_owners_who_take_each_other_away_at_once_do_not_both_go(
    database: AsyncEngine, trade: Trade, deed: str
) -> None:
    first, second = trade.owner, await second_owner(database, trade)
    one_begun, other_begun = asyncio.Event(), asyncio.Event()

    async def by(actor: User, of: User, begun: asyncio.Event, after: asyncio.Event) -> None:
        async with transaction(database) as connection:
            await connection.execute(text("SELECT 1"))
            begun.set()
            await after.wait()
            if deed == "change":
                await users.change(connection, actor.actor(), of.id, UserChange(role=Role.STAFF), NOW)
            else:
                await (users.remove if deed == "remove" else users.lock)(connection, actor.actor(), of.id, NOW)

    answers = await asyncio.gather(
        by(first, second, one_begun, other_begun),
        by(second, first, other_begun, one_begun),
        return_exceptions=True,
    )
    refused = [answer for answer in answers if answer is not None]
    assert len(refused) == 1
    assert isinstance(refused[0], Conflict)
    assert "last shop owner" in str(refused[0])
    async with transaction(database) as connection:
        left = await users.listing(connection, LOCAL_OPERATOR, account=trade.shop)
    assert sum((user.role, user.status) == (Role.OWNER, UserStatus.ACTIVE) for user in left) == 1


async def test_a_key_leaves_an_account_its_last_owner_and_who_is_above_need_not(
    database: AsyncEngine, trade: Trade
) -> None:
    key = Actor(who="key:x", place=trade.owner.place, role=Role.OWNER, scopes=frozenset(Deed))
    second = await second_owner(database, trade)
    async with transaction(database) as connection:
        await users.lock(connection, key, second.id, NOW)
    async with transaction(database) as connection:
        for deed in (users.lock, users.remove):
            with pytest.raises(Conflict, match=r"owner@example\.com: they are the last"):
                await deed(connection, key, trade.owner.id, NOW)
        await users.remove(connection, key, second.id, NOW)  # they do not sign in: they are no loss
        await users.lock(connection, LOCAL_OPERATOR, trade.owner.id, NOW)


async def test_a_locked_user_is_let_in_again_as_they_were(database: AsyncEngine, trade: Trade) -> None:
    staff, token = await added(database, trade.owner.actor(), trade.shop, Role.STAFF)
    for expected in (UserStatus.INVITED, UserStatus.ACTIVE):
        async with transaction(database) as connection:
            assert (await users.lock(connection, trade.owner.actor(), staff.id, NOW)).status is UserStatus.LOCKED
            with pytest.raises(Conflict):
                await users.lock(connection, trade.owner.actor(), staff.id, NOW)
            assert (await users.unlock(connection, trade.owner.actor(), staff.id, NOW)).status is expected
        if expected is UserStatus.INVITED:
            await password_set(database, token)
    assert await enters(database, staff.login)


async def test_unlocking_forgets_failed_sign_ins(database: AsyncEngine, trade: Trade) -> None:
    for _ in range(FREE_FOR_LOGIN):
        assert not await enters(database, trade.owner.login, "wrong")
    with pytest.raises(TryLater):
        await enters(database, trade.owner.login)
    async with transaction(database) as connection:
        await users.unlock(connection, trade.operator.actor(), trade.owner.id, NOW)
    assert await enters(database, trade.owner.login)


async def test_ones_own_password_takes_the_old_one_and_ends_other_sessions(database: AsyncEngine, trade: Trade) -> None:
    here, elsewhere = await signed_in(database, trade.owner), await signed_in(database, trade.owner)
    actor = trade.owner.actor(PEER)
    with pytest.raises(NotAllowed, match="old one is wrong"):
        await change_password(database, actor, "wrong", ANOTHER, NOW, session_token=here.token)
    with pytest.raises(Invalid):
        await change_password(database, actor, PASSWORD, "owner@example", NOW, session_token=here.token)
    await change_password(database, actor, PASSWORD, ANOTHER, NOW, session_token=here.token)
    async with transaction(database) as connection:
        await bearer.actor_of(connection, here.token, NOW)
        with pytest.raises(NotAllowed):
            await bearer.actor_of(connection, elsewhere.token, NOW)
    assert await enters(database, trade.owner.login, ANOTHER)
    for _ in range(FREE_FOR_LOGIN):
        with pytest.raises(NotAllowed):
            await change_password(database, actor, "wrong", PASSWORD, NOW)
    with pytest.raises(TryLater):
        await change_password(database, actor, ANOTHER, PASSWORD, NOW)


async def test_a_key_or_the_machine_has_no_password(database: AsyncEngine, trade: Trade) -> None:
    with pytest.raises(NotAllowed, match="signed in"):
        await change_password(database, LOCAL_OPERATOR, PASSWORD, ANOTHER, NOW)


async def test_codes_are_turned_on_with_a_first_one_and_off_with_another(database: AsyncEngine, trade: Trade) -> None:
    actor = trade.owner.actor(PEER)
    async with transaction(database) as connection:
        with pytest.raises(Conflict):
            await one_time_codes.confirm(connection, actor, "000000", TERMS.key, NOW)
        await one_time_codes.begin(connection, actor, TERMS.key)
        begun = await one_time_codes.begin(connection, actor, TERMS.key)  # the first was lost; the second counts
        authenticator = Authenticator(begun.secret)
        with pytest.raises(Invalid, match="code"):
            await one_time_codes.confirm(connection, actor, "12345", TERMS.key, NOW)
        assert not (await users.find(connection, actor, trade.owner.id)).one_time_codes
        await one_time_codes.confirm(connection, actor, authenticator(NOW), TERMS.key, NOW)
        assert (await users.find(connection, actor, trade.owner.id)).one_time_codes
        with pytest.raises(Conflict):
            await one_time_codes.begin(connection, actor, TERMS.key)
        kept = await connection.scalar(text("SELECT totp FROM users WHERE id = :id"), {"id": trade.owner.id})
        assert begun.secret.encode() not in kept
    with pytest.raises(Invalid, match="code"):  # it was the one that turned them on
        await one_time_codes.turn_off(database, actor, authenticator(NOW), TERMS.key, NOW)
    later = NOW + timedelta(minutes=1)
    await one_time_codes.turn_off(database, actor, authenticator(later), TERMS.key, later)
    async with transaction(database) as connection:
        assert not (await users.find(connection, actor, trade.owner.id)).one_time_codes


async def test_guessing_codes_to_turn_them_off_is_slowed_down(database: AsyncEngine, trade: Trade) -> None:
    actor = trade.owner.actor(PEER)
    async with transaction(database) as connection:
        begun = await one_time_codes.begin(connection, actor, TERMS.key)
        await one_time_codes.confirm(connection, actor, Authenticator(begun.secret)(NOW), TERMS.key, NOW)
    for _ in range(FREE_FOR_LOGIN):
        with pytest.raises(Invalid):
            await one_time_codes.turn_off(database, actor, "12345", TERMS.key, NOW)
    with pytest.raises(TryLater):
        await one_time_codes.turn_off(database, actor, "12345", TERMS.key, NOW)


async def test_lost_codes_are_taken_off_by_another_manager(database: AsyncEngine, trade: Trade) -> None:
    staff, token = await added(database, trade.owner.actor(), trade.shop, Role.STAFF)
    await password_set(database, token)
    async with transaction(database) as connection:
        begun = await one_time_codes.begin(connection, staff.actor(), TERMS.key)
        await one_time_codes.confirm(connection, staff.actor(), Authenticator(begun.secret)(NOW), TERMS.key, NOW)
        await one_time_codes.take_off(connection, trade.owner.actor(), staff.id, NOW)
        with pytest.raises(Conflict):
            await one_time_codes.take_off(connection, trade.owner.actor(), staff.id, NOW)
    assert await enters(database, staff.login)


async def test_users_are_listed_page_by_page_within_reach(database: AsyncEngine, trade: Trade) -> None:
    for number in range(3):
        await added(database, trade.owner.actor(), trade.shop, Role.STAFF, f"staff{number}@example.com")
    async with transaction(database) as connection:
        everybody = await users.listing(connection, trade.manager.actor())
        logins = {user.login for user in everybody}
        assert logins == {"agency@example.com", "owner@example.com", *(f"staff{n}@example.com" for n in range(3))}
        assert [user.id for user in everybody] == sorted(user.id for user in everybody)
        first = await users.listing(connection, trade.manager.actor(), limit=2)
        rest = await users.listing(connection, trade.manager.actor(), after=first[-1].id)
        assert first + rest == everybody
        of_shop = await users.listing(connection, trade.manager.actor(), account=trade.shop)
        assert {user.place.account for user in of_shop} == {trade.shop}


async def test_each_deed_is_in_the_audit_and_in_the_stream(database: AsyncEngine, trade: Trade) -> None:
    staff, _ = await added(database, trade.owner.actor(PEER), trade.shop, Role.STAFF)
    later = NOW + timedelta(seconds=1)
    async with transaction(database) as connection:
        before = await outbox.last_id(connection)
        wanted = UserChange(allowed=frozenset({Deed.CHANGE_RULES}))
        await users.change(connection, trade.owner.actor(PEER), staff.id, wanted, later)
        await users.change(connection, trade.owner.actor(PEER), staff.id, wanted, later)  # nothing new: nothing told
        found = await entries(connection, Wanted(object_kind="user", object_id=str(staff.id)))
        events = await outbox.read_after(connection, before, [kind.value for kind in EventKind], [], 10)
    assert [entry.deed for entry in found] == ["change users", "change users"]
    newest = found[0]
    assert (newest.who, newest.account_id, newest.peer) == (trade.owner.who, trade.shop, PEER)
    assert (newest.before, newest.after) == ({"allowed": []}, {"allowed": ["change rules"]})
    assert [(event.kind, event.account_id) for event in events] == [("account.changed", trade.shop)]


async def test_what_two_do_to_one_user_at_once_is_done_one_after_the_other(database: AsyncEngine, trade: Trade) -> None:
    staff, _ = await added(database, trade.owner.actor(), trade.shop, Role.STAFF)

    async def removing() -> None:
        async with transaction(database) as connection:
            await users.remove(connection, trade.owner.actor(), staff.id, NOW)

    answers = await asyncio.gather(*(removing() for _ in range(4)), return_exceptions=True)
    assert answers.count(None) == 1
    assert all(answer is None or isinstance(answer, DariError) for answer in answers)

"""What somebody tries who wants more than they were given, or to keep it longer, or to keep others out."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from datetime import datetime, timedelta
from uuid import UUID

import pytest
from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncConnection, AsyncEngine

from engine.accounts import bearer, grants, keys, signup, tree, users
from engine.accounts.lockout import FREE_FOR_LOGIN
from engine.accounts.model import LOCAL_OPERATOR, OPERATOR_ID, AccountKind, Actor, Deed, DocumentKind, Place, Role
from engine.accounts.new_password import change_password, set_password
from engine.accounts.sessions import SignedIn, sign_in
from engine.accounts.user import ApiKey, NewUser, Token, User, UserChange, UserStatus
from engine.audit.model import Entry, Wanted
from engine.audit.trail import entries
from engine.calls.listening_log import ListeningLog
from engine.calls.listening_rules import Wish, belongs_to_them
from engine.foundation.database import transaction
from engine.foundation.errors import Conflict, NotAllowed, NotFound, TryLater
from tests.eventually import eventually
from tests.hand_clock import HandClock
from tests.signed_in import NOW, PASSWORD, PEER, TERMS, signed_in, user_in

STRANGER = "198.51.100.9"
SEE = frozenset({Deed.SEE_CALLS, Deed.SEE_ACCOUNTS})


class Trade:
    """Two agencies; the first one has a region with a shop, and a shop that nobody has entered yet."""

    def __init__(self, database: AsyncEngine) -> None:
        self.database = database
        self.accounts: dict[str, UUID] = {"operator": OPERATOR_ID}

    async def open(self, name: str, kind: AccountKind, under: str) -> None:
        async with transaction(self.database) as connection:
            made = await tree.open_account(connection, LOCAL_OPERATOR, self.accounts[under], kind, name, NOW)
            self.accounts[name] = made.id

    async def invite(self, actor: Actor, where: str, role: Role, login: str) -> tuple[User, Token]:
        async with transaction(self.database) as connection:
            return await users.add(
                connection, actor, self.accounts[where], NewUser(login=login, name="새 사람", role=role), NOW
            )

    async def enter(self, token: Token) -> User:
        async with transaction(self.database) as connection:
            return await set_password(connection, token.secret, PASSWORD, NOW, peer=PEER)

    async def key(self, actor: Actor, where: str, scopes: frozenset[Deed] = SEE) -> tuple[ApiKey, str]:
        async with transaction(self.database) as connection:
            return await keys.make(connection, actor, self.accounts[where], "till", scopes, NOW)

    async def known(self, token: str) -> Actor:
        async with transaction(self.database) as connection:
            return await bearer.actor_of(connection, token, NOW, peer=PEER)

    async def doing(self, deed: Callable[[AsyncConnection], Awaitable[object]]) -> None:
        async with transaction(self.database) as connection:
            await deed(connection)

    async def audit(self) -> list[Entry]:
        async with transaction(self.database) as connection:
            return await entries(connection, Wanted(), limit=1000)


@pytest.fixture
async def trade(database: AsyncEngine) -> Trade:
    made = Trade(database)
    await made.open("agency", AccountKind.AGENCY, "operator")
    await made.open("other", AccountKind.AGENCY, "operator")
    await made.open("region", AccountKind.REGION, "agency")
    await made.open("shop", AccountKind.SHOP, "region")
    await made.open("empty", AccountKind.SHOP, "agency")
    return made


@pytest.fixture
async def manager(trade: Trade) -> User:
    return await user_in(trade.database, trade.accounts["agency"], Role.AGENCY, "manager@example.com")


@pytest.fixture
async def owner(trade: Trade) -> User:
    return await user_in(trade.database, trade.accounts["shop"], Role.OWNER, "owner@example.com")


async def test_an_agency_keeps_no_second_way_into_a_shop(trade: Trade, manager: User) -> None:
    await trade.invite(manager.actor(), "empty", Role.OWNER, "owner@example.org")
    with pytest.raises(Conflict, match="invited already"):
        await trade.invite(manager.actor(), "empty", Role.OWNER, "spare@example.com")


async def test_two_first_owners_at_once_are_one(trade: Trade, manager: User) -> None:
    answers = await asyncio.gather(
        *(trade.invite(manager.actor(), "empty", Role.OWNER, f"owner{number}@example.org") for number in range(5)),
        return_exceptions=True,
    )
    assert sum(isinstance(answer, tuple) for answer in answers) == 1
    assert sum(isinstance(answer, Conflict) for answer in answers) == 4


async def test_a_first_owner_who_was_invited_wrongly_is_replaced(trade: Trade, manager: User) -> None:
    wrong, old = await trade.invite(manager.actor(), "empty", Role.OWNER, "wrong@example.org")
    await trade.doing(lambda connection: users.remove(connection, manager.actor(), wrong.id, NOW))
    _, token = await trade.invite(manager.actor(), "empty", Role.OWNER, "right@example.org")
    await trade.enter(token)
    with pytest.raises(NotFound):
        await trade.enter(old)
    with pytest.raises(NotAllowed):
        await trade.invite(manager.actor(), "empty", Role.OWNER, "again@example.org")


async def test_who_is_invited_and_reset_at_once_is_not_kept_waiting(trade: Trade, manager: User) -> None:
    user, token = await trade.invite(manager.actor(), "empty", Role.OWNER, "owner@example.org")
    answers = await asyncio.gather(
        trade.enter(token),
        trade.doing(lambda connection: users.reset(connection, manager.actor(), user.id, NOW)),
        return_exceptions=True,
    )
    assert not any(isinstance(answer, TryLater) for answer in answers)
    assert sum(isinstance(answer, NotFound | NotAllowed) for answer in answers) == 1


async def test_a_key_makes_no_keys(trade: Trade, owner: User) -> None:
    _, secret = await trade.key(owner.actor(), "shop", SEE | {Deed.CHANGE_KEYS})
    with pytest.raises(NotAllowed, match="key makes no keys"):
        await trade.key(await trade.known(secret), "shop")


async def test_a_key_is_as_good_as_whoever_made_it(trade: Trade, owner: User) -> None:
    other = await user_in(trade.database, trade.accounts["shop"], Role.OWNER, "second@example.com")
    _, secret = await trade.key(other.actor(), "shop")
    await trade.known(secret)
    await trade.doing(lambda connection: users.lock(connection, owner.actor(), other.id, NOW))
    with pytest.raises(NotAllowed, match="whoever made it"):
        await trade.known(secret)
    await trade.doing(lambda connection: users.unlock(connection, owner.actor(), other.id, NOW))
    await trade.known(secret)
    await trade.doing(
        lambda connection: users.change(connection, owner.actor(), other.id, UserChange(role=Role.STAFF), NOW)
    )
    with pytest.raises(NotAllowed, match="whoever made it"):
        await trade.known(secret)
    await trade.doing(lambda connection: users.remove(connection, owner.actor(), other.id, NOW))
    with pytest.raises(NotAllowed, match="whoever made it"):
        await trade.known(secret)


async def test_an_agency_takes_no_key_along_of_a_region_that_left(trade: Trade, manager: User) -> None:
    _, theirs = await trade.key(manager.actor(), "region")
    regional = await user_in(trade.database, trade.accounts["region"], Role.REGION, "region@example.com")
    _, own = await trade.key(regional.actor(), "region")
    region, other = trade.accounts["region"], trade.accounts["other"]
    await trade.doing(lambda connection: tree.move(connection, LOCAL_OPERATOR, region, other, NOW))
    with pytest.raises(NotAllowed, match="whoever made it"):
        await trade.known(theirs)
    assert other in (await trade.known(own)).place.path


async def test_a_grant_is_of_no_use_to_an_agency_that_the_shop_left(trade: Trade, owner: User, manager: User) -> None:
    shop = trade.accounts["shop"]
    until = NOW + timedelta(days=5)
    await trade.doing(
        lambda connection: grants.give(
            connection, owner.actor(), shop, trade.accounts["agency"], NOW, until=until, reason="training"
        )
    )
    log = ListeningLog(trade.database, HandClock(NOW))
    wish = Wish(call="1", who=manager.who, reason="training", actor=manager.actor())
    assert await log.standing(shop)
    region, other = trade.accounts["region"], trade.accounts["other"]
    await trade.doing(lambda connection: tree.move(connection, LOCAL_OPERATOR, region, other, NOW))
    with pytest.raises(NotFound):
        belongs_to_them(wish, await log.standing(shop), NOW)


async def test_whoever_listens_is_asked_for_again_as_they_are_then(trade: Trade, owner: User) -> None:
    log = ListeningLog(trade.database, HandClock(NOW))
    hears = frozenset({Deed.LISTEN_LIVE})
    staff = await user_in(
        trade.database, trade.accounts["shop"], Role.STAFF, "staff@example.com", allowed=hears, actor=owner.actor()
    )
    came = staff.actor()
    assert (await log.actor(came)).allowed == hears
    await trade.doing(
        lambda connection: users.change(connection, owner.actor(), staff.id, UserChange(allowed=frozenset()), NOW)
    )
    assert (await log.actor(came)).allowed == frozenset()
    await trade.doing(lambda connection: users.lock(connection, owner.actor(), staff.id, NOW))
    with pytest.raises(NotAllowed):
        await log.actor(came)
    made, secret = await trade.key(owner.actor(), "shop", hears)
    program = await trade.known(secret)
    assert (await log.actor(program)).scopes == hears
    await trade.doing(lambda connection: keys.revoke(connection, owner.actor(), made.id, NOW))
    with pytest.raises(NotAllowed):
        await log.actor(program)
    assert await log.actor(LOCAL_OPERATOR) == LOCAL_OPERATOR


async def test_a_stranger_who_fails_on_purpose_keeps_nobody_out_where_they_are_known(trade: Trade, owner: User) -> None:
    await tried(trade, NOW, PEER)
    later = NOW + timedelta(hours=1)
    for _ in range(FREE_FOR_LOGIN):
        with pytest.raises(NotAllowed):
            await tried(trade, later, STRANGER, "guess")
    with pytest.raises(TryLater):
        await tried(trade, later, STRANGER)
    await tried(trade, later, PEER)
    with pytest.raises(TryLater):  # the success there is none of the stranger's
        await tried(trade, later, STRANGER)


async def test_where_somebody_is_known_guesses_are_counted_as_well(trade: Trade, owner: User) -> None:
    await tried(trade, NOW, PEER)
    for _ in range(FREE_FOR_LOGIN):
        with pytest.raises(NotAllowed):
            await tried(trade, NOW, PEER, "guess")
    with pytest.raises(TryLater):
        await tried(trade, NOW, PEER)
    await tried(trade, NOW, STRANGER)


async def test_being_known_somewhere_ends(trade: Trade, owner: User) -> None:
    await tried(trade, NOW, PEER)
    later = NOW + timedelta(days=31)
    for _ in range(FREE_FOR_LOGIN):
        with pytest.raises(NotAllowed):
            await tried(trade, later, STRANGER, "guess")
    with pytest.raises(TryLater):
        await tried(trade, later, PEER)


async def test_an_unlock_forgives_what_failed_anywhere(trade: Trade, owner: User) -> None:
    await tried(trade, NOW, PEER)
    for peer in (PEER, STRANGER):
        for _ in range(FREE_FOR_LOGIN):
            with pytest.raises(NotAllowed):
                await tried(trade, NOW, peer, "guess")
    await trade.doing(lambda connection: users.unlock(connection, LOCAL_OPERATOR, owner.id, NOW))
    for peer in (PEER, STRANGER):
        await tried(trade, NOW, peer)


async def tried(trade: Trade, now: datetime, peer: str, password: str = PASSWORD) -> SignedIn:
    return await sign_in(trade.database, "owner@example.com", password, None, peer=peer, now=now, terms=TERMS)


async def test_a_wrong_old_password_is_written_down(trade: Trade, owner: User) -> None:
    session = await signed_in(trade.database, owner)
    with pytest.raises(NotAllowed):
        await change_password(trade.database, session.actor, "guess", "사람은 나면 서울로", NOW)
    [entry] = [entry for entry in await trade.audit() if entry.deed == "fail to change password"]
    assert (entry.who, entry.object_id, entry.peer) == (owner.who, str(owner.id), PEER)


async def test_what_is_no_login_is_written_down_without_a_trace_of_it(trade: Trade) -> None:
    with pytest.raises(NotAllowed):
        await sign_in(trade.database, "hunter2", "x", None, peer=PEER, now=NOW, terms=TERMS)
    [entry] = [entry for entry in await trade.audit() if entry.deed == "fail to sign in"]
    assert entry.object_id == "-"


async def test_two_accounts_that_take_one_name_at_once_are_told(trade: Trade) -> None:
    def renamed(name: str) -> Callable[[AsyncConnection], Awaitable[object]]:
        return lambda connection: tree.rename(connection, LOCAL_OPERATOR, trade.accounts[name], "same", NOW)

    async with transaction(trade.database) as connection:
        await renamed("agency")(connection)
        late = asyncio.create_task(trade.doing(renamed("other")))
        await eventually(lambda: waits_for_another(trade.database))
    with pytest.raises(Conflict, match="same"):
        await late


async def waits_for_another(database: AsyncEngine) -> bool:
    async with database.connect() as connection:
        return bool(await connection.scalar(text("SELECT EXISTS (SELECT FROM pg_locks WHERE NOT granted)")))


async def test_a_shop_does_not_write_its_own_way_into_the_message_plan(trade: Trade, owner: User) -> None:
    def business(actor: Actor) -> Callable[[AsyncConnection], Awaitable[object]]:
        return lambda connection: tree.set_business(
            connection, actor, trade.accounts["shop"], NOW, trade="56111", yearly_revenue=1, evidence="my word"
        )

    for actor in (owner.actor(), Actor(who="x", place=(await place(trade, "agency")), role=Role.AGENCY)):
        with pytest.raises(NotAllowed, match="review accounts"):
            await trade.doing(business(actor))
    await trade.doing(business(LOCAL_OPERATOR))


async def place(trade: Trade, name: str) -> Place:
    async with transaction(trade.database) as connection:
        return await tree.place_of(connection, trade.accounts[name])


async def test_a_document_of_a_stranger_is_written_down_with_where_it_came_from(trade: Trade) -> None:
    wanted = signup.Wanted(
        company="다리꽃집", registration_number="123-45-67891", contact_name="김", contact="kim@example.com"
    )
    async with transaction(trade.database) as connection:
        made = await signup.apply(connection, None, wanted, NOW, peer=STRANGER)
        kind = DocumentKind.BUSINESS_REGISTRATION
        await signup.attach(connection, None, made.id, kind, "0" * 64, "upload", NOW, peer=STRANGER)
    [entry] = [entry for entry in await trade.audit() if entry.deed == "attach document"]
    assert (entry.who, entry.peer) == (signup.APPLICANT, STRANGER)


async def test_the_closing_of_an_account_ends_all_that_acted_for_it(trade: Trade, owner: User) -> None:
    _, secret = await trade.key(owner.actor(), "shop")
    session = await signed_in(trade.database, owner)
    invited, token = await trade.invite(owner.actor(), "shop", Role.STAFF, "staff@example.com")
    await trade.doing(lambda connection: tree.close(connection, LOCAL_OPERATOR, trade.accounts["shop"], NOW))
    for secret_of in (secret, session.token):
        with pytest.raises(NotAllowed):
            await trade.known(secret_of)
    assert (await trade.enter(token)).status is UserStatus.ACTIVE
    with pytest.raises(NotAllowed):
        await sign_in(trade.database, invited.login, PASSWORD, None, peer=PEER, now=NOW, terms=TERMS)

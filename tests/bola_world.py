"""A tree of accounts with somebody of each role in it, and the things that each account may have.

Of each kind of thing an account has one that stands and is only looked at, and as many fresh ones as are wanted.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from datetime import date, timedelta
from itertools import count
from pathlib import Path
from uuid import UUID

from aiohttp import web
from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncEngine

from engine.accounts import bearer, grants, keys, signup, tree
from engine.accounts.model import (
    LOCAL_OPERATOR,
    MANAGERS,
    OPERATOR_ID,
    Account,
    AccountKind,
    Actor,
    Deed,
    DocumentKind,
    Place,
    Role,
)
from engine.accounts.permissions import WHEN_ALLOWED, may
from engine.accounts.sessions import open_session
from engine.api.documents import digest_of
from engine.foundation.database import transaction
from engine.foundation.phone_number import PhoneNumber
from engine.numbers import choice, life, orders, ranges, transfer
from engine.numbers.model import NumberKind, ServiceNumber
from engine.numbers.treatment import Treatment
from engine.prompts import library
from engine.prompts.library import Shelf, Spoken
from engine.routing import book, caller_groups, holiday_calendar
from engine.routing.check import Against
from engine.routing.model import Condition, Rule
from engine.trunks import registry
from engine.trunks.model import Trunk
from engine.webhooks import book as webhooks
from engine.webhooks.settings import Rules, WebhookSettings
from tests.api_desk import KEY, TERMS
from tests.signed_in import new_user
from tests.trade_desk import OPENED, SHOP_TEXT, TARGET, TradeDesk, trade_desk

REASON = "the matrix asks"
RULE = "night"
SINK = "http://127.0.0.1:1025/hook"
"""Where nobody listens."""
PDF = b"%PDF-1.7 the papers of a shop"


@dataclass(frozen=True, slots=True)
class Somebody:
    """Who asks."""

    name: str
    token: str
    actor: Actor


@dataclass(frozen=True, slots=True)
class Thing:
    """Something of an account: what it is called in an address, and where it stands."""

    id: str
    place: Place
    also: dict[str, str] = field(default_factory=dict)
    """What else an address may need."""


class World:
    """Two agencies. Under the first a region, a branch and the shop `mine`, and beside the region the shop `near`;
    under the second the shop `far`, and one that nobody here belongs to, `apart`.
    """

    def __init__(self, desk: TradeDesk, live: dict[str, str]) -> None:
        self.desk = desk
        self.live = live
        self.accounts: dict[str, Account] = {}
        self.people: list[Somebody] = []
        self._standing: dict[tuple[str, UUID], Thing] = {}
        self._one_at_a_time = asyncio.Lock()
        self._numbers = count(1)
        self._names = count(1)
        self._free = iter([f"05080{number:07}" for number in range(1, 4000)])

    async def settle(self) -> None:
        """Opens the accounts, and has everybody sign in."""
        desk, opened = self.desk, self.accounts
        async with transaction(desk.database) as connection:
            opened["operator"] = await tree.find(connection, OPERATOR_ID)
        opened["agency"] = await desk.account("agency", AccountKind.AGENCY)
        opened["region"] = await desk.account("region", AccountKind.REGION, opened["agency"].id)
        opened["branch"] = await desk.account("branch", AccountKind.BRANCH, opened["region"].id)
        opened["mine"] = await desk.account("mine", parent=opened["branch"].id)
        opened["near"] = await desk.account("near", parent=opened["agency"].id)
        opened["elsewhere"] = await desk.account("elsewhere", AccountKind.AGENCY)
        opened["far"] = await desk.account("far", parent=opened["elsewhere"].id)
        opened["apart"] = await desk.account("apart", AccountKind.AGENCY)
        await desk.stock(*[f"05080{number:07}" for number in range(1, 4000)], prefix="0508")
        for where in ("mine", "near", "far"):  # so that nobody above is asked to invite the first owner
            await self.signed_in(opened[where].id, Role.OWNER, f"owner.of.{where}@example.com")
        for where, role in _ROLES:
            await self._person(where, role)
        for where in ("operator", "agency", "mine"):
            await self._person(where, Role.STAFF, everything=True)
        secret = await desk.key(opened["mine"].id, [Deed.SEE_ACCOUNTS, Deed.SEE_NUMBERS])
        await self._known("a key of mine that sees numbers", secret)

    async def thing(self, kind: str, account: UUID, *, fresh: bool) -> Thing:
        """One of the account's; a fresh one is nobody else's to use up."""
        async with self._one_at_a_time:
            if fresh:
                return await self._made(kind, account)
            if (kind, account) not in self._standing:
                self._standing[kind, account] = await self._made(kind, account)
            return self._standing[kind, account]

    def standing(self, kind: str, account: UUID) -> str:
        """The id of the one that stands; empty: there is none."""
        found = self._standing.get((kind, account))
        return found.id if found else ""

    def traces(self, account: UUID) -> set[str]:
        """What tells that somebody was shown things of the account."""
        things = [thing for (_, owner), thing in self._standing.items() if owner == account]
        return {str(account), *(thing.id for thing in things if len(thing.id) >= 10)}

    def unused(self) -> str:
        """Another word each time."""
        return f"n{next(self._names)}"

    def free_number(self) -> str:
        """In the stock, and never told before."""
        return next(self._free)

    def unknown_number(self) -> str:
        """Of the range, and not in the stock."""
        return f"05089{next(self._numbers):07}"

    def prefix(self) -> str:
        """Of a range that there is not yet."""
        return f"0502{next(self._numbers):05}"

    def registration_number(self) -> str:
        """Of a business."""
        digits = f"{next(self._numbers):09}"
        products = [int(digit) * weight for digit, weight in zip(digits, (1, 3, 7, 1, 3, 7, 1, 3, 5), strict=True)]
        return digits + str((10 - (sum(products) + products[-1] // 10) % 10) % 10)

    def address(self) -> str:
        number = next(self._numbers)
        return f"198.18.{number // 256}.{number % 256}"

    def day(self) -> str:
        """In the far future."""
        return str((self.desk.clock.now() + timedelta(days=1000 + next(self._numbers))).date())

    async def written(self) -> int:
        """How many deeds the audit has."""
        async with transaction(self.desk.database) as connection:
            return int(await connection.scalar(text("SELECT count(*) FROM audit")) or 0)

    async def _made(self, kind: str, account: UUID) -> Thing:
        made = await _MAKERS[kind](self, account)
        return made if isinstance(made, Thing) else Thing(made, self._account(account).place)

    def _account(self, account: UUID) -> Account:
        """One of those opened at first, as it stands in the tree."""
        return next(one for one in self.accounts.values() if one.id == account)

    async def _person(self, where: str, role: Role, *, everything: bool = False) -> None:
        account = self.accounts[where]
        manager = Actor(who="test", place=account.place, role=MANAGERS[account.kind])
        allowed = [deed for deed in sorted(WHEN_ALLOWED, key=str) if everything and may(manager, deed, account.place)]
        name = f"{role.value} of {where}" + (", allowed everything" if everything else "")
        token = await self.signed_in(
            account.id, role, f"{name.replace(' ', '.').replace(',', '')}@example.com", allowed
        )
        await self._known(name, token)

    async def signed_in(self, account: UUID, role: Role, login: str, allowed: Sequence[Deed] = ()) -> str:
        """The token of a new user's session."""
        now = self.desk.clock.now()
        async with transaction(self.desk.database) as connection:
            place = await tree.place_of(connection, account)
            manager = MANAGERS[place.kind]
            by = LOCAL_OPERATOR if role is manager else Actor(who="test", place=place, role=manager)
            user = await new_user(connection, account, role, login, allowed=frozenset(allowed), actor=by, now=now)
            return (await open_session(connection, user, peer="test", now=now, terms=TERMS)).token

    async def _known(self, name: str, token: str) -> None:
        async with transaction(self.desk.database) as connection:
            actor = await bearer.actor_of(connection, token, self.desk.clock.now())
        self.people.append(Somebody(name, token, actor))


_ROLES = (
    ("operator", Role.OPERATOR),
    ("operator", Role.STAFF),
    ("operator", Role.CONTENT),
    ("operator", Role.AUDITOR),
    ("agency", Role.AGENCY),
    ("agency", Role.STAFF),
    ("agency", Role.CONTENT),
    ("agency", Role.AUDITOR),
    ("region", Role.REGION),
    ("branch", Role.BRANCH),
    ("mine", Role.OWNER),
    ("mine", Role.STAFF),
    ("mine", Role.AUDITOR),
)


async def _number(world: World, account: UUID) -> str:
    number = f"0507{next(world._numbers):08}"
    return await world.desk.number(account, number, treatment=Treatment(label="g"))


async def _ruled(world: World, account: UUID) -> str:
    """A number with the rule RULE."""
    number = await _number(world, account)
    rule = Rule(name=RULE, condition=Condition(weekdays=(7,)), treatment=Treatment(announcement="ko/closed"))
    async with transaction(world.desk.database) as connection:
        await book.add_rule(connection, LOCAL_OPERATOR, PhoneNumber(number), rule, Against(world.desk.clock.now()))
    return number


async def _suspended(world: World, account: UUID) -> str:
    number = PhoneNumber(await _number(world, account))
    async with transaction(world.desk.database) as connection:
        await life.suspend(connection, LOCAL_OPERATOR, number, world.desk.clock.now(), bar=False)
    return number


async def _ported_out(world: World, account: UUID) -> str:
    now = world.desk.clock.now()
    number = PhoneNumber(world.free_number())
    wanted = ServiceNumber(number=number, kind=NumberKind.VIRTUAL, account_id=account, target=TARGET)
    async with transaction(world.desk.database) as connection:
        await life.issue(connection, LOCAL_OPERATOR, wanted, now)
        await life.port_out(connection, LOCAL_OPERATOR, number, now)
    return number


async def _kept_number(world: World, account: UUID) -> str:
    number = PhoneNumber(world.free_number())
    async with transaction(world.desk.database) as connection:
        await choice.reserve(connection, LOCAL_OPERATOR, account, number, world.desk.clock.now())
    return number


async def _order(world: World, account: UUID) -> str:
    now = world.desk.clock.now()
    async with transaction(world.desk.database) as connection:
        starts = now + timedelta(days=1)
        order, _ = await orders.place(connection, LOCAL_OPERATOR, account, 1, now, prefix="0508", starts_at=starts)
    return str(order.id)


async def _offer(world: World, giver: UUID, taker: UUID) -> str:
    number = PhoneNumber(await _number(world, giver))
    async with transaction(world.desk.database) as connection:
        made = await transfer.offer(connection, LOCAL_OPERATOR, number, taker, world.desk.clock.now())
    return str(made.id)


async def _offered(world: World, account: UUID) -> str:
    return await _offer(world, account, world.accounts["apart"].id)


async def _coming(world: World, account: UUID) -> str:
    return await _offer(world, world.accounts["apart"].id, account)


async def _call(world: World, account: UUID) -> str:
    return str((await world.desk.recorded(account)).call_id)


async def _live_call(world: World, account: UUID) -> str:
    call = str((await world.desk.call(account)).call_id)
    world.live[call] = await _number(world, account)
    return call


async def _message(world: World, account: UUID) -> str:
    number = await world.desk.number(account, f"0507{next(world._numbers):08}", callback=SHOP_TEXT)
    return str((await world.desk.messaged(account, number)).id)


async def _user(world: World, account: UUID) -> str:
    answer = await world.desk.ask("GET", "/session", await _signed_in(world, account))
    return str(answer.json["who"]).removeprefix("user:")


async def _session(world: World, account: UUID) -> str:
    token = await _signed_in(world, account)
    answer = await world.desk.ask("GET", "/sessions", token)
    return str(answer.json["items"][0]["id"])


async def _signed_in(world: World, account: UUID) -> str:
    return await world.signed_in(account, Role.STAFF, f"{world.unused()}@example.com")


async def _key(world: World, account: UUID) -> str:
    place = world._account(account).place
    owner = Actor(who="test", place=place, role=MANAGERS[place.kind])
    async with transaction(world.desk.database) as connection:
        now = world.desk.clock.now()
        made, _ = await keys.make(connection, owner, account, "k", frozenset({Deed.SEE_CALLS}), now)
    return str(made.id)


async def _grant(world: World, account: UUID) -> str:
    """One that runs tomorrow: today nobody above hears anything."""
    now = world.desk.clock.now()
    async with transaction(world.desk.database) as connection:
        agency = (await tree.find(connection, account)).path[1]
        given = await grants.give(
            connection,
            LOCAL_OPERATOR,
            account,
            agency,
            now,
            until=now + timedelta(days=2),
            begins=now + timedelta(days=1),
            reason="training",
            evidence="a letter",
        )
    return str(given.id)


async def _application(world: World, account: UUID) -> Thing:
    """For an account under that one, with its papers."""
    now = world.desk.clock.now()
    wanted = signup.Wanted(
        company=world.unused(),
        registration_number=world.registration_number(),
        contact_name="kim",
        contact="kim@example.com",
        parent=account,
    )
    await world.desk.documents.keep(PDF)
    kind = DocumentKind.BUSINESS_REGISTRATION
    async with transaction(world.desk.database) as connection:
        made = await signup.apply(connection, LOCAL_OPERATOR, wanted, now)
        await signup.attach(connection, LOCAL_OPERATOR, made.id, kind, digest_of(PDF), "upload", now)
    place = world._account(account).place
    return Thing(str(made.id), place, {"sha256": digest_of(PDF)})


async def _sibling(world: World, account: UUID) -> Thing:
    """An account beside it, with nothing in it."""
    parent = world._account(account).parent
    assert parent is not None
    made = await world.desk.account(world.unused(), parent=parent)
    return Thing(str(made.id), made.place)


async def _account_itself(_world: World, account: UUID) -> str:
    return str(account)


async def _prompt(world: World, account: UUID) -> str:
    desk = world.desk
    shelf = Shelf(account, world.unused(), desk.equipment.sounds, desk.clock.now())
    spoken = Spoken(text="안녕하세요", speech=await desk.equipment.speech())
    async with transaction(desk.database) as connection:
        await library.speak(connection, LOCAL_OPERATOR, shelf, spoken)
        await library.speak(connection, LOCAL_OPERATOR, shelf, spoken)
    return shelf.name


async def _group(world: World, account: UUID) -> str:
    group = world.unused()
    async with transaction(world.desk.database) as connection:
        await caller_groups.add(
            connection, LOCAL_OPERATOR, account, group, [PhoneNumber("01023456789")], world.desk.clock.now()
        )
    return group


async def _webhook(world: World, account: UUID) -> str:
    """Whatever an account has beside the one that stands goes: it may have so many only."""
    await _no_webhooks(world, account)
    now = world.desk.clock.now()
    await world.desk.call(account)
    async with transaction(world.desk.database) as connection:
        rules = Rules(KEY, OPENED)
        place = (await tree.find(connection, account)).place
        owner = Actor(who="test", place=place, role=MANAGERS[place.kind])
        made, _ = await webhooks.add(connection, rules, owner, account, WebhookSettings(url=SINK), now)
    return str(made.id)


async def _no_webhooks(world: World, account: UUID) -> str:
    standing = world.standing("webhook", account)
    async with transaction(world.desk.database) as connection:
        await connection.execute(
            text("DELETE FROM webhooks WHERE account_id = :account AND CAST(id AS text) <> :standing"),
            {"account": account, "standing": standing},
        )
    return str(account)


async def _trunk(world: World, _account: UUID) -> str:
    name = world.unused()
    trunk = Trunk(name=name, match=(world.address(),), contact="sip:192.0.2.1")
    async with transaction(world.desk.database) as connection:
        await registry.add(connection, LOCAL_OPERATOR, trunk, world.desk.clock.now())
    return name


async def _holiday(world: World, _account: UUID) -> str:
    day = world.day()
    async with transaction(world.desk.database) as connection:
        await holiday_calendar.add(
            connection, LOCAL_OPERATOR, date.fromisoformat(day), "holiday", world.desk.clock.now()
        )
    return day


async def _range(world: World, _account: UUID) -> str:
    name = world.unused()
    async with transaction(world.desk.database) as connection:
        await ranges.add(connection, LOCAL_OPERATOR, name, world.prefix(), 12, world.desk.clock.now())
    return name


_MAKERS: dict[str, Callable[[World, UUID], Awaitable[str | Thing]]] = {
    "account": _account_itself,
    "operator": _account_itself,
    "sibling": _sibling,
    "number": _number,
    "ruled number": _ruled,
    "suspended": _suspended,
    "ported out": _ported_out,
    "kept number": _kept_number,
    "order": _order,
    "offered": _offered,
    "coming": _coming,
    "call": _call,
    "live call": _live_call,
    "message": _message,
    "user": _user,
    "session": _session,
    "key": _key,
    "grant": _grant,
    "application": _application,
    "prompt": _prompt,
    "group": _group,
    "trunk": _trunk,
    "holiday": _holiday,
    "range": _range,
    "webhook": _webhook,
    "spare webhook": _no_webhooks,
}


@asynccontextmanager
async def settled_world(database: AsyncEngine, folder: Path) -> AsyncIterator[World]:
    """The world behind the API, and an engine of which the calls in `World.live` are told."""
    live: dict[str, str] = {}
    socket = folder / "engine.sock"
    runner = web.AppRunner(_engine(live))
    await runner.setup()
    await web.UnixSite(runner, str(socket)).start()
    try:
        async with trade_desk(database, folder, engine=socket, straight=True) as desk:
            world = World(desk, live)
            await world.settle()
            yield world
    finally:
        await runner.cleanup()


def _engine(live: dict[str, str]) -> web.Application:
    """The control socket of an engine that has these calls, by id with the number called."""

    def told(call: str) -> dict[str, object]:
        return {
            "call_id": call,
            "state": "talking",
            "direction": "incoming",
            "number": live[call],
            "caller": "01023456789",
            "target": str(TARGET),
            "arrived_at": "2026-11-22T00:30:00Z",
            "answered_at": "2026-11-22T00:30:09Z",
            "recording": "recording",
        }

    async def status(_request: web.Request) -> web.Response:
        return web.json_response({"state": "ready", "live_calls": len(live)})

    async def calls(_request: web.Request) -> web.Response:
        return web.json_response([told(call) for call in live])

    async def place(_request: web.Request) -> web.Response:
        return web.json_response({"call_id": "019a9f3e-7a10-7c3e-9d7b-2f0f6c1d4e55"})

    async def recording(request: web.Request) -> web.Response:
        return web.json_response(told(request.match_info["call"]))

    async def listening(request: web.Request) -> web.Response:
        call = (await request.json())["call"]
        return web.json_response({"ticket": "t", "call_id": call, "seconds_to_open": 60, "minutes": 5})

    application = web.Application()
    application.add_routes(
        [
            web.get("/status", status),
            web.get("/calls", calls),
            web.post("/calls", place),
            web.post("/calls/{call}/recording", recording),
            web.post("/listening", listening),
        ]
    )
    return application

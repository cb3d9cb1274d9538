"""What comes through the API is in the audit: every change once, and every look of an auditor with its reason.

The routes are those of the OpenAPI description; one that nobody has said anything about here fails.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Mapping
from datetime import timedelta
from pathlib import Path
from typing import Any, NamedTuple
from uuid import UUID, uuid4

import msgspec
import pyotp
import pytest
from fastapi import FastAPI
from sqlalchemy import text

from engine.accounts import users
from engine.accounts.model import OPERATOR_PLACE, Actor, Place, Role
from engine.accounts.permissions import check
from engine.accounts.user import NewUser
from engine.api.app import make_api
from engine.api.openapi import describe, operations
from engine.api.reading import LOOKED
from engine.api.routes import all_routers
from engine.foundation.database import open_database, transaction
from engine.foundation.errors import DariError
from tests.api_desk import Answer
from tests.bola_routes import ROUTES, Route, Where
from tests.bola_world import PDF, REASON, Somebody, Thing, World, settled_world
from tests.databases import Databases
from tests.hand_clock import HandClock
from tests.signed_in import PASSWORD

OWNER_OF = {Where.SHOP: "mine", Where.OFFICE: "agency", Where.ROOT: "operator"}

NOTHING: Mapping[str, str] = {
    "search_calls": "it looks, with what it looks for in the body",
    "simulate": "it looks",
    "simulate_sound": "it looks",
    "verify_audit": "it looks",
    "try_webhook": "an event is sent to the receiver, and nothing is another than before",
    "take_codes_off": "nobody here has codes; tests/integration/accounts/test_users.py takes some off",
}
"""Changing methods that the audit has nothing of, and why."""
TWO_DEEDS: Mapping[str, str] = {
    "approve_application": "it decides, and opens the account",
    "create_mapping": "it chooses a number, and puts it into service",
}
OTHERWISE: Mapping[str, Any] = {
    "replace_rules": {"rules": [{"name": "sundays", "condition": {"weekdays": [7]}, "treatment": {"accept": True}}]},
    "set_account_closed_days": {"days": [{"weekday": 1}]},
    "set_call_settings": {"zone": "Asia/Tokyo", "limits": {}},
    "add_members": {"numbers": ["010-7777-6666"]},
    "register_sender": {"number": "02-555-7777", "evidence": "its telephone bill"},
}
"""Bodies that change something where those of the matrix leave all as it is."""
BEFORE = {"resume_webhook": "pause_webhook"}
"""What has to be done first."""


class Described(NamedTuple):
    """A route as the description has it."""

    method: str
    path: str
    parameters: frozenset[str]
    """Of the query."""


class Written(NamedTuple):
    """An entry of the audit."""

    who: str
    deed: str
    account: UUID | None
    after: dict[str, Any] | None
    peer: str


def _described() -> dict[str, Described]:
    door: Any = object()
    app: FastAPI = make_api(all_routers(), door)
    return {
        str(operation["operationId"]): Described(
            method.upper(),
            path.removeprefix("/api/v1"),
            frozenset(one["name"] for one in operation.get("parameters", ()) if one["in"] == "query"),
        )
        for path, method, operation in operations(describe(app))
    }


DESCRIBED = _described()
LOOKS = [name for name, route in DESCRIBED.items() if route.method == "GET"]
CHANGES = [name for name in DESCRIBED if name not in LOOKS]
OF_PEOPLE = [name for name in CHANGES if ROUTES[name].where in (Where.ONESELF, Where.STRANGERS)]
"""Of whoever asks: `test_what_people_do_with_their_own_is_written_once` goes through them."""


@pytest.fixture(scope="module")
async def world(databases: Databases, tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[World]:
    url = await databases.fresh()
    engine = open_database(url, command_timeout=30.0, application_name="dari audited")
    folder: Path = tmp_path_factory.mktemp("audited")
    async with settled_world(engine, folder) as settled:
        yield settled
    await engine.dispose()
    await databases.drop(url)


@pytest.mark.parametrize("name", [name for name in CHANGES if name not in OF_PEOPLE])
async def test_every_change_is_written_once(world: World, name: str) -> None:
    route = ROUTES[name]
    thing = await _thing(world, route, fresh=True)
    somebody = next(
        one for one in world.people if one.actor.role is not Role.AUDITOR and _may(one.actor, route, thing.place)
    )
    if name in BEFORE:
        await _ask(world, BEFORE[name], somebody, thing)
    known = await _known(world)
    answer = await _ask(world, name, somebody, thing)
    assert answer.status in route.done, answer
    new = await _since(world, known)
    entries = 0 if name in NOTHING else 2 if name in TWO_DEEDS else 1
    assert [one.who for one in new] == [somebody.actor.who] * entries, new
    assert all(one.peer for one in new), "from where?"


async def test_what_people_do_with_their_own_is_written_once(world: World) -> None:
    desk, mine, gone = world.desk, world.accounts["mine"].id, set[str]()
    token = await world.signed_in(mine, Role.STAFF, "lee@example.com")

    async def does(name: str, token: str | None, body: object = None, **more: Any) -> Any:
        described, known = DESCRIBED[name], await _known(world)
        path = described.path.replace("{application}", more.pop("application", ""))
        answer = await desk.ask(described.method, path, token, body=body, **more)
        assert answer.status in (200, 201, 204), answer
        entries = 0 if name == "begin_codes" else 1  # nothing is asked for until they are confirmed
        assert len(await _since(world, known)) == entries, name
        gone.add(name)
        return answer.json if answer.raw else None

    await does("change_own_password", token, {"old": PASSWORD, "new": "사람은 나면 서울로"})
    codes = pyotp.TOTP((await does("begin_codes", token))["secret"])
    await does("confirm_codes", token, {"code": codes.at(desk.clock.now())})
    assert isinstance(desk.clock, HandClock)
    desk.clock.advance(timedelta(seconds=90))
    await does("turn_codes_off", token, {"code": codes.at(desk.clock.now())})
    signed_in = await does("sign_in", None, {"login": "lee@example.com", "password": "사람은 나면 서울로"})
    await does("end_own_sessions", signed_in["token"])
    await does("sign_out", signed_in["token"])
    async with transaction(desk.database) as connection:
        wanted = NewUser(login="park@example.com", name="박", role=Role.STAFF)
        owner = Actor(who="test", place=world.accounts["mine"].place, role=Role.OWNER)
        _, invitation = await users.add(connection, owner, mine, wanted, desk.clock.now())
    await does("choose_password", None, {"token": invitation.secret, "password": PASSWORD})
    applied = await does(
        "sign_up",
        None,
        {
            "company": "다리상사",
            "registration_number": world.registration_number(),
            "contact_name": "kim",
            "contact": "kim@example.com",
        },
    )
    headers = {"Application-Token": applied["token"], "Content-Type": "application/pdf"}
    query = {"kind": "identity"}
    await does("upload_own_document", None, application=applied["application"], raw=PDF, query=query, headers=headers)
    assert gone == set(OF_PEOPLE)


@pytest.mark.parametrize("name", [name for name in LOOKS if ROUTES[name].where is not Where.STRANGERS])
async def test_every_look_of_an_auditor_is_written_once_with_the_reason(world: World, name: str) -> None:
    route = ROUTES[name]
    thing = await _thing(world, route, fresh=False)
    for somebody in (one for one in world.people if one.actor.role is Role.AUDITOR):
        known = await _known(world)
        answer = await _ask(world, name, somebody, thing)
        looks = [one for one in await _since(world, known) if one.deed == LOOKED]
        if answer.status in route.done:
            (look,) = looks
            assert look.who == somebody.actor.who
            assert look.after is not None
            assert look.after["reason"] == REASON
            assert look.after["route"] == f"GET /api/v1{DESCRIBED[name].path}"
            assert look.peer
        else:
            assert answer.status in (403, 404), answer
            assert looks == [], "nothing was seen"


async def test_nobody_else_s_looks_are_written_down(world: World) -> None:
    thing = await _thing(world, ROUTES["read_number"], fresh=False)
    before = await world.written()
    for somebody in world.people:
        if somebody.actor.role is not Role.AUDITOR:
            await _ask(world, "read_number", somebody, thing)
    assert await world.written() == before


async def test_a_look_stands_with_the_account_that_it_was_at(world: World) -> None:
    auditor = next(one for one in world.people if one.name == "auditor of agency")
    number = await _thing(world, ROUTES["read_number"], fresh=False)
    for name, thing in (("read_number", number), ("list_prompts", Thing(str(number.place.account), number.place))):
        known = await _known(world)
        assert (await _ask(world, name, auditor, thing)).status == 200
        assert [one.account for one in await _since(world, known)] == [number.place.account]


async def test_a_look_never_stands_with_an_account_that_the_auditor_may_not_see(world: World) -> None:
    auditor = next(one for one in world.people if one.name == "auditor of mine")
    for account in (world.accounts["near"].id, uuid4()):
        for name in ("list_numbers", "list_users", "list_keys"):
            known = await _known(world)
            path, headers = DESCRIBED[name].path, {"Dari-Reason": "checking"}
            answer = await world.desk.ask("GET", path, auditor.token, query={"account": str(account)}, headers=headers)
            looks = [one.account for one in await _since(world, known)]
            assert looks == ([auditor.actor.place.account] if answer.status == 200 else []), (name, answer)


async def _thing(world: World, route: Route, *, fresh: bool) -> Thing:
    if route.where not in OWNER_OF:
        return Thing("", world.accounts["mine"].place)
    return await world.thing(route.thing, world.accounts[OWNER_OF[route.where]].id, fresh=fresh)


def _may(actor: Actor, route: Route, place: Place) -> bool:
    """By the table of permissions."""
    if route.people_only and actor.scopes is not None:
        return False
    answers = []
    for asked in route.deeds:
        deed, where = asked if isinstance(asked, tuple) else (asked, place)
        try:
            check(actor, deed, OPERATOR_PLACE if isinstance(where, Where) else where)
        except DariError:
            answers.append(False)
        else:
            answers.append(True)
    return any(answers) if route.any_of else all(answers)


async def _ask(world: World, name: str, somebody: Somebody, thing: Thing) -> Answer:
    described, route = DESCRIBED[name], ROUTES[name]
    path = described.path
    parts = {"account": str(thing.place.account), **thing.also, **route.path, route.named: thing.id}
    for part, value in parts.items():
        path = path.replace("{" + part + "}", value)
    query = dict(route.query)
    if route.named in described.parameters and route.where in OWNER_OF:
        query[route.named] = thing.id
    raw = route.raw(world) if callable(route.raw) else route.raw
    body = OTHERWISE.get(name) or (None if route.body is None else route.body(world, thing))
    headers = {"Dari-Reason": REASON.replace(" ", "%20")} | ({"If-Match": "*"} if route.edits else {})
    if raw is not None:
        headers["Content-Type"] = route.media
    return await world.desk.ask(
        described.method, path, somebody.token, body=body, raw=raw, query=query, headers=headers
    )


async def _known(world: World) -> list[UUID]:
    """The entries that there are. All of one instant, so that their ids say nothing of their order."""
    async with transaction(world.desk.database) as connection:
        return list(await connection.scalars(text("SELECT id FROM audit")))


async def _since(world: World, known: list[UUID]) -> list[Written]:
    """The entries that are new."""
    statement = text("""
        SELECT who, deed, account_id, CAST(after AS text), peer FROM audit WHERE id <> ALL(CAST(:known AS uuid[]))
    """)
    async with transaction(world.desk.database) as connection:
        rows = await connection.execute(statement, {"known": known})
        return [Written(row[0], row[1], row[2], row[3] and msgspec.json.decode(row[3]), row[4]) for row in rows]

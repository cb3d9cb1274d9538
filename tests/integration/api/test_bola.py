"""Whoever asks for whatever of whomever: every route, everybody's role, everybody's things (BOLA).

The routes are those of the OpenAPI description; what each is about says `tests/bola_routes.py`, and a route that it
does not know fails. What may be done says the table of permissions: a thing that one may not see is answered like one
that does not exist (404), a deed that one may not do with what one sees is refused (403), and nothing is changed by
either; everything else is done.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import msgspec
import pytest
from fastapi import FastAPI

from engine.accounts.model import OPERATOR_ID, OPERATOR_PLACE, Actor, Place, Role
from engine.accounts.permissions import check
from engine.api.app import make_api
from engine.api.openapi import describe, operations
from engine.api.routes import all_routers
from engine.foundation.database import open_database
from engine.foundation.errors import NotAllowed, NotFound
from tests.api_desk import Answer
from tests.bola_routes import ROUTES, Route, Where
from tests.bola_world import REASON, Somebody, Thing, World, settled_world
from tests.databases import Databases


def _described() -> dict[str, tuple[str, str, dict[str, Any]]]:
    """Method, path and operation of each route, by its operation id."""
    door: Any = object()
    app: FastAPI = make_api(all_routers(), door)
    return {
        str(operation["operationId"]): (method.upper(), path.removeprefix("/api/v1"), operation)
        for path, method, operation in operations(describe(app))
    }


DESCRIBED = _described()
OWNERS = {Where.SHOP: ("mine", "near", "far"), Where.OFFICE: ("agency", "elsewhere"), Where.ROOT: ("operator",)}


@dataclass(frozen=True, slots=True)
class Cell:
    """One place of the matrix: who asks a route for whose thing, and the status of the refusal, 0 if it is done."""

    name: str
    somebody: Somebody
    owner: str
    thing: Thing
    expected: int

    def fits(self, answer: Answer) -> bool:
        if self.expected == 0:
            return answer.status in ROUTES[self.name].done
        code = "not_found" if self.expected == 404 else "not_allowed"
        return answer.status == self.expected and answer.code == code

    def __str__(self) -> str:
        expected = self.expected or " or ".join(map(str, sorted(ROUTES[self.name].done)))
        return f"{self.name}: {self.somebody.name} with {self.owner}'s: expected {expected}"


@pytest.fixture(scope="module")
async def world(databases: Databases, tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[World]:
    url = await databases.fresh()
    engine = open_database(url, command_timeout=30.0, application_name="dari bola")
    folder: Path = tmp_path_factory.mktemp("bola")
    async with settled_world(engine, folder) as settled:
        yield settled
    await engine.dispose()
    await databases.drop(url)


def test_every_route_is_known_here() -> None:
    assert set(DESCRIBED) - set(ROUTES) == set(), "say in tests/bola_routes.py what these routes are about"
    assert set(ROUTES) - set(DESCRIBED) == set(), "these routes are no more"


def test_only_strangers_routes_are_open() -> None:
    for name, (_, _, operation) in DESCRIBED.items():
        assert bool(operation.get("security")) is (ROUTES[name].where is not Where.STRANGERS), name


@pytest.mark.parametrize("name", [name for name in DESCRIBED if name in ROUTES and ROUTES[name].where in OWNERS])
async def test_things(world: World, name: str) -> None:
    route, looks = ROUTES[name], DESCRIBED[name][0] == "GET"
    standing = {
        owner: await world.thing(route.thing, world.accounts[owner].id, fresh=False) for owner in OWNERS[route.where]
    }
    cells = [
        Cell(name, somebody, owner, thing, _verdict(somebody.actor, route, thing.place))
        for owner, thing in standing.items()
        for somebody in world.people
    ]
    refused = [cell for cell in cells if cell.expected]
    allowed = [cell for cell in cells if not cell.expected]
    written = await world.written()
    wrong = await _wrong(world, refused)
    assert wrong == [], "\n".join(wrong)
    assert await world.written() == written, f"{name}: a refused request was written down as a deed"
    if looks:
        wrong = await _wrong(world, allowed)
    elif route.again or (route.edits and DESCRIBED[name][0] != "DELETE"):
        wrong = await _wrong(world, await _with_fresh_things(world, allowed))
    else:
        for cell in allowed:
            wrong += await _wrong(world, await _with_fresh_things(world, [cell]))
    assert wrong == [], "\n".join(wrong)


@pytest.mark.parametrize("name", [name for name in DESCRIBED if name in ROUTES and ROUTES[name].where is Where.LIST])
async def test_lists(world: World, name: str) -> None:
    route = ROUTES[name]
    for owner in ("mine", "near", "far"):
        for kind in ("number", "call", "live call", "message", "user", "key", "offered", "order"):
            await world.thing(kind, world.accounts[owner].id, fresh=False)
    await world.thing("application", world.accounts["elsewhere"].id, fresh=False)
    turns = asyncio.Semaphore(route.at_once)
    await asyncio.gather(*(_check_list(world, name, somebody, turns) for somebody in world.people))


async def _check_list(world: World, name: str, somebody: Somebody, turns: asyncio.Semaphore) -> None:
    route = ROUTES[name]
    async with turns:
        expected = _verdict(somebody.actor, route, somebody.actor.place)
        answer = await _ask(world, name, somebody, Thing("", somebody.actor.place))
        assert answer.status == (expected or 200), f"{name}: {somebody.name}: {answer}"
        if expected == 0:
            _check_no_trace(world, name, somebody, answer)
        if "account" not in _parameters(name):
            return
        for owner in ("near", "far"):
            account = world.accounts[owner]
            narrowed = await _ask(world, name, somebody, Thing("", account.place), account=str(account.id))
            if _verdict(somebody.actor, route, account.place) != 0:
                assert narrowed.status in (200, 403, 404), narrowed
                assert narrowed.status != 200 or narrowed.json["items"] == [], f"{name}: {somebody.name}: {narrowed}"


@pytest.mark.parametrize("name", [name for name in DESCRIBED if name in ROUTES and ROUTES[name].where is Where.ANYBODY])
async def test_for_whoever_is_signed_in(world: World, name: str) -> None:
    for somebody in world.people:
        answer = await _ask(world, name, somebody, Thing("", somebody.actor.place))
        assert answer.status == 200, f"{name}: {somebody.name}: {answer}"


@pytest.mark.parametrize(
    "name", [name for name in DESCRIBED if name in ROUTES and ROUTES[name].where is not Where.STRANGERS]
)
async def test_nobody_comes_in_without_a_token(world: World, name: str) -> None:
    method, path, _ = DESCRIBED[name]
    path = path.replace("{", "").replace("}", "")
    for token, code in (
        (None, "not_signed_in"),
        ("dari_session_" + "x" * 43, "wrong_token"),
        ("dari_x", "wrong_token"),
    ):
        answer = await world.desk.ask(method, path, token)
        assert (answer.status, answer.code) == (401, code), answer
        assert answer.headers["WWW-Authenticate"].startswith("Bearer")


async def test_an_auditor_is_asked_for_a_reason(world: World) -> None:
    auditor = next(
        one for one in world.people if one.actor.role is Role.AUDITOR and one.actor.place.kind.value == "shop"
    )
    number = await world.thing("number", world.accounts["mine"].id, fresh=False)
    answer = await world.desk.ask("GET", f"/numbers/{number.id}", auditor.token)
    assert (answer.status, answer.json["errors"][0]["field"]) == (422, "reason")


async def test_sound_is_the_shops_own(world: World) -> None:
    """Said once more by hand, for it is the law: neither the operator nor an agency hears a shop's calls."""
    for owner in ("mine", "near", "far"):
        call = await world.thing("call", world.accounts[owner].id, fresh=False)
        live = await world.thing("live call", world.accounts[owner].id, fresh=False)
        for somebody in world.people:
            heard = await _ask(world, "hear_recording", somebody, call)
            listened = await _ask(world, "listen_live", somebody, live)
            if somebody.actor.place.account != world.accounts[owner].id:
                assert heard.status in (403, 404), somebody.name
                assert listened.status in (403, 404), somebody.name
            if owner == "mine" and somebody.name in ("shop owner of mine", "auditor of mine"):
                assert (heard.status, listened.status) == (200, 201), somebody.name
                assert heard.raw[:4] == b"RIFF"


async def _with_fresh_things(world: World, cells: Sequence[Cell]) -> list[Cell]:
    """The cells with something else of each owner, which may be changed or used up; without those refused now."""
    kind = ROUTES[cells[0].name].thing if cells else ""
    owners = dict.fromkeys(cell.owner for cell in cells)
    things = {owner: await world.thing(kind, world.accounts[owner].id, fresh=True) for owner in owners}
    several = [replace(cell, thing=things[cell.owner]) for cell in cells]
    return [one for one in several if _verdict(one.somebody.actor, ROUTES[one.name], one.thing.place) == 0]


async def _wrong(world: World, cells: Sequence[Cell]) -> list[str]:
    """What was answered otherwise than expected, a line for each; some are asked at once."""
    turns = asyncio.Semaphore(ROUTES[cells[0].name].at_once if cells else 1)

    async def asked(cell: Cell) -> str:
        async with turns:
            answer = await _ask(world, cell.name, cell.somebody, cell.thing)
        return "" if cell.fits(answer) else f"{cell}; got {answer}"

    return [line for line in await asyncio.gather(*map(asked, cells)) if line]


def _verdict(actor: Actor, route: Route, place: Place) -> int:
    """0: it is done; else with which status it is refused, by the table of permissions."""
    if route.people_only and actor.scopes is not None:
        return 403
    actor = msgspec.structs.replace(actor, reason=REASON)
    found = 0
    for asked in route.deeds:
        deed, where = asked if isinstance(asked, tuple) else (asked, place)
        try:
            check(actor, deed, OPERATOR_PLACE if isinstance(where, Where) else where)
        except NotFound:
            found = 404
        except NotAllowed:
            found = 403
        else:
            if route.any_of:
                return 0
            continue
        if not route.any_of:
            return found
    return found


async def _ask(world: World, name: str, somebody: Somebody, thing: Thing, **query: str) -> Answer:
    method, path, _ = DESCRIBED[name]
    route = ROUTES[name]
    parts = {"account": str(thing.place.account), **thing.also, **route.path, route.named: thing.id}
    for part, value in parts.items():
        path = path.replace("{" + part + "}", value)
    asked = {**route.query, **query}
    if route.named in _parameters(name) and route.where in OWNERS:
        asked[route.named] = thing.id
    body = None if route.body is None else route.body(world, thing)
    raw = route.raw(world) if callable(route.raw) else route.raw
    headers = {"Dari-Reason": REASON.replace(" ", "%20")}
    if route.edits:
        headers["If-Match"] = "*"
    if raw is not None:
        headers["Content-Type"] = route.media
    return await world.desk.ask(method, path, somebody.token, body=body, raw=raw, query=asked, headers=headers)


def _parameters(name: str) -> set[str]:
    """Of the query."""
    return {one["name"] for one in DESCRIBED[name][2].get("parameters", ()) if one["in"] == "query"}


def _check_no_trace(world: World, name: str, somebody: Somebody, answer: Answer) -> None:
    """Nothing is shown of an account that somebody does not see."""
    for account in world.accounts.values():
        own = somebody.actor.place.account
        if own not in account.path and account.id not in somebody.actor.place.path and own != OPERATOR_ID:
            found = [trace for trace in world.traces(account.id) if trace in answer.raw.decode()]
            assert not (found and account.name in ("near", "far", "elsewhere")), f"{name}: {somebody.name} sees {found}"

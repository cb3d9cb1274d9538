"""The API on a free port, and those who use it: every role with a key of its own, and people who sign in."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from datetime import timedelta
from io import BytesIO
from typing import Any
from uuid import UUID

import aiohttp
from fastapi import APIRouter, FastAPI
from sqlalchemy.ext.asyncio import AsyncEngine

from engine.accounts import keys, tree, users
from engine.accounts.model import LOCAL_OPERATOR, MANAGERS, OPERATOR_ID, Account, AccountKind, Actor, Deed, Role
from engine.accounts.new_password import set_password
from engine.accounts.permissions import may
from engine.accounts.sessions import SessionTerms, open_session
from engine.accounts.user import NewUser
from engine.api.app import make_api, serving
from engine.api.door import Door
from engine.api.rate_limit import Rate
from engine.api.routes import api_routers
from engine.foundation.clock import Clock
from engine.foundation.database import transaction
from engine.foundation.sealing import SealingKey
from tests.hand_clock import HandClock
from tests.in_process import give
from tests.loopback import ANY_PORT
from tests.overhearing import overhear

BASE = "/api/v1"
KEY = SealingKey(bytes(range(32)))
TERMS = SessionTerms(key=KEY, idle=timedelta(hours=1), longest=timedelta(hours=12))
PASSWORD = "말은 나면 제주도로 보내라"
PLENTY = Rate(a_minute=600_000, at_once=100_000)


@dataclass(frozen=True, slots=True)
class Answer:
    """What came back."""

    status: int
    headers: Mapping[str, str]
    raw: bytes

    @property
    def json(self) -> Any:
        return json.loads(self.raw)

    @property
    def code(self) -> str:
        """Of a problem, which it has to be."""
        assert self.headers["Content-Type"] == "application/problem+json", self
        assert self.json["status"] == self.status
        return str(self.json["code"])

    @property
    def etag(self) -> str:
        return self.headers["ETag"]


class ApiDesk:
    """Asks the API with one token after the other: over HTTP, or where `straight` is given that application itself."""

    straight: FastAPI | None = None

    def __init__(self, url: str, session: aiohttp.ClientSession, database: AsyncEngine, clock: Clock) -> None:
        self.url = url
        self.session = session
        self.database = database
        self.clock = clock

    async def ask(
        self,
        method: str,
        path: str,
        token: str | None = None,
        *,
        body: object = None,
        raw: bytes | None = None,
        query: Sequence[tuple[str, str]] | Mapping[str, str] = (),
        headers: Mapping[str, str] | None = None,
    ) -> Answer:
        """One request to `path` under /api/v1; `body` goes as JSON, `raw` as it is."""
        sent = {} if token is None else {"Authorization": f"Bearer {token}"}
        if body is not None:
            raw, sent["Content-Type"] = json.dumps(body).encode(), "application/json"
        sent |= dict(headers or {})
        if self.straight is not None:
            given = await give(self.straight, method, BASE + path, query=query, headers=sent, body=raw or b"")
            return Answer(given.status, given.headers, given.raw)
        data = None if raw is None else BytesIO(raw)
        async with self.session.request(
            method, self.url + BASE + path, data=data, params=query, headers=sent
        ) as answer:
            return Answer(answer.status, answer.headers, await answer.read())

    async def account(self, name: str, kind: AccountKind = AccountKind.SHOP, parent: UUID = OPERATOR_ID) -> Account:
        async with transaction(self.database) as connection:
            return await tree.open_account(connection, LOCAL_OPERATOR, parent, kind, name, self.clock.now())

    async def key(self, account: UUID = OPERATOR_ID, scopes: Sequence[Deed] = tuple(Deed)) -> str:
        """The secret of a new key of that account with those of the scopes that its manager has."""
        async with transaction(self.database) as connection:
            place = await tree.place_of(connection, account)
            manager = Actor(who="test", place=place, role=MANAGERS[place.kind])
            held = frozenset(deed for deed in scopes if may(manager, deed, place))
            _, secret = await keys.make(connection, manager, account, "test", held, self.clock.now())
        return secret

    async def user(self, account: UUID, role: Role, login: str, allowed: Sequence[Deed] = ()) -> str:
        """The token of a session of a new user."""
        now = self.clock.now()
        async with transaction(self.database) as connection:
            wanted = NewUser(login=login, name=login, role=role, allowed=frozenset(allowed))
            place = await tree.place_of(connection, account)
            manager = MANAGERS[place.kind]
            by = LOCAL_OPERATOR if role is manager else Actor(who="test", place=place, role=manager)
            made, token = await users.add(connection, by, account, wanted, now)
            await set_password(connection, token.secret, PASSWORD, now)
            return (await open_session(connection, made, peer="test", now=now, terms=TERMS)).token


@asynccontextmanager
async def api_desk(
    database: AsyncEngine,
    routers: Sequence[APIRouter] | None = None,
    *,
    clock: Clock | None = None,
    known: Rate = PLENTY,
    strangers: Rate = PLENTY,
) -> AsyncIterator[ApiDesk]:
    """The API with these routers (None: with all) on that database."""
    clock = clock or HandClock()
    door = Door(database, clock, TERMS, known=known, strangers=strangers)
    app = make_api(api_routers() if routers is None else routers, door)
    naming_commands = overhear(app)
    async with serving(app, ANY_PORT) as url, aiohttp.ClientSession() as session:
        yield ApiDesk(url, session, database, clock)
    assert naming_commands == []

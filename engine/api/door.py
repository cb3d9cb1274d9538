"""The door of the API: what each request goes through before its handler, and what a handler gets from it.

In this order: who asks, whether they ask too often, what the request carries, whether it was answered before. The
handler then parses nothing any more: it takes `ActorDep`, `Rows` and `Now`, does one deed and answers. What it does on
`Rows` is one transaction, committed before the answer goes out and undone by any error. What an auditor is answered is
written down in it with their reason.
"""

from __future__ import annotations

import asyncio
import re
from collections.abc import AsyncIterator, Callable, Coroutine, Mapping
from contextlib import AsyncExitStack, asynccontextmanager
from datetime import datetime
from typing import Annotated, Any
from urllib.parse import unquote

import msgspec
from fastapi import APIRouter, Depends, Request, Response
from fastapi.exceptions import RequestValidationError
from fastapi.routing import APIRoute
from sqlalchemy.ext.asyncio import AsyncConnection, AsyncEngine
from starlette.exceptions import HTTPException
from starlette.requests import ClientDisconnect

from engine.accounts.bearer import actor_of
from engine.accounts.model import Actor, Role
from engine.accounts.sessions import SessionTerms
from engine.accounts.tokens import Expired
from engine.api import idempotency
from engine.api.etag import same
from engine.api.problems import Code, Refused, problem_of
from engine.api.rate_limit import Rate, RateLimits, Taken
from engine.api.reading import note_look
from engine.api.takes import check_address, problems_of, takes_of, told_by, with_body
from engine.foundation.clock import Clock
from engine.foundation.database import transaction
from engine.foundation.errors import DariError, NotAllowed, TryLater

BASE = "/api/v1"
REASON = "Dari-Reason"
"""The header in which auditors say why they look; percent-encoded UTF-8."""

_AT_ONCE = 8
"""Transactions at once: fewer than the pool has connections, so that none is refused for want of one."""
_FREE_WITHIN = 15.0
_TOKEN = re.compile(r"[!-~]{1,200}")
_LONGEST_REASON = 500
_PROBLEMS = "x-problems"
_KEEPS = "x-keeps-answers"

Handler = Callable[[Request], Coroutine[Any, Any, Response]]


class Door:
    """The door of one process."""

    def __init__(
        self, database: AsyncEngine, clock: Clock, terms: SessionTerms, *, known: Rate, strangers: Rate
    ) -> None:
        self.database = database
        self.clock = clock
        self.terms = terms
        self._known = RateLimits(known)
        self._strangers = RateLimits(strangers)
        self._wrong_tokens = RateLimits(strangers)
        self._free = asyncio.Semaphore(_AT_ONCE)
        self._turns = idempotency.Turns()

    @asynccontextmanager
    async def transaction(self) -> AsyncIterator[AsyncConnection]:
        """As `engine.foundation.database.transaction`; when many want one they wait in line for it."""
        try:
            async with asyncio.timeout(_FREE_WITHIN):
                await self._free.acquire()
        except TimeoutError:
            raise TryLater("too many requests at once; send it again", after=2.0) from None
        try:
            async with transaction(self.database) as connection:
                yield connection
        finally:
            self._free.release()

    async def through(self, request: Request, route: DoorRoute, inner: Handler) -> Response:
        """The answer to a request, which `inner` gives if everything here lets it in."""
        visit = Visit(self, request.client.host if request.client else "")
        request.state.visit = visit
        try:
            response = await self._answer(request, visit, route, inner)
        except (DariError, RequestValidationError, HTTPException) as error:
            response = problem_of(error)
        except ClientDisconnect:
            response = Response(status_code=400)  # nobody reads it
        response.headers.setdefault("Cache-Control", "no-store")
        response.headers.update(visit.headers)
        return response

    async def _answer(self, request: Request, visit: Visit, route: DoorRoute, inner: Handler) -> Response:
        if route.for_strangers:
            visit.count(self._strangers.take(visit.peer, self.clock.monotonic()))
        else:
            visit.actor = await self._known_actor(request, visit)
            visit.count(self._known.take(visit.actor.who, self.clock.monotonic()))
        check_address(request, route.takes)
        request, body = await with_body(request, route.takes)
        key = request.headers.get(idempotency.HEADER)
        if request.method == "POST" and key is not None and route.keeps_answers:
            who = visit.actor.who if visit.actor else f"peer:{visit.peer}"
            slot = idempotency.slot_of(who, key, told_by(request, body))
            async with self._turns.turn(slot), visit:
                response = await self._once(request, visit, slot, inner)
                await self._note_look(request, visit, route, response)
            return response
        async with visit:
            response = await inner(request)
            await self._note_look(request, visit, route, response)
        return _not_modified(request, response)

    async def _once(self, request: Request, visit: Visit, slot: idempotency.Slot, inner: Handler) -> Response:
        """Does the deed and keeps its answer, in one transaction; or gives the answer that is kept."""
        connection = await visit.rows()
        kept = await idempotency.claim(connection, slot, visit.now)
        if kept is not None:
            return kept
        response = await inner(request)
        await idempotency.keep(connection, slot, response)
        return response

    async def _note_look(self, request: Request, visit: Visit, route: DoorRoute, response: Response) -> None:
        """Whoever may only look says why, and it is kept before the answer goes out."""
        if visit.actor is not None and visit.actor.role is Role.AUDITOR and response.status_code < 400:
            await note_look(await visit.rows(), visit.actor, request, route.path, visit.now)

    async def _known_actor(self, request: Request, visit: Visit) -> Actor:
        token = _bearer(request.headers.get("authorization"))
        try:
            async with self.transaction() as connection:
                actor = await actor_of(connection, token, visit.now, peer=visit.peer)
        except NotAllowed as error:
            visit.count(self._wrong_tokens.take(visit.peer, self.clock.monotonic()))
            code = Code.TOKEN_EXPIRED if isinstance(error, Expired) else Code.WRONG_TOKEN
            raise Refused(code, str(error), headers=_challenge("invalid_token")) from None
        visit.token = token
        return msgspec.structs.replace(actor, reason=_reason(request))


class Visit:
    """One request on its way through the door. Inside `async with` it has a transaction as soon as it wants one."""

    def __init__(self, door: Door, peer: str) -> None:
        self.door = door
        self.now = door.clock.now()
        self.peer = peer
        self.actor: Actor | None = None
        self.token = ""
        """With which the actor came."""
        self.headers: dict[str, str] = {}
        """Of the answer, whatever it is."""
        self._stack = AsyncExitStack()
        self._connection: AsyncConnection | None = None

    async def rows(self) -> AsyncConnection:
        """The connection of its one transaction."""
        if self._connection is None:
            self._connection = await self._stack.enter_async_context(self.door.transaction())
        return self._connection

    def count(self, taken: Taken) -> None:
        """Tells what is left of the rate. Raises Refused when nothing is."""
        self.headers |= taken.headers
        if not taken.allowed:
            raise Refused(
                Code.TOO_MANY_REQUESTS, f"too many requests: at most {taken.limit} at once; wait {taken.wait:.1f} s"
            )

    async def __aenter__(self) -> Visit:
        return self

    async def __aexit__(self, *raised: Any) -> bool | None:
        return await self._stack.__aexit__(*raised)


class DoorRoute(APIRoute):
    """A route behind the door, for those who are signed in or have a key."""

    for_strangers = False
    """Whether it needs neither."""

    def __init__(self, path: str, endpoint: Callable[..., Any], **options: Any) -> None:
        extra = dict(options.pop("openapi_extra", None) or {})
        if not self.for_strangers:
            extra.setdefault("security", [{"bearer": []}])
        super().__init__(path, endpoint, openapi_extra=extra, **options)
        problems = sorted({*problems_of(self, for_strangers=self.for_strangers), *extra.get(_PROBLEMS, ())})
        self.openapi_extra = extra | {_PROBLEMS: problems, _KEEPS: self.keeps_answers}

    @property
    def keeps_answers(self) -> bool:
        """Whether an Idempotency-Key is heeded: not where `never_kept` says otherwise."""
        return not getattr(self.endpoint, "__never_kept__", False)

    def get_route_handler(self) -> Handler:
        inner = super().get_route_handler()
        self.takes = takes_of(self)

        async def handle(request: Request) -> Response:
            door: Door = request.app.state.door
            return await door.through(request, self, inner)

        return handle


class OpenRoute(DoorRoute):
    """A route for everybody: to sign in, to sign up."""

    for_strangers = True


def door_router(tag: str, route: type[DoorRoute] = DoorRoute) -> APIRouter:
    """A router under /api/v1 whose requests all go through the door. Handlers' names are the operation ids: unique."""
    return APIRouter(
        prefix=BASE, tags=[tag], route_class=route, generate_unique_id_function=lambda route: str(route.name)
    )


def answers_also(*statuses: int) -> dict[str, Any]:
    """For a route's `openapi_extra`: problems that this route has beside the usual ones."""
    return {_PROBLEMS: list(statuses)}


def never_kept(handler: Callable[..., Any]) -> Callable[..., Any]:
    """Marks a handler whose answers are never kept, so that an Idempotency-Key does nothing: signing in."""
    handler.__never_kept__ = True  # type: ignore[attr-defined]
    return handler


def _visit(request: Request) -> Visit:
    visit: Visit = request.state.visit
    return visit


async def _actor(request: Request) -> Actor:
    actor = _visit(request).actor
    assert actor is not None  # noqa: S101 - a route that wants one is no OpenRoute
    return actor


async def _rows(request: Request) -> AsyncConnection:
    return await _visit(request).rows()


async def _now(request: Request) -> datetime:
    return _visit(request).now


async def _peer(request: Request) -> str:
    return _visit(request).peer


async def _token(request: Request) -> str:
    return _visit(request).token


async def _terms(request: Request) -> SessionTerms:
    return _visit(request).door.terms


async def _database(request: Request) -> AsyncEngine:
    return _visit(request).door.database


async def _file_body(request: Request) -> bytes:
    return await request.body()


ActorDep = Annotated[Actor, Depends(_actor)]
"""Who asks."""
Rows = Annotated[AsyncConnection, Depends(_rows)]
"""The request's one transaction."""
Now = Annotated[datetime, Depends(_now)]
"""The instant at which the request came."""
Peer = Annotated[str, Depends(_peer)]
"""The address from which it came."""
Database = Annotated[AsyncEngine, Depends(_database)]
"""For deeds that keep transactions of their own, and for streams: whoever answers for long holds no `Rows`."""
TokenDep = Annotated[str, Depends(_token)]
"""The token with which the request came."""
TermsDep = Annotated[SessionTerms, Depends(_terms)]
"""How long sessions last."""
FileBody = Annotated[bytes, Depends(_file_body)]
"""The body of a route with `takes_file`."""


def _bearer(sent: str | None) -> str:
    scheme, _, token = (sent or "").strip().partition(" ")
    if not sent:
        raise Refused(
            Code.NOT_SIGNED_IN,
            "Authorization: send `Bearer` and an API key, or the token of a session",
            headers=_challenge(),
        )
    if scheme.lower() != "bearer" or not _TOKEN.fullmatch(token.strip()):
        raise Refused(
            Code.WRONG_TOKEN,
            "Authorization: this is no `Bearer` with an API key or the token of a session",
            headers=_challenge("invalid_token"),
        )
    return token.strip()


def _challenge(error: str = "") -> Mapping[str, str]:
    return {"WWW-Authenticate": 'Bearer realm="dari"' + (f', error="{error}"' if error else "")}


def _reason(request: Request) -> str:
    reason = unquote(request.headers.get(REASON, ""), errors="replace").strip()
    if len(reason) > _LONGEST_REASON or not reason.isprintable():
        raise Refused(Code.BAD_REQUEST, f"{REASON}: it must be at most {_LONGEST_REASON} printable characters")
    return reason


def _not_modified(request: Request, response: Response) -> Response:
    """Nothing but the tag, for a reader who has that already."""
    known, tag = request.headers.get("if-none-match"), response.headers.get("etag")
    if request.method == "GET" and response.status_code == 200 and known and tag and same(tag, known):
        return Response(status_code=304, headers={"ETag": tag})
    return response

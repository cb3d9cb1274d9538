"""Errors as a client sees them, over the real server."""

from __future__ import annotations

import json
import logging
from collections.abc import AsyncIterator
from typing import Annotated

import aiohttp
import pytest
from annotated_types import Len
from fastapi import APIRouter
from fastapi.exceptions import RequestValidationError
from pydantic import AwareDatetime, TypeAdapter, ValidationError

from engine.accounts.attempts import TooOften
from engine.api.app import make_api, serving
from engine.api.problems import problem_of
from engine.api.wire import Shape
from engine.foundation.errors import Conflict, DariError, GaveUp, Invalid, NotAllowed, NotFound, TryLater
from tests.loopback import ANY_PORT

ERRORS: dict[str, tuple[Exception, int]] = {
    "not-found": (NotFound("number: there is none"), 404),
    "not-allowed": (NotAllowed("not for you"), 403),
    "invalid": (Invalid("number: write it like …"), 422),
    "conflict": (Conflict("in another state"), 409),
    "later": (TryLater("the database is away", after=2.4), 503),
    "too-often": (TooOften("too many failed sign-ins", after=2.4), 429),
    "gave-up": (GaveUp("tried often"), 500),
    "dari": (DariError("something of ours"), 500),
}


@pytest.fixture
async def url() -> AsyncIterator[str]:
    router = APIRouter()

    @router.get("/errors/{name}")
    async def fail(name: str) -> None:
        if name == "unforeseen":
            raise ZeroDivisionError("a secret")
        raise ERRORS[name][0]

    @router.get("/numbers/{count}")
    async def count(count: int) -> int:
        return count

    async with serving(make_api([router]), ANY_PORT) as base:
        yield base


@pytest.mark.parametrize("name", ERRORS)
async def test_our_errors_are_problems_with_their_own_sentence(url: str, name: str) -> None:
    error, status = ERRORS[name]
    async with aiohttp.ClientSession() as session, session.get(f"{url}/errors/{name}") as answer:
        body = await answer.json(content_type="application/problem+json")
        assert (answer.status, body["status"], body["detail"]) == (status, status, str(error))
        assert answer.headers.get("Retry-After") == ("3" if isinstance(error, TryLater) else None)


@pytest.mark.parametrize(("path", "status"), [("/nothing", 404), ("/numbers/x", 422), ("/docs", 404)])
async def test_the_frameworks_errors_are_problems_too(url: str, path: str, status: int) -> None:
    async with aiohttp.ClientSession() as session, session.get(url + path) as answer:
        body = await answer.json(content_type="application/problem+json")
        assert (answer.status, body["status"]) == (status, status)


async def test_a_wrong_method_names_the_right_ones(url: str) -> None:
    async with aiohttp.ClientSession() as session, session.post(f"{url}/numbers/1") as answer:
        assert (answer.status, answer.headers["Allow"]) == (405, "GET")


async def test_what_nobody_foresaw_is_in_the_log_and_not_in_the_answer(
    url: str, caplog: pytest.LogCaptureFixture
) -> None:
    with caplog.at_level(logging.ERROR):
        async with aiohttp.ClientSession() as session, session.get(f"{url}/errors/unforeseen") as answer:
            body = await answer.text()
    assert answer.status == 500
    assert "secret" not in body
    assert "a secret" in caplog.text


async def test_an_address_that_is_taken_is_named() -> None:
    async with serving(make_api([]), ANY_PORT) as base:
        address = base.removeprefix("http://")
        with pytest.raises(Conflict, match=f"{address} cannot be bound .* DARI_HTTP_BIND"):
            async with serving(make_api([]), address):
                pass


async def test_the_server_is_gone_when_its_block_has_ended() -> None:
    async with serving(make_api([]), ANY_PORT) as base:
        pass
    async with aiohttp.ClientSession() as session:
        with pytest.raises(aiohttp.ClientConnectorError):
            await session.get(base)


class Wanted(Shape):
    at: AwareDatetime
    years: Annotated[tuple[int, ...], Len(1, 2)]


@pytest.mark.parametrize(
    ("sent", "field", "rule"),
    [
        ({"at": "2026-11-22T00:00:00Z", "years": [1], "yaers": 1}, "body.yaers", "there is no such field here"),
        ({"at": "2026-11-22T00:00:00", "years": [1]}, "body.at", "it must say its zone"),
        ({"at": "2026-11-22T00:00:00Z", "years": []}, "body.years", "it must have at least 1 items"),
        ({"at": "2026-11-22T00:00:00Z", "years": [1, 2, 3]}, "body.years", "it must have at most 2 items"),
    ],
)
def test_a_fields_rule_is_said_without_words_of_python(sent: object, field: str, rule: str) -> None:
    with pytest.raises(ValidationError) as wrong:
        TypeAdapter(Wanted).validate_python(sent)
    found = [error | {"loc": ("body", *error["loc"])} for error in wrong.value.errors()]
    told = json.loads(bytes(problem_of(RequestValidationError(found)).body))["errors"][0]
    assert told["field"] == field
    assert told["rule"].startswith(rule)

"""The door over real HTTP and a real database: who comes in, what they may carry, what they are told."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator
from datetime import timedelta

import pytest
from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncEngine

from engine.accounts.model import OPERATOR_ID, AccountKind, Role
from engine.api.bodies import LARGEST_BODY
from engine.api.rate_limit import Rate
from engine.foundation.database import open_database, transaction
from tests.api_desk import Answer, ApiDesk, api_desk
from tests.hand_clock import HandClock

AGENCY = {"parent": str(OPERATOR_ID), "kind": "agency", "name": "가나다 대리점"}
JSON = {"Content-Type": "application/json"}


@pytest.fixture
async def desk(database: AsyncEngine) -> AsyncIterator[ApiDesk]:
    async with api_desk(database) as opened:
        yield opened


async def names(desk: ApiDesk) -> list[str]:
    async with transaction(desk.database) as connection:
        return [str(row.name) for row in await connection.execute(text("SELECT name FROM accounts ORDER BY id"))]


async def test_nobody_comes_in_without_a_token_and_is_told_how(desk: ApiDesk) -> None:
    answer = await desk.ask("GET", "/accounts")
    assert (answer.status, answer.code) == (401, "not_signed_in")
    assert answer.headers["WWW-Authenticate"] == 'Bearer realm="dari"'


@pytest.mark.parametrize("sent", ["Basic YTpi", "Bearer", "Bearer a b", "Bearer dari_nobody", "Bearer é", "x" * 300])
async def test_a_token_that_is_nobodys_is_refused(desk: ApiDesk, sent: str) -> None:
    answer = await desk.ask("GET", "/accounts", headers={"Authorization": sent})
    assert (answer.status, answer.code) == (401, "wrong_token")
    assert 'error="invalid_token"' in answer.headers["WWW-Authenticate"]


async def test_a_token_whose_time_is_over_is_told_so(database: AsyncEngine) -> None:
    clock = HandClock()
    async with api_desk(database, clock=clock) as desk:
        shop = await desk.account("치과")
        token = await desk.user(shop.id, Role.OWNER, "owner@example.com")
        assert (await desk.ask("GET", "/session", token)).status == 200
        clock.advance(timedelta(hours=2))
        assert (await desk.ask("GET", "/session", token)).code == "token_expired"


async def test_wrong_tokens_are_slowed_down_and_right_ones_are_counted(database: AsyncEngine) -> None:
    clock = HandClock()
    async with api_desk(database, clock=clock, known=Rate(60, 2), strangers=Rate(60, 2)) as desk:
        token = await desk.key()
        first = await desk.ask("GET", "/accounts", token)
        assert (first.headers["RateLimit-Limit"], first.headers["RateLimit-Remaining"]) == ("2", "1")
        assert (await desk.ask("GET", "/accounts", token)).status == 200
        refused = await desk.ask("GET", "/accounts", token)
        assert (refused.status, refused.code, refused.headers["Retry-After"]) == (429, "too_many_requests", "1")
        clock.advance(timedelta(seconds=1))
        assert (await desk.ask("GET", "/accounts", token)).status == 200
        wrong = [(await desk.ask("GET", "/accounts", "dari_wrong")).status for _ in range(3)]
        assert wrong == [401, 401, 429]


@pytest.mark.parametrize(
    ("raw", "headers", "status", "code"),
    [
        (b"{", JSON, 400, "malformed_body"),
        (b"\xff", JSON, 400, "malformed_body"),
        (b"[" * 100_000, JSON, 400, "malformed_body"),
        (b'{"name": "a", "name": "b"}', JSON, 400, "duplicate_key"),
        (b'{"parent": "\\u0000"}', JSON, 422, "invalid"),
        (json.dumps(AGENCY).encode(), {"Content-Type": "text/plain"}, 415, "wrong_media_type"),
        (json.dumps(AGENCY).encode(), {"Content-Type": "application/json; charset=euc-kr"}, 415, "wrong_media_type"),
        (json.dumps(AGENCY).encode(), JSON | {"Content-Encoding": "gzip"}, 415, "wrong_media_type"),
        (b" " * (LARGEST_BODY + 1), JSON, 413, "too_large"),
        (b"[]", JSON, 422, "invalid"),
        (b'"x"', JSON, 422, "invalid"),
        (b"", JSON, 422, "invalid"),
    ],
)
async def test_a_body_that_cannot_be_used_is_the_documented_problem(
    desk: ApiDesk, raw: bytes, headers: dict[str, str], status: int, code: str
) -> None:
    token = await desk.key()
    answer = await desk.ask("POST", "/accounts", token, raw=raw, headers=headers)
    assert (answer.status, answer.code) == (status, code)
    assert await names(desk) == ["operator"]


async def test_a_body_that_does_not_say_its_length_is_refused_too(desk: ApiDesk) -> None:
    token = await desk.key()

    async def long() -> AsyncIterator[bytes]:
        for _ in range(LARGEST_BODY // 65_536 * 3):
            yield b" " * 65_536

    headers = {"Authorization": f"Bearer {token}", **JSON}
    async with desk.session.post(f"{desk.url}/api/v1/accounts", data=long(), headers=headers) as answer:
        assert answer.status == 413


async def test_every_field_error_names_field_value_and_rule(desk: ApiDesk) -> None:
    body = AGENCY | {"kind": "shoop", "nam": "x"}
    answer = await desk.ask("POST", "/accounts", await desk.key(), body=body)
    assert answer.code == "invalid"
    errors = {error["field"]: error for error in answer.json["errors"]}
    assert errors.keys() == {"body.kind", "body.nam"}
    assert errors["body.kind"]["value"] == "shoop"
    assert "'shop'" in errors["body.kind"]["rule"]
    assert await names(desk) == ["operator"]


async def test_a_deeds_own_refusal_names_its_field_too(desk: ApiDesk) -> None:
    answer = await desk.ask("POST", "/accounts", await desk.key(), body=AGENCY | {"zone": "Mars/Olympus"})
    assert [(error["field"], error["value"]) for error in answer.json["errors"]] == [("zone", "Mars/Olympus")]


@pytest.mark.parametrize(
    ("query", "field"),
    [
        ([("limt", "5")], "query.limt"),
        ([("limit", "5"), ("limit", "6")], "query.limit"),
        ([("limit", "0")], "query.limit"),
        ([("limit", "501")], "query.limit"),
        ([("limit", "five")], "query.limit"),
        ([("cursor", "x")], "query.cursor"),
        ([("cursor", "\0")], "query.cursor"),
    ],
)
async def test_parameters_are_as_strict(desk: ApiDesk, query: list[tuple[str, str]], field: str) -> None:
    answer = await desk.ask("GET", "/accounts", await desk.key(), query=query)
    assert answer.code == "invalid"
    assert answer.json["errors"][0]["field"] == field


async def test_a_route_without_a_body_takes_none(desk: ApiDesk) -> None:
    token = await desk.key()
    made = (await desk.ask("POST", "/accounts", token, body=AGENCY)).json["id"]
    assert (await desk.ask("POST", f"/accounts/{made}/close", token, body={"x": 1})).code == "bad_request"
    assert (await desk.ask("POST", f"/accounts/{made}/close", token, body={})).status == 200


async def test_unknown_routes_and_methods_are_problems(desk: ApiDesk) -> None:
    token = await desk.key()
    assert (await desk.ask("GET", "/nothing", token)).code == "not_found"
    answer = await desk.ask("PUT", "/accounts", token)
    assert (answer.status, answer.code) == (405, "wrong_method")


async def test_what_goes_wrong_in_a_deed_leaves_nothing(desk: ApiDesk) -> None:
    token = await desk.key()
    assert (await desk.ask("POST", "/accounts", token, body=AGENCY)).status == 201
    answer = await desk.ask("POST", "/accounts", token, body=AGENCY)
    assert (answer.status, answer.code) == (409, "conflict")
    assert await names(desk) == ["operator", AGENCY["name"]]


async def test_equal_requests_at_once_are_one_deed_with_one_answer(desk: ApiDesk) -> None:
    token = await desk.key()

    async def once(number: int) -> Answer:
        return await desk.ask("POST", "/accounts", token, body=AGENCY, headers={"Idempotency-Key": "order 1"})

    answers = await asyncio.gather(*map(once, range(100)))
    assert {answer.status for answer in answers} == {201}
    assert len({(answer.raw, answer.etag) for answer in answers}) == 1
    assert sorted(answer.headers.get("Idempotency-Replayed", "") for answer in answers) == ["", *["true"] * 99]
    assert await names(desk) == ["operator", AGENCY["name"]]


async def test_equal_requests_to_two_processes_are_one_deed(database: AsyncEngine) -> None:
    async with api_desk(database) as one, api_desk(database) as other:
        token = await one.key()
        answers = await asyncio.gather(
            *(
                desk.ask("POST", "/accounts", token, body=AGENCY, headers={"Idempotency-Key": "order 1"})
                for desk in (one, other) * 10
            )
        )
        assert {(answer.status, answer.raw) for answer in answers} == {(201, answers[0].raw)}


async def test_the_same_key_with_another_request_is_refused(desk: ApiDesk) -> None:
    token, other = await desk.key(), await desk.key()
    key = {"Idempotency-Key": "order 1"}
    assert (await desk.ask("POST", "/accounts", token, body=AGENCY, headers=key)).status == 201
    second = AGENCY | {"name": "라마바"}
    answer = await desk.ask("POST", "/accounts", token, body=second, headers=key)
    assert (answer.status, answer.code) == (422, "idempotency_key_reused")
    assert (await desk.ask("POST", "/accounts", other, body=second, headers=key)).status == 201
    assert (await desk.ask("POST", "/accounts", token, body=AGENCY, headers={"Idempotency-Key": "é"})).status == 400


async def test_a_problem_is_not_kept_and_an_answer_only_for_a_day(database: AsyncEngine) -> None:
    clock = HandClock()
    async with api_desk(database, clock=clock) as desk:
        token, key = await desk.key(), {"Idempotency-Key": "order 1"}
        await desk.ask("POST", "/accounts", token, body=AGENCY)
        assert (await desk.ask("POST", "/accounts", token, body=AGENCY, headers=key)).code == "conflict"
        other = AGENCY | {"name": "라마바"}
        first = await desk.ask("POST", "/accounts", token, body=other, headers=key)
        assert first.status == 201
        clock.advance(timedelta(hours=23))
        assert (await desk.ask("POST", "/accounts", token, body=other, headers=key)).raw == first.raw
        clock.advance(timedelta(hours=2))
        assert (await desk.ask("POST", "/accounts", token, body=other, headers=key)).code == "conflict"


async def test_what_is_kept_of_an_answer_tells_nobody_the_secret_in_it(desk: ApiDesk) -> None:
    shop = await desk.account("치과")
    token = await desk.user(shop.id, Role.OWNER, "owner@example.com")
    wanted = {"account": str(shop.id), "name": "프로그램", "scopes": ["see calls"]}
    headers = {"Idempotency-Key": "5f3f61a6-8f9b-4a2f-9d55-6d1c3a7c7a01"}
    made = await desk.ask("POST", "/keys", token, body=wanted, headers=headers)
    again = await desk.ask("POST", "/keys", token, body=wanted, headers=headers)
    assert made.json["secret"] == again.json["secret"]
    async with transaction(desk.database) as connection:
        rows = (await connection.execute(text("SELECT slot || sealed AS kept FROM api_answers"))).all()
    assert len(rows) == 1
    assert made.json["secret"].encode() not in rows[0].kept
    assert headers["Idempotency-Key"].encode() not in rows[0].kept


async def test_an_edit_names_what_it_was_made_on(desk: ApiDesk) -> None:
    token = await desk.key()
    made = await desk.ask("POST", "/accounts", token, body=AGENCY)
    path = f"/accounts/{made.json['id']}"
    read = await desk.ask("GET", path, token)
    assert read.etag == made.etag
    assert (await desk.ask("GET", path, token, headers={"If-None-Match": read.etag})).status == 304
    change = {"name": "새 이름"}
    missing = await desk.ask("PATCH", path, token, body=change)
    assert (missing.status, missing.code) == (428, "if_match_missing")
    changed = await desk.ask("PATCH", path, token, body=change, headers={"If-Match": read.etag})
    assert (changed.status, changed.json["name"]) == (200, "새 이름")
    stale = await desk.ask("PATCH", path, token, body={"name": "다른 이름"}, headers={"If-Match": read.etag})
    assert (stale.status, stale.code, stale.etag) == (412, "changed_meanwhile", changed.etag)
    assert (await desk.ask("PATCH", path, token, body=change, headers={"If-Match": "*"})).status == 200


async def test_of_edits_at_once_one_wins(desk: ApiDesk) -> None:
    token = await desk.key()
    made = await desk.ask("POST", "/accounts", token, body=AGENCY)

    async def rename(number: int) -> int:
        path, tag = f"/accounts/{made.json['id']}", {"If-Match": made.etag}
        return (await desk.ask("PATCH", path, token, body={"name": f"이름 {number}"}, headers=tag)).status

    assert sorted(await asyncio.gather(*map(rename, range(10)))) == [200, *[412] * 9]


async def test_an_edit_that_fails_half_way_changes_nothing(desk: ApiDesk) -> None:
    token = await desk.key()
    made = await desk.ask("POST", "/accounts", token, body=AGENCY)
    path = f"/accounts/{made.json['id']}"
    change = {"name": "새 이름", "zone": "Mars/Olympus"}
    assert (await desk.ask("PATCH", path, token, body=change, headers={"If-Match": made.etag})).status == 422
    assert (await desk.ask("GET", path, token)).etag == made.etag


async def test_pages_show_everything_once(desk: ApiDesk) -> None:
    token = await desk.key()
    for number in range(7):
        await desk.account(f"대리점 {number}", AccountKind.AGENCY)
    seen: list[str] = []
    query = {"limit": "3"}
    while True:
        page = (await desk.ask("GET", "/accounts", token, query=query)).json
        seen += [item["name"] for item in page["items"]]
        if page["next"] is None:
            break
        query["cursor"] = page["next"]
    assert sorted(seen) == ["operator", *(f"대리점 {number}" for number in range(7))]


async def test_a_stranger_account_looks_as_if_it_did_not_exist(desk: ApiDesk) -> None:
    one, other = await desk.account("하나", AccountKind.AGENCY), await desk.account("둘", AccountKind.AGENCY)
    token = await desk.key(one.id)
    foreign = await desk.ask("GET", f"/accounts/{other.id}", token)
    nobody = await desk.ask("GET", "/accounts/00000000-0000-0000-0000-0000000000ff", token)
    assert (foreign.status, foreign.code) == (nobody.status, nobody.code) == (404, "not_found")
    assert [item["name"] for item in (await desk.ask("GET", "/accounts", token)).json["items"]] == ["하나"]


async def test_an_auditor_says_why(desk: ApiDesk) -> None:
    shop = await desk.account("치과")
    token = await desk.user(shop.id, Role.AUDITOR, "auditor@example.com")
    assert (await desk.ask("GET", "/accounts", token)).code == "invalid"
    assert (await desk.ask("GET", "/accounts", token, headers={"Dari-Reason": "%EC%A0%90%EA%B2%80"})).status == 200


async def test_a_database_that_is_away_is_told() -> None:
    away = open_database("postgresql://dari@127.0.0.1:1/dari", command_timeout=1.0)
    async with api_desk(away) as desk:
        answer = await desk.ask("GET", "/accounts", "dari_Ab3dE6gH_" + "x" * 43)
    await away.dispose()
    assert (answer.status, answer.code) == (503, "try_later")
    assert int(answer.headers["Retry-After"]) >= 1

"""Sessions, users, keys and the audit through the API."""

from __future__ import annotations

from collections.abc import AsyncIterator
from datetime import timedelta
from typing import Any

import pyotp
import pytest
from sqlalchemy.ext.asyncio import AsyncEngine

from engine.accounts.model import OPERATOR_ID, Account, AccountKind, Deed, Role
from engine.audit.chaining import chain_waiting
from tests.api_desk import PASSWORD, ApiDesk, api_desk
from tests.hand_clock import HandClock

LOGIN = "kim@example.com"
OTHER_PASSWORD = "사람은 나면 서울로 보내라"


@pytest.fixture
def clock() -> HandClock:
    return HandClock()


@pytest.fixture
async def desk(database: AsyncEngine, clock: HandClock) -> AsyncIterator[ApiDesk]:
    async with api_desk(database, clock=clock) as opened:
        yield opened


@pytest.fixture
async def shop(desk: ApiDesk) -> Account:
    return await desk.account("한빛치과")


async def sign_in(desk: ApiDesk, password: str = PASSWORD, **more: str) -> str:
    answer = await desk.ask("POST", "/session", body={"login": LOGIN, "password": password} | more)
    assert answer.status == 201, answer
    return str(answer.json["token"])


async def test_an_invited_user_sets_a_password_signs_in_and_out(desk: ApiDesk, shop: Account) -> None:
    wanted = {"account": str(shop.id), "login": "Kim@Example.com", "name": "김사장", "role": "shop owner"}
    invited = await desk.ask("POST", "/users", await desk.key(), body=wanted)
    assert (invited.status, invited.json["user"]["status"]) == (201, "invited")
    chosen = {"token": invited.json["token"]["secret"], "password": PASSWORD}
    assert (await desk.ask("POST", "/password", body=chosen)).status == 204
    assert (await desk.ask("POST", "/password", body=chosen)).status == 404
    token = await sign_in(desk)
    me = (await desk.ask("GET", "/session", token)).json
    assert (me["account"], me["role"]) == (str(shop.id), "shop owner")
    assert "hear recordings" in me["may"]
    assert "review accounts" not in me["may"]
    assert (await desk.ask("DELETE", "/session", token)).status == 204
    assert (await desk.ask("GET", "/session", token)).code == "wrong_token"


async def test_a_wrong_sign_in_says_no_more_than_that(desk: ApiDesk, shop: Account) -> None:
    await desk.user(shop.id, Role.OWNER, LOGIN)
    answers = [
        await desk.ask("POST", "/session", body={"login": login, "password": "wrong password"})
        for login in (LOGIN, "nobody@example.com")
    ]
    assert {(answer.status, answer.code) for answer in answers} == {(401, "wrong_sign_in")}
    assert len({answer.json["detail"] for answer in answers}) == 1


async def test_whoever_fails_too_often_has_to_wait(desk: ApiDesk, shop: Account, clock: HandClock) -> None:
    await desk.user(shop.id, Role.OWNER, LOGIN)
    wrong = {"login": LOGIN, "password": "wrong password"}
    while (answer := await desk.ask("POST", "/session", body=wrong)).status == 401:
        pass
    assert (answer.status, answer.code) == (429, "too_many_requests")
    clock.advance(timedelta(seconds=int(answer.headers["Retry-After"])))
    await sign_in(desk)


async def test_signing_in_is_never_answered_out_of_keeping(desk: ApiDesk, shop: Account) -> None:
    await desk.user(shop.id, Role.OWNER, LOGIN)
    body, headers = {"login": LOGIN, "password": PASSWORD}, {"Idempotency-Key": "once"}
    tokens = {(await desk.ask("POST", "/session", body=body, headers=headers)).json["token"] for _ in range(2)}
    assert len(tokens) == 2


async def test_one_time_codes_are_turned_on_asked_for_and_turned_off(
    desk: ApiDesk, shop: Account, clock: HandClock
) -> None:
    token = await desk.user(shop.id, Role.OWNER, LOGIN)
    begun = (await desk.ask("POST", "/session/one-time-codes", token)).json
    codes = pyotp.TOTP(begun["secret"])
    assert begun["address"].startswith("otpauth://totp/")
    assert (await desk.ask("POST", "/session/one-time-codes/confirm", token, body={"code": "000000x"})).status == 422
    code = codes.at(clock.now())
    assert (await desk.ask("POST", "/session/one-time-codes/confirm", token, body={"code": code})).status == 204
    missing = await desk.ask("POST", "/session", body={"login": LOGIN, "password": PASSWORD})
    assert (missing.status, missing.code) == (401, "code_needed")
    clock.advance(timedelta(minutes=1))
    await sign_in(desk, code=codes.at(clock.now()))
    clock.advance(timedelta(minutes=1))
    off = await desk.ask("POST", "/session/one-time-codes/off", token, body={"code": codes.at(clock.now())})
    assert off.status == 204
    await sign_in(desk)


async def test_a_new_password_ends_the_other_sessions(desk: ApiDesk, shop: Account) -> None:
    first = await desk.user(shop.id, Role.OWNER, LOGIN)
    second = await sign_in(desk)
    assert len((await desk.ask("GET", "/sessions", second)).json["items"]) == 2
    wrong = {"old": "wrong password", "new": OTHER_PASSWORD}
    assert (await desk.ask("POST", "/session/password", second, body=wrong)).code == "not_allowed"
    change = {"old": PASSWORD, "new": OTHER_PASSWORD}
    assert (await desk.ask("POST", "/session/password", second, body=change)).status == 204
    assert (await desk.ask("GET", "/session", first)).status == 401
    assert (await desk.ask("GET", "/session", second)).status == 200
    await sign_in(desk, OTHER_PASSWORD)


async def test_sessions_are_ended_one_by_one_and_all_together(desk: ApiDesk, shop: Account, clock: HandClock) -> None:
    owner = await desk.user(shop.id, Role.OWNER, "owner@example.com")
    await desk.user(shop.id, Role.STAFF, LOGIN)
    one = await sign_in(desk)
    clock.advance(timedelta(seconds=1))
    other = await sign_in(desk)
    staff = (await desk.ask("GET", "/session", one)).json["who"].removeprefix("user:")
    shown = (await desk.ask("GET", f"/users/{staff}/sessions", owner)).json["items"]
    assert len(shown) == 3
    assert (await desk.ask("DELETE", f"/sessions/{shown[0]['id']}", owner)).status == 204
    assert (await desk.ask("GET", "/session", other)).status == 401
    assert (await desk.ask("DELETE", "/sessions", one)).json == {"ended": 1}
    assert (await desk.ask("DELETE", f"/users/{staff}/sessions", owner)).json == {"ended": 1}
    assert (await desk.ask("GET", "/session", one)).status == 401


async def test_users_are_changed_locked_and_removed(desk: ApiDesk, shop: Account) -> None:
    owner = await desk.user(shop.id, Role.OWNER, "owner@example.com")
    staff = await desk.user(shop.id, Role.STAFF, LOGIN)
    items = (await desk.ask("GET", "/users", owner, query={"account": str(shop.id)})).json["items"]
    listed = sorted(items, key=lambda user: str(user["login"]), reverse=True)  # of one instant: in no order
    assert [user["login"] for user in listed] == ["owner@example.com", LOGIN]
    path = f"/users/{listed[1]['id']}"
    read = await desk.ask("GET", path, owner)
    tag = {"If-Match": read.etag}
    change: dict[str, Any] = {"name": "김직원", "allowed": ["change rules"]}
    assert (await desk.ask("PATCH", path, owner, body=change)).code == "if_match_missing"
    changed = await desk.ask("PATCH", path, owner, body=change, headers=tag)
    assert (changed.json["name"], changed.json["allowed"]) == ("김직원", ["change rules"])
    assert (await desk.ask("PATCH", path, owner, body=change, headers=tag)).code == "changed_meanwhile"
    assert (await desk.ask("PATCH", path, staff, body={"role": "shop owner"}, headers={"If-Match": "*"})).status == 403
    assert (await desk.ask("POST", f"{path}/lock", owner)).json["status"] == "locked"
    assert (await desk.ask("GET", "/session", staff)).status == 401
    assert (await desk.ask("POST", f"{path}/unlock", owner)).json["status"] == "active"
    again = (await desk.ask("POST", f"{path}/reset", owner)).json
    new = {"token": again["secret"], "password": OTHER_PASSWORD}
    assert (again["kind"], (await desk.ask("POST", "/password", body=new)).status) == ("reset", 204)
    await sign_in(desk, OTHER_PASSWORD)
    assert (await desk.ask("DELETE", path, owner)).status == 204
    refused = await desk.ask("POST", "/session", body={"login": LOGIN, "password": OTHER_PASSWORD})
    assert refused.code == "wrong_sign_in"


async def test_a_key_does_what_its_scopes_say_until_it_is_revoked(
    desk: ApiDesk, shop: Account, clock: HandClock
) -> None:
    owner = await desk.user(shop.id, Role.OWNER, LOGIN)
    until = (clock.now() + timedelta(days=1)).isoformat()
    wanted = {"account": str(shop.id), "name": "예약 프로그램", "scopes": ["see accounts"], "expires_at": until}
    made = await desk.ask("POST", "/keys", owner, body=wanted)
    assert made.status == 201
    secret, key = made.json["secret"], made.json["key"]
    assert secret.startswith(f"dari_{key['prefix']}_")
    assert secret not in (await desk.ask("GET", f"/keys/{key['id']}", owner)).raw.decode()
    assert (await desk.ask("GET", f"/accounts/{shop.id}", secret)).status == 200
    assert (await desk.ask("GET", "/users", secret)).code == "not_allowed"
    beyond = wanted | {"scopes": ["review accounts"]}
    assert (await desk.ask("POST", "/keys", owner, body=beyond)).code == "not_allowed"
    assert (await desk.ask("POST", f"/keys/{key['id']}/revoke", owner)).json["revoked_at"] is not None
    assert (await desk.ask("GET", f"/accounts/{shop.id}", secret)).code == "wrong_token"
    assert (await desk.ask("POST", f"/keys/{key['id']}/revoke", owner)).code == "conflict"
    second = (await desk.ask("POST", "/keys", owner, body=wanted)).json["secret"]
    clock.advance(timedelta(days=2))
    assert (await desk.ask("GET", f"/accounts/{shop.id}", second)).code == "token_expired"


async def test_a_key_is_no_person(desk: ApiDesk) -> None:
    token = await desk.key()
    for method, path in (("GET", "/sessions"), ("DELETE", "/session"), ("POST", "/session/one-time-codes")):
        assert (await desk.ask(method, path, token)).code == "not_allowed"


async def test_what_was_done_is_in_the_audit_and_the_audit_is_whole(desk: ApiDesk, shop: Account) -> None:
    token = await desk.key()
    read = await desk.ask("GET", f"/accounts/{shop.id}", token)
    renamed = {"name": "한빛치과의원"}
    await desk.ask("PATCH", f"/accounts/{shop.id}", token, body=renamed, headers={"If-Match": read.etag})
    query = {"object_kind": "account", "object_id": str(shop.id), "deed": "change accounts"}
    entries = (await desk.ask("GET", "/audit", token, query=query)).json["items"]
    assert [(entry["before"], entry["after"]) for entry in entries] == [({"name": "한빛치과"}, renamed)]
    assert entries[0]["who"].startswith("key:")
    assert entries[0]["peer"] == "127.0.0.1"
    await chain_waiting(desk.database)
    verdict = (await desk.ask("POST", "/audit/verify", token, body={})).json
    assert (verdict["whole"], verdict["waiting"], verdict["findings"]) == (True, 0, [])
    again = await desk.ask("POST", "/audit/verify", token, body={"head": verdict["head"]})
    assert again.json["whole"]
    assert (await desk.ask("POST", "/audit/verify", token, body={"head": "1:00"})).code == "invalid"


async def test_the_audit_of_others_is_not_shown(desk: ApiDesk, shop: Account) -> None:
    agency = await desk.account("대리점", AccountKind.AGENCY)
    token = await desk.key(agency.id, [Deed.SEE_AUDIT, Deed.SEE_ACCOUNTS])
    accounts = {entry["account"] for entry in (await desk.ask("GET", "/audit", token)).json["items"]}
    assert accounts == {str(agency.id)}
    assert (await desk.ask("GET", "/audit", token, query={"account": str(shop.id)})).code == "not_found"
    assert (await desk.ask("GET", "/audit", token, query={"account": str(OPERATOR_ID)})).code == "not_found"
    assert (await desk.ask("POST", "/audit/verify", token, body={})).status in (403, 404)

"""Accounts, functions, grants and sign-up through the API."""

from __future__ import annotations

from collections.abc import AsyncIterator
from datetime import timedelta
from hashlib import sha256
from pathlib import Path
from typing import Any

import aiohttp
import pytest
from sqlalchemy.ext.asyncio import AsyncEngine

from engine.accounts.model import OPERATOR_ID, Account, AccountKind, Role
from engine.api.app import make_api, serving
from engine.api.documents import LARGEST_DOCUMENT, Documents, keep_documents
from engine.api.door import Door
from engine.api.routes import api_routers
from tests.api_desk import KEY, PLENTY, TERMS, Answer, ApiDesk
from tests.hand_clock import HandClock
from tests.loopback import ANY_PORT

PDF = b"%PDF-1.7\nthe registration"
WANTED: dict[str, Any] = {
    "company": "한빛분식",
    "registration_number": "123-45-67891",
    "contact_name": "김한빛",
    "contact": "owner@hanbit.example",
    "trade": "56111",
    "yearly_revenue": 480_000_000,
}


@pytest.fixture
async def desk(database: AsyncEngine, tmp_path: Path) -> AsyncIterator[ApiDesk]:
    clock = HandClock()
    app = make_api(api_routers(), Door(database, clock, TERMS, known=PLENTY, strangers=PLENTY))
    keep_documents(app, Documents(tmp_path, KEY))
    async with serving(app, ANY_PORT) as url, aiohttp.ClientSession() as session:
        yield ApiDesk(url, session, database, clock)


@pytest.fixture
async def shop(desk: ApiDesk) -> Account:
    agency = await desk.account("대리점", AccountKind.AGENCY)
    return await desk.account("한빛치과", parent=agency.id)


async def change(desk: ApiDesk, token: str, account: Account, **changes: object) -> Answer:
    return await desk.ask("PATCH", f"/accounts/{account.id}", token, body=changes, headers={"If-Match": "*"})


async def test_one_edit_changes_all_that_it_names(desk: ApiDesk, shop: Account) -> None:
    token = await desk.key()
    other = await desk.account("다른 대리점", AccountKind.AGENCY)
    changed = await change(
        desk,
        token,
        shop,
        name="한빛치과의원",
        zone="Asia/Tokyo",
        fee_waived=True,
        modules={"recording": False},
        trade="56111",
        yearly_revenue=480_000_000,
        revenue_evidence="부가가치세 과세표준증명 2025",
        parent=str(other.id),
    )
    assert changed.status == 200, changed
    shown = changed.json
    assert (shown["name"], shown["zone"], shown["fee_waived"]) == ("한빛치과의원", "Asia/Tokyo", True)
    assert shown["path"] == [str(OPERATOR_ID), str(other.id), str(shop.id)]
    assert "recording" not in shown["modules"]
    judged = (await desk.ask("GET", f"/accounts/{shop.id}/eligibility", token)).json
    assert judged["ok"]
    assert len(judged["reasons"]) == 3
    cleared = (await change(desk, token, shop, trade=None)).json
    assert (cleared["trade"], cleared["yearly_revenue"]) == (None, 480_000_000)
    assert not (await desk.ask("GET", f"/accounts/{shop.id}/eligibility", token)).json["ok"]


@pytest.mark.parametrize(
    "changes",
    [
        {"fee_waived": "yes"},
        {"yearly_revenue": "5"},
        {"yearly_revenue": -1},
        {"trade": "5611"},
        {"modules": {"flying": True}},
        {"modules": {"recording": 1}},
        {"name": ""},
        {"name": None, "x": 1},
    ],
)
async def test_an_edit_that_cannot_be_is_refused(desk: ApiDesk, shop: Account, changes: dict[str, object]) -> None:
    answer = await change(desk, await desk.key(), shop, **changes)
    assert (answer.status, answer.code) == (422, "invalid")
    assert answer.json["errors"]


async def test_the_trades_are_all_there(desk: ApiDesk) -> None:
    trades = (await desk.ask("GET", "/trades", await desk.key())).json["items"]
    assert len(trades) == 58
    assert trades[0]["code"] == "47211"


async def test_an_account_with_others_under_it_is_not_closed(desk: ApiDesk, shop: Account) -> None:
    token = await desk.key()
    assert (await desk.ask("POST", f"/accounts/{shop.parent}/close", token)).code == "conflict"
    assert (await desk.ask("POST", f"/accounts/{shop.id}/close", token)).json["status"] == "closed"
    assert (await desk.ask("POST", f"/accounts/{shop.parent}/close", token)).json["status"] == "closed"


async def test_a_shop_grants_listening_and_takes_it_back(desk: ApiDesk, shop: Account) -> None:
    owner = await desk.user(shop.id, Role.OWNER, "owner@example.com")
    until = (desk.clock.now() + timedelta(days=7)).isoformat()
    wanted = {"to_account": str(shop.parent), "until": until, "reason": "응대 품질 점검"}
    path = f"/accounts/{shop.id}/listening-grants"
    assert (await desk.ask("POST", path, await desk.key(), body=wanted)).code == "invalid"
    given = await desk.ask("POST", path, owner, body=wanted)
    assert given.status == 201
    too_long = wanted | {"until": (desk.clock.now() + timedelta(days=40)).isoformat()}
    assert (await desk.ask("POST", path, owner, body=too_long)).code == "invalid"
    back = f"/listening-grants/{given.json['id']}/take-back"
    assert (await desk.ask("POST", back, owner)).json["taken_back_at"] is not None
    assert (await desk.ask("POST", back, owner)).code == "conflict"
    assert len((await desk.ask("GET", path, owner)).json["items"]) == 1


async def test_somebody_signs_up_and_the_operator_opens_the_account(desk: ApiDesk) -> None:
    applied = await desk.ask("POST", "/sign-up", body=WANTED)
    assert applied.status == 201, applied
    application, token = applied.json["application"], applied.json["token"]
    squatter = (await desk.ask("POST", "/sign-up", body=WANTED)).json["application"]
    own = {"Application-Token": token, "Content-Type": "application/pdf"}
    upload, kind = f"/sign-up/{application}/documents", {"kind": "business registration"}
    wrong = own | {"Application-Token": "x"}
    assert (await desk.ask("POST", upload, raw=PDF, query=kind, headers=wrong)).code == "not_found"
    assert (await desk.ask("POST", upload, raw=b"MZ", query=kind, headers=own)).code == "wrong_media_type"
    big = b"%PDF-" + bytes(LARGEST_DOCUMENT)
    assert (await desk.ask("POST", upload, raw=big, query=kind, headers=own)).code == "too_large"
    assert (await desk.ask("POST", upload, raw=PDF, query=kind, headers=own)).status == 204

    operator = await desk.key()
    queue = (await desk.ask("GET", "/applications", operator, query={"status": "applied"})).json["items"]
    waiting = {(one["id"], one["by"], len(one["documents"]), one["beside"]) for one in queue}
    assert waiting == {(application, "applicant", 1, 1), (squatter, "applicant", 0, 1)}
    path = f"/applications/{application}"
    fax = {"kind": "revenue", "came_by": "fax"}
    recorded = await desk.ask(
        "POST", f"{path}/documents", operator, raw=PDF, query=fax, headers={"Content-Type": "application/pdf"}
    )
    assert (recorded.status, recorded.json["eligible"]) == (201, True)
    file = await desk.ask("GET", f"{path}/documents/{sha256(PDF).hexdigest()}", operator)
    assert (file.raw, file.headers["Content-Type"]) == (PDF, "application/pdf")
    read = (await desk.ask("GET", "/audit", operator, query={"deed": "read document"})).json["items"]
    assert len(read) == 1

    approved = await desk.ask("POST", f"{path}/approve", operator, body={"reason": "서류 확인"})
    other = (await desk.ask("GET", f"/applications/{squatter}", operator)).json
    assert (other["status"], other["settled_by"]) == ("settled", application)
    assert approved.status == 200, approved
    assert approved.json["application"]["status"] == "approved"
    assert approved.json["account"]["name"] == WANTED["company"]
    assert (await desk.ask("POST", f"{path}/reject", operator, body={"reason": "다시"})).code == "conflict"


async def test_an_agency_hands_in_an_application_and_does_not_decide_it(desk: ApiDesk, shop: Account) -> None:
    assert shop.parent is not None
    agency = await desk.key(shop.parent)
    handed_in = await desk.ask("POST", "/applications", agency, body=WANTED | {"parent": str(shop.parent)})
    assert handed_in.status == 201
    path = f"/applications/{handed_in.json['id']}"
    assert (await desk.ask("POST", f"{path}/approve", agency, body={"reason": "x"})).code == "not_allowed"
    document = f"{path}/documents/{'0' * 64}"
    assert (await desk.ask("GET", document, agency)).code == "not_allowed"
    assert (await desk.ask("GET", document, await desk.key())).code == "not_found"
    stranger = await desk.account("남", AccountKind.AGENCY)
    assert (await desk.ask("GET", path, await desk.key(stranger.id))).code == "not_found"
    rejected = await desk.ask("POST", f"{path}/reject", await desk.key(), body={"reason": "서류 부족"})
    assert (rejected.json["status"], rejected.json["reason"]) == ("rejected", "서류 부족")


async def test_documents_lie_sealed(desk: ApiDesk, tmp_path: Path) -> None:
    documents = Documents(tmp_path, KEY)
    await documents.keep(PDF)
    await documents.keep(PDF)
    files = [file for file in tmp_path.rglob("*") if file.is_file()]
    assert [file.name for file in files] == [sha256(PDF).hexdigest()]
    assert PDF not in files[0].read_bytes()
    assert await documents.read(files[0].name) == PDF

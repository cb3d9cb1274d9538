"""Sign-up on the real database: from the form to the account, each step once."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from datetime import UTC, datetime
from functools import partial
from typing import Any, TypeVar
from uuid import uuid4

import msgspec
import pytest
from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncConnection, AsyncEngine

from engine.accounts import signup, tree
from engine.accounts.model import (
    LOCAL_OPERATOR,
    OPERATOR_ID,
    Account,
    AccountKind,
    Actor,
    Application,
    DocumentKind,
    Role,
)
from engine.accounts.signup import Wanted, apply, approve, attach, checked_registration_number, judged, listing, reject
from engine.foundation.database import transaction
from engine.foundation.errors import Conflict, DariError, Invalid, NotAllowed, NotFound

NOW = datetime(2026, 11, 22, 3, tzinfo=UTC)
WANTED = Wanted(
    company="다리꽃집",
    registration_number="220-81-62517",
    contact_name="김다리",
    contact="Owner@Shop.example",
    trade="47851",
    yearly_revenue=300_000_000,
)
SHA = "ab" * 32
_T = TypeVar("_T")


async def done(database: AsyncEngine, deed: Callable[[AsyncConnection], Awaitable[_T]]) -> _T:
    async with transaction(database) as connection:
        return await deed(connection)


async def applied(database: AsyncEngine, actor: Actor | None = None, **change: Any) -> Application:
    wanted = msgspec.structs.replace(WANTED, **change)
    return await done(database, lambda connection: apply(connection, actor, wanted, NOW, peer="192.0.2.7"))


async def documented(
    database: AsyncEngine, application: Application, kind: DocumentKind = DocumentKind.BUSINESS_REGISTRATION
) -> Application:
    return await done(
        database, lambda connection: attach(connection, LOCAL_OPERATOR, application.id, kind, SHA, "fax", NOW)
    )


async def approved(database: AsyncEngine, application: Application, **more: Any) -> tuple[Application, Account]:
    return await done(
        database, lambda connection: approve(connection, LOCAL_OPERATOR, application.id, "complete", NOW, **more)
    )


async def agency(database: AsyncEngine, name: str = "agency") -> Actor:
    made = await done(
        database,
        lambda connection: tree.open_account(connection, LOCAL_OPERATOR, OPERATOR_ID, AccountKind.AGENCY, name, NOW),
    )
    return Actor(who="user:1", place=made.place, role=Role.AGENCY)


async def test_a_stranger_applies_and_gets_an_account_under_the_operator(database: AsyncEngine) -> None:
    application = await applied(database)
    assert (application.by, application.status) == ("applicant", "applied")
    assert (application.registration_number, application.contact) == ("2208162517", "owner@shop.example")
    assert await done(database, lambda connection: listing(connection, LOCAL_OPERATOR)) == [application]
    with pytest.raises(Conflict, match="business registration"):
        await approved(database, application)
    await documented(database, application)
    with_revenue = await documented(database, application, DocumentKind.REVENUE)
    assert [document.came_by for document in with_revenue.documents] == ["fax", "fax"]
    assert judged(with_revenue, NOW).ok
    assert not judged(application, NOW).ok
    after, account = await approved(database, application)
    assert (after.status, after.account, after.reason, after.decided_at) == ("approved", account.id, "complete", NOW)
    assert after.decided_by == LOCAL_OPERATOR.who
    assert (account.name, account.path) == ("다리꽃집", (OPERATOR_ID, account.id))
    assert (account.trade, account.yearly_revenue) == ("47851", 300_000_000)
    assert account.revenue_evidence is not None
    assert SHA in account.revenue_evidence
    assert await done(database, lambda connection: listing(connection, LOCAL_OPERATOR)) == []
    assert await done(database, lambda connection: listing(connection, LOCAL_OPERATOR, status=None)) == [after]


async def test_every_step_is_in_the_audit_with_where_it_came_from(database: AsyncEngine) -> None:
    application = await applied(database)
    await documented(database, application)
    await approved(database, application)
    async with transaction(database) as connection:
        rows = (
            await connection.execute(text("SELECT deed, who, peer FROM audit WHERE object_kind = 'application'"))
        ).all()
    assert sorted((row.deed, row.who, row.peer) for row in rows) == [
        ("apply", "applicant", "192.0.2.7"),
        ("attach document", LOCAL_OPERATOR.who, ""),
        ("review accounts", LOCAL_OPERATOR.who, ""),
    ]


async def test_what_strangers_hand_in_keeps_nobody_out(database: AsyncEngine) -> None:
    squatter = await applied(database, contact="nobody@elsewhere.example")
    company = await applied(database)
    by_paper = await applied(database, LOCAL_OPERATOR)
    with pytest.raises(Conflict, match="waits already"):
        await applied(database, LOCAL_OPERATOR)
    other = await applied(database, registration_number="123-45-67891")
    await documented(database, company)
    waiting = {one.id: one.beside for one in await done(database, lambda rows: listing(rows, LOCAL_OPERATOR))}
    assert waiting == {squatter.id: 2, company.id: 2, by_paper.id: 2, other.id: 0}
    after, account = await approved(database, company)
    assert (after.status, after.account, after.beside) == ("approved", account.id, 0)
    for settled in (squatter, by_paper):
        now = await done(database, partial(signup.seen, actor=LOCAL_OPERATOR, application=settled.id))
        assert (now.status, now.settled_by, now.account) == ("settled", company.id, None)
        assert str(company.id) in (now.reason or "")
        with pytest.raises(Conflict, match="settled already"):
            await approved(database, settled)
    assert [one.id for one in await done(database, lambda rows: listing(rows, LOCAL_OPERATOR))] == [other.id]


async def test_two_who_approve_different_ones_of_a_company_open_one_account(database: AsyncEngine) -> None:
    several = [await documented(database, await applied(database)) for _ in range(5)]
    answers = await asyncio.gather(
        *(approved(database, one, name=f"shop {place}") for place, one in enumerate(several)), return_exceptions=True
    )
    assert sorted(type(answer).__name__ for answer in answers) == ["Conflict"] * 4 + ["tuple"], answers
    async with transaction(database) as connection:
        assert await connection.scalar(text("SELECT count(*) FROM accounts WHERE kind = 'shop'")) == 1
        settled = await connection.scalar(text("SELECT after -> 'settled' FROM audit WHERE after ? 'settled'"))
    assert len(settled) == 4


async def test_a_rejected_company_may_apply_again(database: AsyncEngine) -> None:
    first = await applied(database)
    for empty in ("", "  ", "x" * 501):
        with pytest.raises(Invalid, match="reason"):
            await done(database, partial(reject, actor=LOCAL_OPERATOR, application=first.id, reason=empty, now=NOW))
    after = await done(
        database, partial(reject, actor=LOCAL_OPERATOR, application=first.id, reason="unreadable", now=NOW)
    )
    assert (after.status, after.reason, after.account) == ("rejected", "unreadable", None)
    assert (await applied(database)).id != first.id
    for late in (
        lambda connection: approve(connection, LOCAL_OPERATOR, first.id, "after all", NOW),
        lambda connection: attach(connection, None, first.id, DocumentKind.IDENTITY, SHA, "upload", NOW),
    ):
        with pytest.raises(Conflict):
            await done(database, late)


async def test_two_who_decide_at_once_open_one_account(database: AsyncEngine) -> None:
    application = await documented(database, await applied(database))
    answers = await asyncio.gather(*(approved(database, application) for _ in range(5)), return_exceptions=True)
    assert sum(isinstance(answer, Conflict) for answer in answers) == 4
    async with transaction(database) as connection:
        assert await connection.scalar(text("SELECT count(*) FROM accounts WHERE kind = 'shop'")) == 1


async def test_a_taken_name_undoes_the_approval_and_another_name_helps(database: AsyncEngine) -> None:
    application = await documented(database, await applied(database))
    await done(
        database,
        lambda connection: tree.open_account(
            connection, LOCAL_OPERATOR, OPERATOR_ID, AccountKind.SHOP, "다리꽃집", NOW
        ),
    )
    with pytest.raises(Conflict, match="name"):
        await approved(database, application)
    (waiting,) = await done(database, lambda connection: listing(connection, LOCAL_OPERATOR))
    assert waiting.status == "applied"
    assert (await approved(database, application, name="다리꽃집 2호점"))[1].name == "다리꽃집 2호점"


async def test_an_agency_applies_for_its_own_part_and_does_not_review(database: AsyncEngine) -> None:
    boss, other = await agency(database), await agency(database, "other")
    application = await applied(database, boss, parent=boss.place.account)
    assert application.parent == boss.place.account
    with pytest.raises(NotFound):
        await applied(database, boss, parent=other.place.account)
    with pytest.raises(NotFound):
        await applied(database, boss)
    with pytest.raises(NotAllowed):
        await done(database, lambda connection: approve(connection, boss, application.id, "mine", NOW))
    for foreign in (
        lambda connection: approve(connection, other, application.id, "mine", NOW),
        lambda connection: reject(connection, other, application.id, "theirs", NOW),
        lambda connection: signup.seen(connection, other, application.id),
        lambda connection: attach(connection, other, application.id, DocumentKind.IDENTITY, SHA, "fax", NOW),
        lambda connection: signup.seen(connection, boss, uuid4()),
    ):
        with pytest.raises(NotFound):
            await done(database, foreign)
    assert await done(database, lambda connection: listing(connection, other)) == []
    assert await done(database, lambda connection: signup.seen(connection, boss, application.id)) == application


@pytest.mark.parametrize(
    ("change", "field"),
    [
        ({"company": " "}, "account"),
        ({"registration_number": "220-81-62518"}, "registration_number"),
        ({"registration_number": "22081"}, "registration_number"),
        ({"contact": "nobody"}, "contact"),
        ({"contact": "a@b\0.c"}, "contact"),
        ({"contact_name": "x" * 101}, "account"),
        ({"trade": "5"}, "trade"),
        ({"yearly_revenue": -1}, "yearly_revenue"),
        ({"kind": AccountKind.BRANCH}, "kind"),
        ({"kind": AccountKind.OPERATOR}, "kind"),
    ],
)
async def test_a_form_that_cannot_be_is_refused_by_field(
    database: AsyncEngine, change: dict[str, Any], field: str
) -> None:
    with pytest.raises(Invalid, match=field):
        await applied(database, **change)
    assert await done(database, lambda connection: listing(connection, LOCAL_OPERATOR, status=None)) == []


async def test_a_document_that_cannot_be_is_refused(database: AsyncEngine) -> None:
    application = await applied(database)
    for sha256, came_by, actor in (
        (SHA.upper(), "fax", LOCAL_OPERATOR),
        (SHA, "pigeon", LOCAL_OPERATOR),
        (SHA, "fax", None),
    ):
        with pytest.raises(Invalid):
            await done(
                database,
                partial(
                    attach,
                    actor=actor,
                    application=application.id,
                    kind=DocumentKind.IDENTITY,
                    sha256=sha256,
                    came_by=came_by,
                    now=NOW,
                ),
            )
    for _ in range(signup.MOST_DOCUMENTS):
        await documented(database, application)
    with pytest.raises(DariError):
        await documented(database, application)


@pytest.mark.parametrize("number", ["220-81-62517", "1248100998", "120-81-47521"])
def test_real_registration_numbers_fit(number: str) -> None:
    digits = checked_registration_number(number)
    wrong = digits[:-1] + str((int(digits[-1]) + 1) % 10)
    with pytest.raises(Invalid, match="last digit"):
        checked_registration_number(wrong)

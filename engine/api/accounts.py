"""Accounts: the tree below whoever asks, and what is changed in it."""

from __future__ import annotations

from datetime import datetime
from http import HTTPStatus
from typing import Annotated, Literal
from uuid import UUID

from fastapi import APIRouter, Path, Response
from pydantic import ConfigDict, Field
from sqlalchemy.ext.asyncio import AsyncConnection

from engine.accounts import tree
from engine.accounts.model import Account, AccountKind, Actor, Deed, Module
from engine.accounts.modules import switch
from engine.accounts.permissions import reach
from engine.api.door import ActorDep, Now, Rows, door_router
from engine.api.etag import IfMatch, tagged, unchanged
from engine.api.pages import Page, PageOf
from engine.api.wire import Shape

AccountInPath = Annotated[UUID, Path(alias="account", description="Id of the account.")]
Name = Annotated[str, Field(min_length=1, max_length=tree.LONGEST_NAME, examples=["한빛치과"])]
Flag = Annotated[bool, Field(strict=True)]
Reason = Annotated[str, Field(min_length=1, max_length=500, examples=["서류 확인"])]
Zone = Annotated[str, Field(min_length=1, max_length=64, examples=["Asia/Seoul"])]

_BUSINESS = frozenset({"trade", "yearly_revenue", "revenue_evidence"})


class AccountShown(Shape):
    """An account."""

    model_config = ConfigDict(
        json_schema_extra={
            "examples": [
                {
                    "id": "019abf5e-0c00-7000-8000-000000000001",
                    "name": "한빛치과",
                    "kind": "shop",
                    "parent": "00000000-0000-0000-0000-000000000001",
                    "path": ["00000000-0000-0000-0000-000000000001", "019abf5e-0c00-7000-8000-000000000001"],
                    "zone": "Asia/Seoul",
                    "status": "active",
                    "fee_waived": False,
                    "modules": ["calls", "recording"],
                    "trade": "86201",
                    "yearly_revenue": 480000000,
                    "revenue_evidence": "부가가치세 과세표준증명 2025",
                }
            ]
        }
    )

    id: UUID
    name: str
    kind: AccountKind
    parent: UUID | None
    """The account directly above; null: there is none."""
    path: list[UUID]
    """From the root to the account itself."""
    zone: str
    """IANA time zone in which its days begin."""
    status: Literal["applied", "active", "closed"]
    fee_waived: bool
    """Whether the base fee is waived."""
    modules: list[Module]
    """The functions that are on for it."""
    trade: str | None
    """Code of its trade (KSIC)."""
    yearly_revenue: int | None
    """Won, of the last business year."""
    revenue_evidence: str | None


class NewAccount(Shape):
    """An account to open."""

    model_config = ConfigDict(
        json_schema_extra={
            "examples": [{"parent": "019abf5e-0c00-7000-8000-000000000000", "kind": "shop", "name": "한빛치과"}]
        }
    )

    parent: UUID
    """Under which account."""
    kind: AccountKind
    name: Name
    zone: Zone | None = None
    """Left away: as the account above."""


class AccountChange(Shape):
    """What is to be different; what is left away stays."""

    model_config = ConfigDict(json_schema_extra={"examples": [{"name": "한빛치과의원"}]})

    name: Name | None = None
    zone: Zone | None = None
    parent: UUID | None = None
    """Moves it, with everything below it."""
    fee_waived: Flag | None = None
    modules: dict[Module, Flag] | None = None
    """Functions to switch on or off."""
    trade: Annotated[str, Field(pattern="^[0-9]{5}$")] | None = None
    """Null takes it away; so with the next two."""
    yearly_revenue: Annotated[int, Field(strict=True, ge=0, le=10**15)] | None = None
    revenue_evidence: Annotated[str, Field(min_length=1, max_length=1000)] | None = None


def accounts_router() -> APIRouter:
    """/accounts."""
    router = door_router("accounts")

    @router.get("/accounts")
    async def list_accounts(actor: ActorDep, rows: Rows, page: PageOf) -> Page[AccountShown]:
        """The accounts that you may see, by id, closed ones too."""
        found = await tree.listing(rows, reach(actor, Deed.SEE_ACCOUNTS), after=page.behind(UUID), limit=page.rows)
        return page.page(found, shown, lambda account: (account.id,))

    @router.post("/accounts", status_code=HTTPStatus.CREATED)
    async def open_account(
        wanted: NewAccount, actor: ActorDep, rows: Rows, now: Now, response: Response
    ) -> AccountShown:
        """Opens an account under another one."""
        made = await tree.open_account(rows, actor, wanted.parent, wanted.kind, wanted.name, now, zone=wanted.zone)
        return tagged(response, shown(made))

    @router.get("/accounts/{account}")
    async def read_account(account: AccountInPath, actor: ActorDep, rows: Rows, response: Response) -> AccountShown:
        """One account."""
        return tagged(response, shown(await tree.seen(rows, actor, account)))

    @router.patch("/accounts/{account}")
    async def change_account(
        account: AccountInPath,
        change: AccountChange,
        if_match: IfMatch,
        actor: ActorDep,
        rows: Rows,
        now: Now,
        response: Response,
    ) -> AccountShown:
        """Renames, moves or otherwise changes an account."""

        async def read() -> AccountShown:
            return shown(await tree.seen(rows, actor, account))

        await unchanged(rows, "account", account, if_match, read)
        await _change(rows, actor, account, change, now)
        return tagged(response, await read())

    @router.post("/accounts/{account}/close")
    async def close_account(
        account: AccountInPath, actor: ActorDep, rows: Rows, now: Now, response: Response
    ) -> AccountShown:
        """Closes an account that has no numbers in service and no open accounts under it."""
        return tagged(response, shown(await tree.close(rows, actor, account, now)))

    return router


def shown(account: Account) -> AccountShown:
    """The account as answers have it."""
    return AccountShown(
        id=account.id,
        name=account.name,
        kind=account.kind,
        parent=account.parent,
        path=list(account.path),
        zone=account.zone,
        status=account.status,
        fee_waived=account.fee_waived,
        modules=sorted(account.modules, key=lambda module: module.value),
        trade=account.trade,
        yearly_revenue=account.yearly_revenue,
        revenue_evidence=account.revenue_evidence,
    )


async def _change(rows: AsyncConnection, actor: Actor, account: UUID, change: AccountChange, now: datetime) -> None:
    if change.name is not None:
        await tree.rename(rows, actor, account, change.name, now)
    if change.zone is not None:
        await tree.set_zone(rows, actor, account, change.zone, now)
    if change.fee_waived is not None:
        await tree.waive_fee(rows, actor, account, change.fee_waived, now)
    for module, on in (change.modules or {}).items():
        await switch(rows, actor, account, module, on, now)
    if _BUSINESS & change.model_fields_set:
        await _set_business(rows, actor, account, change, now)
    if change.parent is not None:
        await tree.move(rows, actor, account, change.parent, now)


async def _set_business(
    rows: AsyncConnection, actor: Actor, account: UUID, change: AccountChange, now: datetime
) -> None:
    before = await tree.find(rows, account)
    said = {name: getattr(change, name) for name in _BUSINESS & change.model_fields_set}
    await tree.set_business(
        rows,
        actor,
        account,
        now,
        trade=said.get("trade", before.trade),
        yearly_revenue=said.get("yearly_revenue", before.yearly_revenue),
        evidence=said.get("revenue_evidence", before.revenue_evidence),
    )

"""Listening grants: a shop lets an account above it hear its calls for a time."""

from __future__ import annotations

from datetime import datetime
from http import HTTPStatus
from typing import Annotated
from uuid import UUID

from fastapi import APIRouter, Path
from pydantic import ConfigDict, Field

from engine.accounts import grants
from engine.accounts.model import ListeningGrant
from engine.api.accounts import AccountInPath, Reason
from engine.api.door import ActorDep, Now, Rows, door_router
from engine.api.pages import Instant
from engine.api.wire import Shape


class GrantShown(Shape):
    """A shop lets an account above it hear its calls for a time."""

    id: UUID
    shop: UUID
    to_account: UUID
    by: str
    reason: str
    evidence: str
    begins: datetime
    until: datetime
    taken_back_at: datetime | None


class Grants(Shape):
    """A shop's grants, the newest first, those that are over too."""

    items: list[GrantShown]


class GrantWanted(Shape):
    """Who is to hear the shop's calls, how long and why."""

    model_config = ConfigDict(
        json_schema_extra={
            "examples": [
                {
                    "to_account": "019abf5e-0c00-7000-8000-000000000000",
                    "until": "2026-12-01T00:00:00Z",
                    "reason": "응대 품질 점검",
                }
            ]
        }
    )

    to_account: UUID
    """An account above the shop."""
    until: Instant
    """31 days after the beginning at most."""
    reason: Reason
    begins: Instant | None = None
    """Left away: now."""
    evidence: Annotated[str, Field(max_length=500)] = ""
    """The shop's paper, when the operator writes down one that was given on paper."""


def listening_grants_router() -> APIRouter:
    """Who above a shop hears its calls, for a time."""
    router = door_router("accounts")

    @router.get("/accounts/{account}/listening-grants")
    async def list_grants(account: AccountInPath, actor: ActorDep, rows: Rows) -> Grants:
        """The shop's grants."""
        return Grants(items=[_shown(one) for one in await grants.of_shop(rows, actor, account)])

    @router.post("/accounts/{account}/listening-grants", status_code=HTTPStatus.CREATED)
    async def give_grant(
        account: AccountInPath, wanted: GrantWanted, actor: ActorDep, rows: Rows, now: Now
    ) -> GrantShown:
        """Lets an account above the shop hear its calls."""
        return _shown(
            await grants.give(
                rows,
                actor,
                account,
                wanted.to_account,
                now,
                until=wanted.until,
                reason=wanted.reason,
                begins=wanted.begins,
                evidence=wanted.evidence,
            )
        )

    @router.post("/listening-grants/{grant}/take-back")
    async def take_grant_back(
        grant: Annotated[UUID, Path(description="A grant's id.")], actor: ActorDep, rows: Rows, now: Now
    ) -> GrantShown:
        """Ends it at once."""
        return _shown(await grants.take_back(rows, actor, grant, now))

    return router


def _shown(grant: ListeningGrant) -> GrantShown:
    return GrantShown(
        id=grant.id,
        shop=grant.shop,
        to_account=grant.to_account,
        by=grant.by,
        reason=grant.reason,
        evidence=grant.evidence,
        begins=grant.begins,
        until=grant.until,
        taken_back_at=grant.taken_back_at,
    )

"""An account's groups of callers: whom its rules treat otherwise, and `blocked`, who are turned away."""

from __future__ import annotations

from collections import Counter
from datetime import datetime
from typing import Annotated

from annotated_types import MaxLen, MinLen
from fastapi import APIRouter
from pydantic import ConfigDict, Field

from engine.accounts.model import Deed
from engine.api.door import ActorDep, Now, Rows, door_router
from engine.api.owned import allowed_account
from engine.api.pages import Page, PageOf
from engine.api.wire import AccountInPath, Phone, PhoneIn, Shape, shown
from engine.routing import caller_groups
from engine.routing.entries import Member

_MOST_AT_ONCE = 10_000
GroupName = Annotated[str, Field(min_length=1, max_length=60, examples=["blocked"])]


class Group(Shape):
    """A group of callers; it is there as long as anybody is in it."""

    model_config = ConfigDict(json_schema_extra={"examples": [{"name": "blocked", "members": 3}]})

    name: str
    members: int


class Groups(Shape):
    """The account's groups by name."""

    groups: tuple[Group, ...]


class Caller(Shape):
    """A caller in a group."""

    model_config = ConfigDict(
        json_schema_extra={
            "examples": [
                {
                    "number": {"national": "01023456789", "e164": "+821023456789"},
                    "note": "장난 전화",
                    "added_at": "2026-11-22T00:30:00Z",
                }
            ]
        }
    )

    number: Phone
    note: str
    added_at: datetime


class NewMembers(Shape):
    """Callers to be put into a group."""

    model_config = ConfigDict(json_schema_extra={"examples": [{"numbers": ["010-2345-6789"], "note": "장난 전화"}]})

    numbers: Annotated[tuple[PhoneIn, ...], MinLen(1), MaxLen(_MOST_AT_ONCE)]
    note: Annotated[str, Field(max_length=200)] = ""


class GoneMembers(Shape):
    """Callers to be taken out of a group; null: all of them."""

    model_config = ConfigDict(json_schema_extra={"examples": [{"numbers": ["010-2345-6789"]}]})

    numbers: Annotated[tuple[PhoneIn, ...], MinLen(1), MaxLen(_MOST_AT_ONCE)] | None


class Moved(Shape):
    """How many callers it was about that were not so already."""

    model_config = ConfigDict(json_schema_extra={"examples": [{"callers": 1}]})

    callers: int


def groups_router() -> APIRouter:
    """`/accounts/{account}/groups`."""
    router = door_router("groups")
    router.get("/accounts/{account}/groups")(groups)
    router.get("/accounts/{account}/groups/{group:path}/members")(members)
    router.post("/accounts/{account}/groups/{group:path}/members")(add_members)
    router.post("/accounts/{account}/groups/{group:path}/members/remove")(remove_members)
    return router


async def groups(account: AccountInPath, actor: ActorDep, rows: Rows) -> Groups:
    """An account's groups of callers."""
    await allowed_account(rows, actor, Deed.SEE_RULES, account)
    counted = Counter(member.group for member in await caller_groups.listing(rows, account))
    return Groups(groups=tuple(Group(name=name, members=counted[name]) for name in sorted(counted)))


async def members(account: AccountInPath, group: GroupName, actor: ActorDep, rows: Rows, page: PageOf) -> Page[Caller]:
    """Who is in a group, by number."""
    await allowed_account(rows, actor, Deed.SEE_RULES, account)
    after = page.after(str)
    found = [
        member
        for member in await caller_groups.listing(rows, account, group)
        if after is None or member.number > after[0]
    ]
    return page.page(found, _caller, lambda member: (member.number,))


async def add_members(
    account: AccountInPath, group: GroupName, wanted: NewMembers, actor: ActorDep, rows: Rows, now: Now
) -> Moved:
    """Put callers into a group."""
    await allowed_account(rows, actor, Deed.CHANGE_RULES, account)
    return Moved(
        callers=await caller_groups.add(rows, actor, account, group, set(wanted.numbers), now, note=wanted.note)
    )


async def remove_members(
    account: AccountInPath, group: GroupName, wanted: GoneMembers, actor: ActorDep, rows: Rows, now: Now
) -> Moved:
    """Take callers out of a group."""
    await allowed_account(rows, actor, Deed.CHANGE_RULES, account)
    numbers = None if wanted.numbers is None else set(wanted.numbers)
    return Moved(callers=await caller_groups.remove(rows, actor, account, group, now, numbers))


def _caller(member: Member) -> Caller:
    return Caller(number=shown(member.number), note=member.note, added_at=member.added_at)

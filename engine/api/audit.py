"""The audit: who did what, from where, and whether that is still as it was written."""

from __future__ import annotations

from datetime import datetime
from typing import Annotated, Any
from uuid import UUID

from fastapi import APIRouter, Query
from pydantic import ConfigDict, Field

from engine.accounts import tree
from engine.accounts.model import OPERATOR_PLACE, Deed
from engine.accounts.permissions import check, reach
from engine.api.door import ActorDep, Rows, door_router
from engine.api.pages import Page, PageOf, SpanOf
from engine.api.wire import Shape
from engine.audit import trail
from engine.audit.masking import masked_entry
from engine.audit.model import Entry, Head, Wanted
from engine.audit.verify import Trouble, Verdict, verify

_LONGEST = 200
Word = Annotated[str | None, Query(max_length=_LONGEST)]


class EntryShown(Shape):
    """One deed, done or refused."""

    model_config = ConfigDict(
        json_schema_extra={
            "examples": [
                {
                    "id": "019abf5e-0c00-7000-8000-000000000003",
                    "at": "2026-11-22T00:00:00Z",
                    "who": "user:019abf5e-0c00-7000-8000-000000000002",
                    "deed": "change accounts",
                    "account": "019abf5e-0c00-7000-8000-000000000001",
                    "object_kind": "account",
                    "object_id": "019abf5e-0c00-7000-8000-000000000001",
                    "before": {"name": "한빛치과"},
                    "after": {"name": "한빛치과의원"},
                    "peer": "203.0.113.7",
                }
            ]
        }
    )

    id: UUID
    at: datetime
    who: str
    """`user:ID`, `key:ID`, `operator of this machine`, `nobody`."""
    deed: str
    account: UUID | None
    """Whose thing it was done to."""
    object_kind: str
    object_id: str
    before: dict[str, Any] | None
    """What changed, as it was; people's numbers stand under `personal` only, masked."""
    after: dict[str, Any] | None
    peer: str
    """From where."""


class FindingShown(Shape):
    """Something that is not as it was written."""

    trouble: Trouble
    what: str
    detail: str


class VerdictShown(Shape):
    """What the check came to."""

    whole: bool
    checked: int
    """Entries in the chain."""
    waiting: int
    """Entries that are not in the chain yet."""
    head: str
    """Note it elsewhere, and send it with a later check: that sees whether the chain was written anew up to here."""
    findings: list[FindingShown]


class VerifyWanted(Shape):
    """What the audit is compared with."""

    model_config = ConfigDict(json_schema_extra={"examples": [{"head": None}]})

    head: Annotated[str, Field(min_length=1, max_length=100)] | None = None
    """The head of an earlier check."""


def audit_router() -> APIRouter:
    """/audit."""
    router = door_router("audit")

    @router.get("/audit")
    async def list_audit(
        actor: ActorDep,
        rows: Rows,
        page: PageOf,
        span: SpanOf,
        account: Annotated[UUID | None, Query(description="Of this account and all below it.")] = None,
        who: Word = None,
        deed: Word = None,
        object_kind: Word = None,
        object_id: Word = None,
    ) -> Page[EntryShown]:
        """What was done in the accounts that you may see, the newest first."""
        within = reach(actor, Deed.SEE_AUDIT)
        if account is not None:
            check(actor, Deed.SEE_AUDIT, await tree.place_of(rows, account))
            within = account
        wanted = Wanted(
            within=within,
            who=who,
            deed=deed,
            object_kind=object_kind,
            object_id=object_id,
            since=span.since,
            until=span.until,
        )
        found = await trail.entries(rows, wanted, before=page.behind(UUID), limit=page.rows)
        return page.page(found, _shown, lambda entry: (entry.id,))

    @router.post("/audit/verify")
    async def verify_audit(wanted: VerifyWanted, actor: ActorDep, rows: Rows) -> VerdictShown:
        """Compares the whole audit with its chain of hashes; it takes a while."""
        check(actor, Deed.VERIFY_AUDIT, OPERATOR_PLACE)
        return _verdict(await verify(rows, [Head.parse(wanted.head)] if wanted.head else ()))

    return router


def _shown(entry: Entry) -> EntryShown:
    entry = masked_entry(entry)
    return EntryShown(
        id=entry.id,
        at=entry.at,
        who=entry.who,
        deed=entry.deed,
        account=entry.account_id,
        object_kind=entry.object_kind,
        object_id=entry.object_id,
        before=None if entry.before is None else dict(entry.before),
        after=None if entry.after is None else dict(entry.after),
        peer=entry.peer,
    )


def _verdict(verdict: Verdict) -> VerdictShown:
    return VerdictShown(
        whole=verdict.whole,
        checked=verdict.checked,
        waiting=verdict.waiting,
        head=verdict.head.written,
        findings=[FindingShown(trouble=one.trouble, what=one.what, detail=one.detail) for one in verdict.findings],
    )

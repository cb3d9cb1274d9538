"""Who may take the store-information message, and why."""

from __future__ import annotations

from fastapi import APIRouter

from engine.accounts import tree
from engine.accounts.eligibility import eligible
from engine.accounts.trades import TRADES
from engine.api.accounts import AccountInPath
from engine.api.door import ActorDep, Now, Rows, door_router
from engine.api.wire import Shape


class EligibilityShown(Shape):
    """Whether the shop may take the store-information message."""

    ok: bool
    reasons: list[str]
    """One for each rule, kept or not: Korean / English."""


class TradeShown(Shape):
    """A trade that may take the store-information message."""

    code: str
    korean: str | None
    """null: the service's list has the code alone."""
    section: str


class Trades(Shape):
    """All of them, by code."""

    items: list[TradeShown]


def eligibility_router() -> APIRouter:
    """/trades and /accounts/{account}/eligibility."""
    router = door_router("accounts")

    @router.get("/accounts/{account}/eligibility")
    async def read_eligibility(account: AccountInPath, actor: ActorDep, rows: Rows, now: Now) -> EligibilityShown:
        """Whether the shop may take the store-information message, and why."""
        found = await tree.seen(rows, actor, account)
        judged = eligible(found.trade, found.yearly_revenue, found.revenue_evidence, now)
        return EligibilityShown(ok=judged.ok, reasons=list(judged.reasons))

    @router.get("/trades")
    async def list_trades(_actor: ActorDep) -> Trades:
        """The trades that may take the store-information message."""
        return Trades(items=[TradeShown(**TRADES[code]._asdict()) for code in sorted(TRADES)])

    return router

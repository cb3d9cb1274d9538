"""Whether a shop may take the store-information message, and why or why not. Pure.

Only small businesses of the 58 listed trades may, with a yearly revenue up to a limit, when something shows it.
"""

from __future__ import annotations

from datetime import date, datetime
from typing import NamedTuple

import msgspec

from engine.accounts.trades import LISTED_SINCE, SECTIONS, TRADES
from engine.events.call_log import KST


class RevenueLimit(NamedTuple):
    """The most that a shop may take in a year."""

    since: date
    """From this day on, Korean time."""
    won: int


REVENUE_LIMITS = (RevenueLimit(date(2021, 6, 1), 1_000_000_000),)
"""In order of time."""


class Eligibility(msgspec.Struct, frozen=True, kw_only=True):
    """The answer, with every rule that was asked."""

    ok: bool
    reasons: tuple[str, ...]
    """One for each rule, kept or not: Korean, then ` / `, then English."""


def eligible(trade: str | None, yearly_revenue: int | None, evidence: str | None, now: datetime) -> Eligibility:
    """Judges a trade's code, a yearly revenue in won and what shows it, by the rules in force at `now`."""
    day = now.astimezone(KST).date()
    answers = (_trade(trade, day), _revenue(yearly_revenue, day), _shown(evidence))
    return Eligibility(
        ok=all(kept for kept, _, _ in answers), reasons=tuple(f"{korean} / {english}" for _, korean, english in answers)
    )


def revenue_limit(day: date) -> int | None:
    """The limit in won on that day; None: there was no such service yet."""
    return next((limit.won for limit in reversed(REVENUE_LIMITS) if limit.since <= day), None)


_Answer = tuple[bool, str, str]


def _trade(code: str | None, day: date) -> _Answer:
    if code is None:
        return False, "업종 코드가 등록되지 않았습니다", "no trade is registered; set the trade's code"
    listed = TRADES.get(code) if day >= LISTED_SINCE else None
    if listed is None:
        return (
            False,
            f"업종 {code}: 지정 업종 {len(TRADES)}개에 해당하지 않습니다",
            f"trade {code} is none of the {len(TRADES)} listed trades",
        )
    return (
        True,
        f"업종 {code} {listed.korean or '(목록에 이름 없음)'}: 지정 업종입니다 ({SECTIONS[listed.section]})",
        f"trade {code} is one of the {len(TRADES)} listed trades",
    )


def _revenue(won: int | None, day: date) -> _Answer:
    limit = revenue_limit(day)
    if won is None:
        return False, "연 매출이 등록되지 않았습니다", "no yearly revenue is registered; set it"
    if limit is None or won > limit:
        most = limit or 0
        return (
            False,
            f"연 매출 {won:,}원: 한도 {most:,}원을 넘습니다",
            f"a yearly revenue of {won:,} won is above the limit of {most:,} won",
        )
    return (
        True,
        f"연 매출 {won:,}원: 한도 {limit:,}원 이하입니다",
        f"a yearly revenue of {won:,} won is within the limit of {limit:,} won",
    )


def _shown(evidence: str | None) -> _Answer:
    if not (evidence or "").strip():
        return False, "연 매출 증빙이 없습니다", "nothing shows the yearly revenue; register its evidence"
    return True, "연 매출 증빙이 등록되어 있습니다", "the evidence of the yearly revenue is registered"

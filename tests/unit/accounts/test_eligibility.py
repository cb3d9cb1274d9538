"""Who may take the store-information message, at the edges of each rule."""

from __future__ import annotations

from datetime import UTC, datetime

import pytest

from engine.accounts.eligibility import eligible
from engine.accounts.trades import SECTIONS, TRADES, check_trade
from engine.foundation.errors import Invalid

NOW = datetime(2026, 11, 22, 3, tzinfo=UTC)
LIMIT = 1_000_000_000


def test_58_trades_are_listed_in_three_sections() -> None:
    assert len(TRADES) == 58
    by_section = {letter: sum(trade.section == letter for trade in TRADES.values()) for letter in SECTIONS}
    assert by_section == {"G": 37, "I": 15, "S": 6}
    for code, trade in TRADES.items():
        check_trade(code)
        assert trade.code == code
        assert trade.korean != ""


def test_a_trade_that_the_list_does_not_name_is_told_so() -> None:
    assert [code for code, trade in TRADES.items() if trade.korean is None] == ["95391"]
    assert "업종 95391 (목록에 이름 없음)" in eligible("95391", LIMIT, "paper", NOW).reasons[0]


@pytest.mark.parametrize("trade", TRADES)
def test_each_listed_trade_may_up_to_the_limit(trade: str) -> None:
    assert eligible(trade, LIMIT, "tax office, 2025", NOW).ok


@pytest.mark.parametrize(
    ("trade", "revenue", "evidence", "korean", "english"),
    [
        ("47999", 1, "paper", "지정 업종 58개에 해당하지 않습니다", "none of the 58"),
        (None, 1, "paper", "업종 코드가 등록되지", "no trade"),
        ("56111", LIMIT + 1, "paper", "한도 1,000,000,000원을 넘습니다", "above the limit"),
        ("56111", None, "paper", "연 매출이 등록되지", "no yearly revenue"),
        ("56111", 1, " ", "증빙이 없습니다", "nothing shows"),
        ("56111", 1, None, "증빙이 없습니다", "nothing shows"),
    ],
)
def test_each_rule_can_refuse_and_says_why_in_both_languages(
    trade: str | None, revenue: int | None, evidence: str | None, korean: str, english: str
) -> None:
    answer = eligible(trade, revenue, evidence, NOW)
    assert not answer.ok
    assert len(answer.reasons) == 3
    assert any(korean in reason and english in reason for reason in answer.reasons)


def test_before_the_service_began_nobody_may() -> None:
    last = datetime(2021, 5, 31, 14, 59, tzinfo=UTC)
    assert not eligible("56111", 1, "paper", last).ok
    assert eligible("56111", 1, "paper", last.replace(minute=0, hour=15)).ok


@pytest.mark.parametrize("code", ["5611", "561111", "5611a", "５６１１１", ""])
def test_what_is_no_code_is_refused(code: str) -> None:
    with pytest.raises(Invalid, match="trade"):
        check_trade(code)

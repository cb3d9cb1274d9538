"""The seed of public holidays."""

from __future__ import annotations

from datetime import date

from engine.routing.korean_holidays import public_holidays


def test_holidays_substitute_days_and_elections_with_korean_names() -> None:
    found = public_holidays((2026, 2027, 2026))
    assert found[date(2026, 12, 25)] == "기독탄신일"
    assert found[date(2026, 2, 17)] == "설날"
    assert "대체" in found[date(2026, 3, 2)]
    assert "대체" in found[date(2027, 2, 9)]
    assert "선거" in found[date(2026, 6, 3)]
    assert date(2026, 11, 18) not in found
    assert {day.year for day in found} == {2026, 2027}
    assert list(found) == sorted(found)
    assert all(any("가" <= letter <= "힣" for letter in name) for name in found.values())


def test_no_year_has_none() -> None:
    assert public_holidays(()) == {}

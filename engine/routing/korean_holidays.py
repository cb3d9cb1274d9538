"""Korea's public holidays with their substitute days, as a seed: days that are set later are entered by hand."""

from __future__ import annotations

from collections.abc import Iterable
from datetime import date

from holidays import country_holidays


def public_holidays(years: Iterable[int]) -> dict[date, str]:
    """The public holidays of these years, election days among them, by day with their Korean names."""
    found = country_holidays("KR", years=sorted(set(years)), expand=False, language="ko")
    return dict(sorted(found.items()))

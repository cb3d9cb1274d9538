"""Which last four digits are easy to remember, and why. Pure."""

from __future__ import annotations

from enum import Enum
from functools import cache


class Easy(Enum):
    """How four digits are easy, the easiest first. A is any digit, B any other."""

    AAAA = "AAAA"
    LADDER = "ABCD"
    """Up or down by one: 1234, 7890, 4321."""
    THOUSAND = "A000"
    SPOKEN = "spoken"
    """Sounds like a word in Korean, or is a line on the telephone's keys: one of SPOKEN."""
    ABAB = "ABAB"
    AABB = "AABB"
    ABBA = "ABBA"
    AAAB = "AAAB"
    ABBB = "ABBB"


SPOKEN = {
    "1004": "천사",
    "2424": "이사이사",
    "2580": "키패드 가운데 줄",
    "2828": "이빨이빨",
    "2875": "이빨치료",
    "3355": "삼삼오오",
    "4989": "사고팔고",
    "7942": "친구사이",
    "8275": "빨리치료",
    "8282": "빨리빨리",
    "9292": "구이구이",
    "9988": "구구팔팔",
}
"""What shops choose because callers keep it in mind: movers, dentists, clinics, deliveries, grills …"""

_ORDER = {easy: at for at, easy in enumerate(Easy)}
_LADDERS = frozenset(run[at : at + 4] for run in ("01234567890", "09876543210") for at in range(8))


@cache
def patterns(four: str) -> tuple[Easy, ...]:
    """How these four digits are easy, the easiest first: at most one shape, and whether they are SPOKEN."""
    a, b, c, d = tuple(four)
    shapes = (
        (Easy.AAAA, a == b == c == d),
        (Easy.LADDER, four in _LADDERS),
        (Easy.THOUSAND, b == c == d == "0"),
        (Easy.ABAB, a == c and b == d),
        (Easy.AABB, a == b and c == d),
        (Easy.ABBA, a == d and b == c),
        (Easy.AAAB, a == b == c),
        (Easy.ABBB, b == c == d),
    )
    shape = next((easy for easy, has_it in shapes if has_it), None)
    spoken = Easy.SPOKEN if four in SPOKEN else None
    return tuple(sorted((easy for easy in (shape, spoken) if easy), key=_ORDER.__getitem__))


@cache
def easy_endings() -> tuple[str, ...]:
    """All four digits that are easy, the easiest first."""
    every = (f"{one:04}" for one in range(10_000))
    found = [(_ORDER[patterns(four)[0]], four) for four in every if patterns(four)]
    return tuple(four for _, four in sorted(found))

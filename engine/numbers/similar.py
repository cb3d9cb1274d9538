"""How like a free number is to a shop's own, and which is better than which. Pure.

The whole ranking is one list of endings, the best first: a number stands where the first ending stands that it has.
So the best numbers are found by their last digits alone, and where a number stands never depends on which others are
free.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from functools import lru_cache
from itertools import chain, permutations

import msgspec

from engine.foundation.errors import Invalid
from engine.foundation.phone_number import NumberClass, PhoneNumber, classify, parse, written
from engine.numbers.easy_patterns import SPOKEN, Easy, easy_endings, patterns
from engine.numbers.number_range import LENGTHS

_LIKENABLE = (
    NumberClass.LANDLINE,
    NumberClass.MOBILE,
    NumberClass.INTERNET,
    NumberClass.REPRESENTATIVE,
    NumberClass.VIRTUAL,
    NumberClass.TOLL_FREE,
)
_WISHES_REMEMBERED = 256


class Wish(msgspec.Struct, frozen=True, kw_only=True):
    """What a number should be like. Nothing wished: easy numbers first."""

    like: str | None = None
    """The shop's own number in national digits, or only the last four digits wanted."""
    easy: Easy | None = None
    """Only numbers whose last four digits are easy in this way."""
    exchange: str | None = None
    """Only numbers that begin so, four digits: 0507."""
    digits: int | None = None
    """Only numbers of so many digits: 11 or 12."""


class Reason(msgspec.Struct, frozen=True):
    """Why a number is offered."""

    code: str
    """For programs; stays the same."""
    korean: str
    english: str


class Span(msgspec.Struct, frozen=True):
    """Numbers that follow one another when their digits are read from the last to the first: low to below high."""

    low: str
    high: str


def wish(
    like: str | None = None, easy: str | None = None, exchange: str | None = None, digits: int | None = None
) -> Wish:
    """A wish as people write it. Raises Invalid naming the field."""
    return Wish(
        like=None if like is None else _like(like),
        easy=None if easy is None else _easy(easy),
        exchange=None if exchange is None else _exchange(exchange),
        digits=None if digits is None else _digits(digits),
    )


def rank(wished: Wish, number: PhoneNumber) -> int | None:
    """Where `number` stands, 0 the best; the same for numbers that are as good. None: it is not what is wished."""
    if wished.exchange and not number.startswith(wished.exchange):
        return None
    if wished.digits and len(number) != wished.digits:
        return None
    return next((at for at, ending in enumerate(endings(wished.like, wished.easy)) if number.endswith(ending)), None)


@lru_cache(_WISHES_REMEMBERED)
def endings(like: str | None, easy: Easy | None) -> tuple[str, ...]:
    """The ranking: endings of a number, the best first; the last one, if all numbers are wished, is empty."""
    return tuple(_ranking(like, easy))


def _ranking(like: str | None, easy: Easy | None) -> Iterator[str]:
    """As `endings`, worked out as far as it is asked: a page as a rule needs the first dozen."""
    seen: set[str] = set()
    for ending in chain(_like_endings(like) if like else (), easy_endings()):
        if ending not in seen:
            seen.add(ending)
            if easy is None or easy in patterns(ending[-4:]):
                yield ending
    if easy is None:
        yield ""


def spans(wished: Wish, after: PhoneNumber | None = None) -> Iterator[Span]:
    """Where to look for free numbers, the best first; no number is in two spans. With `after`: for those behind it.

    Of all exchanges and lengths. Raises Invalid when `after` is not in the ranking at all.
    """
    if after is None:
        return _spans(_ranking(wished.like, wished.easy), 0, "")
    place = rank(wished, after)
    if place is None:
        raise Invalid(
            f"after: {written(after)} is not among the numbers wished; name the last number of the page before"
        )
    return _spans(endings(wished.like, wished.easy), place, after[::-1] + "0")


def order(wished: Wish, number: PhoneNumber) -> tuple[int, str]:
    """The key by which offered numbers are sorted. Raises Invalid for a number that is not what is wished."""
    place = rank(wished, number)
    if place is None:
        raise Invalid(f"number: {written(number)} is not among the numbers wished")
    return place, number[::-1]


def reasons(like: str | None, number: PhoneNumber) -> tuple[Reason, ...]:
    """Why `number` is offered, the strongest first; empty: for no reason but that it is free."""
    four = number[-4:]
    found = [_likeness(like, number)] if like else []
    if number[-8:-4] == four:
        found.append(
            Reason(
                "twin", f"국번과 끝 네 자리가 같음({four}-{four})", f"the exchange repeats the last four: {four}-{four}"
            )
        )
    found.extend(_easy_reason(easy, four) for easy in patterns(four))
    return tuple(reason for reason in found if reason)


def _likeness(like: str, number: PhoneNumber) -> Reason | None:
    four, other = number[-4:], like[-4:]
    whole = _subscriber(like)
    if len(whole) > 4 and number.endswith(whole):
        return Reason("whole", "국번과 끝 네 자리가 모두 같음", "exchange and last four digits are the same")
    if four == other:
        same = next(count for count in range(len(whole), 3, -1) if number.endswith(whole[-count:]))
        return Reason(f"last_{same}", f"끝 {same}자리가 같음", f"last {same} digits are the same")
    if four[1:] == other[1:]:
        return Reason("last_3", "끝 3자리가 같음", "last 3 digits are the same")
    if sorted(four) == sorted(other):
        return Reason("other_order", "끝 네 자리의 순서만 다름", "same last four digits in another order")
    if _differing(four, other) == 1:
        return Reason("one_off", "끝 네 자리 중 한 자리만 다름", "one of the last four digits differs")
    return None


_EASY_WORDS = {
    Easy.AAAA: ("같은 숫자 네 개", "four times the same digit"),
    Easy.LADDER: ("이어지는 숫자", "digits in a row"),
    Easy.THOUSAND: ("천 단위 숫자", "a round thousand"),
    Easy.ABAB: ("반복되는 두 자리(ABAB)", "two digits repeated (ABAB)"),
    Easy.AABB: ("짝을 이루는 숫자(AABB)", "two pairs (AABB)"),
    Easy.ABBA: ("앞뒤가 같은 숫자(ABBA)", "the same from both ends (ABBA)"),
    Easy.AAAB: ("같은 숫자 세 개(AAAB)", "three times the same digit (AAAB)"),
    Easy.ABBB: ("같은 숫자 세 개(ABBB)", "three times the same digit (ABBB)"),
}


def _easy_reason(easy: Easy, four: str) -> Reason:
    if easy is Easy.SPOKEN:
        return Reason("spoken", f"외우기 쉬운 숫자({SPOKEN[four]})", f"easy to keep in mind ({SPOKEN[four]})")
    return Reason(easy.name.lower(), *_EASY_WORDS[easy])


def _like_endings(like: str) -> Iterable[str]:
    """Of the numbers that are like it, the likest first. Among equals the easy ones lead."""
    whole, four = _subscriber(like), like[-4:]
    if len(whole) > 4:
        yield whole
    yield four + four
    yield from (whole[-count:] for count in range(max(len(whole) - 1, 4), 3, -1))
    yield from sorted((f"{digit}{four[1:]}" for digit in range(10)), key=lambda other: (*_step(four, other), other))
    yield from sorted(
        {"".join(digits) for digits in permutations(four)},
        key=lambda other: (_differing(four, other), not patterns(other), other),
    )
    one_off = (four[:at] + str(digit) + four[at + 1 :] for at in (1, 2, 3) for digit in range(10))
    yield from sorted(one_off, key=lambda other: (*_step(four, other), other))


def _step(four: str, other: str) -> tuple[bool, int]:
    return not patterns(other), sum(abs(int(a) - int(b)) for a, b in zip(four, other, strict=True))


def _differing(four: str, other: str) -> int:
    return sum(a != b for a, b in zip(four, other, strict=True))


def _spans(ranked: Iterable[str], place: int, behind: str) -> Iterator[Span]:
    """Of each ending from `place` on the spans of the numbers that have it and none of those before it.

    The first of them begins at `behind`: the least text of digits above that of the number left behind.
    """
    within: dict[str, list[str]] = {}  # what of each is taken already, by endings that are longer
    taken: set[str] = set()
    for at, ending in enumerate(ranked):
        start = ending[::-1]
        parts = {start[:count] for count in range(len(start) + 1)}
        if parts & taken:
            continue
        if at >= place:
            for span in _without(start, within.get(start, ())):
                if at > place or span.low >= behind:
                    yield span
                elif span.high > behind:
                    yield Span(behind, span.high)
        taken.add(start)
        for part in parts - {start}:
            within.setdefault(part, []).append(start)


def _without(start: str, taken: Iterable[str]) -> Iterator[Span]:
    """All that begins with `start`, less what begins with one of `taken`."""
    low = start
    for other in sorted(taken):
        if other >= low:  # else it is within another one
            if other > low:
                yield Span(low, other)
            low = _end(other)
    if low < _end(start):
        yield Span(low, _end(start))


def _end(start: str) -> str:
    """Above every text of digits that begins with `start`; ":" comes after "9"."""
    return start + ":"


def _subscriber(like: str) -> str:
    """The exchange and the last four digits, without area code or prefix."""
    return like if len(like) == 4 else "".join(written(PhoneNumber(like)).split("-")[-2:])


def _like(text: str) -> str:
    if text.isascii() and text.isdigit() and len(text) == 4:
        return text
    number = parse(text, "like")
    if classify(number) not in _LIKENABLE:
        raise Invalid(
            f"like: {written(number)} is no shop's number ({classify(number).value}); "
            "name the shop's own number or the last four digits wanted"
        )
    return number


def _easy(text: str) -> Easy:
    try:
        return next(easy for easy in Easy if easy.value.lower() == text.lower())
    except StopIteration:
        known = ", ".join(easy.value for easy in Easy)
        raise Invalid(f"easy: {text[:40]!r} is no pattern; name one of {known}") from None


def _exchange(text: str) -> str:
    if len(text) != 4 or not text.isascii() or not text.isdigit():
        raise Invalid(f"exchange: {text[:40]!r} must be the first four digits of a number, like 0507")
    return text


def _digits(count: int) -> int:
    if count not in LENGTHS:
        raise Invalid(f"digits: {count} must be 11 or 12, as 050 numbers have")
    return count

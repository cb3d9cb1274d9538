"""Choosing a number: the best free ones for a shop, ranked with reasons, and kept while the form is open."""

from __future__ import annotations

from datetime import datetime
from http import HTTPStatus
from typing import Annotated, Any
from uuid import UUID

from fastapi import APIRouter, Query
from pydantic import ConfigDict, Field

from engine.api.door import ActorDep, Now, Rows, door_router
from engine.api.number_shapes import Stock, stock_shown
from engine.api.pages import Page, PageOf, cursor_of
from engine.api.wire import NumberInPath, Phone, PhoneIn, Shape, shown
from engine.numbers import choice, life
from engine.numbers.choice import MOST_AT_ONCE, Reservation
from engine.numbers.easy_patterns import Easy
from engine.numbers.model import NumberKind
from engine.numbers.similar import wish

_OFFER: dict[str, Any] = {
    "number": {"national": "050712341234", "e164": "+8250712341234"},
    "reasons": [
        {"code": "last_4", "korean": "끝 네 자리가 같음(1234)", "english": "the same last four digits: 1234"},
    ],
}
_KEPT = _OFFER | {"until": "2026-11-22T00:40:00Z"}

Like = Annotated[str, Field(min_length=4, max_length=20, examples=["1234", "031-555-1234"])]
Exchange = Annotated[str, Field(min_length=4, max_length=5, examples=["0507"])]
Digits = Annotated[int, Field(ge=11, le=12, examples=[12])]


class Reason(Shape):
    """Why a number is offered."""

    code: str
    """For programs; stays the same."""
    korean: str
    english: str


class Offer(Shape):
    """A free number, and why it is offered."""

    model_config = ConfigDict(json_schema_extra={"examples": [_OFFER]})

    number: Phone
    reasons: tuple[Reason, ...]
    """The strongest first; empty: only that it is free."""


class Kept(Offer):
    """A number that is kept for an account; nobody else can have it before `until`."""

    model_config = ConfigDict(json_schema_extra={"examples": [_KEPT]})

    until: datetime


class KeptNumbers(Shape):
    """Numbers that are kept, the best first."""

    model_config = ConfigDict(json_schema_extra={"examples": [{"numbers": [_KEPT]}]})

    numbers: tuple[Kept, ...]


class NumberChosen(Shape):
    """A number that was chosen."""

    model_config = ConfigDict(
        json_schema_extra={
            "examples": [{"account": "019a9f00-0000-7000-8000-000000000001", "number": "0507-1234-1234"}]
        }
    )

    account: UUID
    number: PhoneIn


class BestWanted(Shape):
    """The best so many numbers are wanted, whichever they are."""

    model_config = ConfigDict(
        json_schema_extra={"examples": [{"account": "019a9f00-0000-7000-8000-000000000001", "like": "1234"}]}
    )

    account: UUID
    like: Like | None = None
    """The shop's own number, or only its last four digits."""
    easy: Easy | None = None
    exchange: Exchange | None = None
    digits: Digits | None = None
    """Only numbers of so many digits."""
    kind: NumberKind = NumberKind.VIRTUAL
    count: Annotated[int, Field(ge=1, le=MOST_AT_ONCE)] = 1


def number_choice_router() -> APIRouter:
    """`/number-choice`."""
    router = door_router("number choice")
    router.get("/number-choice")(choose_numbers)
    router.post("/number-choice/keep", status_code=HTTPStatus.CREATED)(keep_number)
    router.post("/number-choice/keep-best", status_code=HTTPStatus.CREATED)(keep_best_numbers)
    router.post("/numbers/{number}/let-go")(let_number_go)
    return router


async def choose_numbers(
    actor: ActorDep,
    rows: Rows,
    page: PageOf,
    account: Annotated[UUID, Query(description="For which account.")],
    like: Annotated[Like | None, Query(description="The shop's own number, or only its last four digits.")] = None,
    easy: Annotated[Easy | None, Query(description="Only numbers whose last four digits are easy in this way.")] = None,
    exchange: Annotated[Exchange | None, Query(description="Only numbers that begin so.")] = None,
    digits: Annotated[Digits | None, Query(description="Only numbers of so many digits.")] = None,
    kind: Annotated[NumberKind, Query(description="Of which kind.")] = NumberKind.VIRTUAL,
) -> Page[Offer]:
    """Free numbers, the best first: the same last digits, the same in another order, one off, easy ones."""
    offers = await choice.choose(
        rows,
        actor,
        account,
        wish(like, easy and easy.value, exchange, digits),
        kind=kind,
        after=page.behind(str),
        limit=page.limit,
    )
    return Page(
        items=[Offer(number=shown(one.number), reasons=_reasons(one.reasons)) for one in offers.offers],
        next=None if offers.next is None else cursor_of(offers.next),
    )


async def keep_number(chosen: NumberChosen, actor: ActorDep, rows: Rows, now: Now) -> Kept:
    """Keep a number for some minutes. Of any people who want it at once, one gets it."""
    return _kept(await choice.reserve(rows, actor, chosen.account, chosen.number, now))


async def keep_best_numbers(wanted: BestWanted, actor: ActorDep, rows: Rows, now: Now) -> KeptNumbers:
    """Keep the best numbers that are still free, all or none."""
    wished = wish(wanted.like, wanted.easy and wanted.easy.value, wanted.exchange, wanted.digits)
    kept = await choice.reserve_best(rows, actor, wanted.account, wished, wanted.count, now, kind=wanted.kind)
    return KeptNumbers(numbers=tuple(map(_kept, kept)))


async def let_number_go(number: NumberInPath, actor: ActorDep, rows: Rows, now: Now) -> Stock:
    """End the keeping of a number before its time."""
    return stock_shown(await life.let_go(rows, actor, number, now))


def _kept(one: Reservation) -> Kept:
    return Kept(number=shown(one.number), reasons=_reasons(one.reasons), until=one.until)


def _reasons(reasons: tuple[object, ...]) -> tuple[Reason, ...]:
    return tuple(map(Reason.model_validate, reasons))

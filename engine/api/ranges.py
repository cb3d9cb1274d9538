"""The ranges of 050 numbers that are ours to issue, and the import of their numbers. The operator's."""

from __future__ import annotations

from datetime import datetime
from http import HTTPStatus
from typing import Annotated, Any
from uuid import UUID

from fastapi import APIRouter, Path, Query, Response
from pydantic import ConfigDict, Field
from sqlalchemy.ext.asyncio import AsyncConnection

from engine.accounts.model import Actor
from engine.api.door import ActorDep, FileBody, Now, Rows, door_router
from engine.api.etag import IfMatch, tagged, unchanged
from engine.api.problems import Code, FieldError, Refused
from engine.api.takes import takes_file
from engine.api.wire import Shape
from engine.numbers import range_import, ranges
from engine.numbers.number_range import NumberRange
from engine.numbers.quarantine_terms import QuarantineTerms
from engine.numbers.states import State

LARGEST_FILE = 20_000_000
"""Bytes: a million numbers."""
_MOST_TOLD = 1000

RangeName = Annotated[str, Field(min_length=1, max_length=60, examples=["0507-1"])]
RangeInPath = Annotated[RangeName, Path(alias="range", description="A range's name.")]
Figure = Annotated[int, Field(ge=0, le=1_000_000)]

_RANGE: dict[str, Any] = {
    "id": "019a9e00-0000-7000-8000-000000000007",
    "name": "0507-1",
    "prefix": "05071",
    "digits": 12,
    "terms": {"days": 92, "longest_days": 365, "quiet_days": 14, "quiet_calls": 3},
    "added_at": "2026-11-22T00:30:00Z",
}


class Terms(Shape):
    """How released numbers are kept back: for `days`, and longer while they are called."""

    model_config = ConfigDict(json_schema_extra={"examples": [_RANGE["terms"]]})

    days: Figure = 92
    longest_days: Figure = 365
    """However often it is called, a number is kept back no longer."""
    quiet_days: Figure = 14
    """So many days at the end are looked at, and so many more it is held while they are not quiet."""
    quiet_calls: Figure = 3
    """Up to so many stray calls in those days are quiet."""

    def as_said(self) -> QuarantineTerms:
        return QuarantineTerms(
            days=self.days,
            longest_days=self.longest_days,
            quiet_days=self.quiet_days,
            quiet_calls=self.quiet_calls,
        )


class Range(Shape):
    """All numbers of one length that begin alike."""

    model_config = ConfigDict(json_schema_extra={"examples": [_RANGE]})

    id: UUID
    name: str
    prefix: str
    digits: int
    """Of a whole number: 11 or 12."""
    terms: Terms
    added_at: datetime


class RangeFigures(Range):
    """A range, and how many of its numbers are in each state."""

    model_config = ConfigDict(
        json_schema_extra={"examples": [_RANGE | {"numbers": {"available": 99000, "in service": 1000}}]}
    )

    numbers: dict[State, int]


class Ranges(Shape):
    """All ranges by their beginning."""

    ranges: tuple[RangeFigures, ...]


class NewRange(Shape):
    """A range to be taken on."""

    model_config = ConfigDict(json_schema_extra={"examples": [{"name": "0507-1", "prefix": "05071", "digits": 12}]})

    name: RangeName
    prefix: Annotated[str, Field(min_length=4, max_length=12)]
    """The exchange, 0502 to 0508, and as many more digits as all its numbers share."""
    digits: Annotated[int, Field(ge=11, le=12)]
    terms: Terms = Terms()


class Imported(Shape):
    """What came of a file."""

    model_config = ConfigDict(json_schema_extra={"examples": [{"lines": 100000, "taken": 100000}]})

    lines: int
    taken: int


def ranges_router() -> APIRouter:
    """`/number-ranges`."""
    router = door_router("number ranges")
    file = takes_file("text/csv", "text/plain", largest=LARGEST_FILE)
    router.get("/number-ranges")(list_ranges)
    router.post("/number-ranges", status_code=HTTPStatus.CREATED)(add_range)
    router.post("/number-ranges/import", openapi_extra=file)(import_numbers)
    router.get("/number-ranges/{range}")(read_range)
    router.put("/number-ranges/{range}/terms")(set_range_terms)
    return router


async def list_ranges(actor: ActorDep, rows: Rows) -> Ranges:
    """All ranges, and how many of their numbers are in each state."""
    found = await ranges.figures(rows, actor)
    return Ranges(ranges=tuple(RangeFigures(**_values(one.range), numbers=dict(one.numbers)) for one in found))


async def add_range(wanted: NewRange, actor: ActorDep, rows: Rows, now: Now, response: Response) -> Range:
    """Take a range on. Its numbers come by import."""
    made = await ranges.add(rows, actor, wanted.name, wanted.prefix, wanted.digits, now, wanted.terms.as_said())
    return tagged(response, _shown(made))


async def read_range(name: RangeInPath, actor: ActorDep, rows: Rows, response: Response) -> Range:
    """One range."""
    return tagged(response, await _read(rows, actor, name))


async def set_range_terms(
    name: RangeInPath,
    wanted: Terms,
    actor: ActorDep,
    rows: Rows,
    now: Now,
    if_match: IfMatch,
    response: Response,
) -> Range:
    """Set how long numbers that are released from now on are kept back."""
    await unchanged(rows, "number range", name, if_match, lambda: _read(rows, actor, name))
    return tagged(response, _shown(await ranges.set_terms(rows, actor, name, wanted.as_said(), now)))


async def import_numbers(
    body: FileBody,
    actor: ActorDep,
    rows: Rows,
    now: Now,
    only: Annotated[RangeName | None, Query(alias="range", description="They must all be of this range.")] = None,
) -> Imported:
    """Take the numbers of a CSV file into the stock, all of them or none; each line that cannot be taken is told."""
    report = await range_import.import_numbers(rows, actor, body, now, only=only)
    if report.refused:
        told = report.refused[:_MOST_TOLD]
        raise Refused(
            Code.INVALID,
            f"file: {len(report.refused)} of {report.lines} lines cannot be taken, so none was; mend them",
            errors=[FieldError(field=f"line {one.line}", value=one.value, rule=one.reason) for one in told],
        )
    return Imported(lines=report.lines, taken=report.taken)


async def _read(rows: AsyncConnection, actor: Actor, name: str) -> Range:
    return _shown(await ranges.find(rows, actor, name))


def _shown(one: NumberRange) -> Range:
    return Range(**_values(one))


def _values(one: NumberRange) -> dict[str, Any]:
    plain = {name: getattr(one, name) for name in Range.model_fields}
    return plain | {"terms": Terms.model_validate(one.terms)}

"""Lists come in pages: a cursor says where the next one begins, whatever was added or removed meanwhile."""

from __future__ import annotations

import json
from base64 import urlsafe_b64decode, urlsafe_b64encode
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Annotated, Any, Generic, TypeVar
from uuid import UUID

from fastapi import Depends, Query
from pydantic import AfterValidator, AwareDatetime, BaseModel, ConfigDict, Field

from engine.api.problems import Code, FieldError, Refused
from engine.foundation.errors import Invalid

MOST, USUAL = 500, 100
_LONGEST_CURSOR = 1000
_FIRST_YEAR, _LAST_YEAR = 2000, 2200

Item = TypeVar("Item")
Row = TypeVar("Row")

CursorValue = str | int | UUID | datetime


class Page(BaseModel, Generic[Item]):
    """Some of a list, in its order."""

    model_config = ConfigDict(extra="forbid")

    items: list[Item]
    next: str | None = Field(description="Send it as `cursor` for what follows; null: this is the end for now.")


@dataclass(frozen=True, slots=True)
class PageWanted:
    """How much of a list is wanted, and from where on."""

    limit: int
    cursor: str | None

    @property
    def rows(self) -> int:
        """How many rows to read: one more than are shown tells whether there is a next page."""
        return self.limit + 1

    def after(self, *kinds: type) -> tuple[Any, ...] | None:
        """The values that the last page ended with, of these types; None: from the start. Raises Refused."""
        return None if self.cursor is None else opened(self.cursor, kinds)

    def behind(self, kind: type) -> Any | None:
        """The one value, of that type, that the last page ended with; None: from the start. Raises Refused."""
        values = self.after(kind)
        return values[0] if values else None

    def page(
        self, found: Sequence[Row], shown: Callable[[Row], Item], place: Callable[[Row], tuple[CursorValue, ...]]
    ) -> Page[Item]:
        """The page that shows `found` (of `rows` rows); `place` gives the values of a row that the next page begins
        after."""
        here = found[: self.limit]
        more = len(found) > self.limit
        return Page(items=[shown(row) for row in here], next=cursor_of(*place(here[-1])) if more else None)


async def _page_wanted(
    limit: Annotated[int, Query(ge=1, le=MOST, description="How many at most.")] = USUAL,
    cursor: Annotated[
        str | None,
        Query(max_length=_LONGEST_CURSOR, description="`next` of the page before; left away: from the start."),
    ] = None,
) -> PageWanted:
    return PageWanted(limit, cursor)


PageOf = Annotated[PageWanted, Depends(_page_wanted)]
"""`limit` and `cursor` of a request for a list."""


def cursor_of(*values: CursorValue) -> str:
    """The values as a cursor. It is no secret and no permission: whoever asks with it sees what they may see."""
    plain = [value.isoformat() if isinstance(value, datetime) else value for value in values]
    return urlsafe_b64encode(json.dumps(plain, default=str, separators=(",", ":")).encode()).decode().rstrip("=")


def opened(cursor: str, kinds: Sequence[type]) -> tuple[Any, ...]:
    """The values of a cursor, each of its type (str, int, UUID, datetime). Raises Refused for any other text."""
    try:
        values = json.loads(urlsafe_b64decode(cursor + "=" * (-len(cursor) % 4)))
        if not isinstance(values, list) or len(values) != len(kinds):
            raise ValueError
        return tuple(_value(value, kind) for value, kind in zip(values, kinds, strict=True))
    except (ValueError, RecursionError, Invalid):
        rule = "it must be the `next` of a page of this very list; leave it away to begin anew"
        raise Refused(
            Code.INVALID,
            f"query.cursor: {rule}",
            errors=[FieldError(field="query.cursor", value=cursor[:100], rule=rule)],
        ) from None


def _value(value: object, kind: type) -> object:
    if kind is int and isinstance(value, int) and not isinstance(value, bool) and abs(value) < 1 << 63:
        return value
    if kind is not int and isinstance(value, str) and "\0" not in value and value.isprintable():
        if kind is datetime:
            return in_utc(datetime.fromisoformat(value))
        return kind(value)
    raise ValueError


def in_utc(instant: datetime) -> datetime:
    """The same instant in UTC. Raises ValueError for one that nothing here can be of."""
    if instant.tzinfo is None or not _FIRST_YEAR < instant.year < _LAST_YEAR:
        raise ValueError(f"it must say its zone and lie between {_FIRST_YEAR} and {_LAST_YEAR}")
    return instant.astimezone(UTC)


Instant = Annotated[AwareDatetime, AfterValidator(in_utc)]
"""An instant in a request: ISO 8601 with its zone, like 2026-11-22T09:30:00Z. UTC from here on."""


@dataclass(frozen=True, slots=True)
class Span:
    """From an instant, itself included, to another, itself excluded; None: open."""

    since: datetime | None
    until: datetime | None


async def _span(
    since: Annotated[
        Instant | None, Query(alias="from", description="At this instant or later.", examples=["2026-11-22T00:00:00Z"])
    ] = None,
    until: Annotated[
        Instant | None, Query(alias="to", description="Before this instant.", examples=["2026-11-23T00:00:00Z"])
    ] = None,
) -> Span:
    return Span(since, until)


SpanOf = Annotated[Span, Depends(_span)]
"""`from` and `to` of a request."""

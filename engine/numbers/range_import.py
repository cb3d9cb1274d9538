"""Numbers of our ranges come into the stock out of a CSV file, all of them or none.

The file has one number a line, in its only column or in the one headed `number` or `번호`; hyphens and spaces are left
out. Whatever cannot be taken is told line by line, with its value and the reason.
"""

from __future__ import annotations

import asyncio
import csv
import io
import re
from collections.abc import Callable, Iterable, Iterator, Sequence
from datetime import datetime
from uuid import UUID

import msgspec
from sqlalchemy.ext.asyncio import AsyncConnection

from engine.accounts.model import OPERATOR_PLACE, Actor, Deed
from engine.accounts.permissions import check
from engine.audit.trail import write
from engine.foundation.errors import Invalid
from engine.foundation.phone_number import PhoneNumber
from engine.numbers import store_ranges
from engine.numbers.number_range import EXCHANGES, LENGTHS, NumberRange, range_of
from engine.numbers.states import State

MOST_LINES = 1_000_000
AT_ONCE = 2_000
"""Lines that go into the database with one statement: some milliseconds of this process, which has others to answer."""
_HEADINGS = frozenset({"number", "번호"})
_SHOWN = 60

Progress = Callable[[int], None]
"""Told how many lines more are done."""


class Refused(msgspec.Struct, frozen=True, gc=False):
    """A line that cannot be taken."""

    line: int
    """Counted from 1, as editors do."""
    value: str
    """What stands there."""
    reason: str


class Found(msgspec.Struct, frozen=True, gc=False):
    """A line that reads as a number of one of our ranges."""

    line: int
    number: PhoneNumber
    range_id: UUID


class ImportReport(msgspec.Struct, frozen=True, kw_only=True):
    """What came of a file. When anything is refused, nothing was taken in."""

    lines: int
    """That hold something, without the heading."""
    taken: int
    refused: tuple[Refused, ...]
    """By line."""


def read_text(content: bytes) -> str:
    """A file's text, as spreadsheets write it. Raises Invalid."""
    for encoding in ("utf-8-sig", "cp949"):
        try:
            text = content.decode(encoding)
        except UnicodeDecodeError:
            continue
        if "\0" not in text:
            return text
    raise Invalid("file: it is no text in UTF-8 or CP949; save it as CSV (UTF-8)")


def read_lines(text: str, ranges: Sequence[NumberRange]) -> tuple[list[Found], list[Refused]]:
    """What the lines of a CSV text are, each number once. Pure. Raises Invalid for a file that is no CSV."""
    found: list[Found] = []
    refused: list[Refused] = []
    first: dict[str, int] = {}
    for line, value in _values(text):
        read = read_value(line, value, ranges)
        if isinstance(read, Found) and (before := first.setdefault(read.number, line)) != line:
            read = Refused(line, _cut(value), f"it stands in line {before} already")
        if isinstance(read, Found):
            found.append(read)
        else:
            refused.append(read)
        if len(found) + len(refused) > MOST_LINES:
            raise Invalid(f"file: it has more than {MOST_LINES} lines; split it")
    return found, refused


def read_value(line: int, value: str, ranges: Iterable[NumberRange]) -> Found | Refused:
    """What one line says."""
    plain = re.sub(r"[\s-]", "", value)
    if not plain.isascii() or not plain.isdigit():
        return Refused(line, _cut(value), "it is no number: only digits, hyphens and spaces may stand there")
    if plain.startswith("50") and len(plain) + 1 in LENGTHS:
        return Refused(line, _cut(value), "its leading 0 is missing; format the column as text")
    if not plain.startswith(EXCHANGES):
        return Refused(line, _cut(value), f"it must begin with {EXCHANGES[0]} to {EXCHANGES[-1]}")
    if len(plain) not in LENGTHS:
        return Refused(line, _cut(value), f"it has {len(plain)} digits and must have 11 or 12")
    of = range_of(plain, ranges)
    if of is None:
        return Refused(line, _cut(value), "it lies in no range; add that with `dari range add`")
    return Found(line, PhoneNumber(plain), of.id)


async def import_numbers(
    connection: AsyncConnection,
    actor: Actor,
    content: bytes,
    now: datetime,
    *,
    only: str | None = None,
    progress: Progress = lambda _lines: None,
) -> ImportReport:
    """Takes the numbers of a CSV file into the stock, as available. `only`: they must all be of the range of that name.

    When a line is refused, nothing is taken in. Raises NotAllowed, NotFound or Invalid.
    """
    check(actor, Deed.MANAGE_RANGES, OPERATOR_PLACE)
    ranges = await store_ranges.all_ranges(connection)
    if only is not None:
        ranges = [one for one in ranges if one.name == only]
    if not ranges:
        raise Invalid(f"range: there is none{f' named {only!r}' if only else ' yet'}; add one with `dari range add`")
    found, refused = await asyncio.to_thread(lambda: read_lines(read_text(content), ranges))  # some tenths of a second
    lines = len(found) + len(refused)
    if not lines:
        raise Invalid("file: there is no number in it; write one a line")
    progress(len(refused))
    nested = await connection.begin_nested()
    refused += await _bring_in(connection, found, actor.who, now, progress)
    if refused:
        await nested.rollback()
        return ImportReport(lines=lines, taken=0, refused=await asyncio.to_thread(_by_line, refused))
    await nested.commit()
    await write(
        connection,
        who=actor.who,
        deed=Deed.MANAGE_RANGES.value,
        account_id=None,
        object_kind="number import",
        object_id=only or "all ranges",
        before=None,
        after={"numbers": len(found), "first": found[0].number, "last": found[-1].number},
        peer=actor.peer,
        now=now,
    )
    return ImportReport(lines=lines, taken=len(found), refused=())


async def _bring_in(
    connection: AsyncConnection, found: Sequence[Found], who: str, now: datetime, progress: Progress
) -> list[Refused]:
    """All of them, part by part; those that were in the stock already."""
    await store_ranges.prepare_import(connection)
    refused: list[Refused] = []
    for at in range(0, len(found), AT_ONCE):
        part = found[at : at + AT_ONCE]
        there = await store_ranges.bring_in(connection, [(one.number, one.range_id) for one in part], who, now)
        refused += [Refused(one.line, one.number, _why(there[one.number])) for one in part if one.number in there]
        progress(len(part))
    return refused


def _by_line(refused: Iterable[Refused]) -> tuple[Refused, ...]:
    return tuple(sorted(refused, key=lambda one: one.line))


def _why(state: State | None) -> str:
    return f"it is in the stock already ({state.value})" if state else "somebody else imports it at this moment"


def _values(text: str) -> Iterator[tuple[int, str]]:
    """The value of each line that holds something, by its line number; a column of the heading's name, or the only one.

    More than one column without such a heading: the whole line, which is no number.
    """
    column: int | None = None
    reader = csv.reader(io.StringIO(text), strict=False)
    try:
        for place, row in enumerate(reader):
            cells = [cell.strip() for cell in row]
            if not any(cells):
                continue
            if (
                place == 0
                and (heading := next((at for at, cell in enumerate(cells) if cell.lower() in _HEADINGS), None))
                is not None
            ):
                column = heading
                continue
            if column is not None:
                yield reader.line_num, cells[column] if column < len(cells) else ""
            else:
                yield reader.line_num, cells[0] if len(cells) == 1 else ",".join(cells)
    except csv.Error as error:
        raise Invalid(f"file: line {reader.line_num} cannot be read as CSV ({error}); save it as CSV again") from None


def _cut(value: str) -> str:
    return value if len(value) <= _SHOWN else value[: _SHOWN - 1] + "…"

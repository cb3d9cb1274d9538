"""How commands answer: tables for people, one JSON object per line for programs."""

from __future__ import annotations

import sys
from collections.abc import Iterable, Sequence
from datetime import datetime
from typing import NamedTuple

import msgspec
from rich import box
from rich.console import Console
from rich.table import Table
from rich.text import Text

from engine.events.call_log import KST
from engine.foundation.phone_number import NumberClass, PhoneNumber, classify, masked, written

_PIPED_WIDTH = 200
_GAP = 2
_NARROWEST_FOLD = 24


class Column(NamedTuple):
    """A column of a table for people."""

    name: str
    right: bool = False
    """Figures stand at the right."""
    folds: bool = False
    """Long text goes on in the next line; every other column is never cut."""
    spare: int = 0
    """On a narrow terminal the column with the highest number goes first; 0 always stays."""


def console() -> Console:
    """The terminal; plain text, wide enough not to be cut, when the answer goes into a file or a pipe."""
    if sys.stdout.isatty():
        return Console(highlight=False)
    return Console(highlight=False, color_system=None, width=_PIPED_WIDTH)


def print_json(values: Iterable[object]) -> None:
    """One object per line."""
    for value in values:
        sys.stdout.write(msgspec.json.encode(value).decode() + "\n")
    sys.stdout.flush()


def print_table(columns: Sequence[Column], rows: Sequence[Sequence[Text]]) -> None:
    """The rows under their headings; what does not fit the terminal is left out as the columns say."""
    terminal = console()
    chosen = _fitting(columns, rows, terminal.width)
    made = table()
    for index in chosen:
        name, right, folds, _ = columns[index]
        made.add_column(name, justify="right" if right else "left", no_wrap=not folds, overflow="fold")
    for row in rows:
        made.add_row(*(row[index] for index in chosen))
    terminal.print(made)


def table(*columns: str) -> Table:
    """A table in our looks, still without rows."""
    made = Table(box=box.SIMPLE_HEAD, show_edge=False, pad_edge=False, collapse_padding=True, header_style="bold")
    for column in columns:
        made.add_column(column, overflow="fold")
    return made


def _fitting(columns: Sequence[Column], rows: Sequence[Sequence[Text]], width: int) -> list[int]:
    chosen = list(range(len(columns)))
    needed = [_width(column, [row[index] for row in rows]) + _GAP for index, column in enumerate(columns)]
    while sum(needed[index] for index in chosen) - _GAP > width:
        spare = max(chosen, key=lambda index: columns[index].spare)
        if not columns[spare].spare:
            break
        chosen.remove(spare)
    return chosen


def _width(column: Column, cells: list[Text]) -> int:
    widest = max([len(column.name), *(cell.cell_len for cell in cells)])
    return min(widest, _NARROWEST_FOLD) if column.folds else widest


def shown(number: PhoneNumber | None, *, mask: bool) -> Text:
    """As written in Korea; with `mask` people's numbers are hidden, as in the call log."""
    if number is None:
        return Text("-", "dim")
    return Text(masked(number) if mask and classify(number) is not NumberClass.VIRTUAL else written(number))


def day_and_time(instant: datetime) -> Text:
    """Korean time."""
    return Text(f"{instant.astimezone(KST):%m-%d %H:%M:%S}", "dim")


def or_dash(text: str | None, style: str = "") -> Text:
    return Text(text, style) if text else Text("-", "dim")

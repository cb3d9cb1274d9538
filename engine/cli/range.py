"""`dari range`: the ranges of 050 numbers that are ours, and their numbers."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Annotated

import msgspec
import typer
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn
from rich.text import Text
from sqlalchemy.ext.asyncio import AsyncConnection

from engine.cli.database import in_transaction
from engine.cli.number_life import Json, standing_terms
from engine.cli.options import with_options
from engine.cli.printing import Column, print_json, print_table
from engine.cli.this_machine import operator
from engine.events.call_log import printable
from engine.foundation.errors import Invalid
from engine.numbers import ranges
from engine.numbers.number_range import NumberRange
from engine.numbers.quarantine_terms import QuarantineTerms
from engine.numbers.range_import import MOST_LINES, ImportReport, import_numbers
from engine.numbers.range_import import Progress as Told
from engine.numbers.ranges import RangeFigures
from engine.numbers.states import State
from engine.settings import read_settings

app = typer.Typer(
    add_completion=False,
    pretty_exceptions_enable=False,
    help="Take on ranges of 050 numbers, bring their numbers in, say how long released ones are kept back.",
)

Name = Annotated[str, typer.Argument(metavar="NAME", help="What the range is called.")]
_KEPT_BACK = "How long released numbers are kept back"
_LARGEST = 100_000_000


@dataclass(frozen=True, slots=True, kw_only=True)
class TermOptions:
    """As typed; None: not named."""

    quarantine: Annotated[
        int | None, typer.Option(metavar="DAYS", help="At least. Default 92.", rich_help_panel=_KEPT_BACK)
    ] = None
    longest: Annotated[
        int | None,
        typer.Option(metavar="DAYS", help="However often it is called. Default 365.", rich_help_panel=_KEPT_BACK),
    ] = None
    quiet_days: Annotated[
        int | None,
        typer.Option(
            metavar="DAYS",
            help="So many days at the end must be quiet, or it is held as long again. Default 14.",
            rich_help_panel=_KEPT_BACK,
        ),
    ] = None
    quiet_calls: Annotated[
        int | None,
        typer.Option(
            metavar="CALLS", help="Up to so many calls in those days are quiet. Default 3.", rich_help_panel=_KEPT_BACK
        ),
    ] = None

    def terms(self, base: QuarantineTerms) -> QuarantineTerms:
        """Those named, and for the rest those of `base`."""
        named = {
            "days": self.quarantine,
            "longest_days": self.longest,
            "quiet_days": self.quiet_days,
            "quiet_calls": self.quiet_calls,
        }
        return msgspec.structs.replace(base, **{field: value for field, value in named.items() if value is not None})


@app.command()
@with_options
def add(
    name: Name,
    prefix: Annotated[str, typer.Argument(metavar="PREFIX", help="What all its numbers begin with: 0507-12.")],
    terms: TermOptions,
    digits: Annotated[int, typer.Option(metavar="11|12", help="Digits of a whole number.")] = 12,
    as_json: Json = False,
) -> None:
    """Take a range on; its numbers come in by import."""
    wanted = terms.terms(standing_terms())

    async def deed(rows: AsyncConnection) -> NumberRange:
        return await ranges.add(rows, operator(), name, prefix, digits, datetime.now(UTC), wanted)

    _tell("added", in_transaction(read_settings(), deed), as_json)


@app.command("set")
@with_options
def set_(name: Name, terms: TermOptions, as_json: Json = False) -> None:
    """Change how long released numbers are kept back, from the next release on."""
    if terms == TermOptions():
        raise Invalid(f"range {name}: nothing to change; name what is to be different, see `dari range set --help`")

    async def deed(rows: AsyncConnection) -> NumberRange:
        wanted = terms.terms((await ranges.named(rows, name)).terms)
        return await ranges.set_terms(rows, operator(), name, wanted, datetime.now(UTC))

    _tell("changed", in_transaction(read_settings(), deed), as_json)


@app.command("list")
def list_(as_json: Json = False) -> None:
    """List the ranges, with how many of their numbers are in which state."""

    async def deed(rows: AsyncConnection) -> list[RangeFigures]:
        return await ranges.figures(rows, operator())

    found = in_transaction(read_settings(), deed)
    if as_json:
        numbers = ({state.value: one.numbers.get(state, 0) for state in State} for one in found)
        print_json({"range": one.range, "numbers": counts} for one, counts in zip(found, numbers, strict=True))
    elif found:
        print_table(_COLUMNS, [_row(one) for one in found])
    else:
        typer.echo("no ranges yet; add one with `dari range add NAME PREFIX`", err=True)


@app.command("import")
def import_(
    file: Annotated[Path, typer.Argument(metavar="FILE", help="CSV: one number a line, or a column headed `number`.")],
    only: Annotated[str | None, typer.Option("--range", metavar="NAME", help="All must be of this range.")] = None,
    as_json: Json = False,
) -> None:
    """Bring numbers into the stock, all of them or none; exits 1 and tells each line that cannot be taken."""
    content = _content(file)
    with _progress(content) as told:

        async def deed(rows: AsyncConnection) -> ImportReport:
            return await import_numbers(rows, operator(), content, datetime.now(UTC), only=only, progress=told)

        report = in_transaction(read_settings(), deed)
    if as_json:
        print_json([report])
    elif report.refused:
        for one in report.refused:
            typer.echo(f"line {one.line}: {printable(one.value) or '(empty)'}: {printable(one.reason)}")
        typer.echo(f"{len(report.refused)} of {report.lines} lines refused; nothing is taken in", err=True)
    else:
        typer.echo(f"{report.taken} numbers taken into the stock")
    if report.refused:
        raise typer.Exit(1)


def _content(file: Path) -> bytes:
    with file.open("rb") as opened:
        content = opened.read(_LARGEST + 1)
    if len(content) > _LARGEST:
        raise Invalid(f"file: {file} has more than {_LARGEST // 1_000_000} MB and {MOST_LINES} lines; split it")
    return content


@contextmanager
def _progress(content: bytes) -> Iterator[Told]:
    """For people only, on stderr."""
    terminal = Console(stderr=True)
    bar = Progress(
        TextColumn("{task.description}"),
        BarColumn(),
        MofNCompleteColumn(),
        TimeRemainingColumn(),
        console=terminal,
        transient=True,
        disable=not (terminal.is_terminal and sys.stderr.isatty()),
    )
    with bar:
        task = bar.add_task("numbers", total=content.count(b"\n") + 1)
        yield lambda lines: bar.advance(task, lines)


_COLUMNS = (
    Column("Range", folds=True),
    Column("Begins"),
    Column("Digits", right=True),
    Column("Free", right=True),
    Column("Reserved", right=True, spare=1),
    Column("In service", right=True),
    Column("Suspended", right=True, spare=2),
    Column("Quarantined", right=True),
    Column("Ported out", right=True, spare=4),
    Column("Kept back", right=True, spare=3),
)


def _row(one: RangeFigures) -> list[Text]:
    return [
        Text(printable(one.range.name), "bold"),
        Text(one.range.prefix),
        Text(str(one.range.digits)),
        *(Text(str(one.numbers.get(state, 0))) for state in State),
        Text(f"{one.range.terms.days} d"),
    ]


def _tell(deed: str, one: NumberRange, as_json: bool) -> None:
    if as_json:
        print_json([one])
    else:
        typer.echo(
            f"range {printable(one.name)} {deed}: {one.prefix}…, {one.digits} digits, "
            f"released numbers are kept back for {one.terms.days} days"
        )

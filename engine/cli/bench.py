"""`dari bench`: what measuring needs."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from typing import Annotated

import typer
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn
from sqlalchemy.ext.asyncio import AsyncEngine

from engine.cli.database import with_database
from engine.rehearsal.fill import Size, Told, tidy
from engine.rehearsal.fill import fill as fill_database
from engine.settings import read_settings

app = typer.Typer(
    add_completion=False, pretty_exceptions_enable=False, help="Make up a past to measure on; for empty databases only."
)

_WITHIN = 3600.0
"""Seconds for one month of calls and its indexes."""


@app.callback()
def bench() -> None:
    """`fill` stays a command of its own."""


@app.command()
def fill(
    numbers: Annotated[int, typer.Option(min=1, max=1_000_000, help="050 numbers in service.")] = 200_000,
    calls: Annotated[int, typer.Option(min=1, max=100_000_000, help="Old calls to them.")] = 10_000_000,
    days: Annotated[int, typer.Option(min=1, max=3650, help="Over so many days before now.")] = 365,
    seed: Annotated[int, typer.Option(min=0, help="The same seed at the same hour makes the same past.")] = 1,
) -> None:
    """Fill an empty database with made-up numbers and old calls, in the shape of real ones.

    Busy hours, quiet Sundays, a few numbers that are called all the time, callers who come back, every result. Refused
    where there is a call or a number already. 10,000,000 calls take five minutes and 14 GB.
    """
    size = Size(numbers=numbers, calls=calls, days=days, seed=seed)
    settings = read_settings().model_copy(update={"database_timeout": _WITHIN})
    console = Console(stderr=True, highlight=False)
    with _telling(console, calls) as told:

        async def deed(database: AsyncEngine) -> None:
            await fill_database(database, size, datetime.now(UTC), told)
            console.print("all is written; the database tidies up")
            await tidy(database)

        with_database(settings, deed)
    console.print(f"filled: {numbers:,} numbers, {calls:,} old calls over {days} days")


@contextmanager
def _telling(console: Console, calls: int) -> Iterator[Told]:
    """How far it is: a bar on a terminal, elsewhere a line for each tenth."""
    if not console.is_terminal:
        tenths = 0

        def tell(written: int) -> None:
            nonlocal tenths
            if 10 * written // calls > tenths:
                tenths = 10 * written // calls
                console.print(f"{written:,} of {calls:,} old calls", soft_wrap=True)

        yield tell
        return
    columns = (TextColumn("old calls"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
    with Progress(*columns, console=console, transient=True) as progress:
        task = progress.add_task("calls", total=calls)
        yield lambda written: progress.update(task, completed=written)

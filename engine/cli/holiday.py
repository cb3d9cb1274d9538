"""`dari holiday`: the public holidays that rules go by."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Annotated

import typer
from rich.text import Text

from engine.cli.calendar import WEEKDAYS, day
from engine.cli.database import in_transaction
from engine.cli.printing import Column, print_json, print_table
from engine.cli.this_machine import operator
from engine.events.call_log import KST, printable
from engine.routing import holiday_calendar
from engine.routing.entries import Holiday
from engine.settings import read_settings

app = typer.Typer(
    add_completion=False, pretty_exceptions_enable=False, help="Keep the public holidays that rules go by."
)

Day = Annotated[str, typer.Argument(metavar="DATE", help="Like 2026-12-25.")]


@app.command("list")
def list_(
    year: Annotated[int | None, typer.Option(metavar="YEAR", help="Of this year only.")] = None,
    as_json: Annotated[bool, typer.Option("--json", help="One JSON object per line.")] = False,
) -> None:
    """List the public holidays."""
    found = in_transaction(read_settings(), lambda rows: holiday_calendar.listing(rows, year))
    if as_json:
        print_json(holiday._asdict() for holiday in found)
    elif found:
        print_table((Column("Day"), Column(""), Column("Holiday"), Column("Source")), [_row(one) for one in found])
    else:
        typer.echo("no holidays yet; take them from the calendar with `dari holiday seed`", err=True)


@app.command()
def seed(
    years: Annotated[
        list[int] | None, typer.Argument(metavar="[YEAR]…", help="Default: this year and the next.")
    ] = None,
) -> None:
    """Take Korea's public holidays, substitute days among them, from the calendar; temporary ones stay."""
    now = datetime.now(UTC)
    this_year = now.astimezone(KST).year
    wanted = years or [this_year, this_year + 1]
    new, gone = in_transaction(read_settings(), lambda rows: holiday_calendar.seed(rows, operator(), wanted, now))
    typer.echo(f"holidays of {', '.join(map(str, wanted))}: {new} new, {gone} gone")


@app.command()
def add(day_: Day, name: Annotated[str, typer.Argument(metavar="NAME", help="Like 임시공휴일.")]) -> None:
    """Enter a temporary public holiday."""
    wanted = day(day_)
    in_transaction(
        read_settings(), lambda rows: holiday_calendar.add(rows, operator(), wanted, name, datetime.now(UTC))
    )
    typer.echo(f"{wanted} is a holiday now")


@app.command()
def remove(day_: Day) -> None:
    """Make a day no holiday any more; one of the calendar comes back when its year is seeded again."""
    wanted = day(day_)
    in_transaction(read_settings(), lambda rows: holiday_calendar.remove(rows, operator(), wanted, datetime.now(UTC)))
    typer.echo(f"{wanted} is no holiday any more")


def _row(holiday: Holiday) -> list[Text]:
    return [
        Text(str(holiday.day), "bold"),
        Text(WEEKDAYS[holiday.day.weekday()], "dim"),
        Text(printable(holiday.name)),
        Text(holiday.source, "dim"),
    ]

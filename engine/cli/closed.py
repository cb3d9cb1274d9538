"""`dari closed`: the days off of an account or of one number."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Annotated

import typer
from sqlalchemy.ext.asyncio import AsyncConnection

from engine.cli.account import account_of
from engine.cli.calendar import closed_days, shown_closed_day
from engine.cli.database import in_transaction
from engine.cli.printing import print_json
from engine.cli.this_machine import operator
from engine.foundation.phone_number import parse
from engine.routing import days_off
from engine.routing.days_off import Owner
from engine.routing.model import ClosedDay
from engine.settings import read_settings

app = typer.Typer(add_completion=False, pretty_exceptions_enable=False, help="Keep days off (휴무일) that rules go by.")

When = Annotated[
    list[str],
    typer.Argument(
        metavar="WHEN…",
        help="2026-12-25, 2026-12-24..2026-12-26, every sunday, 2nd and 4th sunday; several after each other.",
    ),
]
AccountName = Annotated[str, typer.Option("--account", metavar="NAME", help="Of all numbers of this account.")]
OfNumber = Annotated[str | None, typer.Option("--number", metavar="NUMBER", help="Of this number only.")]


@app.command()
def add(when: When, account: AccountName = "main", number: OfNumber = None) -> None:
    """Close on these days."""
    days = closed_days(when)

    async def deed(rows: AsyncConnection) -> int:
        return await days_off.close(rows, operator(), await _owner(rows, account, number), days, datetime.now(UTC))

    new = in_transaction(read_settings(), deed)
    typer.echo(f"closed: {', '.join(map(shown_closed_day, days))} ({new} new)")


@app.command()
def remove(when: When, account: AccountName = "main", number: OfNumber = None) -> None:
    """Close on these days no more."""
    days = closed_days(when)

    async def deed(rows: AsyncConnection) -> None:
        await days_off.open_again(rows, operator(), await _owner(rows, account, number), days, datetime.now(UTC))

    in_transaction(read_settings(), deed)
    typer.echo(f"not closed any more: {', '.join(map(shown_closed_day, days))}")


@app.command("list")
def list_(
    account: AccountName = "main",
    number: OfNumber = None,
    as_json: Annotated[bool, typer.Option("--json", help="One JSON object per line.")] = False,
) -> None:
    """List the days off."""

    async def deed(rows: AsyncConnection) -> tuple[ClosedDay, ...]:
        return await days_off.listing(rows, await _owner(rows, account, number))

    days = in_transaction(read_settings(), deed)
    if as_json:
        print_json(days)
    elif days:
        for day in days:
            typer.echo(shown_closed_day(day))
    else:
        typer.echo("no days off; add one with `dari closed add WHEN`", err=True)


async def _owner(rows: AsyncConnection, account: str, number: str | None) -> Owner:
    return parse(number) if number is not None else await account_of(rows, account)

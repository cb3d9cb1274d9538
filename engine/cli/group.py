"""`dari group`: groups of callers, the blocked among them."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Annotated

import typer
from rich.text import Text
from sqlalchemy.ext.asyncio import AsyncConnection

from engine.accounts.book import account_named
from engine.cli.account import account_of
from engine.cli.database import in_transaction
from engine.cli.printing import Column, day_and_time, or_dash, print_json, print_table
from engine.cli.this_machine import operator
from engine.events.call_log import printable
from engine.foundation.errors import Invalid
from engine.foundation.phone_number import PhoneNumber, parse, written
from engine.routing import caller_groups
from engine.routing.entries import Member
from engine.routing.model import BLOCKED
from engine.settings import read_settings

app = typer.Typer(
    add_completion=False,
    pretty_exceptions_enable=False,
    help=f"Keep groups of callers for rules; those in the group {BLOCKED!r} are turned away.",
)

Group = Annotated[str, typer.Argument(metavar="GROUP", help=f"Its name, like vip or {BLOCKED}.")]
Callers = Annotated[list[str], typer.Argument(metavar="NUMBER…", help="Callers' numbers.")]
AccountName = Annotated[str, typer.Option("--account", metavar="NAME", help="Whose group it is.")]


@app.command()
def add(
    group: Group,
    callers: Callers,
    note: Annotated[str, typer.Option(metavar="TEXT", help="Who they are.")] = "",
    account: AccountName = "main",
) -> None:
    """Put callers into a group; it is there as long as anybody is in it."""
    numbers = _numbers(callers)

    async def deed(rows: AsyncConnection) -> int:
        now = datetime.now(UTC)
        owner = await account_named(rows, operator(), account, now)
        return await caller_groups.add(rows, operator(), owner.id, group, numbers, now, note=note)

    typer.echo(f"group {group}: {in_transaction(read_settings(), deed)} new")


@app.command()
def remove(
    group: Group,
    callers: Annotated[list[str] | None, typer.Argument(metavar="[NUMBER…]", help="Callers' numbers.")] = None,
    whole: Annotated[bool, typer.Option("--all", help="Everybody.")] = False,
    account: AccountName = "main",
) -> None:
    """Take callers out of a group."""
    if bool(callers) == whole:
        raise Invalid(f"group {group}: name the callers to take out, or --all")
    numbers = None if whole else _numbers(callers or [])

    async def deed(rows: AsyncConnection) -> int:
        owner = await account_of(rows, account)
        return await caller_groups.remove(rows, operator(), owner, group, datetime.now(UTC), numbers)

    typer.echo(f"group {group}: {in_transaction(read_settings(), deed)} taken out")


@app.command("list")
def list_(
    group: Annotated[str | None, typer.Argument(metavar="[GROUP]", help="Only this one.")] = None,
    account: AccountName = "main",
    as_json: Annotated[bool, typer.Option("--json", help="One JSON object per line.")] = False,
) -> None:
    """List who is in the groups."""

    async def deed(rows: AsyncConnection) -> list[Member]:
        return await caller_groups.listing(rows, await account_of(rows, account), group)

    members = in_transaction(read_settings(), deed)
    if as_json:
        print_json(member._asdict() for member in members)
    elif members:
        print_table(_COLUMNS, [_row(member) for member in members])
    else:
        typer.echo("nobody is in a group; add somebody with `dari group add GROUP NUMBER`", err=True)


_COLUMNS = (Column("Group"), Column("Caller"), Column("Note", folds=True), Column("Since", spare=1))


def _row(member: Member) -> list[Text]:
    return [
        Text(printable(member.group), "bold"),
        Text(written(member.number)),
        or_dash(printable(member.note)),
        day_and_time(member.added_at),
    ]


def _numbers(typed: list[str]) -> list[PhoneNumber]:
    return [parse(number, "caller") for number in typed]

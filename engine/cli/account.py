"""`dari account`: the tree of accounts, what all numbers of one have in common, who hears its calls, who joins."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Annotated
from uuid import UUID

import typer
from rich.text import Text
from sqlalchemy.ext.asyncio import AsyncConnection

from engine.accounts.book import account_called, accounts
from engine.accounts.model import Account
from engine.cli import account_grants, account_signup, account_tree
from engine.cli.calendar import shown_closed_day
from engine.cli.database import in_transaction
from engine.cli.limits import LimitOptions
from engine.cli.options import with_options
from engine.cli.printing import Column, print_json, print_table
from engine.cli.this_machine import operator
from engine.cli.wording import limits_words
from engine.events.call_log import printable
from engine.foundation.errors import Invalid
from engine.routing import account_settings
from engine.routing.model import AccountRouting
from engine.settings import read_settings

app = typer.Typer(
    add_completion=False,
    pretty_exceptions_enable=False,
    help="Open accounts and arrange them, set what their numbers have in common, let others listen, review sign-ups.",
)

AccountName = Annotated[str, typer.Option("--account", metavar="NAME", help="Whose.")]


@app.command("list")
def list_(as_json: Annotated[bool, typer.Option("--json", help="One JSON object per line.")] = False) -> None:
    """List the accounts."""
    found = in_transaction(read_settings(), _listed)
    if as_json:
        print_json(_as_object(account, routing) for account, routing in found)
    elif found:
        print_table(_COLUMNS, [_row(account, routing) for account, routing in found])
    else:
        typer.echo("no accounts yet; `dari number add` opens them", err=True)


@app.command("set")
@with_options
def set_(
    name: Annotated[str, typer.Argument(metavar="NAME", help="The account.")],
    limits: LimitOptions,
    zone: Annotated[
        str | None, typer.Option(metavar="ZONE", help="Time zone in which its days and hours are meant: Asia/Seoul.")
    ] = None,
) -> None:
    """Change an account; what is not named stays."""
    if zone is None and not limits.named:
        raise Invalid(f"account {name}: nothing to change; name what is to be different, see `dari account set --help`")

    async def deed(rows: AsyncConnection) -> AccountRouting:
        account = await account_of(rows, name)
        before = await account_settings.find(rows, account)
        await account_settings.change(
            rows, operator(), account, datetime.now(UTC), zone=zone, limits=limits.limits(before.limits)
        )
        return await account_settings.find(rows, account)

    routing = in_transaction(read_settings(), deed)
    typer.echo(f"account {name} changed: {routing.zone}, limits {limits_words(routing.limits)}")


async def account_of(rows: AsyncConnection, name: str) -> UUID:
    """The account of that name. Raises NotFound, or Conflict when several have it."""
    return (await account_called(rows, name)).id


async def _listed(rows: AsyncConnection) -> list[tuple[Account, AccountRouting]]:
    return [(account, await account_settings.find(rows, account.id)) for account in await accounts(rows)]


def _as_object(account: Account, routing: AccountRouting) -> dict[str, object]:
    groups = {name: len(numbers) for name, numbers in routing.groups.items()}
    return {
        "id": account.id,
        "name": account.name,
        "zone": routing.zone,
        "limits": routing.limits,
        "closed_days": routing.closed_days,
        "groups": groups,
    }


_COLUMNS = (
    Column("Account"),
    Column("Zone"),
    Column("Limits"),
    Column("Closed", folds=True, spare=1),
    Column("Groups of callers", folds=True, spare=2),
)


def _row(account: Account, routing: AccountRouting) -> list[Text]:
    groups = ", ".join(f"{printable(name)} ({len(numbers)})" for name, numbers in sorted(routing.groups.items()))
    return [
        Text(printable(account.name), "bold"),
        Text(routing.zone),
        Text(limits_words(routing.limits)),
        Text(", ".join(map(shown_closed_day, routing.closed_days)) or "-"),
        Text(groups or "-"),
    ]


for _part in (account_tree, account_grants, account_signup):
    app.registered_commands += _part.app.registered_commands

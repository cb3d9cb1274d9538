"""`dari key`: the keys of programs that use the API."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Annotated
from uuid import UUID

import msgspec
import typer
from rich.text import Text
from sqlalchemy.ext.asyncio import AsyncConnection

from engine.accounts import keys
from engine.accounts.book import account_called, accounts
from engine.accounts.model import Deed
from engine.accounts.user import ApiKey
from engine.cli.database import in_transaction
from engine.cli.options import word
from engine.cli.printing import Column, day_and_time, or_dash, print_json, print_table
from engine.cli.this_machine import operator
from engine.events.call_log import printable
from engine.settings import read_settings

app = typer.Typer(
    add_completion=False,
    pretty_exceptions_enable=False,
    help="Make keys for programs, shown once; say what each may do; revoke them.",
)

_MOST = 100_000
AsJson = Annotated[bool, typer.Option("--json", help="One JSON object per line.")]


@app.command()
def add(
    name: Annotated[str, typer.Argument(metavar="NAME", help="What the key is for.")],
    account: Annotated[str, typer.Option(metavar="NAME", help="Whose program it is.")],
    scope: Annotated[
        list[Deed],
        typer.Option("--scope", metavar="DEED", parser=word(Deed), help="What it may do: see-calls …; again for more."),
    ],
    days: Annotated[
        int | None, typer.Option(min=1, max=3650, help="Until so many days from now; else without end.")
    ] = None,
    as_json: AsJson = False,
) -> None:
    """Make a key; it is shown this once."""

    async def deed(rows: AsyncConnection) -> tuple[ApiKey, str]:
        now = datetime.now(UTC)
        owner = await account_called(rows, account)
        until = None if days is None else now + timedelta(days=days)
        return await keys.make(rows, operator(), owner.id, name, frozenset(scope), now, expires_at=until)

    key, secret = in_transaction(read_settings(), deed)
    if as_json:
        print_json([{"key": _as_object(key), "secret": secret}])
    else:
        typer.echo(f"key {key.prefix} of account {account}: keep it, it is not shown again:\n{secret}")


@app.command("list")
def list_(
    account: Annotated[str, typer.Option(metavar="NAME", help="Only this account's.")] = "",
    revoked: Annotated[bool, typer.Option("--revoked", help="Those that were revoked too.")] = False,
    as_json: AsJson = False,
) -> None:
    """List the keys."""

    async def deed(rows: AsyncConnection) -> tuple[list[ApiKey], dict[UUID, str]]:
        owner = (await account_called(rows, account)).id if account else None
        found = await keys.listing(rows, operator(), account=owner, revoked=revoked, limit=_MOST)
        return found, {each.id: each.name for each in await accounts(rows)}

    found, owners = in_transaction(read_settings(), deed)
    if as_json:
        print_json(map(_as_object, found))
    elif found:
        print_table(_COLUMNS, [_row(key, owners.get(key.place.account, "operator")) for key in found])
    else:
        typer.echo("no keys yet; make one with `dari key add NAME --account NAME --scope DEED`", err=True)


@app.command()
def revoke(prefix: Annotated[str, typer.Argument(metavar="KEY", help="Its first part, as listed.")]) -> None:
    """End a key for good, from the next request on."""

    async def deed(rows: AsyncConnection) -> ApiKey:
        found = await keys.find_by_prefix(rows, operator(), prefix)
        return await keys.revoke(rows, operator(), found.id, datetime.now(UTC))

    typer.echo(f"key {in_transaction(read_settings(), deed).prefix} revoked")


def _as_object(key: ApiKey) -> dict[str, object]:
    return msgspec.structs.asdict(key) | {"scopes": sorted(deed.value for deed in key.scopes)}


_COLUMNS = (
    Column("Key"),
    Column("Name"),
    Column("Account", spare=2),
    Column("Until", spare=1),
    Column("Last used", spare=3),
    Column("Scopes", folds=True),
)


def _row(key: ApiKey, owner: str) -> list[Text]:
    until = day_and_time(key.expires_at) if key.expires_at else or_dash(None)
    return [
        Text(key.prefix, "bold"),
        Text(printable(key.name)),
        Text(printable(owner)),
        Text("revoked", "yellow") if key.revoked_at else until,
        day_and_time(key.used_at) if key.used_at else or_dash(None),
        Text(", ".join(sorted(deed.value for deed in key.scopes))),
    ]

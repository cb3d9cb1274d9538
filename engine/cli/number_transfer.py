"""`dari number transfer`: a number is offered to another account, which takes it or not."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Annotated
from uuid import UUID

import typer
from rich.text import Text
from sqlalchemy.ext.asyncio import AsyncConnection

from engine.accounts.book import account_called
from engine.cli.database import in_transaction
from engine.cli.number_life import Json, Limit, Number, korean, names
from engine.cli.options import word, words_of
from engine.cli.printing import Column, or_dash, print_json, print_table
from engine.cli.this_machine import operator
from engine.events.call_log import printable
from engine.foundation.errors import Invalid
from engine.foundation.phone_number import parse, written
from engine.numbers import transfer
from engine.numbers.transfer_model import Transfer, TransferStatus
from engine.routing import handed_over
from engine.settings import read_settings

app = typer.Typer(
    add_completion=False,
    pretty_exceptions_enable=False,
    help="Offer a number to another account; accept, decline or withdraw such an offer.",
)

Id = Annotated[str, typer.Argument(metavar="ID", help="Of the offer, as `dari number transfer list` shows it.")]
Why = Annotated[str, typer.Option("--reason", metavar="TEXT", help="Told to the other side.")]


@app.command()
def offer(
    number: Number,
    to: Annotated[str, typer.Option(metavar="NAME", help="The account that is to have it.")],
    clear: Annotated[bool, typer.Option("--clear", help="Its settings and rules do not go along.")] = False,
    days: Annotated[
        int, typer.Option(metavar="DAYS", help="How long the offer is open.", min=1, max=transfer.LONGEST_OPEN.days)
    ] = 7,
    as_json: Json = False,
) -> None:
    """Offer a number; nothing changes until it is accepted."""
    parsed = parse(number)

    async def deed(rows: AsyncConnection) -> Transfer:
        receiver = await account_called(rows, to)
        return await transfer.offer(
            rows,
            operator(),
            parsed,
            receiver.id,
            datetime.now(UTC),
            keep_settings=not clear,
            open_for=timedelta(days=days),
        )

    _tell(in_transaction(read_settings(), deed), as_json)


@app.command()
def accept(
    id_: Id,
    target: Annotated[
        str | None, typer.Option(metavar="NUMBER", help="Whom its calls ring; as before, if settings go along.")
    ] = None,
    as_json: Json = False,
) -> None:
    """Take a number over, for the receiver: the next call is its own.

    With its settings go its rules and copies of the prompts they play; rules that ask for a group of callers stay
    behind.
    """
    transfer_id, rung = _id(id_), None if target is None else parse(target, "target")

    async def deed(rows: AsyncConnection) -> Transfer:
        return await handed_over.accept(rows, operator(), transfer_id, datetime.now(UTC), rung)

    _tell(in_transaction(read_settings(), deed), as_json)


@app.command()
def decline(id_: Id, reason: Why = "", as_json: Json = False) -> None:
    """Refuse a number, for the receiver."""
    transfer_id = _id(id_)

    async def deed(rows: AsyncConnection) -> Transfer:
        return await transfer.decline(rows, operator(), transfer_id, datetime.now(UTC), reason)

    _tell(in_transaction(read_settings(), deed), as_json)


@app.command()
def withdraw(id_: Id, reason: Why = "", as_json: Json = False) -> None:
    """Take an offer back, for the giver."""
    transfer_id = _id(id_)

    async def deed(rows: AsyncConnection) -> Transfer:
        return await transfer.withdraw(rows, operator(), transfer_id, datetime.now(UTC), reason)

    _tell(in_transaction(read_settings(), deed), as_json)


@app.command("list")
def list_(
    status: Annotated[
        TransferStatus | None,
        typer.Option(metavar=words_of(TransferStatus), parser=word(TransferStatus), help="Only these."),
    ] = None,
    limit: Limit = 100,
    as_json: Json = False,
) -> None:
    """List offers and what has become of them, the newest first."""

    async def deed(rows: AsyncConnection) -> tuple[list[Transfer], dict[UUID, str]]:
        return await transfer.listing(rows, operator(), status=status, limit=limit), await names(rows)

    found, named = in_transaction(read_settings(), deed)
    if as_json:
        print_json(found)
    elif found:
        print_table(_COLUMNS, [_row(one, named) for one in found])
    else:
        typer.echo("no such offer; make one with `dari number transfer offer NUMBER --to NAME`", err=True)


_COLUMNS = (
    Column("Id"),
    Column("Number"),
    Column("From", folds=True),
    Column("To", folds=True),
    Column("Status"),
    Column("Settings", spare=2),
    Column("Until", spare=1),
    Column("Reason", spare=3, folds=True),
)


def _row(one: Transfer, named: dict[UUID, str]) -> list[Text]:
    return [
        Text(str(one.id)),
        Text(written(one.number), "bold"),
        Text(printable(named.get(one.from_account, "operator"))),
        Text(printable(named.get(one.to_account, "operator"))),
        Text(one.status.value),
        Text("kept" if one.keep_settings else "cleared"),
        Text(korean(one.expires_at), "dim"),
        or_dash(printable(one.reason)),
    ]


def _id(text: str) -> UUID:
    try:
        return UUID(text)
    except ValueError:
        raise Invalid(f"id: {text[:60]!r} is no id of an offer; `dari number transfer list` shows them") from None


def _tell(one: Transfer, as_json: bool) -> None:
    if as_json:
        print_json([one])
        return
    until = f" until {korean(one.expires_at)}" if one.status is TransferStatus.OFFERED else ""
    typer.echo(f"number {written(one.number)} {one.status.value}{until} (transfer {one.id})")

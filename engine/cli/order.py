"""`dari order`: numbers ordered by count and period of use."""

from __future__ import annotations

from datetime import UTC, datetime, time, timedelta
from typing import Annotated
from uuid import UUID

import typer
from rich.text import Text
from sqlalchemy.ext.asyncio import AsyncConnection

from engine.accounts.book import account_called
from engine.cli.calendar import day
from engine.cli.database import in_transaction
from engine.cli.number_life import Json, Limit, korean, names
from engine.cli.printing import Column, or_dash, print_json, print_table
from engine.cli.this_machine import operator
from engine.events.call_log import KST, printable
from engine.foundation.errors import Invalid
from engine.foundation.phone_number import PhoneNumber, parse, written
from engine.numbers import orders
from engine.numbers.order_model import Order
from engine.numbers.states import StockNumber
from engine.settings import read_settings

app = typer.Typer(
    add_completion=False,
    pretty_exceptions_enable=False,
    help="Order numbers by count and period of use; make a period longer, or cancel it.",
)

Id = Annotated[str, typer.Argument(metavar="ID", help="Of the order, as `dari order list` shows it.")]
_LAST = typer.Option("--until", metavar="DAY", help="The last day, in Korea: 2027-01-31; without one: no end.")


@app.command()
def place(
    count: Annotated[int, typer.Argument(metavar="COUNT", help="How many numbers, at most 1000.")],
    account: Annotated[str, typer.Option(metavar="NAME", help="For whom.")],
    target: Annotated[
        str | None, typer.Option(metavar="NUMBER", help="Whom all of them ring; without one they are reserved.")
    ] = None,
    prefix: Annotated[str, typer.Option(metavar="DIGITS", help="Only numbers that begin so: 0507.")] = "",
    first: Annotated[str | None, typer.Option("--from", metavar="DAY", help="The first day, in Korea; now.")] = None,
    last: Annotated[str | None, _LAST] = None,
    as_json: Json = False,
) -> None:
    """Order so many numbers for so long, all of them or none."""
    rung = None if target is None else parse(target, "target")
    starts = None if first is None else _midnight(first, "from")
    ends = _end(last)

    async def deed(rows: AsyncConnection) -> tuple[Order, list[PhoneNumber]]:
        whose = await account_called(rows, account)
        return await orders.place(
            rows,
            operator(),
            whose.id,
            count,
            datetime.now(UTC),
            prefix=prefix,
            target=rung,
            starts_at=starts,
            ends_at=ends,
        )

    order, numbers = in_transaction(read_settings(), deed)
    if as_json:
        print_json([{"order": order, "numbers": numbers}])
        return
    for number in numbers:
        typer.echo(written(number))
    typer.echo(f"order {order.id} {order.status.value}: {len(numbers)} numbers{_until(order)}", err=True)


@app.command()
def prolong(
    id_: Id,
    last: Annotated[str | None, _LAST] = None,
    no_end: Annotated[bool, typer.Option("--no-end", help="Without an end.")] = False,
    as_json: Json = False,
) -> None:
    """Set another end; what was suspended because the period was over is resumed."""
    if (last is None) != no_end:
        raise Invalid("until: name the last day, or --no-end")
    order, ends = _id(id_), _end(last)

    async def deed(rows: AsyncConnection) -> Order:
        return await orders.prolong(rows, operator(), order, ends, datetime.now(UTC))

    _tell(in_transaction(read_settings(), deed), as_json)


@app.command()
def cancel(id_: Id, as_json: Json = False) -> None:
    """Give the numbers of an order back whose period has not begun."""
    order = _id(id_)

    async def deed(rows: AsyncConnection) -> Order:
        return await orders.cancel(rows, operator(), order, datetime.now(UTC))

    _tell(in_transaction(read_settings(), deed), as_json)


@app.command()
def show(id_: Id, as_json: Json = False) -> None:
    """Show an order and the numbers that are still of it."""
    order = _id(id_)

    async def deed(rows: AsyncConnection) -> tuple[Order, list[StockNumber]]:
        return await orders.find(rows, operator(), order)

    found, numbers = in_transaction(read_settings(), deed)
    if as_json:
        print_json([{"order": found, "numbers": numbers}])
        return
    _tell(found, as_json)
    for one in numbers:
        typer.echo(f"{written(one.number)}  {one.state.value}")


@app.command("list")
def list_(limit: Limit = 100, as_json: Json = False) -> None:
    """List orders, the newest first."""

    async def deed(rows: AsyncConnection) -> tuple[list[Order], dict[UUID, str]]:
        return await orders.listing(rows, operator(), limit=limit), await names(rows)

    found, named = in_transaction(read_settings(), deed)
    if as_json:
        print_json(found)
    elif found:
        print_table(_COLUMNS, [_row(one, named) for one in found])
    else:
        typer.echo("no orders yet; place one with `dari order place COUNT --account NAME`", err=True)


_COLUMNS = (
    Column("Id"),
    Column("Account", folds=True),
    Column("Numbers", right=True),
    Column("From", spare=1),
    Column("Until"),
    Column("Status"),
    Column("Target", spare=2),
)


def _row(one: Order, named: dict[UUID, str]) -> list[Text]:
    return [
        Text(str(one.id)),
        Text(printable(named.get(one.account_id, "operator"))),
        Text(str(one.count)),
        Text(korean(one.starts_at)),
        or_dash(_last_day(one)),
        Text(one.status.value),
        or_dash(one.target and written(one.target)),
    ]


def _midnight(text: str, field: str) -> datetime:
    try:
        return datetime.combine(day(text, field), time(), KST).astimezone(UTC)
    except OverflowError:
        raise Invalid(f"{field}: {text} is no day that can be meant; write it like 2026-12-25") from None


def _end(last: str | None) -> datetime | None:
    """The end of that day."""
    return None if last is None else _midnight(last, "until") + timedelta(days=1)


def _last_day(one: Order) -> str | None:
    return None if one.ends_at is None else korean(one.ends_at - timedelta(microseconds=1))


def _until(one: Order) -> str:
    last = _last_day(one)
    return "" if last is None else f" until {last}"


def _id(text: str) -> UUID:
    try:
        return UUID(text)
    except ValueError:
        raise Invalid(f"id: {text[:60]!r} is no id of an order; `dari order list` shows them") from None


def _tell(one: Order, as_json: bool) -> None:
    if as_json:
        print_json([one])
    else:
        typer.echo(f"order {one.id} {one.status.value}: {one.count} numbers{_until(one)}")

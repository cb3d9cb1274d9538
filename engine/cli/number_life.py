"""`dari number reserve`, `issue`, `suspend`, `release`, `history` and so on: the life of numbers."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from datetime import UTC, datetime, timedelta
from typing import Annotated
from uuid import UUID

import msgspec
import typer
from rich.text import Text
from sqlalchemy.ext.asyncio import AsyncConnection

from engine.accounts.book import account_called, accounts
from engine.cli.database import in_transaction
from engine.cli.options import word, words_of
from engine.cli.printing import Column, day_and_time, or_dash, print_json, print_table
from engine.cli.this_machine import operator
from engine.cli.treatment import takes_in
from engine.events.call_log import KST, printable
from engine.foundation.phone_number import PhoneNumber, parse, written
from engine.numbers import life, quarantine
from engine.numbers.history import Happened
from engine.numbers.model import ServiceNumber
from engine.numbers.quarantine_terms import QuarantineTerms, terms_with
from engine.numbers.rules import kind_of
from engine.numbers.states import State, StockNumber
from engine.settings import read_settings

app = typer.Typer()

Number = Annotated[str, typer.Argument(metavar="NUMBER", help="As people write it: 0507-1234-5678.")]
Account = Annotated[str, typer.Option("--account", metavar="NAME", help="Whose it is to be.")]
Json = Annotated[bool, typer.Option("--json", help="One JSON object per line.")]
Limit = Annotated[int, typer.Option(help="How many.", min=1, max=100_000)]
_LONGEST = int(life.LONGEST_RESERVATION / timedelta(minutes=1))


@app.command()
def reserve(
    number: Number,
    account: Account,
    minutes: Annotated[int, typer.Option(metavar="MINUTES", help="For how long.", min=1, max=_LONGEST)] = 10,
    as_json: Json = False,
) -> None:
    """Keep a free number for an account; nobody else gets it meanwhile."""
    parsed = parse(number)

    async def deed(rows: AsyncConnection) -> StockNumber:
        now = datetime.now(UTC)
        whose = await account_called(rows, account)
        return await life.reserve(rows, operator(), parsed, whose.id, now, now + timedelta(minutes=minutes))

    _tell(in_transaction(read_settings(), deed), as_json)


@app.command("let-go")
def let_go(number: Number, as_json: Json = False) -> None:
    """End a reservation before its time."""
    _move(number, as_json, lambda rows, parsed, now: life.let_go(rows, operator(), parsed, now))


@app.command()
def issue(
    number: Number,
    account: Account,
    target: Annotated[str, typer.Option(metavar="NUMBER", help="Whom its calls ring.")],
    as_json: Json = False,
) -> None:
    """Put a number of the stock into service: a free one, one reserved for that account, or one it had last."""
    parsed, rung = parse(number), parse(target, "target")

    async def deed(rows: AsyncConnection) -> StockNumber:
        now = datetime.now(UTC)
        whose = await account_called(rows, account)
        wanted = ServiceNumber(number=parsed, kind=kind_of(parsed), account_id=whose.id, target=rung)
        await life.issue(rows, operator(), wanted, now)
        return await life.find(rows, operator(), parsed)

    _tell(in_transaction(read_settings(), deed), as_json)


@app.command()
def release(number: Number, as_json: Json = False) -> None:
    """Give a number up: its settings go, and it is kept back from everybody but its holder for three months."""
    _move(number, as_json, lambda rows, parsed, now: life.release(rows, operator(), parsed, now, standing_terms()))


@app.command()
def suspend(
    number: Number,
    announcement: Annotated[
        str,
        typer.Option(metavar="SOUND", help="What callers hear: a file, a prompt's name, or a sound like ko/closed."),
    ] = life.NOT_IN_SERVICE,
    note: Annotated[str, typer.Option(metavar="TEXT", help="Why; it stands in the history.")] = "",
    free: Annotated[bool, typer.Option("--free", help="The holder may resume it.")] = False,
    as_json: Json = False,
) -> None:
    """Let all callers hear that the number is not in service, from the next call on."""

    async def deed(rows: AsyncConnection, parsed: PhoneNumber, now: datetime) -> StockNumber:
        heard, whose = announcement, (await life.find(rows, operator(), parsed)).held_by
        if whose is not None and heard != life.NOT_IN_SERVICE:
            heard = (await takes_in(rows, whose))(heard, "announcement")
        return await life.suspend(rows, operator(), parsed, now, announcement=heard, bar=not free, note=note)

    _move(number, as_json, deed)


@app.command()
def resume(number: Number, as_json: Json = False) -> None:
    """Lift the bar, or else the holder's own suspension: calls are forwarded again when that was all."""
    _move(number, as_json, lambda rows, parsed, now: life.resume(rows, operator(), parsed, now))


@app.command("port-out")
def port_out(number: Number, as_json: Json = False) -> None:
    """Let a number go to another carrier with its holder."""
    _move(number, as_json, lambda rows, parsed, now: life.port_out(rows, operator(), parsed, now))


@app.command("return")
def return_(number: Number, as_json: Json = False) -> None:
    """Take a number of our ranges back from another carrier; it goes into quarantine."""
    _move(number, as_json, lambda rows, parsed, now: life.take_return(rows, operator(), parsed, now, standing_terms()))


@app.command()
def state(number: Number, as_json: Json = False) -> None:
    """Show what state a number is in, whose it is, and who still calls it while it is in quarantine."""
    parsed = parse(number)

    async def deed(rows: AsyncConnection) -> tuple[StockNumber, dict[str, int], dict[UUID, str]]:
        found = await life.find(rows, operator(), parsed)
        calls = await quarantine.strays(rows, operator(), parsed, datetime.now(UTC))
        return found, {day.isoformat(): count for day, count in sorted(calls.items())}, await names(rows)

    found, strays, named = in_transaction(read_settings(), deed)
    if as_json:
        print_json([msgspec.structs.asdict(found) | {"stray_calls": strays}])
        return
    whose = _whose(found, named)
    typer.echo(f"{_told(found)}{f', {whose}' if whose else ''}")
    for day, count in strays.items():
        typer.echo(f"  {day}  {count} stray {'call' if count == 1 else 'calls'}")


@app.command()
def stock(
    state_: Annotated[
        State | None, typer.Option("--state", metavar=words_of(State), parser=word(State), help="Only in this state.")
    ] = None,
    account: Annotated[str | None, typer.Option(metavar="NAME", help="Only those of this account.")] = None,
    prefix: Annotated[str, typer.Option(metavar="DIGITS", help="Only those that begin so.")] = "",
    after: Annotated[str, typer.Option(metavar="NUMBER", help="Go on behind this one.")] = "",
    limit: Limit = 100,
    as_json: Json = False,
) -> None:
    """List the numbers of the stock in any state."""

    async def deed(rows: AsyncConnection) -> tuple[list[StockNumber], dict[UUID, str]]:
        whose = None if account is None else (await account_called(rows, account)).id
        found = await life.listing(
            rows,
            operator(),
            account=whose,
            state=state_,
            prefix=prefix,
            after=parse(after, "after") if after else "",
            limit=limit,
        )
        return found, await names(rows)

    found, named = in_transaction(read_settings(), deed)
    if as_json:
        print_json(found)
    elif found:
        print_table(_STOCK, [_stock_row(one, named) for one in found])
    else:
        typer.echo("no such number in the stock; bring in a range with `dari range import`", err=True)


@app.command()
def history(
    number: Number,
    limit: Limit = 100,
    as_json: Json = False,
) -> None:
    """List what happened to a number, the newest first: who held it, from whom it went to whom, by whose hand."""
    parsed = parse(number)

    async def deed(rows: AsyncConnection) -> tuple[list[Happened], dict[UUID, str]]:
        return await life.history(rows, operator(), parsed, limit), await names(rows)

    told, named = in_transaction(read_settings(), deed)
    if as_json:
        print_json(told)
    else:
        print_table(_HISTORY, [_history_row(one, named) for one in told])


async def names(rows: AsyncConnection) -> dict[UUID, str]:
    """The names of all accounts by their ids."""
    return {account.id: account.name for account in await accounts(rows)}


def standing_terms() -> QuarantineTerms:
    """For numbers whose range says nothing else."""
    return terms_with(read_settings().number_quarantine_days)


def korean(instant: datetime) -> str:
    """The day in Korea, with its year."""
    return f"{instant.astimezone(KST):%Y-%m-%d}"


_Move = Callable[[AsyncConnection, PhoneNumber, datetime], Awaitable[StockNumber]]


def _move(number: str, as_json: bool, deed: _Move) -> None:
    parsed = parse(number)
    _tell(in_transaction(read_settings(), lambda rows: deed(rows, parsed, datetime.now(UTC))), as_json)


def _tell(stock: StockNumber, as_json: bool) -> None:
    if as_json:
        print_json([stock])
    else:
        typer.echo(_told(stock))


def _told(stock: StockNumber) -> str:
    return f"number {written(stock.number)} {stock.state.value}{_until(stock)}"


def _until(stock: StockNumber) -> str:
    if stock.reserved_until is not None and stock.order_id is None:
        return f" until {stock.reserved_until.astimezone(KST):%Y-%m-%d %H:%M}"
    if stock.quarantined_until is not None:
        return f" until {korean(stock.quarantined_until)}"
    return f" ({stock.suspended_for.value})" if stock.suspended_for else ""


_STOCK = (
    Column("Number"),
    Column("Kind", spare=2),
    Column("State"),
    Column("Whose", folds=True),
    Column("Since", spare=1),
)
_HISTORY = (
    Column("When"),
    Column("What"),
    Column("Whose", folds=True),
    Column("By", spare=1),
    Column("Note", spare=2, folds=True),
)


def _stock_row(stock: StockNumber, named: dict[UUID, str]) -> list[Text]:
    return [
        Text(written(stock.number), "bold"),
        Text(stock.kind.value),
        Text(stock.state.value + _until(stock)),
        or_dash(_whose(stock, named)),
        Text(korean(stock.changed_at), "dim"),
    ]


def _history_row(one: Happened, named: dict[UUID, str]) -> list[Text]:
    whose = _name(one.account_id, named)
    if one.to_account is not None:
        whose = f"{whose} → {_name(one.to_account, named)}"
    return [
        Text.assemble((f"{one.at.astimezone(KST):%Y}-", "dim"), day_and_time(one.at)),
        Text(one.move.value, "bold"),
        or_dash(whose),
        Text(printable(one.who)),
        or_dash(printable(one.note)),
    ]


def _whose(stock: StockNumber, named: dict[UUID, str]) -> str:
    """Its holder, or the one for whom it is kept back."""
    if stock.held_by is None and stock.state is State.QUARANTINED:
        return f"last {_name(stock.last_holder, named)}"
    return _name(stock.held_by, named)


def _name(account: UUID | None, named: dict[UUID, str]) -> str:
    return "" if account is None else printable(named.get(account, "operator"))

"""`dari number choose`: the best free numbers for a shop, and keeps some of them while their form is filled in."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Annotated

import typer
from rich.text import Text
from sqlalchemy.ext.asyncio import AsyncConnection

from engine.accounts.book import account_called
from engine.accounts.model import OPERATOR_ID
from engine.cli.database import in_transaction
from engine.cli.printing import Column, day_and_time, or_dash, print_json, print_table
from engine.cli.this_machine import operator
from engine.foundation.errors import Invalid
from engine.foundation.phone_number import PhoneNumber, parse, written
from engine.numbers.choice import Offer, Offers, Reservation, reserve_best
from engine.numbers.choice import choose as chosen
from engine.numbers.easy_patterns import Easy
from engine.numbers.similar import Reason, Wish, wish
from engine.settings import read_settings

_PATTERNS = ", ".join(easy.value for easy in Easy)
_NUMBER, _WHY = Column("Number"), Column("Why", folds=True)


def choose(
    like: Annotated[
        str | None, typer.Option(metavar="NUMBER", help="The shop's own number, or the last four digits wanted.")
    ] = None,
    easy: Annotated[
        str | None, typer.Option(metavar="PATTERN", help=f"Only numbers easy in one way: {_PATTERNS}.")
    ] = None,
    exchange: Annotated[str | None, typer.Option(metavar="DIGITS", help="Only numbers that begin so: 0507.")] = None,
    digits: Annotated[int | None, typer.Option(help="Only numbers of so many digits: 11 or 12.")] = None,
    limit: Annotated[int, typer.Option(help="How many, at most 500.")] = 20,
    after: Annotated[
        str | None, typer.Option(metavar="NUMBER", help="Go on behind this one, the last of the page before.")
    ] = None,
    reserve: Annotated[
        int | None, typer.Option(metavar="COUNT", help="Keep so many of the best, at most 20, for ten minutes.")
    ] = None,
    account: Annotated[str | None, typer.Option(metavar="NAME", help="For whom, with --reserve.")] = None,
    as_json: Annotated[bool, typer.Option("--json", help="One JSON object per line.")] = False,
) -> None:
    """Show the best free numbers for a shop, and why they are; keep some of them with --reserve."""
    wished = wish(like, easy, exchange, digits)
    if (reserve is None) != (account is None):
        raise Invalid("reserve: name how many and for whom, like `--reserve 1 --account NAME`")
    if reserve is None or account is None:
        _show(wished, None if after is None else parse(after, "after"), limit, as_json=as_json)
    elif after is not None:
        raise Invalid("after: --reserve keeps the best of all; leave --after away")
    else:
        _reserve(wished, account, reserve, as_json=as_json)


def _show(wished: Wish, after: PhoneNumber | None, limit: int, *, as_json: bool) -> None:
    async def deed(rows: AsyncConnection) -> Offers:
        return await chosen(rows, operator(), OPERATOR_ID, wished, after=after, limit=limit)

    found = in_transaction(read_settings(), deed)
    if as_json:
        print_json(found.offers)
    elif found.offers:
        print_table([_NUMBER, _WHY], [_row(offer) for offer in found.offers])
        if found.next:
            typer.echo(f"more with --after {written(found.next)}", err=True)
    else:
        typer.echo("no such number is free; wish for others, or bring in a range with `dari range import`", err=True)


def _reserve(wished: Wish, account: str, count: int, *, as_json: bool) -> None:
    async def deed(rows: AsyncConnection) -> tuple[Reservation, ...]:
        owner = await account_called(rows, account)
        return await reserve_best(rows, operator(), owner.id, wished, count, datetime.now(UTC))

    kept = in_transaction(read_settings(), deed)
    if as_json:
        print_json(kept)
    else:
        columns = [_NUMBER, Column("Kept until"), _WHY]
        print_table(columns, [[Text(written(one.number)), day_and_time(one.until), _why(one.reasons)] for one in kept])


def _row(offer: Offer) -> list[Text]:
    return [Text(written(offer.number)), _why(offer.reasons)]


def _why(reasons: tuple[Reason, ...]) -> Text:
    return or_dash(", ".join(reason.english for reason in reasons))

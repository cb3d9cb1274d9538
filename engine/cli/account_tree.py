"""`dari account open|tree|rename|move|close|fee|business|module|permissions`: who stands under whom, and with what."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime
from typing import Annotated
from uuid import UUID

import msgspec
import typer
from rich.text import Text
from rich.tree import Tree
from sqlalchemy.ext.asyncio import AsyncConnection

from engine.accounts import modules, tree
from engine.accounts.book import account_called
from engine.accounts.eligibility import Eligibility, eligible
from engine.accounts.model import Account, AccountKind, Module
from engine.accounts.permissions import written_table
from engine.cli.database import in_transaction
from engine.cli.options import word, words_of
from engine.cli.printing import console, print_json
from engine.cli.this_machine import operator
from engine.events.call_log import printable
from engine.foundation.errors import Invalid
from engine.settings import read_settings

app = typer.Typer()

Name = Annotated[str, typer.Argument(metavar="ACCOUNT", help="Its name, AGENCY/NAME where several have it, or its id.")]
Json = Annotated[bool, typer.Option("--json", help="One JSON object per line.")]
_PAGE = 500


@app.command("open")
def open_(
    name: Annotated[str, typer.Argument(metavar="NAME", help="What it is called.")],
    kind: Annotated[
        AccountKind | None,
        typer.Option(metavar=words_of(AccountKind), parser=word(AccountKind), help="What it is; a shop."),
    ] = None,
    under: Annotated[str, typer.Option(metavar="ACCOUNT", help="Directly under which account.")] = "operator",
    zone: Annotated[
        str | None, typer.Option(metavar="ZONE", help="Time zone of its days; as the account above it.")
    ] = None,
    as_json: Json = False,
) -> None:
    """Open an account under another one: agency, region, branch or shop."""

    async def deed(rows: AsyncConnection) -> Account:
        above = await account_called(rows, under)
        return await tree.open_account(
            rows, operator(), above.id, kind or AccountKind.SHOP, name, datetime.now(UTC), zone=zone
        )

    made = in_transaction(read_settings(), deed)
    _told(made, f"{made.kind.value} {made.name} opened", as_json)


@app.command("tree")
def tree_(
    under: Annotated[str, typer.Option(metavar="ACCOUNT", help="Only this one and what is below.")] = "operator",
    as_json: Json = False,
) -> None:
    """Show who stands under whom."""

    async def deed(rows: AsyncConnection) -> list[Account]:
        return await _below(rows, (await account_called(rows, under)).id)

    found = in_transaction(read_settings(), deed)
    if as_json:
        print_json(map(as_object, found))
    else:
        console().print(_drawn(found))


@app.command()
def rename(
    name: Name, new: Annotated[str, typer.Argument(metavar="NEW-NAME", help="What it is called from now on.")]
) -> None:
    """Give an account another name."""

    async def deed(rows: AsyncConnection) -> Account:
        return await tree.rename(rows, operator(), (await account_called(rows, name)).id, new, datetime.now(UTC))

    typer.echo(f"account {name} is called {in_transaction(read_settings(), deed).name} now")


@app.command()
def move(
    name: Name, under: Annotated[str, typer.Option(metavar="ACCOUNT", help="Directly under which account.")]
) -> None:
    """Put an account, with all below it, under another one."""

    async def deed(rows: AsyncConnection) -> Account:
        moved, above = await account_called(rows, name), await account_called(rows, under)
        return await tree.move(rows, operator(), moved.id, above.id, datetime.now(UTC))

    typer.echo(f"account {in_transaction(read_settings(), deed).name} stands under {under} now")


@app.command()
def close(name: Name) -> None:
    """Close an account that has no numbers and no accounts under it any more."""

    async def deed(rows: AsyncConnection) -> Account:
        return await tree.close(rows, operator(), (await account_called(rows, name)).id, datetime.now(UTC))

    typer.echo(f"account {in_transaction(read_settings(), deed).name} closed; its calls and messages stay")


@app.command()
def fee(
    name: Name,
    waived: Annotated[bool, typer.Option("--waived/--due", help="Whether its base fee is waived.")],
) -> None:
    """Waive the base fee of an account, or not. A branch's is waived from the start."""

    async def deed(rows: AsyncConnection) -> Account:
        return await tree.waive_fee(rows, operator(), (await account_called(rows, name)).id, waived, datetime.now(UTC))

    after = in_transaction(read_settings(), deed)
    typer.echo(f"account {after.name}: the base fee is {'waived' if after.fee_waived else 'due'}")


@app.command()
def business(
    name: Name,
    trade: Annotated[str | None, typer.Option(metavar="CODE", help="Five digits of the classification (KSIC).")] = None,
    revenue: Annotated[int | None, typer.Option(metavar="WON", help="Of the last business year.")] = None,
    evidence: Annotated[str | None, typer.Option(metavar="TEXT", help="What shows the revenue.")] = None,
    as_json: Json = False,
) -> None:
    """Show whether a shop may take the store-information message, and why; options change what that goes by."""

    async def deed(rows: AsyncConnection) -> Account:
        found = await account_called(rows, name)
        if (trade, revenue, evidence) == (None, None, None):
            return found
        return await tree.set_business(
            rows,
            operator(),
            found.id,
            datetime.now(UTC),
            trade=found.trade if trade is None else trade,
            yearly_revenue=found.yearly_revenue if revenue is None else revenue,
            evidence=found.revenue_evidence if evidence is None else evidence,
        )

    after = in_transaction(read_settings(), deed)
    answer = eligible(after.trade, after.yearly_revenue, after.revenue_evidence, datetime.now(UTC))
    if as_json:
        print_json([as_object(after) | {"eligible": answer.ok, "reasons": answer.reasons}])
    else:
        print_eligibility(answer)


@app.command()
def module(
    name: Name,
    function: Annotated[
        Module | None,
        typer.Argument(metavar=f"[{words_of(Module)}]", parser=word(Module), help="Which; none: show them all."),
    ] = None,
    on: Annotated[bool | None, typer.Option("--on/--off", help="For it and for all below it.")] = None,
    as_json: Json = False,
) -> None:
    """Show the functions of an account, or switch one on or off: from the next call on, also without an engine."""
    if (function is None) != (on is None):
        raise Invalid(f"account {name}: name a function and --on or --off, or neither")

    async def deed(rows: AsyncConnection) -> Account:
        found = await account_called(rows, name)
        if function is None or on is None:
            return found
        return await modules.switch(rows, operator(), found.id, function, on, datetime.now(UTC))

    after = in_transaction(read_settings(), deed)
    if as_json:
        print_json([{one.value: one in after.modules for one in Module}])
        return
    for one in Module:
        typer.echo(f"{one.value}: {'on' if one in after.modules else 'off'} ({modules.MEANINGS[one]})")


@app.command()
def permissions() -> None:
    """Show who may do what: the whole table, as Markdown."""
    typer.echo(written_table())


def print_eligibility(answer: Eligibility) -> None:
    """The answer and its reasons, line by line."""
    typer.echo("store-information message: " + ("may be taken" if answer.ok else "may not be taken"))
    for reason in answer.reasons:
        typer.echo(f"  {printable(reason)}")


def as_object(account: Account) -> dict[str, object]:
    """The account as JSON shows it."""
    values: dict[str, object] = msgspec.to_builtins(account)
    return values | {"modules": [one.value for one in Module if one in account.modules]}


def _told(account: Account, sentence: str, as_json: bool) -> None:
    if as_json:
        print_json([as_object(account)])
    else:
        typer.echo(sentence)


async def _below(rows: AsyncConnection, root: UUID) -> list[Account]:
    found: list[Account] = []
    while page := await tree.listing(rows, root, after=found[-1].id if found else None, limit=_PAGE):
        found += page
    return found


def _drawn(found: Sequence[Account]) -> Tree:
    """Each under the one above it, by name."""
    drawn: dict[UUID, Tree] = {}
    for account in sorted(found, key=lambda one: (len(one.path), one.name)):
        above = drawn.get(account.parent) if account.parent else None
        drawn[account.id] = above.add(_line(account)) if above else Tree(_line(account))
    return next(iter(drawn.values()))


def _line(account: Account) -> Text:
    off = ", ".join(sorted(one.value for one in Module if one not in account.modules))
    marks = [account.kind.value, account.status if account.status != "active" else "", f"off: {off}" if off else ""]
    return Text.assemble((printable(account.name), "bold"), "  ", (", ".join(filter(None, marks)), "dim"))

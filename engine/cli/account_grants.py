"""`dari account grant|grants|take-back`: who besides a shop itself hears its calls, for how long."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Annotated
from uuid import UUID

import msgspec
import typer
from rich.text import Text
from sqlalchemy.ext.asyncio import AsyncConnection

from engine.accounts import grants
from engine.accounts.book import account_called
from engine.accounts.model import LONGEST_GRANT, ListeningGrant
from engine.accounts.tree import find
from engine.cli.database import in_transaction
from engine.cli.printing import Column, day_and_time, print_json, print_table
from engine.cli.this_machine import operator
from engine.events.call_log import printable
from engine.settings import read_settings

app = typer.Typer()

Shop = Annotated[str, typer.Argument(metavar="SHOP", help="Its name, AGENCY/NAME where several have it, or its id.")]
Json = Annotated[bool, typer.Option("--json", help="One JSON object per line.")]


@app.command()
def grant(
    shop: Shop,
    days: Annotated[int, typer.Option(min=1, max=LONGEST_GRANT.days, help="How long, from now.")],
    reason: Annotated[str, typer.Option(metavar="TEXT", help="What for.")],
    evidence: Annotated[str, typer.Option(metavar="TEXT", help="The paper on which the shop gave it.")],
    to: Annotated[str, typer.Option(metavar="ACCOUNT", help="An account above the shop.")] = "operator",
    as_json: Json = False,
) -> None:
    """Write down that a shop lets an account above it hear its calls for a time: recordings and live."""

    async def deed(rows: AsyncConnection) -> ListeningGrant:
        giver, receiver, instant = await account_called(rows, shop), await account_called(rows, to), datetime.now(UTC)
        return await grants.give(
            rows,
            operator(),
            giver.id,
            receiver.id,
            instant,
            until=instant + timedelta(days=days),
            reason=reason,
            evidence=evidence,
        )

    made = in_transaction(read_settings(), deed)
    if as_json:
        print_json([made])
    else:
        typer.echo(f"{to} may hear the calls of {shop} until {day_and_time(made.until).plain}; grant {made.id}")


@app.command("grants")
def grants_(shop: Shop, as_json: Json = False) -> None:
    """List the listening grants that a shop gave, those that are over too."""

    async def deed(rows: AsyncConnection) -> list[tuple[ListeningGrant, str]]:
        found = await grants.of_shop(rows, operator(), (await account_called(rows, shop)).id)
        return [(one, (await find(rows, one.to_account)).name) for one in found]

    instant, found = datetime.now(UTC), in_transaction(read_settings(), deed)
    if as_json:
        print_json(msgspec.to_builtins(one) | {"runs": one.runs(instant)} for one, _ in found)
    elif found:
        print_table(_COLUMNS, [_row(one, name, runs=one.runs(instant)) for one, name in found])
    else:
        typer.echo(f"nobody but {shop} itself hears its calls", err=True)


@app.command("take-back")
def take_back(
    identifier: Annotated[UUID, typer.Argument(metavar="GRANT", help="Its id, as `dari account grants` shows it.")],
) -> None:
    """End a listening grant at once; who listens by it hears nothing more."""

    async def deed(rows: AsyncConnection) -> ListeningGrant:
        return await grants.take_back(rows, operator(), identifier, datetime.now(UTC))

    in_transaction(read_settings(), deed)
    typer.echo(f"grant {identifier} taken back")


_COLUMNS = (
    Column("Grant"),
    Column("To"),
    Column("From"),
    Column("Until"),
    Column("Runs"),
    Column("Reason", folds=True, spare=1),
    Column("By", spare=2),
)


def _row(one: ListeningGrant, name: str, *, runs: bool) -> list[Text]:
    return [
        Text(str(one.id)),
        Text(printable(name), "bold"),
        day_and_time(one.begins),
        day_and_time(one.until),
        Text("yes" if runs else "taken back" if one.taken_back_at else "no"),
        Text(printable(one.reason)),
        Text(printable(one.by)),
    ]

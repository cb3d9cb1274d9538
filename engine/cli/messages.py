"""`dari messages`: messages sent and held back."""

from __future__ import annotations

from typing import Annotated

import typer
from rich.text import Text

from engine.cli.database import with_database
from engine.cli.printing import Column, day_and_time, or_dash, print_json, print_table, shown
from engine.events.call_log import printable, short_id
from engine.foundation.phone_number import parse
from engine.messages import search
from engine.messages.model import Message, Status
from engine.settings import read_settings

app = typer.Typer(add_completion=False, pretty_exceptions_enable=False)

_STYLES = {
    Status.DELIVERED: "bold green",
    Status.FAILED: "bold red",
    Status.UNKNOWN: "red",
    Status.HELD: "yellow",
}


@app.command()
def messages(
    as_json: Annotated[
        bool, typer.Option("--json", help="One JSON object per line, with number, text and certificate.")
    ] = False,
    number: Annotated[str, typer.Option(help="Only messages after calls to this number.", metavar="NUMBER")] = "",
    limit: Annotated[int, typer.Option(min=1, max=100_000, help="How many, the newest first.")] = 100,
    numbers: Annotated[bool, typer.Option("--numbers", help="Show whole numbers, not 010-****-5678.")] = False,
) -> None:
    """List messages sent and held back, the newest first, each with its state or the reason why not."""
    settings = read_settings()
    only = parse(number, "--number") if number else None
    found = with_database(settings, lambda database: search.messages(database, number=only, limit=limit))
    if as_json:
        print_json(found)
    elif found:
        mask = settings.mask_numbers and not numbers
        print_table(_COLUMNS, [_row(message, mask) for message in found])
    else:
        typer.echo("no such messages" if number else "no messages yet", err=True)


_COLUMNS = (
    Column("Decided"),
    Column("Call", spare=1),
    Column("For", spare=2),
    Column("Recipient"),
    Column("Sender", spare=3),
    Column("State"),
    Column("Text, or why not", folds=True),
)


def _row(message: Message, mask: bool) -> list[Text]:
    return [
        day_and_time(message.decided_at),
        or_dash(short_id(message.call_id) if message.call_id else None),
        Text(message.purpose.value),
        shown(message.recipient, mask=mask),
        shown(message.sender, mask=False),
        Text(message.status.value, _STYLES.get(message.status, "blue")),
        Text(printable(message.reason or message.text.replace("\n", " "))),
    ]

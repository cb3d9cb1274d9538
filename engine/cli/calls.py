"""`dari calls`: call records."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Annotated

import typer
from rich.text import Text

from engine.calls.without_engine import how_without_engine
from engine.cdr.model import CallRecord
from engine.cdr.search import recent
from engine.cli.coloured import result_style
from engine.cli.database import in_transaction
from engine.cli.printing import Column, day_and_time, or_dash, print_json, print_table, shown
from engine.events.call_log import KST, printable, short_id
from engine.foundation.errors import Invalid
from engine.foundation.phone_number import parse
from engine.settings import read_settings

app = typer.Typer(add_completion=False, pretty_exceptions_enable=False)


@app.command()
def calls(
    as_json: Annotated[bool, typer.Option("--json", help="One JSON object per line, numbers whole.")] = False,
    number: Annotated[str, typer.Option(help="Only calls to this number.", metavar="NUMBER")] = "",
    since: Annotated[
        str, typer.Option(help="Only calls from this instant on, Korean time unless it has a zone.", metavar="TIME")
    ] = "",
    limit: Annotated[int, typer.Option(min=1, max=100_000, help="How many, the newest first.")] = 100,
    numbers: Annotated[bool, typer.Option("--numbers", help="Show whole numbers, not 010-****-5678.")] = False,
) -> None:
    """List call records, the newest first."""
    settings = read_settings()
    only = parse(number, "--number") if number else None
    after = _instant(since) if since else None
    found = in_transaction(settings, lambda rows: recent(rows, number=only, since=after, limit=limit))
    if as_json:
        print_json(found)
    elif found:
        mask = settings.mask_numbers and not numbers
        print_table(_COLUMNS, [_row(call, mask) for call in found])
        if any(how_without_engine(call.node) for call in found):
            typer.echo(f"{_MARK} without an engine; `dari trace CALL` says more", err=True)
    else:
        typer.echo("no calls yet" if not (number or since) else "no such calls", err=True)


def _instant(text: str) -> datetime:
    try:
        instant = datetime.fromisoformat(text)
        return (instant if instant.tzinfo else instant.replace(tzinfo=KST)).astimezone(UTC)
    except (ValueError, OverflowError):
        raise Invalid(f"--since: {text!r} is no time; write it like 2026-11-21T09:00") from None


_MARK = "*"
_COLUMNS = (
    Column("Arrived"),
    Column("Call"),
    Column("Caller"),
    Column("Number"),
    Column("Target", spare=1),
    Column("Result"),
    Column("Ringback", right=True, spare=3),
    Column("Talk", right=True),
    Column("Recorded", folds=True, spare=2),
)


def _row(call: CallRecord, mask: bool) -> list[Text]:
    return [
        day_and_time(call.arrived_at),
        Text(short_id(call.call_id)),
        shown(call.caller, mask=mask),
        shown(call.number, mask=mask) if call.number else or_dash(printable(call.number_sent)),
        shown(call.target, mask=mask),
        _result(call),
        _seconds(call.ringback_seconds),
        _seconds(call.talk_seconds),
        Text("yes") if call.recording else or_dash(printable(call.recording_reason), "yellow"),
    ]


def _result(call: CallRecord) -> Text:
    """How it ended; a star where no engine ran it."""
    mark = _MARK if how_without_engine(call.node) else ""
    return Text.assemble((call.result.value, result_style(call.result.value)), (mark, "yellow"))


def _seconds(seconds: float) -> Text:
    """Seconds under a minute, then as a clock; what is nothing when rounded is a dash."""
    if seconds < 0.05:
        return or_dash(None)
    return Text(f"{seconds:.1f} s" if seconds < 60 else str(timedelta(seconds=round(seconds))).removeprefix("0:"))

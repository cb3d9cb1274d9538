"""`dari trace`: one call as a ladder, its SIP messages beside what Dari did."""

from __future__ import annotations

from datetime import datetime, timedelta
from typing import Annotated

import typer
from rich.text import Text

from engine.asterisk import sip_trace
from engine.calls.without_engine import how_without_engine
from engine.cdr.model import CallRecord, Side
from engine.cdr.search import find
from engine.cli.database import in_transaction
from engine.cli.ladder import Rung, coloured_rung, rungs_of_record, rungs_of_sip, without_numbers
from engine.cli.printing import console, print_json
from engine.events.call_log import short_id
from engine.settings import Settings, read_settings

app = typer.Typer(add_completion=False, pretty_exceptions_enable=False)

_MARGIN = timedelta(minutes=1)
"""SIP goes on for a moment after the record is closed."""


@app.command()
def trace(
    call: Annotated[str, typer.Argument(help="The call's id, or its last eight digits as `dari tail` shows them.")],
    full: Annotated[bool, typer.Option("--full", help="Show SIP messages whole, not only their first line.")] = False,
    numbers: Annotated[bool, typer.Option("--numbers", help="Show whole numbers, not 010****5678.")] = False,
    as_json: Annotated[bool, typer.Option("--json", help="One JSON object per line.")] = False,
) -> None:
    """Show everything that went between carrier, Dari and target in one call, in the order of time."""
    settings = read_settings()
    record = in_transaction(settings, lambda rows: find(rows, call))
    rungs = _ladder(settings, record)
    if settings.mask_numbers and not numbers:
        rungs = [without_numbers(rung) for rung in rungs]
    if as_json:
        print_json(rungs)
        return
    terminal = console()
    terminal.print(_heading(record))
    for rung in rungs:
        terminal.print(coloured_rung(rung, record.arrived_at, full=full), soft_wrap=True)
    if not any(rung.sip for rung in rungs):
        typer.echo(_why_without_sip(settings, record), err=True)


def _why_without_sip(settings: Settings, record: CallRecord) -> str:
    if not _sides(record):
        return "its SIP messages cannot be told from others: it was refused at once, or its engine died before it rang"
    return (
        f"no SIP messages of it are kept: DARI_SIP_TRACE was off, or it is older than {settings.sip_trace_hours} h "
        "(DARI_SIP_TRACE_HOURS)"
    )


def _sides(record: CallRecord) -> dict[str, Side]:
    """Whose the legs are, by SIP Call-ID."""
    sides = {leg.sip_call_id: leg.side for leg in record.legs if leg.sip_call_id}
    return sides | ({record.sip_call_id: Side.CALLER} if record.sip_call_id else {})


def _ladder(settings: Settings, record: CallRecord) -> list[Rung]:
    """Everything that is known of the call, in the order of time."""
    sides = _sides(record)
    sip = sip_trace.find(settings.paths.trace, sides, record.arrived_at - _MARGIN, record.ended_at + _MARGIN)
    rungs = [*rungs_of_sip(sip, sides), *rungs_of_record(record)]
    return sorted(rungs, key=_instant)


def _instant(rung: Rung) -> datetime:
    return rung.at


def _heading(record: CallRecord) -> Text:
    return Text.assemble(
        ("call ", "dim"),
        (str(record.call_id), "bold"),
        (f"  ({short_id(record.call_id)})  ", "dim"),
        record.result.value,
        (f", Q.850 cause {record.cause}", "dim"),
        (f"; {how_without_engine(record.node)}\n" if how_without_engine(record.node) else "\n", "yellow"),
    )

"""`dari status`: every part at a glance."""

from __future__ import annotations

import asyncio
from typing import Annotated

import typer
from rich.text import Text

from engine.calls.control_client import EngineStatus
from engine.cli.printing import Column, console, day_and_time, print_json, print_table
from engine.foundation.process import engine_name
from engine.settings import read_settings
from engine.supervisor.report import PartReport, Report, report

app = typer.Typer(add_completion=False, pretty_exceptions_enable=False)

_COLUMNS = (
    Column("Part"),
    Column("State"),
    Column("Pid", right=True),
    Column("Since", spare=1),
    Column("Version", spare=2),
    Column("Restarts", right=True),
)


@app.command()
def status(as_json: Annotated[bool, typer.Option("--json", help="One JSON object.")] = False) -> None:
    """Show every part, live calls, what waits, and the database. Works whatever is down."""
    found = asyncio.run(report(read_settings()))
    if as_json:
        print_json([found])
    else:
        _show(found)


def _show(found: Report) -> None:
    print_table(_COLUMNS, [_row(part) for part in found.parts])
    out = console()
    for name, value in _facts(found):
        out.print(Text(f"{name:<10}{value}"))


def _row(part: PartReport) -> list[Text]:
    return [
        Text(part.name),
        Text(part.state, "green" if part.state == "running" else "red"),
        Text(str(part.pid or "-")),
        day_and_time(part.since) if part.since else Text("-"),
        Text(part.version or "-"),
        Text(str(part.restarts), "yellow" if part.restarts else ""),
    ]


def _one(engine: EngineStatus | None) -> str:
    """One of several engines."""
    return f"{engine.state}, {engine.live_calls} live" if engine else "does not answer"


def _together(found: Report) -> str:
    """All engines in one line."""
    engine = found.engine
    if engine is None:
        routes = "" if found.calls_alone is None else "; calls go by the routes kept in Asterisk"
        return f"{'none answers' if len(found.engines) > 1 else 'does not answer'}{routes}; start it with `dari up`"
    return f"{engine.state}{f' ({engine.reason})' if engine.reason else ''}"


def _facts(found: Report) -> list[tuple[str, str]]:
    engine, database = found.engine, found.database
    facts = [("home", found.home), ("dari up", f"pid {found.supervisor}" if found.supervisor else "does not run")]
    several = len(found.engines) > 1
    facts.append(("engines" if several else "engine", _together(found)))
    facts += [(engine_name(at), _one(one)) for at, one in enumerate(found.engines, 1) if several]
    alone = f"{found.calls_alone} without an engine" if found.calls_alone else ""
    if engine is None and alone:
        facts.append(("calls", alone))
    if engine is not None:
        live = f"{engine.live_calls} live, {f'{alone}, ' if alone else ''}"
        facts.append(("calls", f"{live}{engine.spool_waiting} records waiting for the database"))
        if engine.event_lag_ms is not None:
            facts.append(("events", f"dealt with within {engine.event_lag_ms} ms (99 of 100 of the last minute's)"))
    facts.append(
        (
            "database",
            f"PostgreSQL {database.version}, step {database.step or 'none'}" if database.answers else database.reason,
        )
    )
    if database.trunks is not None:
        facts.append(("trunks", str(database.trunks)))
    return [*facts, ("SIP", found.sip or "your own Asterisk"), ("HTTP", found.http), ("gateway", found.gateway or "-")]

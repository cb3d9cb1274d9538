"""`dari tail`: what happens to calls, as it happens."""

from __future__ import annotations

import asyncio
import sys
from collections.abc import Callable
from contextlib import aclosing
from typing import Annotated

import typer
from rich.console import Console

from engine.cli.coloured import coloured
from engine.cli.printing import console, print_json
from engine.events.call_log import CallEvent, line
from engine.events.call_log_reader import follow, read
from engine.foundation.phone_number import PhoneNumber, masked, parse
from engine.settings import read_settings

app = typer.Typer(add_completion=False, pretty_exceptions_enable=False)


@app.command()
def tail(
    following: Annotated[bool, typer.Option("--follow", "-f", help="Go on until Ctrl-C.")] = False,
    as_json: Annotated[bool, typer.Option("--json", help="One JSON object per line.")] = False,
    number: Annotated[str, typer.Option(help="Only calls to this number.", metavar="NUMBER")] = "",
    lines: Annotated[int, typer.Option("--lines", "-n", min=0, help="How many past events to begin with.")] = 20,
) -> None:
    """Show what happened to calls last, and with --follow what happens from now on.

    The same lines are in DARI_HOME/log/calls.log and messages.log.
    """
    folder = read_settings().paths.log
    wanted = _wanted(parse(number, "--number") if number else None)
    show = shower(as_json)
    if following:
        asyncio.run(_follow(lines, wanted, show))
        return
    found = read(folder, lines, wanted)
    for event in found:
        show(event)
    if lines and not found and not as_json:
        typer.echo("no such events" if number else "no events yet", err=True)


async def _follow(last: int, wanted: Callable[[CallEvent], bool], show: Callable[[CallEvent], None]) -> None:
    async with aclosing(follow(read_settings().paths.log, last=last, wanted=wanted)) as events:
        async for event in events:
            show(event)


def _wanted(number: PhoneNumber | None) -> Callable[[CallEvent], bool]:
    """Events of calls to `number`; where the log hides numbers, to those that look like it."""
    if number is None:
        return lambda _: True
    names = {number, masked(number).replace("-", "")}
    return lambda event: event.number in names


def shower(as_json: bool) -> Callable[[CallEvent], None]:
    """Shows one event on stdout: as JSON, as a plain line, or with colours on a terminal."""
    if as_json:
        return lambda event: print_json([event])
    if not sys.stdout.isatty():
        return lambda event: print(line(event), flush=True)
    terminal = console()
    return lambda event: _show(terminal, event)


def _show(terminal: Console, event: CallEvent) -> None:
    terminal.print(coloured(event, terminal.width), soft_wrap=True)

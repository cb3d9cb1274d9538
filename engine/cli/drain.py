"""`dari drain`: no new calls, while the live ones go on to their end."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Annotated

import typer

from engine.calls.control_client import drain_engine, engine_status, resume_engine
from engine.cli.up import progress
from engine.settings import read_settings
from engine.supervisor.parts import Say

app = typer.Typer(add_completion=False, pretty_exceptions_enable=False)


@app.command()
def drain(
    undo: Annotated[bool, typer.Option("--undo", help="Take calls again.")] = False,
    wait: Annotated[bool, typer.Option(help="Wait until the last live call has ended.")] = True,
) -> None:
    """Take no new calls: callers hear the announcement of a system without an engine. Live calls go on.

    Ctrl-C ends the waiting, not the draining.
    """
    socket = read_settings().paths.engine_socket
    if undo:
        status = asyncio.run(resume_engine(socket))
        typer.echo(f"engine: {status.state}")
        return
    with progress() as say:
        asyncio.run(_drain(socket, say, wait=wait))


async def _drain(socket: Path, say: Say, *, wait: bool) -> None:
    live = (await drain_engine(socket)).live_calls
    told = None
    while live and wait:
        if live != told:
            say(f"engine: draining, {live} live call{'s' if live > 1 else ''}")
        told = live
        await asyncio.sleep(0.5)
        live = (await engine_status(socket)).live_calls
    say(
        "engine: draining, no live call is left; `dari drain --undo` takes calls again"
        if not live
        else f"engine: draining, {live} live"
    )

"""`dari drain`: no new calls, while the live ones go on to their end."""

from __future__ import annotations

import asyncio
from typing import Annotated

import typer

from engine.calls.control_all import Sockets, drain_engines, engines_status, resume_engines
from engine.cli.up import progress
from engine.foundation.errors import Invalid
from engine.foundation.process import engine_name
from engine.settings import MOST_ENGINES, Settings, read_settings
from engine.supervisor.alone import calls_alone, calls_of
from engine.supervisor.parts import Say
from engine.supervisor.wiring import connected

app = typer.Typer(add_completion=False, pretty_exceptions_enable=False)


@app.command()
def drain(
    undo: Annotated[bool, typer.Option("--undo", help="Take calls again.")] = False,
    wait: Annotated[bool, typer.Option(help="Wait until the last live call has ended.")] = True,
    engine: Annotated[
        int | None,
        typer.Option(
            metavar="NUMBER", min=1, max=MOST_ENGINES, help="Only this engine, from 1: the others take the new calls."
        ),
    ] = None,
) -> None:
    """Take no new calls: they go by the routes kept in Asterisk, without an engine. Live calls go on.

    It ends nothing, and stays so until `--undo`, or until the engine is started anew. Ctrl-C ends the waiting only.
    """
    settings = read_settings()
    sockets = _sockets(settings, engine)
    name = "engines" if len(sockets) > 1 else engine_name(engine or 1)
    if undo:
        status = asyncio.run(resume_engines(sockets))
        typer.echo(f"{name}: {status.state}")
        return
    with progress() as say:
        asyncio.run(_drain(name, sockets, say, wait=wait))
        say(f"`dari drain{f' --engine {engine}' if engine else ''} --undo` takes calls again")
        asyncio.run(_tell_alone(settings, say))


def _sockets(settings: Settings, engine: int | None) -> Sockets:
    there = settings.engine_sockets
    if engine is None:
        return there
    socket = settings.engine(engine).socket
    if socket not in there:
        raise Invalid(f"--engine: there is no engine {engine}; DARI_ENGINES is {settings.engines}")
    return (socket,)


async def _drain(name: str, sockets: Sockets, say: Say, *, wait: bool) -> None:
    live = (await drain_engines(sockets)).live_calls
    told = None
    while live and wait:
        if live != told:
            say(f"{name}: draining, {calls_of(live)} live")
        told = live
        await asyncio.sleep(0.5)
        live = (await engines_status(sockets)).live_calls
    say(f"{name}: draining, no live call is left" if not live else f"{name}: draining, {calls_of(live)} live")


async def _tell_alone(settings: Settings, say: Say) -> None:
    """New calls that came meanwhile are Asterisk's: whoever is about to stop that should know of them."""
    found = await calls_alone(connected(settings))
    if found and found.by_dialplan:
        say(f"{calls_of(found.by_dialplan)} without an engine, in Asterisk alone: not waited for")

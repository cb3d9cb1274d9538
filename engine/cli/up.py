"""`dari up`: the whole system in the foreground."""

from __future__ import annotations

import asyncio
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Annotated

import typer
from rich.console import Console

from engine.foundation.log import set_up_log
from engine.settings import Settings, read_settings
from engine.supervisor import foreground
from engine.supervisor.parts import Say

app = typer.Typer(add_completion=False, pretty_exceptions_enable=False)


@app.command()
def up(
    any_port: Annotated[
        bool, typer.Option("--any-port", help="Take the next free port where SIP's or HTTP's is taken.")
    ] = False,
) -> None:
    """Bring up everything that the settings ask for, start again what dies, and stop it all on Ctrl-C.

    Prints one line on stdout when calls can come: READY sip=… http=… gateway=… home=…

    Killing it ends no call: the parts live on, and the next `dari up` takes them over.
    """
    settings = read_settings()
    set_up_log(settings.log_level)
    with progress() as say:

        async def announce(whole: Settings) -> None:
            say("up; Ctrl-C stops everything")
            typer.echo(ready_line(whole))
            sys.stdout.flush()

        asyncio.run(foreground.up(settings, say, announce, any_port=any_port))


def ready_line(whole: Settings) -> str:
    """What is told once calls can come. `home` stands last because it may hold spaces."""
    sip = whole.sip_bind if not read_settings().ari_url else "yours"
    return f"READY sip={sip} http={whole.http_bind} gateway={whole.gateway_url} home={whole.home}"


@contextmanager
def progress() -> Iterator[Say]:
    """Lines on stderr; on a terminal what is under way is a moving line instead."""
    console = Console(stderr=True, highlight=False)
    if not console.is_terminal:
        yield lambda line: typer.echo(line, err=True)
        return
    status = console.status("")

    def say(line: str) -> None:
        if line.endswith(": starting"):
            status.update(line)
            status.start()
        else:
            status.stop()
            console.print(f"[dim]{line}[/dim]")

    try:
        yield say
    finally:
        status.stop()

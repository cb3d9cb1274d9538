"""`dari down`: everything of this home ends."""

from __future__ import annotations

import asyncio

import typer

from engine.cli.up import progress
from engine.settings import read_settings
from engine.supervisor import foreground

app = typer.Typer(add_completion=False, pretty_exceptions_enable=False)


@app.command()
def down() -> None:
    """Stop every part, whether `dari up` runs or was killed. Live calls get DARI_STOP_SECONDS; Ctrl-C: none."""
    settings = read_settings()
    with progress() as say:
        asyncio.run(foreground.down(settings, say))
        say("down")

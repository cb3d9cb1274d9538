"""`dari migrate`: the database's tables."""

from __future__ import annotations

import asyncio
from typing import Annotated

import typer

from engine.cli.database import with_database
from engine.foundation.errors import NotAllowed
from engine.foundation.schema import current, downgrade, upgrade
from engine.settings import PRODUCT_FILES, read_settings
from engine.supervisor.wiring import connected

app = typer.Typer(add_completion=False, pretty_exceptions_enable=False)

_SCRIPTS = PRODUCT_FILES / "migrations"
BASE = "base"


@app.command()
def migrate(
    to: Annotated[str, typer.Option(help="Another step than the newest, like 0001; base removes all tables.")] = "",
    down: Annotated[bool, typer.Option("--down", help="One step back; what only newer tables hold is lost.")] = False,
    yes: Annotated[bool, typer.Option("--yes", help="Do not ask before data is lost.")] = False,
) -> None:
    """Bring the database to the newest step, which `dari up` does at start, or to another one."""
    settings = read_settings()
    if (to or down) and not yes:
        _confirm()
    step = to or ("-1" if down else "")
    before = with_database(settings, lambda _database: current(connected(settings).database_url))
    after = asyncio.run(_move(connected(settings).database_url, before or BASE, step))
    typer.echo(f"database: at {after}" if after == (before or BASE) else f"database: {before or BASE} → {after}")


def _confirm() -> None:
    if not typer.get_text_stream("stdin").isatty():
        raise NotAllowed("going back loses data; say so with --yes")
    typer.confirm("Going back loses what only the newer tables hold. Go on?", abort=True)


async def _move(url: str, before: str, step: str) -> str:
    """Where the database is then. Steps are numbered, so that the later one is the greater text."""
    if step == BASE or step == "-1" or (before != BASE and step and step < before):
        await downgrade(url, _SCRIPTS, step)
    else:
        await upgrade(url, _SCRIPTS, step or "head")
    return await current(url) or BASE

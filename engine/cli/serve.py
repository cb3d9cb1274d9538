"""`dari serve`: one role as a process of its own."""

from __future__ import annotations

import asyncio
from enum import Enum
from typing import Annotated

import typer
import uvloop

from engine.app.roles import run_role
from engine.settings import MOST_ENGINES, read_settings

app = typer.Typer(add_completion=False, pretty_exceptions_enable=False)


class Role(Enum):
    CALLS = "calls"
    JOBS = "jobs"
    WEB = "web"
    WATCHDOG = "watchdog"
    GATEWAY = "gateway"


@app.command()
def serve(
    role: Annotated[Role, typer.Option(help="Which one.")],
    engine: Annotated[int, typer.Option(min=1, max=MOST_ENGINES, help="Of the role calls: which engine, from 1.")] = 1,
) -> None:
    """Run one role in the foreground; `dari up` does that for each. SIGTERM ends it in order."""
    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        runner.run(run_role(read_settings(), role.value, engine))

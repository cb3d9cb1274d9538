"""`dari demo`: the whole path once, on a real Asterisk, with real calls."""

from __future__ import annotations

import asyncio
import shlex
import sys
from typing import Annotated

import typer

from engine.cli.printing import console
from engine.cli.tail import shower
from engine.cli.up import progress
from engine.demo.findings import Finding
from engine.demo.run import run_demo
from engine.demo.table import show_findings
from engine.events.call_log import short_id
from engine.foundation.log import set_up_log
from engine.settings import read_settings

app = typer.Typer(add_completion=False, pretty_exceptions_enable=False)


@app.command()
def demo(
    once: Annotated[
        bool, typer.Option("--once", help="Stop after the six calls; exit 0 only if all went right.")
    ] = False,
) -> None:
    """Bring everything up on loopback, place six real calls, show each as it happens, and a table at the end.

    Then it stays up until Ctrl-C, for a look with `dari status`, `dari tail`, `dari trace` …
    """
    settings = read_settings()
    set_up_log("ERROR" if settings.log_level == "INFO" else settings.log_level)
    with progress() as say:

        def show(findings: list[Finding]) -> None:
            show_findings(console(), findings)
            if not once:
                dari = f"DARI_HOME={shlex.quote(str(settings.home))} {shlex.quote(sys.argv[0])}"
                call = short_id(findings[0].record.call_id)
                say("the system stays up until Ctrl-C; from another terminal:")
                for command in (f"trace {call}", "tail --follow", "calls", "messages", "status"):
                    say(f"  {dari} {command}")
            sys.stdout.flush()

        went_right = asyncio.run(run_demo(settings, say, shower(as_json=False), show, once=once))
    if went_right is None:
        raise typer.Exit(130)
    if not went_right:
        raise typer.Exit(1)

"""`dari doctor`: everything looked at once, with the mend beside what is wrong."""

from __future__ import annotations

import asyncio
from typing import Annotated

import typer
from rich.text import Text

from engine.cli.printing import console, print_json
from engine.foundation.log import set_up_log
from engine.settings import Settings, read_settings
from engine.supervisor.asterisk_checks import asterisk_checks
from engine.supervisor.call_checks import call_checks
from engine.supervisor.check import Check, State
from engine.supervisor.database_checks import database_checks
from engine.supervisor.engine_checks import engine_checks
from engine.supervisor.machine_checks import machine_checks
from engine.supervisor.recording_checks import recording_checks
from engine.supervisor.report import database_report
from engine.supervisor.sound_checks import sound_check
from engine.supervisor.voice_checks import voice_check
from engine.supervisor.wiring import connected

app = typer.Typer(add_completion=False, pretty_exceptions_enable=False)

_STYLE = {State.OK: "green", State.WARN: "yellow", State.BAD: "red"}


@app.command()
def doctor(as_json: Annotated[bool, typer.Option("--json", help="One JSON object per line.")] = False) -> None:
    """Check every part and say how to mend it; exits with 1 when something cannot work."""
    set_up_log("ERROR")
    checks = asyncio.run(_checks(read_settings()))
    if as_json:
        print_json(checks)
    else:
        _show(checks)
    if any(check.state is State.BAD for check in checks):
        raise typer.Exit(1)


async def _checks(settings: Settings) -> list[Check]:
    checks = [*machine_checks(settings), await voice_check(settings), sound_check(settings)]
    whole = connected(settings)
    checks += [*await engine_checks(whole), *await asterisk_checks(whole, own=not settings.ari_url)]
    database = await database_report(whole)
    checks += await database_checks(whole, database, own=not settings.database_url)
    return checks + await recording_checks(whole, database) + await call_checks(whole, database)


def _show(checks: list[Check]) -> None:
    out = console()
    for check in checks:
        line = Text(f"{check.state.value:<5}", _STYLE[check.state])
        line.append(f"{check.name:<24}{check.found}", "default")
        out.print(line)
        if check.mend:
            out.print(Text(f"     {'':<24}→ {check.mend}", "bold"))

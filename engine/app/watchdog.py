"""Cuts a frozen engine off."""

from __future__ import annotations

from engine.settings import Settings
from engine.watchdog.watch import watch


async def run(settings: Settings) -> None:
    run = settings.paths.run
    await watch(settings.paths.pid_file("engine"), run / "engine.beat", settings.watchdog_seconds)

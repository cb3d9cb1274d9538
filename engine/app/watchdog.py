"""Cuts a frozen engine off, and looks after calls and telephones while there is no engine."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from contextlib import AsyncExitStack
from functools import partial

from engine.asterisk.commands import Ari
from engine.asterisk.stand_in import stand_in
from engine.calls.caretaker import Caretaker
from engine.calls.held_telephones import HeldTelephones
from engine.calls.steps.waiting import CONNECTING
from engine.foundation.errors import DariError
from engine.foundation.tasks import Tasks
from engine.settings import Settings
from engine.watchdog.absence import Engines
from engine.watchdog.watch import watch

_LOOK_EVERY = 0.5
_ANSWER_WITHIN = 1.0
"""Seconds. Less than an engine waits: an Asterisk that is slow for all is no engine's fault."""


async def run(settings: Settings) -> None:
    files = [(engine.pid_file, engine.heartbeat) for engine in settings.all_engines]
    apps = [engine.app_name for engine in settings.all_engines]
    engines = Engines(files)
    tasks = Tasks("watchdog")
    async with AsyncExitStack() as stack:
        stack.push_async_callback(tasks.close)
        aris = [
            await stack.enter_async_context(
                Ari(settings.ari_url, app, settings.ari_user, settings.ari_password, timeout=_ANSWER_WITHIN)
            )
            for app in apps
        ]
        witness = Witness(aris[0].write_probe)
        for pid_file, beat in files:
            tasks.start("watch", watch(pid_file, beat, settings.watchdog_seconds, lambda: witness.obeyed))
        for engine, ari in zip(settings.all_engines, aris, strict=True):
            standing_in = partial(stand_in, settings.ari_url, engine.app_name, settings.ari_user, settings.ari_password)
            held = HeldTelephones(engine.pid_file, ari, standing_in, str(settings.paths.sounds / CONNECTING))
            tasks.start("held telephones", held.keep())
        tasks.start("witness", witness.keep_trying())
        tasks.start("caretaker", look_after(engines, Caretaker(aris, lambda: engines.all_gone)))
        await tasks.first_failure()


async def look_after(engines: Engines, caretaker: Caretaker) -> None:
    """Has calls looked after whenever there is no engine; until cancelled."""
    while True:
        if engines.absent():
            await caretaker.help()
        await asyncio.sleep(_LOOK_EVERY)


class Witness:
    """Knows whether Asterisk does what others than the engine ask of it."""

    def __init__(self, probe: Callable[[], Awaitable[None]]) -> None:
        self.obeyed = False
        """Whether it did so at the last try."""
        self._probe = probe

    async def keep_trying(self) -> None:
        """Until cancelled."""
        while True:
            try:
                await self._probe()
                self.obeyed = True
            except DariError:
                self.obeyed = False
            await asyncio.sleep(_LOOK_EVERY)

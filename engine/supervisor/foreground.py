"""The whole system in the foreground, for as long as its operator wants it."""

from __future__ import annotations

import signal
from collections.abc import Awaitable, Callable

from engine.settings import Settings
from engine.supervisor.home import check_home, supervise, supervisor_of
from engine.supervisor.parts import Say
from engine.supervisor.processes import ended
from engine.supervisor.stopping import stop_signals
from engine.supervisor.system import prepare, raise_open_files, system_of
from engine.supervisor.up import run_system, take_down


async def up(
    settings: Settings, say: Say, while_up: Callable[[Settings], Awaitable[None]], *, any_port: bool = False
) -> None:
    """Brings everything up, awaits `while_up` with the settings in force once calls can come, ends all when told to.

    When the operator wants it to stop, `while_up` is cancelled before any part is ended.

    Raises Invalid, Conflict, TryLater or GaveUp when it does not get up; what it began is ended then.
    """
    check_home(settings.home, settings.paths.sockets)
    with supervise(settings.paths.run):
        whole = prepare(settings, any_port=any_port)
        raise_open_files()
        if whole.sip_bind != settings.sip_bind:
            say(f"asterisk: {settings.sip_bind} is taken, SIP is on {whole.sip_bind}")
        if whole.http_bind != settings.http_bind:
            say(f"web: {settings.http_bind} is taken, HTTP is on {whole.http_bind}")
        await run_system(system_of(settings), say, lambda: while_up(whole))


async def down(settings: Settings, say: Say) -> None:
    """Ends everything of this home, through its `dari up` where one runs. Ctrl-C means at once."""
    run = settings.paths.run
    if not run.is_dir():
        return
    async with stop_signals() as stopping:
        if supervisor := supervisor_of(run):
            say(f"asking `dari up` (pid {supervisor.pid}) to stop")
            supervisor.send(signal.SIGTERM)
            async with stopping.stop.leaves():
                await ended(supervisor)
            if stopping.stop.made and supervisor.send(signal.SIGTERM):  # the second one means at once
                await ended(supervisor)
        with supervise(run):
            whole = system_of(settings, every_engine=True)
            await take_down(whole, whole.keepers(), say, stopping.stop)

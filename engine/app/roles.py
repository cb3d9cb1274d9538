"""The roles by name. A role's own file is imported only in its own process: they start fast and stay small."""

from __future__ import annotations

import asyncio
import signal
from collections.abc import Awaitable, Callable
from functools import partial
from importlib import import_module

import structlog

from engine.foundation.errors import Invalid
from engine.foundation.log import set_up_log
from engine.foundation.priority import NICE, NICEST, let_calls_pass
from engine.settings import Settings

_AFTER_CALLS = {"web": NICE, "jobs": NICEST, "gateway": NICEST}

ROLES = ("calls", "jobs", "web", "watchdog", "gateway")
"""Each is a file beside this one, with a function `run`."""

log = structlog.get_logger(__name__)


async def run_role(settings: Settings, role: str, engine: int = 1) -> None:
    """Runs one role until SIGTERM or SIGINT; of the role calls the `engine`-th. Raises DariError when it cannot."""
    if engine != 1 and role != "calls":
        raise Invalid(f"--engine: there is one {role} only; leave --engine out, it is for --role calls")
    if engine > settings.engines:
        raise Invalid(f"--engine: there is no engine {engine}; DARI_ENGINES is {settings.engines}")
    set_up_log(settings.log_level)
    run: Callable[..., Awaitable[None]] = import_module(f"engine.app.{role}").run
    if engine > 1:
        run = partial(run, number=engine)
    if role in _AFTER_CALLS:
        let_calls_pass(nice=_AFTER_CALLS[role])
    loop = asyncio.get_running_loop()
    task = asyncio.current_task()
    assert task is not None  # noqa: S101 - a coroutine always runs in one
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, task.cancel)
    try:
        await run(settings)
    except asyncio.CancelledError:
        log.info("role ended", role=role)

"""How somebody ends a measurement before its time."""

from __future__ import annotations

import asyncio
import signal

from tests.bench.progress import Say


def stopped_in_order(say: Say) -> None:
    """The first SIGINT or SIGTERM from now on cancels the task that calls this, once, however often it is said."""
    loop, whole = asyncio.get_running_loop(), asyncio.current_task()
    assert whole is not None

    def stop() -> None:
        for number in (signal.SIGINT, signal.SIGTERM):
            loop.add_signal_handler(number, say, "ending what was started")
        say("ending what was started")
        whole.cancel()

    for number in (signal.SIGINT, signal.SIGTERM):
        loop.add_signal_handler(number, stop)

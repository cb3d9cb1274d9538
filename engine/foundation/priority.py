"""Who waits where the processor is short: calls come first. Messages, records and pages can wait, a caller cannot."""

from __future__ import annotations

import os
from contextlib import suppress
from pathlib import Path

NICE, NICEST = 10, 19
"""Of who is waited for by people, or by the engine in the end; and of who is waited for by nobody."""
_WAITS = (os.SCHED_BATCH, os.sched_param(0))
"""Whoever runs so takes the processor from nobody when it wakes up."""


def let_calls_pass(process: int | None = None, nice: int = NICE) -> None:
    """This process, or the one of that id, and what it starts from now on, runs after others.

    Linux shares the processor between sessions first, so that a nice value alone says nothing to processes of other
    sessions: theirs is a value of its own (sched_autogroup). Where the system has no word for it, all is as before.
    """
    with suppress(OSError):
        os.setpriority(os.PRIO_PROCESS, process or 0, nice)
    with suppress(OSError):
        os.sched_setscheduler(process or 0, *_WAITS)
    with suppress(OSError):
        Path(f"/proc/{process or 'self'}/autogroup").write_text(str(nice))

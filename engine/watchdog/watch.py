"""Watches an engine's heartbeat and cuts a frozen engine off, so that another can take its calls over."""

from __future__ import annotations

import asyncio
import signal
import time
from collections.abc import Callable
from pathlib import Path

import structlog

from engine.foundation.process import Process, read_pid_file
from engine.watchdog.heartbeat import last_beat, writes_of

log = structlog.get_logger(__name__)

_LOOKS_PER_SILENCE = 8
_STARTING = 6.0  # a starting engine loads and reconciles before its first beat: so many times the silence


class Vigil:
    """Decides from look to look whether the engine is frozen. Instants are monotonic seconds of the watcher.

    Only the watcher's own clock counts: a step of the machine's clock is no silence. When the watcher itself
    did not look for half of `silence`, the machine slept or was stopped: the engine gets the whole time again.
    """

    def __init__(self, silence: float) -> None:
        self._silence = silence
        self._process: Process | None = None
        self._beat: int | None = None
        self._heard = False
        self._waiting_since = 0.0
        self._looked = 0.0

    def frozen(self, now: float, process: Process | None, beat: int | None, *, excused: bool = False) -> bool:
        """Whether `process` has been silent for too long; call it several times within `silence` seconds.

        The silence begins anew with every look at which it is `excused`.
        """
        slept = now - self._looked > self._silence / 2
        self._looked = now
        if process is None or process != self._process:
            self._process, self._beat, self._heard, self._waiting_since = process, beat, False, now
        elif beat != self._beat:
            self._beat, self._heard, self._waiting_since = beat, True, now
        elif slept or excused:
            self._waiting_since = now
        patience = self._silence if self._heard else self._silence * _STARTING
        return process is not None and now - self._waiting_since > patience


def _never() -> bool:
    return False


async def watch(pid_file: Path, beat: Path, silence: float, asterisk_obeys: Callable[[], bool] = _never) -> None:
    """Kills the process of `pid_file` whenever `beat` was silent for `silence` seconds; runs until cancelled.

    So it does when Asterisk did nothing for the engine for so long (`writes_of`) while it obeyed others all the time.
    It starts nothing again: that is the supervisor's.
    """
    turning, writing = Vigil(silence), Vigil(silence)
    while True:
        told = read_pid_file(pid_file)
        process = told.process if told else None
        now = time.monotonic()
        frozen = turning.frozen(now, process, last_beat(beat))
        unheard = writing.frozen(now, process, last_beat(writes_of(beat)), excused=not asterisk_obeys())
        if process is not None and (frozen or unheard):
            what = "does not move" if frozen else "is not heard by Asterisk, which hears others"
            name = pid_file.stem
            log.error("engine is frozen and is cut off", part=name, pid=process.pid, what=what, silent_seconds=silence)
            process.send(signal.SIGKILL)
        await asyncio.sleep(silence / _LOOKS_PER_SILENCE)

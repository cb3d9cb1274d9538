"""Watches the engine's heartbeat and cuts a frozen engine off, so that another can take its calls over."""

from __future__ import annotations

import asyncio
import signal
import time
from pathlib import Path

import structlog

from engine.foundation.process import Process, read_pid_file
from engine.watchdog.heartbeat import last_beat

log = structlog.get_logger(__name__)

_LOOKS_PER_SILENCE = 8
_STARTING = 4.0  # a starting engine loads and reconciles before its first beat: so many times the silence


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

    def frozen(self, now: float, process: Process | None, beat: int | None) -> bool:
        """Whether `process` has been silent for too long; call it several times within `silence` seconds."""
        slept = now - self._looked > self._silence / 2
        self._looked = now
        if process is None or process != self._process:
            self._process, self._beat, self._heard, self._waiting_since = process, beat, False, now
        elif beat != self._beat:
            self._beat, self._heard, self._waiting_since = beat, True, now
        elif slept:
            self._waiting_since = now
        patience = self._silence if self._heard else self._silence * _STARTING
        return process is not None and now - self._waiting_since > patience


async def watch(pid_file: Path, beat: Path, silence: float) -> None:
    """Kills the process of `pid_file` whenever `beat` was silent for `silence` seconds; runs until cancelled.

    It starts nothing again: that is the supervisor's.
    """
    vigil = Vigil(silence)
    while True:
        told = read_pid_file(pid_file)
        process = told.process if told else None
        if vigil.frozen(time.monotonic(), process, last_beat(beat)) and process is not None:
            log.error("engine is frozen and is cut off", pid=process.pid, silent_seconds=silence)
            process.send(signal.SIGKILL)
        await asyncio.sleep(silence / _LOOKS_PER_SILENCE)

"""Whether there is no engine, for longer than one takes to come back."""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from engine.foundation.process import Process, read_pid_file
from engine.watchdog.heartbeat import last_beat

_SILENCE = 6.0
"""Seconds since an engine was last heard: one that died is back by then where somebody starts it again."""
_GAP = 3.0
"""Seconds without any process, so that one that was just cut off can be started again."""
_STEADY = 3.0
"""Seconds that an engine lives before its beats count: one that ends again and again looks after nobody."""
_SLEPT = 2.0


@dataclass(frozen=True, slots=True)
class Sign:
    """What is seen of one engine: its living process, and its last beat."""

    process: Process | None
    beat: int | None


@dataclass(slots=True)
class _Life:
    """A process, as far as it was watched."""

    process: Process | None
    beat: int | None
    since: float
    is_steady: bool = False


class Absence:
    """Decides from look to look whether nobody looks after the calls. Instants are monotonic seconds of the watcher.

    An engine that starts counts as there; once one has ended before it was steady, nobody waits for its next start.
    """

    def __init__(self) -> None:
        self._lives: list[_Life] = []
        self._heard = self._gone = self._looked = 0.0
        self._one_failed = False

    def lasts(self, now: float, engines: Sequence[Sign]) -> bool:
        """Call it once a second or more often, with what is seen of every engine, always in the same order."""
        if not self._lives or now - self._looked > _SLEPT:  # the machine slept, or the watcher was stopped
            self._lives = self._lives or [_Life(sign.process, sign.beat, now) for sign in engines]
            self._heard = self._gone = now
            self._one_failed = False
        self._looked = now
        for number, sign in enumerate(engines):
            self._lives[number] = self._after(self._lives[number], sign, now)
        lives = any(sign.process for sign in engines)
        if lives:
            self._gone = now
        return not lives and now - self._heard > _SILENCE and (self._one_failed or now - self._gone > _GAP)

    def _after(self, life: _Life, sign: Sign, now: float) -> _Life:
        if sign.process != life.process:
            self._one_failed |= life.process is not None and not life.is_steady
            return _Life(sign.process, sign.beat, now)
        if sign.beat != life.beat:
            life.beat = sign.beat
            if now - life.since >= _STEADY:
                life.is_steady, self._one_failed, self._heard = True, False, now
        return life


class Engines:
    """The engines of this home, by their pid files and their heartbeats."""

    def __init__(self, files: Sequence[tuple[Path, Path]]) -> None:
        self._files = files
        self._absence = Absence()

    @property
    def all_gone(self) -> bool:
        """Whether no engine's process lives at this instant."""
        return all(read_pid_file(pid_file) is None for pid_file, _ in self._files)

    def absent(self) -> bool:
        """Whether there has been none for long; ask about once a second."""
        told = [(read_pid_file(pid_file), last_beat(beat)) for pid_file, beat in self._files]
        signs = [Sign(pid.process if pid else None, beat) for pid, beat in told]
        return self._absence.lasts(time.monotonic(), signs)

"""A part of the system and what keeps it alive: taken over or started, and started again when it dies."""

from __future__ import annotations

import asyncio
import signal
import time
from collections.abc import Awaitable, Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path

import structlog

from engine.foundation.errors import Conflict, DariError, GaveUp
from engine.foundation.process import PidFile, Process, read_pid_file, write_pid_file
from engine.supervisor.processes import (
    end_after,
    end_process,
    ended,
    last_line,
    reap,
)

log = structlog.get_logger(__name__)

Say = Callable[[str], None]
"""Tells the operator one line of progress."""

_FIRST_WAIT, _LONGEST_WAIT = 0.2, 10.0
_STEADY = 10.0  # a part that lived so long starts its back-off anew
_DEATHS_AT_START = 3
_LOOK_EVERY = 0.1
_LOOK_AGAIN = 0.5  # at a part that was started again, for as long as it takes


async def _at_once(_process: Process) -> bool:
    return True


@dataclass(frozen=True, slots=True, kw_only=True)
class Part:
    """What is known of a part before it runs."""

    name: str
    start: Callable[[], Awaitable[Process]]
    serves: Callable[[Process], Awaitable[bool]] = _at_once
    """Whether it is ready; asked until it is."""
    ask_to_end: Callable[[Process], Awaitable[None]] | None = None
    """How it is asked to end in order; None: SIGTERM."""
    find: Callable[[], Process | None] = lambda: None
    """Finds the living part when its pid file is missing."""
    patience: float = 10.0
    """Seconds it gets to end by itself."""
    waits: float = 0.0
    """How many of these it may spend on waiting for live calls."""
    cut_off: signal.Signals = signal.SIGKILL
    """How it is ended at once."""
    ready_within: float = 60.0
    late_after: float | None = None
    """Seconds after which the others start without it; None: they need it."""
    log: Path
    settings: Mapping[str, str] = field(default_factory=dict)
    """Digests of what it is started with, by name of the setting."""
    version: Callable[[], str] = str
    """Asked at each start."""


class Keeper:
    """Keeps one part alive: `take_over` or `start`, `until_ready`, then `keep` as a task; cancel that before `end`."""

    def __init__(self, part: Part, pid_file: Path) -> None:
        self.part = part
        self._pid_file = pid_file
        self._restarts = 0
        self._process: Process | None = None

    def living(self) -> PidFile | None:
        """The part as it runs now, from its pid file or, when that is gone, from the machine's processes."""
        if told := read_pid_file(self._pid_file):
            return told
        process = self.part.find()
        return PidFile(process=process) if process else None

    def take_over(self) -> bool:
        """Whether the part lives; then it is ours from now on. Raises Conflict when it has other settings than now."""
        told = self.living()
        if told is None:
            return False
        self._check_settings(told)
        self._process, self._restarts = told.process, told.restarts
        write_pid_file(self._pid_file, told)
        return True

    async def start(self) -> None:
        """Starts the part, which may not serve yet. Raises Invalid, or what its `start` raises."""
        self._process = await self.part.start()
        write_pid_file(
            self._pid_file,
            PidFile(
                process=self._process,
                restarts=self._restarts,
                version=self.part.version(),
                settings=dict(self.part.settings),
            ),
        )

    async def until_ready(self) -> None:
        """Waits until the part serves; one that dies meanwhile is started again, but not for ever.

        Raises GaveUp with the last line of its log when it keeps dying or is not ready in time.
        """
        deaths = 0
        try:
            async with asyncio.timeout(self.part.ready_within):
                while not await self._until_serving():
                    if self._process is not None:
                        reap(self._process.pid)
                    deaths += 1
                    if deaths == _DEATHS_AT_START:
                        raise self._gave_up("ends again and again")
                    await asyncio.sleep(_FIRST_WAIT)
                    await self.start()
        except TimeoutError:
            raise self._gave_up(f"is not ready after {self.part.ready_within:.0f} s") from None

    async def keep(self) -> None:
        """Starts the part again whenever it has ended, waiting longer each time. Runs until cancelled."""
        wait = _FIRST_WAIT
        started = time.monotonic()
        while True:
            how = await ended(self._process) if self._process else "it was not running"
            wait = _FIRST_WAIT if time.monotonic() - started > _STEADY else wait
            log.warning("part ended, starting it again", part=self.part.name, how=how, after_seconds=round(wait, 1))
            await asyncio.sleep(wait)
            wait = min(wait * 2, _LONGEST_WAIT)
            self._restarts += 1
            started = time.monotonic()
            try:
                await self.start()
            except (DariError, OSError) as error:
                self._process = None
                log.error("part cannot be started", part=self.part.name, reason=str(error))
                continue
            with suppress(OSError):  # it could not be asked
                if await self._until_serving(look_every=_LOOK_AGAIN):
                    log.info("part is ready again", part=self.part.name)

    async def end(self, *, at_once: bool = False) -> bool:
        """Ends the part if it lives, `at_once` without asking. True when it ended by itself or was away."""
        told = self.living()
        by_itself = True
        if told is not None and at_once:
            by_itself = await end_process(told.process, self.part.cut_off, self.part.patience)
        elif told is not None and self.part.ask_to_end is None:
            by_itself = await end_process(told.process, signal.SIGTERM, self.part.patience)
        elif told is not None and self.part.ask_to_end is not None:
            await self.part.ask_to_end(told.process)
            by_itself = await end_after(told.process, self.part.patience)
        self._pid_file.unlink(missing_ok=True)
        return by_itself

    def _check_settings(self, told: PidFile) -> None:
        for name, value in self.part.settings.items():
            if told.settings.get(name, value) != value:
                raise Conflict(
                    f"{self.part.name} still runs with another {name} than is set now; run `dari down` first, "
                    f"or set {name} as it was"
                )

    def _gave_up(self, what: str) -> GaveUp:
        said = last_line(self.part.log)
        return GaveUp(f"{self.part.name} {what}{f' ({said})' if said else ''}; see {self.part.log}")

    async def _until_serving(self, *, look_every: float = _LOOK_EVERY) -> bool:
        """True when it serves, False when it has ended before."""
        while self._process is not None and self._process.lives:
            with suppress(DariError):
                if await self.part.serves(self._process):
                    return True
            await asyncio.sleep(look_every)
        return False

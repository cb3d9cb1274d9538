"""Telephones that answer while their engine is away are held, and told to wait, until its next life takes them on.

It belongs to the watchdog's process: that takes the engine's application over as soon as the engine's process has
ended, and the next life takes it back by connecting. While the engine lives nothing of this costs anything. Where no
engine comes, the caretaker lets the telephones go before their callers go back to the dialplan.
"""

from __future__ import annotations

import asyncio
import os
import time
from collections.abc import AsyncGenerator, Callable
from contextlib import aclosing
from pathlib import Path

import structlog

from engine.asterisk.commands import Ari
from engine.asterisk.events import ApplicationReplaced, Event, StasisEnd, StasisStart
from engine.calls.causes import NORMAL_CLEARING
from engine.calls.own_ids import is_first, is_target, playback_of
from engine.foundation.errors import DariError
from engine.foundation.process import Process, read_pid_file
from engine.foundation.tasks import Tasks

log = structlog.get_logger(__name__)

HELD_AT_MOST = 15.0
"""Seconds. Nobody stays longer on a line on which nothing comes; who went is rung again, should the engine come."""
_LOOK_EVERY = 0.2
_STARTING = 0.3
"""Seconds in which an engine that was started cannot have connected yet: its supervisor may be faster than we."""
_NO_ENGINE = 0
"""The life in whose name a held telephone is told to wait; those of engines count from 1."""


class HeldTelephones:
    """Those of one engine."""

    def __init__(
        self,
        pid_file: Path,
        ari: Ari,
        stand_in: Callable[[], AsyncGenerator[Event, None]],
        please_wait: str,
        at_most: float = HELD_AT_MOST,
    ) -> None:
        """`stand_in`: the events of the engine's application from now on, up to ApplicationReplaced.

        `please_wait`: the sound for whoever answers, as Asterisk wants it; held `at_most` so many seconds.
        """
        self._pid_file = pid_file
        self._ari = ari
        self._stand_in = stand_in
        self._please_wait = please_wait
        self._at_most = at_most
        self._reason = ""

    async def keep(self) -> None:
        """Until cancelled. An engine that was never seen here may live elsewhere: its application is left alone."""
        while True:
            await self._until_it_has_ended()
            await self._hold()

    async def _until_it_has_ended(self) -> None:
        while (told := read_pid_file(self._pid_file)) is None:  # noqa: ASYNC110 - a file tells nobody
            await asyncio.sleep(_LOOK_EVERY)
        await _end_of(told.process)

    async def _hold(self) -> None:
        """Until another has the application, or the engine lives again and connects by itself."""
        while self._may_stand_in():
            held = Tasks("held telephones")
            try:
                if await self._is_taken_back(held):
                    return
            except DariError as error:
                self._tell(str(error))
            finally:
                await held.close()
            await asyncio.sleep(_LOOK_EVERY)

    def _may_stand_in(self) -> bool:
        """Whoever connects last has the application: never when the next life may have connected already."""
        told = read_pid_file(self._pid_file)
        return told is None or _age(told.process) < _STARTING

    async def _is_taken_back(self, held: Tasks) -> bool:
        """Stands in for the engine until its application is another's."""
        waiting: dict[str, asyncio.Task[None]] = {}
        async with aclosing(self._stand_in()) as happenings:
            async for event in happenings:
                match event:
                    case ApplicationReplaced():
                        return True
                    case StasisStart(channel=channel) if _was_dialled(channel.id):
                        log.warning("a telephone answered while its engine is away: held", channel=channel.id)
                        waiting[channel.id] = held.start("held telephone", self._let_wait(channel.id))
                    case StasisEnd(channel=channel) if channel.id in waiting:
                        waiting.pop(channel.id).cancel()  # it has hung up, or another engine took it over
        return False

    async def _let_wait(self, channel: str) -> None:
        """For so long at most."""
        try:
            await self._ari.play(channel, self._please_wait, playback_of(channel, _NO_ENGINE, 1))
        except DariError as error:
            log.info("a held telephone hears nothing", channel=channel, reason=str(error))
        await asyncio.sleep(self._at_most)
        try:
            await self._ari.hang_up(channel, NORMAL_CLEARING)
        except DariError as error:
            log.warning("a held telephone is not let go", channel=channel, reason=str(error))

    def _tell(self, reason: str) -> None:
        """Logs each trouble once, however often it comes again."""
        if reason != self._reason:
            log.warning("telephones that answer without an engine cannot be held", reason=reason)
        self._reason = reason


def _was_dialled(channel: str) -> bool:
    return is_target(channel) or is_first(channel)


def _age(process: Process) -> float:
    """Seconds since its start."""
    return time.clock_gettime(time.CLOCK_BOOTTIME) - process.started / os.sysconf("SC_CLK_TCK")


async def _end_of(process: Process) -> None:
    """Comes back within the same instant, as far as the kernel can: Asterisk drops the application then, too."""
    descriptor = process.open()
    if descriptor is None:
        return
    ended = asyncio.Event()
    loop = asyncio.get_running_loop()
    loop.add_reader(descriptor, ended.set)
    try:
        await ended.wait()
    finally:
        loop.remove_reader(descriptor)
        os.close(descriptor)

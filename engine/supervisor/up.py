"""Brings the whole system up in order, keeps it up, and takes it down in order."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Coroutine, Mapping, Sequence
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import structlog

from engine.calls.control_all import engines_status
from engine.foundation.errors import DariError, TryLater
from engine.foundation.process import engine_name
from engine.foundation.tasks import Tasks
from engine.settings import MOST_ENGINES
from engine.supervisor.parts import Keeper, Part, Say
from engine.supervisor.processes import rotate_open
from engine.supervisor.stopping import Wish, stop_signals

log = structlog.get_logger(__name__)

ENGINES = tuple(map(engine_name, range(1, MOST_ENGINES + 1)))
"""The engines that a home may have."""
TOGETHER = (("postgres",), ("asterisk",), ("gateway", *ENGINES, "jobs", "web", "watchdog"))
"""Parts that start side by side; each group only once the one before is ready."""
ORDER = tuple(name for group in TOGETHER for name in group)
DOWN_TOGETHER = (ENGINES, ("web", "jobs", "watchdog", "gateway"), ("asterisk",), ("postgres",))
"""Parts that end side by side; each group only once the one before has ended."""
UP = tuple(name for name in ORDER if name not in ENGINES[1:])
"""Those of a home with one engine, in order."""
DOWN = tuple(name for group in DOWN_TOGETHER for name in group if name in UP)


@dataclass(frozen=True, slots=True, kw_only=True)
class System:
    """The parts of one home, by name, and what is done before some of them start."""

    run: Path
    engine_sockets: Sequence[Path]
    parts: Mapping[str, Part]
    before: Mapping[str, Callable[[Say], Awaitable[None]]] = field(default_factory=dict)
    """By name of a part in ORDER, whether or not this system has that part."""
    calls_alone: Callable[[], Awaitable[int]] | None = None
    """How many calls the dialplan runs without an engine."""
    logs: Sequence[Path] = ()
    """What parts write beside their own logs, and nobody else keeps small."""
    beside: Callable[[Say], Coroutine[Any, Any, None]] | None = None
    """What is tried from the start on until it is done, beside everything else."""

    def keepers(self) -> dict[str, Keeper]:
        return {name: Keeper(part, self.run / f"{name}.pid") for name, part in self.parts.items()}


async def run_system(system: System, say: Say, while_up: Callable[[], Awaitable[None]]) -> None:
    """Up, `while_up` awaited, and kept up until the operator wants it to stop; then down, with nothing left behind.

    When a part does not get up, what this start began is ended again and the error goes on; parts that were taken
    over live on.
    """
    keepers = system.keepers()
    async with stop_signals() as stopping:
        begun: list[str] = []
        try:
            async with stopping.stop.leaves(), _beside(system, say):
                await _bring_up(system, keepers, say, begun)
                async with _kept(system, keepers):
                    await while_up()
                    await stopping.stop.wait()
        except BaseException:
            await take_down(system, {name: keepers[name] for name in begun}, say, stopping.hurry)
            raise
        await take_down(system, keepers, say, stopping.hurry)


async def take_down(system: System, keepers: Mapping[str, Keeper], say: Say, hurry: Wish) -> None:
    """Ends the parts of `keepers`, group by group, each as soon as the one before has ended; in a hurry at once."""
    waiting = Tasks("stop")
    for group in DOWN_TOGETHER:
        living = [keepers[name] for name in group if name in keepers and keepers[name].living() is not None]
        if "engine" in group and living:
            waiting.start("calls", _tell_of_calls(system, living[0].part.waits, say))
        by_themselves = await asyncio.gather(*(_end(keeper, hurry) for keeper in living))
        await waiting.close()
        for keeper, by_itself in zip(living, by_themselves, strict=True):
            say(f"{keeper.part.name}: {'stopped' if by_itself else 'cut off'}")
    for keeper in keepers.values():
        await keeper.end()  # no part lives any more; what it left, such as its pid file, goes too


async def _end(keeper: Keeper, hurry: Wish) -> bool:
    """True when it ended by itself."""
    by_itself = False
    async with hurry.leaves():
        by_itself = await keeper.end()
    if not by_itself:
        await keeper.end(at_once=True)
    return by_itself


@asynccontextmanager
async def _beside(system: System, say: Say) -> AsyncIterator[None]:
    """While the block runs, or until it is done."""
    tasks = Tasks("beside")
    if system.beside:
        tasks.start("beside", system.beside(say))
    try:
        yield
    finally:
        await tasks.close()


@asynccontextmanager
async def _kept(system: System, keepers: Mapping[str, Keeper]) -> AsyncIterator[None]:
    """While the block runs, parts that die are started again, and no log grows without end."""
    tasks = Tasks("supervisor")
    tasks.start("logs", keep_small([*(keeper.part.log for keeper in keepers.values()), *system.logs]))
    for name, keeper in keepers.items():
        tasks.start(name, keeper.keep())
    try:
        yield
    finally:
        await tasks.close()


async def keep_small(logs: Sequence[Path], every: float = 60.0) -> None:
    """Rotates those that have grown large, from time to time, while they are written; until cancelled."""
    refused = False
    while True:
        try:
            for file in logs:
                rotate_open(file)
            refused = False
        except OSError as error:
            if not refused:
                log.warning("a log cannot be rotated", file=error.filename, reason=error.strerror)
            refused = True
        await asyncio.sleep(every)


async def _bring_up(system: System, keepers: Mapping[str, Keeper], say: Say, begun: list[str]) -> None:
    for group in TOGETHER:
        for name in group:
            if prepare := system.before.get(name):
                await prepare(say)
        began = asyncio.get_running_loop().time()
        mine = [keepers[name] for name in group if name in keepers]
        for keeper in mine:
            if not keeper.take_over():
                begun.append(keeper.part.name)
                await _in_time(keeper.part, keeper.start(), began)
        for keeper in mine:
            name = keeper.part.name
            if name in begun:
                say(f"{name}: starting")
            if late := await _in_time(keeper.part, keeper.until_ready(), began):
                say(f"{late}; the others start without it")
            else:
                say(f"{name}: {'ready' if name in begun else 'runs already, taken over'}")


async def _in_time(part: Part, step: Awaitable[None], began: float) -> str:
    """Awaits a step of the part's start. Why it did not succeed in time, where the others start without the part."""
    if part.late_after is None:
        await step
        return ""
    try:
        async with asyncio.timeout_at(began + part.late_after):
            await step
    except TimeoutError:
        return f"{part.name}: not there after {part.late_after:.0f} s"
    except DariError as error:
        return str(error)
    return ""


async def _tell_of_calls(system: System, waits: float, say: Say) -> None:
    """Tells, when the number changes, how many live calls the engines still wait for; first, which nobody waits for."""
    told = 0
    if system.calls_alone and (alone := await system.calls_alone()):
        say(f"asterisk: {alone} call{'s' if alone > 1 else ''} without an engine, not waited for")
    while True:
        with suppress(TryLater):
            live = (await engines_status(system.engine_sockets)).live_calls
            if live and live != told:
                say(f"engine: live calls {live}, waiting up to {waits:g} s (Ctrl-C again: at once)")
            told = live
        await asyncio.sleep(1.0)

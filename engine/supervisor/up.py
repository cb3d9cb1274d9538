"""Brings the whole system up in order, keeps it up, and takes it down in order."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path

from engine.calls.control_client import engine_status
from engine.foundation.errors import TryLater
from engine.foundation.tasks import Tasks
from engine.supervisor.parts import Keeper, Part, Say
from engine.supervisor.stopping import Wish, stop_signals

TOGETHER = (("postgres",), ("asterisk",), ("gateway", "engine", "jobs", "web", "watchdog"))
"""Parts that start side by side; each group only once the one before is ready."""
UP = tuple(name for group in TOGETHER for name in group)
DOWN_TOGETHER = (("engine",), ("web", "jobs", "watchdog", "gateway"), ("asterisk",), ("postgres",))
"""Parts that end side by side; each group only once the one before has ended."""
DOWN = tuple(name for group in DOWN_TOGETHER for name in group)


@dataclass(frozen=True, slots=True, kw_only=True)
class System:
    """The parts of one home, by name, and what is done before some of them start."""

    run: Path
    engine_socket: Path
    parts: Mapping[str, Part]
    before: Mapping[str, Callable[[Say], Awaitable[None]]] = field(default_factory=dict)
    """By name of a part in UP, whether or not this system has that part."""

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
            async with stopping.stop.leaves():
                await _bring_up(system, keepers, say, begun)
                async with _kept(keepers):
                    await while_up()
                    await stopping.stop.wait()
        except BaseException:
            await take_down({name: keepers[name] for name in begun}, system.engine_socket, say, stopping.hurry)
            raise
        await take_down(keepers, system.engine_socket, say, stopping.hurry)


async def take_down(keepers: Mapping[str, Keeper], engine_socket: Path, say: Say, hurry: Wish) -> None:
    """Ends the parts, group by group, each as soon as the one before has ended; at once when in a hurry."""
    waiting = Tasks("stop")
    for group in DOWN_TOGETHER:
        living = [keepers[name] for name in group if name in keepers and keepers[name].living() is not None]
        if "engine" in group and living:
            waiting.start("calls", _tell_of_calls(engine_socket, living[0].part.patience, say))
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
async def _kept(keepers: Mapping[str, Keeper]) -> AsyncIterator[None]:
    """While the block runs, parts that die are started again."""
    tasks = Tasks("supervisor")
    for name, keeper in keepers.items():
        tasks.start(name, keeper.keep())
    try:
        yield
    finally:
        await tasks.close()


async def _bring_up(system: System, keepers: Mapping[str, Keeper], say: Say, begun: list[str]) -> None:
    for group in TOGETHER:
        for name in group:
            if prepare := system.before.get(name):
                await prepare(say)
        mine = [keepers[name] for name in group if name in keepers]
        for keeper in mine:
            if not keeper.take_over():
                begun.append(keeper.part.name)
                await keeper.start()
        for keeper in mine:
            name = keeper.part.name
            if name in begun:
                say(f"{name}: starting")
            await keeper.until_ready()
            say(f"{name}: {'ready' if name in begun else 'runs already, taken over'}")


async def _tell_of_calls(socket: Path, patience: float, say: Say) -> None:
    """Tells, when the number changes, how many live calls the engine still waits for."""
    told = 0
    while True:
        with suppress(TryLater):
            live = (await engine_status(socket)).live_calls
            if live and live != told:
                say(f"engine: live calls {live}, waiting up to {patience:.0f} s (Ctrl-C again: at once)")
            told = live
        await asyncio.sleep(1.0)

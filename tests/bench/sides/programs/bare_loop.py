"""The least that connects calls over ARI: the same loop for our bare client and for other people's libraries.

Only the standard library is used here, because each library runs in an environment of its own.
"""

from __future__ import annotations

import asyncio
import sys
from abc import ABC, abstractmethod
from collections.abc import Callable, Coroutine
from dataclasses import dataclass
from typing import Any, Generic, Protocol, TypeVar

APP = "bench"
RING_SECONDS = 30
EVENTS = ("StasisStart", "ChannelHangupRequest", "ChannelDestroyed", "ChannelStateChange")
"""All that the loop looks at; the others are filtered out for everybody alike."""


class Commands(Protocol):
    """What a library must be able to ask for. What it raises for a channel that is gone ends that step alone."""

    async def answer(self, channel: str) -> None: ...

    async def make_bridge(self, bridge: str) -> None: ...

    async def connect(self, bridge: str, channels: str) -> None: ...

    async def hang_up(self, channel: str) -> None: ...

    async def destroy(self, bridge: str) -> None: ...


class Originates(Commands, Protocol):
    """One that rings in one step."""

    async def originate(self, endpoint: str, channel: str, caller: str, caller_number: str) -> None:
        """Rings `endpoint` as `channel`, which comes with the argument callee once it has answered."""


class Creates(Commands, Protocol):
    """One that rings in two steps."""

    async def create(self, endpoint: str, channel: str, caller: str) -> None:
        """Makes `channel`, which comes with the argument callee at once, and rings nobody."""

    async def dial(self, channel: str, caller: str) -> None: ...


_C = TypeVar("_C", bound=Commands)


def target_of(number: str, channel_name: str) -> str:
    """The endpoint that a number rings: behind the trunk that the call came in by."""
    trunk = channel_name.removeprefix("PJSIP/").rpartition("-")[0]
    return f"PJSIP/02345{number[-4:]}@{trunk}"


@dataclass(slots=True)
class _Pair:
    caller: str
    callee: str
    dialled: bool = False
    taken: bool = False

    @property
    def bridge(self) -> str:
        return f"b-{self.caller}"


class _BareLoop(ABC, Generic[_C]):
    """Give it every event."""

    def __init__(self, commands: _C, start: Callable[[Coroutine[Any, Any, None]], object]) -> None:
        """`start` runs a coroutine beside the others and keeps hold of it."""
        self._commands = commands
        self._start = start
        self._pairs: dict[str, _Pair] = {}

    def take(self, event: dict[str, Any]) -> None:
        """Returns at once."""
        kind, channel = event["type"], event.get("channel") or {}
        identifier = channel.get("id", "")
        if kind == "StasisStart":
            if event["args"][:1] == ["callee"]:
                self._start(self._callee_is_there(identifier))
            else:
                self._start(self._call(identifier, channel))
        elif kind == "ChannelStateChange" and channel["state"] == "Up":
            self._start(self._callee_is_up(identifier))
        elif kind in ("ChannelHangupRequest", "ChannelDestroyed"):
            self._start(self._over(identifier))

    async def _call(self, caller: str, channel: dict[str, Any]) -> None:
        pair = _Pair(caller, f"t-{caller}")
        self._pairs[caller] = self._pairs[pair.callee] = pair
        await self._ring(pair, target_of(channel["dialplan"]["exten"], channel["name"]), channel["caller"]["number"])

    @abstractmethod
    async def _ring(self, pair: _Pair, endpoint: str, caller_number: str) -> None:
        """Makes the callee."""

    async def _callee_is_there(self, callee: str) -> None:
        pair = self._pairs.get(callee)
        if pair is None:
            await self._commands.hang_up(callee)
        else:
            await self._go_on(pair)

    @abstractmethod
    async def _go_on(self, pair: _Pair) -> None:
        """The callee is there."""

    async def _callee_is_up(self, callee: str) -> None:
        pair = self._pairs.get(callee)
        if pair is not None and pair.dialled and callee == pair.callee and not pair.taken:
            await self._talk(pair)

    async def _talk(self, pair: _Pair) -> None:
        pair.taken = True
        await asyncio.gather(self._commands.answer(pair.caller), self._commands.make_bridge(pair.bridge))
        await self._commands.connect(pair.bridge, f"{pair.caller},{pair.callee}")

    async def _over(self, channel: str) -> None:
        pair = self._pairs.pop(channel, None)
        if pair is None:
            return
        other = pair.callee if channel == pair.caller else pair.caller
        self._pairs.pop(other, None)
        await asyncio.gather(self._commands.hang_up(other), self._commands.destroy(pair.bridge))


class OriginatingLoop(_BareLoop[Originates]):
    """The callee is originated."""

    async def _ring(self, pair: _Pair, endpoint: str, caller_number: str) -> None:
        await self._commands.originate(endpoint, pair.callee, pair.caller, caller_number)

    async def _go_on(self, pair: _Pair) -> None:
        await self._talk(pair)


class CreatingLoop(_BareLoop[Creates]):
    """The callee is created and dialled."""

    async def _ring(self, pair: _Pair, endpoint: str, caller_number: str) -> None:
        await self._commands.create(endpoint, pair.callee, pair.caller)

    async def _go_on(self, pair: _Pair) -> None:
        pair.dialled = True
        await self._commands.dial(pair.callee, pair.caller)


class Started:
    """Runs coroutines beside each other and holds them; one that fails says so on the program's stderr."""

    def __init__(self) -> None:
        self._tasks: set[asyncio.Task[None]] = set()

    def __call__(self, work: Coroutine[Any, Any, None]) -> None:
        task = asyncio.get_running_loop().create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._end)

    def _end(self, task: asyncio.Task[None]) -> None:
        self._tasks.discard(task)
        if not task.cancelled() and (error := task.exception()):
            print(f"{type(error).__name__}: {error}", file=sys.stderr)

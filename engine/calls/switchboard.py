"""What all calls of this engine share."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

from engine.asterisk.commands import Ari
from engine.cdr.spool import Spool
from engine.trunks.load import Taken
from engine.trunks.model import Trunk

_AFTER_TALK = 600
"""Seconds that a call may take around its talk."""


def longest_call(talk_limit: float) -> int:
    """Seconds from the INVITE after which Asterisk ends any call, should nobody else."""
    return int(talk_limit) + _AFTER_TALK


class Recorder(Protocol):
    """The part of Asterisk's manager that records (MixMonitor)."""

    async def record(self, channel_name: str, file: str, options: str) -> None: ...

    async def silence_recording(self, channel_name: str, silent: bool) -> None: ...

    async def stop_recording(self, channel_name: str) -> None: ...


class OutgoingTrunks(Protocol):
    """The trunks as a call that looks for one sees them. Nothing waits."""

    def find(self, name: str) -> Trunk | None: ...

    def candidates(self, came_in_by: str | None) -> list[Trunk]:
        """Those to try, best first."""

    def taken(self, name: str) -> Taken:
        """A call that came in."""

    def sent(self, trunk: Trunk) -> Taken:
        """A call that goes out."""


@dataclass(frozen=True, slots=True)
class Switchboard:
    """What all calls of this engine share."""

    ari: Ari
    recorder: Recorder
    trunks: OutgoingTrunks
    music_class: Callable[[tuple[str, ...]], Awaitable[str]]
    """The music class that plays sounds in their order over and over."""
    speech: Callable[[str], Awaitable[str]]
    """The name of the sound of a text, spoken if it has not been yet."""
    spool: Spool
    sounds: Path
    """As Asterisk sees it."""
    monitor: Path
    """Where Asterisk writes recordings while a call goes on."""
    node: str
    talk_limit: float
    """Seconds after which a talk is ended, for hang-ups that never came."""

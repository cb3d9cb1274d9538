"""What all calls of this engine share."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

from engine.asterisk.commands import Ari
from engine.cdr.spool import Spool


class Recorder(Protocol):
    """The part of Asterisk's manager that records (MixMonitor)."""

    async def record(self, channel_name: str, file: str, options: str) -> None: ...


@dataclass(frozen=True, slots=True)
class Switchboard:
    """What all calls of this engine share."""

    ari: Ari
    recorder: Recorder
    music_class: Callable[[str], Awaitable[str]]
    """The music class that plays a sound over and over."""
    spool: Spool
    sounds: Path
    """As Asterisk sees it."""
    monitor: Path
    """Where Asterisk writes recordings while a call goes on."""
    node: str
    talk_limit: float
    """Seconds after which a talk is ended, for hang-ups that never came."""

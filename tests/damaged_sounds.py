"""Files of sounds that are missing or broken in every way that a disk has."""

from __future__ import annotations

import struct
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path

SAID_SECONDS = 0.05
"""How much of a notice there is in a file that was cut short."""


def missing(file: Path) -> None:
    file.unlink()


def empty(file: Path) -> None:
    file.write_bytes(b"")


def garbage(file: Path) -> None:
    file.write_bytes(b"no sound at all. " * 500)


def without_sound(file: Path) -> None:
    """A proper file of 0 seconds."""
    file.write_bytes(b"RIFF" + struct.pack("<I", 36) + file.read_bytes()[8:40] + struct.pack("<I", 0))


def cut_short(file: Path) -> None:
    """The disk was full: the header promises all of the notice, and hardly any is there."""
    file.write_bytes(file.read_bytes()[: 44 + round(SAID_SECONDS * 16000)])


BROKEN = (missing, empty, garbage, without_sound, cut_short)


@asynccontextmanager
async def damaged(sound: Path, broken: Callable[[Path], None]) -> AsyncIterator[None]:
    """Its file is so while the block runs."""
    whole = sound.read_bytes()
    broken(sound)
    try:
        yield
    finally:
        sound.write_bytes(whole)

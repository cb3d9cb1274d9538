"""The spool of an engine that is dead: found by its lock, packed into one file, which another spool takes in whole.

At every instant each call is in one folder only, whatever dies: packing writes everything anew before it removes what
was there, and the packed file changes its folder by one rename.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from uuid import UUID

import structlog

from engine.cdr.left_behind import LeftBehind, read_back
from engine.cdr.model import OpenCall
from engine.cdr.segment import SUFFIX, Arrived, Place, Segment, encode
from engine.foundation.locks import got_lock

log = structlog.get_logger(__name__)

_LOOKS = 5


@dataclass(frozen=True, slots=True)
class Packed:
    """One file with all that a spool still had to tell, on disk."""

    segment: Segment
    open: dict[UUID, OpenCall]
    closed: dict[UUID, Place]
    """Not in the database yet."""


@contextmanager
def locked(folder: Path) -> Iterator[bool]:
    """Whether the folder's engine is dead: the lock is ours then while the block runs, and nobody else's.

    The kernel frees a dead process's lock, and no other's: one that is only frozen keeps it.
    """
    try:
        lock = os.open(folder / "lock", os.O_RDWR)
    except FileNotFoundError:  # no engine ever had it
        yield False
        return
    try:
        yield got_lock(lock)
    finally:
        os.close(lock)


def pack(folder: Path) -> Packed | None:
    """Writes what the folder still has to tell into one new file and removes the others; None: it has nothing.

    Call it with the lock. What is damaged is set aside for people. Raises OSError: then all is there as it was.
    """
    if not any(folder.glob(f"*{SUFFIX}")):
        return None
    left = read_back(folder)
    packed = _packed(folder, left) if left.open or left.closed else None
    for segment in left.segments:  # oldest first: what is in the database stays known as that
        if segment in left.damaged:
            log.error("a file of a dead engine's spool has broken lines", file=str(segment.path))
            segment.set_aside()
        else:
            segment.remove()
    return packed


def _packed(folder: Path, left: LeftBehind) -> Packed:
    segment = Segment.create(folder, left.next_number)
    packed = Packed(segment, left.open, {})
    try:
        for call in left.open.values():
            segment.append(encode(Arrived(call)))
        for call_id, place in left.closed.items():
            line = encode(place.segment.entry(place.offset, place.length))
            packed.closed[call_id] = Place(segment, segment.append(line), len(line))
        segment.sync()
    except OSError:
        segment.remove()
        raise
    segment.close()
    segment.calls |= left.open.keys() | packed.closed.keys()
    return packed


def open_calls(folder: Path) -> dict[UUID, OpenCall]:
    """The calls that are open in a spool which another engine may be writing just now. Raises OSError."""
    for _ in range(_LOOKS):
        left = read_back(folder)
        if not left.unreadable:  # a file went meanwhile: what mattered in it is in another one
            break
    return left.open

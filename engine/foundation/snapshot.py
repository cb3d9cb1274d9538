"""What was last known, kept on disk for the time when the database does not answer. Written whole or not at all."""

from __future__ import annotations

import os
from collections.abc import Iterable, Sequence
from itertools import islice
from pathlib import Path
from typing import TypeVar

import msgspec
import structlog

from engine.foundation.files import sync_folder

log = structlog.get_logger(__name__)

_FORMAT = 1
_LINES_AT_ONCE = 500  # under a millisecond of encoding: other threads get their turn

T = TypeVar("T", bound=msgspec.Struct)


class _Head(msgspec.Struct, frozen=True, kw_only=True):
    """The first line: what follows, one JSON value a line."""

    format: int
    kind: str
    count: int


def write_snapshot(path: Path, kind: type[T], items: Sequence[T]) -> None:
    """Replaces the snapshot. Blocks until it is on disk; made for a thread. Raises OSError."""
    path.parent.mkdir(parents=True, exist_ok=True)
    new = path.with_name(f"{path.name}.new")
    encoder = msgspec.json.Encoder()
    try:
        descriptor = os.open(new, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
        with os.fdopen(descriptor, "wb") as file:
            file.write(encoder.encode_lines([_Head(format=_FORMAT, kind=kind.__name__, count=len(items))]))
            for part in _parts(items):
                file.write(encoder.encode_lines(part))
            file.flush()
            os.fsync(file.fileno())
        new.replace(path)
    finally:
        new.unlink(missing_ok=True)
    sync_folder(path.parent)


def read_snapshot(path: Path, kind: type[T]) -> list[T] | None:
    """What the snapshot holds; None when there is none, or (with a line in the log) when it is broken."""
    try:
        head_line, _, lines = path.read_bytes().partition(b"\n")
        head = msgspec.json.decode(head_line, type=_Head)
        if (head.format, head.kind) != (_FORMAT, kind.__name__):
            raise ValueError("it was written by another version")
        items = msgspec.json.Decoder(kind).decode_lines(lines)
        if len(items) != head.count:
            raise ValueError(f"it holds {len(items)} of {head.count} lines")
    except FileNotFoundError:
        return None
    except (OSError, ValueError, msgspec.MsgspecError) as error:
        log.warning("snapshot is not usable, ignoring it", file=str(path), reason=_without_values(error))
        return None
    return items


def _parts(items: Iterable[T]) -> Iterable[list[T]]:
    rest = iter(items)
    while part := list(islice(rest, _LINES_AT_ONCE)):
        yield part


def _without_values(error: Exception) -> str:
    return type(error).__name__ if isinstance(error, msgspec.MsgspecError) else str(error)

"""What an earlier life left in the spool folder."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from uuid import UUID

from engine.cdr.model import OpenCall
from engine.cdr.segment import SUFFIX, Alive, Arrived, Broken, Came, Closed, Drained, Entry, Place, Segment, decode


@dataclass(slots=True)
class LeftBehind:
    """The calls found, and the files they are in, oldest first."""

    open: dict[UUID, OpenCall] = field(default_factory=dict)
    closed: dict[UUID, Place] = field(default_factory=dict)
    drained: set[UUID] = field(default_factory=set)
    segments: list[Segment] = field(default_factory=list)
    damaged: list[Segment] = field(default_factory=list)
    """Those of `segments` in which a line is broken, other than a torn last one."""
    unreadable: list[Path] = field(default_factory=list)
    next_number: int = 1


def read_back(folder: Path) -> LeftBehind:
    """Reads every file, and changes none; a broken line costs that line only.

    Raises OSError when the folder is unusable.
    """
    left = LeftBehind()
    for path in sorted(folder.iterdir()):
        number = path.name.partition(".")[0]
        if number.isdigit():
            left.next_number = max(left.next_number, int(number) + 1)
        if path.suffix == SUFFIX:
            _read_file(left, path)
    for call_id in left.drained:
        left.open.pop(call_id, None)
        left.closed.pop(call_id, None)
    for segment in left.segments:
        segment.calls &= left.open.keys() | left.closed.keys()
    return left


def _read_file(left: LeftBehind, path: Path) -> None:
    try:
        segment = Segment.reopen(path)
        broken = _read_lines(left, segment)
    except OSError:
        left.unreadable.append(path)
        return
    left.segments.append(segment)
    if broken:
        left.damaged.append(segment)


def _read_lines(left: LeftBehind, segment: Segment) -> bool:
    """Takes in the lines of a file; whether one of them is broken. The torn end of the last write is not."""
    broken = False
    for offset, line in segment.lines():
        try:
            entry = decode(line)
        except Broken:
            broken = broken or line.endswith(b"\n")
        else:
            _take_in(left, entry, Place(segment, offset, len(line)))
    return broken


def _take_in(left: LeftBehind, entry: Entry, place: Place) -> None:
    match entry:
        case Arrived(call):
            call_id = call.arrival.call_id
            if call_id not in left.closed:
                left.open[call_id] = call
            place.segment.calls.add(call_id)
        case Alive(call_ids, at):
            for call_id in call_ids:
                if call_id in left.open:
                    left.open[call_id] = left.open[call_id].seen_at(at)
        case Came(call_id, progress) if call_id in left.open:
            left.open[call_id] = left.open[call_id].come_to(progress)
        case Closed(record):
            left.open.pop(record.call_id, None)
            left.closed[record.call_id] = place
            place.segment.calls.add(record.call_id)
        case Drained(call_ids):
            left.drained.update(call_ids)

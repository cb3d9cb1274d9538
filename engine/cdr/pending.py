"""The calls that the database does not have yet."""

from __future__ import annotations

from collections.abc import Iterable
from uuid import UUID

from engine.cdr.model import CallRecord, OpenCall
from engine.cdr.segment import Alive, Arrived, Came, Closed, Drained, Entry, Place

IN_MEMORY = 1000
"""Closed calls that are kept whole, so that they need not be read back while the database takes them."""


class Pending:
    """Which calls are open, which are closed and not drained, and where the lines of the closed ones lie."""

    def __init__(self, open_calls: dict[UUID, OpenCall], closed: dict[UUID, Place]) -> None:
        self.open = open_calls
        self.closed: dict[UUID, CallRecord | Place] = {**closed}
        """In the order in which they closed; where its line lies, or the record itself: of the first ones, and of those
        that the disk does not have."""

    def matters(self, entry: Entry) -> bool:
        """Whether an entry that is not safely on disk still says something."""
        match entry:
            case Arrived(call):
                return call.arrival.call_id in self.open
            case Came(call_id, _):
                return call_id in self.open
            case Closed(record):
                return record.call_id in self.closed
            case Drained():
                return True
            case Alive():
                return False

    def placed(self, entry: Entry, place: Place) -> None:
        """The entry's line lies there now; its file is needed as long as the call is here."""
        match entry:
            case Arrived(call) if call.arrival.call_id in self.open:
                place.segment.calls.add(call.arrival.call_id)
            case Closed(record) if record.call_id in self.closed:
                place.segment.calls.add(record.call_id)
                if len(self.closed) > IN_MEMORY:
                    self.closed[record.call_id] = place

    def unplaced(self, entry: Entry) -> None:
        """The entry's line is not to be trusted any more."""
        if isinstance(entry, Closed) and entry.record.call_id in self.closed:
            self.closed[entry.record.call_id] = entry.record

    def forget(self, call_ids: Iterable[UUID]) -> None:
        for call_id in call_ids:
            self.open.pop(call_id, None)
            self.closed.pop(call_id, None)

"""What goes out in one request: one event as it is told, or several in an envelope. No input or output.

Two letters with the same id hold the same events, and the same events in a letter give the same id. Which events share
a letter is no promise: after a crash they may be cut otherwise. Who wants each event once goes by its own id.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable
from dataclasses import dataclass
from hashlib import sha256
from uuid import UUID

from engine.events.stream import StreamEvent, event_id
from engine.webhooks.model import Replay

MOST_BYTES = 1_000_000
"""Of a request with several events: one that is larger by itself goes alone."""
_OPENING, _CLOSING = b'{"type":"batch","events":[', b"]}"
_ID_DIGITS = 32


@dataclass(frozen=True, slots=True)
class Letter:
    """What is sent next."""

    top: UUID
    """In whose stream the events have their places."""
    events: tuple[StreamEvent, ...]
    """At least one, in order."""
    enveloped: bool
    """Whether it goes out as a batch, which may hold one event too."""
    replay: Replay | None = None
    """None: they are new."""

    @property
    def first(self) -> int:
        """The place of its first event."""
        return self.events[0].seq

    @property
    def last(self) -> int:
        return self.events[-1].seq

    @property
    def id(self) -> str:
        """The same for the same events, whenever they are sent."""
        if not self.enveloped:
            return event_id(self.events[0].uid)
        return f"bat_{sha256(b''.join(event.uid.bytes for event in self.events)).hexdigest()[:_ID_DIGITS]}"

    @property
    def body(self) -> bytes:
        if not self.enveloped:
            return self.events[0].told
        return in_envelope([event.told for event in self.events])


def in_envelope(told: Iterable[bytes]) -> bytes:
    """Events, as they are told alone, in the body of one request."""
    return _OPENING + b",".join(told) + _CLOSING


class Pile:
    """Events of one stream that wait to be sent, in order. A letter made of the first ones stays until it is passed."""

    def __init__(self, top: UUID, most: int) -> None:
        """`most` events go into one letter; with 1 each goes out without an envelope."""
        self._top = top
        self._most = most
        self._events: deque[StreamEvent] = deque()
        self._letter: Letter | None = None
        self._borders: list[int] = []
        """While a refused letter is sent in halves: places behind which a new letter begins, the nearest last."""

    @property
    def wants_more(self) -> bool:
        """Whether a letter made now would have room for more events."""
        return self._letter is None and len(self._events) < self._most

    @property
    def empty(self) -> bool:
        return not self._events

    def add(self, events: Iterable[StreamEvent]) -> None:
        self._events.extend(events)

    def letter(self, replay: Replay | None = None) -> Letter | None:
        """Of what is there, however little; None: nothing is."""
        if self._letter is None and self._events:
            self._letter = Letter(self._top, tuple(self._first_ones()), self._most > 1, replay)
        return self._letter

    def halve(self, letter: Letter) -> None:
        """Its events go in two letters, as they are found wrong together: so that one that is wrong is found."""
        if not self._borders or self._borders[-1] > letter.last:
            self._borders.append(letter.last)
        self._borders.append(letter.events[(len(letter.events) - 1) // 2].seq)
        self._letter = None

    def passed(self, upto: int) -> None:
        """Everything up to there was dealt with."""
        self._letter = None
        while self._events and self._events[0].seq <= upto:
            self._events.popleft()
        while self._borders and self._borders[-1] <= upto:
            self._borders.pop()

    def _first_ones(self) -> Iterable[StreamEvent]:
        room = MOST_BYTES - len(_OPENING) - len(_CLOSING)
        border = self._borders[-1] if self._borders else None
        for count, event in enumerate(self._events):
            room -= len(event.told) + 1
            if count and (count >= self._most or room < 0 or (border is not None and event.seq > border)):
                return
            yield event

"""What the routers of events and webhooks work with besides the database: the tail of the streams, and the way out."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Annotated

from fastapi import Depends, FastAPI, Request

from engine.events.tail import Tail
from engine.foundation.errors import TryLater
from engine.webhooks.egress import Egress
from engine.webhooks.settings import Rules

MOST_STREAMS = 500
"""Open streams of one process."""
MOST_STREAMS_EACH = 10
"""Of one key or user."""


@dataclass(slots=True)
class EventDesk:
    """Made once by the process that serves the API."""

    tail: Tail
    """It has to run."""
    rules: Rules
    egress: Egress
    """To be opened: test events are sent through it."""
    _open: Counter[str] = field(default_factory=Counter)

    def check_room(self, who: str) -> None:
        """Raises TryLater when there is no room for one more open stream."""
        if self._open[who] >= MOST_STREAMS_EACH:
            raise TryLater(f"streams: you have {MOST_STREAMS_EACH} open already; close one", after=5.0)
        if self._open.total() >= MOST_STREAMS:
            raise TryLater(f"streams: {MOST_STREAMS} are open already; try again, or pull", after=30.0)

    @contextmanager
    def counted(self, who: str) -> Iterator[None]:
        """One more is open during the block."""
        self._open[who] += 1
        try:
            yield
        finally:
            self._open[who] -= 1
            if not self._open[who]:
                del self._open[who]


def equip_events(app: FastAPI, desk: EventDesk) -> FastAPI:
    """The application, whose handlers find this desk."""
    app.state.event_desk = desk
    return app


async def _desk(request: Request) -> EventDesk:
    desk: EventDesk = request.app.state.event_desk
    return desk


EventDeskDep = Annotated[EventDesk, Depends(_desk)]
"""What events and webhooks work with in the process that serves this request."""

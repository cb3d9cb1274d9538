"""How long an event is tried, and when again. Pure.

A receiver that is down holds up its own events only, and gets them in order when it is back: at the latest an hour
after. What it has not taken after three days of trying lies among the dead letters: days in which nothing was sent do
not count.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime, timedelta
from http import HTTPStatus

WAITS = tuple(timedelta(seconds=seconds) for seconds in (5, 30, 120, 300, 900, 1800, 3600))
"""After the first, the second … failure in a row; after later ones as after the last."""
JITTER = 0.2
"""Each wait is longer or shorter by up to this share, so that receivers behind one broken thing do not come at once."""
LONGEST_WAIT = WAITS[-1] * (1 + JITTER)
"""An instant that is further away was reckoned by a clock that has been set back since."""
PATIENCE = timedelta(days=3)
REFUSED_TRIES = 5
"""Tries of an event that the receiver finds wrong in itself: it would hold up all others for nothing."""
FALLBACK_FOR = timedelta(minutes=1)
"""How long the second address is tried first once the first one has failed."""

_WRONG_ITSELF = (
    HTTPStatus.BAD_REQUEST,
    HTTPStatus.REQUEST_ENTITY_TOO_LARGE,
    HTTPStatus.UNPROCESSABLE_ENTITY,
)


@dataclass(frozen=True, slots=True)
class Answer:
    """What came of one try."""

    status: int | None
    """None: there was no answer."""
    reason: str = ""
    """In words, for whoever looks after the receiver."""
    seconds: float = 0.0

    @property
    def delivered(self) -> bool:
        return self.status is not None and 200 <= self.status < 300

    @property
    def gone(self) -> bool:
        """Whether the receiver wants nothing any more."""
        return self.status == HTTPStatus.GONE

    @property
    def finds_it_wrong(self) -> bool:
        """Whether the receiver takes events, but not this one."""
        return self.status in _WRONG_ITSELF


def wait_after(failures: int, chance: float) -> timedelta:
    """How long to wait after so many failures in a row; `chance` is a number from 0 to 1."""
    return WAITS[min(max(failures, 1), len(WAITS)) - 1] * (1 + JITTER * (2 * chance - 1))


def is_late(due_since: datetime, failing_since: datetime, now: datetime) -> bool:
    """Whether an event that was due then is given up when it fails now, with a receiver that fails since then."""
    return now - max(due_since, failing_since) >= PATIENCE


def is_refused_for_good(answer: Answer, failures: int) -> bool:
    """Whether the receiver has said often enough that it finds this event wrong; `failures` with this one."""
    return answer.finds_it_wrong and failures >= REFUSED_TRIES

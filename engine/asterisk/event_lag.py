"""How late events are dealt with: from the instant that Asterisk gave each one until it has reached its call."""

from __future__ import annotations

from collections import deque
from datetime import datetime

_KEPT = 5000
_WITHIN = 60.0
"""Seconds that count."""


class EventLag:
    """Of the last minute's events, the newest 5,000 at most."""

    def __init__(self) -> None:
        self._recent: deque[tuple[float, float]] = deque(maxlen=_KEPT)

    def note(self, told: str, now: datetime, tick: float) -> None:
        """An event of Asterisk's instant `told` is dealt with now; one without an instant counts for nothing."""
        try:
            behind = (now - datetime.fromisoformat(told)).total_seconds()
        except (ValueError, TypeError):  # no instant, or one without a zone
            return
        self._recent.append((tick, max(behind, 0.0)))

    def p99(self, tick: float) -> float | None:
        """Seconds that all but one in a hundred stayed under; None when there were no events."""
        lags = sorted(lag for noted, lag in self._recent if tick - noted <= _WITHIN)
        return lags[len(lags) * 99 // 100] if lags else None

"""How many requests somebody may send: a bucket of tokens each, in this process."""

from __future__ import annotations

from collections import OrderedDict
from dataclasses import dataclass
from math import ceil

_MOST_BUCKETS = 10_000


@dataclass(frozen=True, slots=True)
class Rate:
    """So many requests a minute, of which so many may come at once."""

    a_minute: int
    at_once: int

    @property
    def a_second(self) -> float:
        return self.a_minute / 60


@dataclass(frozen=True, slots=True)
class Bucket:
    """The tokens that are left, as of an instant (seconds of a clock that never jumps)."""

    tokens: float
    at: float


@dataclass(frozen=True, slots=True)
class Taken:
    """What came of asking for one token."""

    allowed: bool
    limit: int
    remaining: int
    reset: float
    """Seconds until the bucket is full again."""
    wait: float
    """Seconds until the next token is there; 0 when one is."""

    @property
    def headers(self) -> dict[str, str]:
        """As the answer tells it; waits are whole seconds, rounded up."""
        told = {
            "RateLimit-Limit": str(self.limit),
            "RateLimit-Remaining": str(self.remaining),
            "RateLimit-Reset": str(ceil(self.reset)),
        }
        return told if self.allowed else told | {"Retry-After": str(max(1, ceil(self.wait)))}


def take(bucket: Bucket | None, rate: Rate, now: float) -> tuple[Bucket, Taken]:
    """Takes one token out of a bucket (None: a full one); an empty one gives none and stays as it is."""
    held = float(rate.at_once)
    if bucket is not None:
        held = min(held, bucket.tokens + max(0.0, now - bucket.at) * rate.a_second)
    allowed = held >= 1
    left = held - 1 if allowed else held
    return Bucket(left, now), Taken(
        allowed=allowed,
        limit=rate.at_once,
        remaining=int(left),
        reset=(rate.at_once - left) / rate.a_second,
        wait=max(0.0, (1 - left) / rate.a_second),
    )


class RateLimits:
    """The buckets of those who asked last; whoever has not asked for long has a full one anyway."""

    def __init__(self, rate: Rate) -> None:
        self._rate = rate
        self._buckets: OrderedDict[str, Bucket] = OrderedDict()

    def take(self, who: str, now: float) -> Taken:
        """Takes a token of `who`."""
        self._buckets[who], taken = take(self._buckets.get(who), self._rate, now)
        self._buckets.move_to_end(who)
        if len(self._buckets) > _MOST_BUCKETS:
            self._buckets.popitem(last=False)
        return taken

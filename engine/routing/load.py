"""How many calls numbers and accounts have and had: counted here, since a limit cannot wait for the database. Pure."""

from __future__ import annotations

from array import array
from bisect import bisect_left, insort
from collections.abc import Iterable
from uuid import UUID

from engine.foundation.phone_number import PhoneNumber
from engine.routing.model import Load

HOUR, DAY = 3600.0, 86400.0

_SWEEP_EVERY = 10_000  # calls
_SAME_CALL = 1.0  # seconds between a call's arrival, as written down, and its being let in

Key = PhoneNumber | UUID
"""A number, or an account by its id."""


class LoadBook:
    """The calls of one engine, by number and by account. `now` is always in seconds of one clock that never jumps.

    A call counts from when it is let in; those that are turned away for a limit, a closed shop or a blocked caller are
    not entered, else a crowd that dials again and again would shut itself out for ever.
    """

    def __init__(self) -> None:
        self._live: dict[Key, int] = {}
        self._began: dict[Key, array[float]] = {}
        self._until_sweep = _SWEEP_EVERY

    @property
    def known(self) -> int:
        """Of how many numbers and accounts it has calls of the last day."""
        return len(self._began)

    def begin(self, number: PhoneNumber, account: UUID, now: float) -> None:
        """A call is let in; one that was taken over from another life of the engine began earlier than the last."""
        for key in (number, account):
            self._live[key] = self._live.get(key, 0) + 1
            self._enter(key, now)
        self._until_sweep -= 1
        if self._until_sweep <= 0:
            self._sweep(now)

    def end(self, number: PhoneNumber, account: UUID) -> None:
        """A call that began here is over."""
        for key in (number, account):
            left = self._live.get(key, 0) - 1
            if left > 0:
                self._live[key] = left
            else:
                self._live.pop(key, None)

    def seed(self, key: Key, began: Iterable[float]) -> None:
        """Calls of before the engine started, once; those among them that the book has seen are not entered again."""
        seen = sorted(self._began.get(key, ()))
        for at in began:
            near = bisect_left(seen, at - _SAME_CALL)
            if near == len(seen) or seen[near] > at + _SAME_CALL:
                self._enter(key, at)

    def load(self, key: Key, now: float) -> Load:
        """What there is and was of a number or an account. Calls of exactly an hour or a day ago count no more."""
        began = self._began.get(key)
        if began is None:
            return Load(at_once=self._live.get(key, 0))
        _forget(began, now)
        return Load(
            at_once=self._live.get(key, 0),
            last_hour=len(began) - _first_within(began, now, HOUR),
            last_day=len(began),
        )

    def _enter(self, key: Key, at: float) -> None:
        began = self._began.get(key)
        if began is None:
            self._began[key] = array("d", (at,))
        else:
            _forget(began, at)
            insort(began, at)

    def _sweep(self, now: float) -> None:
        """Numbers that are no longer called take no memory."""
        self._until_sweep = max(_SWEEP_EVERY, len(self._began))
        for key, began in list(self._began.items()):
            _forget(began, now)
            if not began:
                del self._began[key]


def _forget(began: array[float], now: float) -> None:
    del began[: _first_within(began, now, DAY)]


def _first_within(began: array[float], now: float, seconds: float) -> int:
    """Those from here on began less than `seconds` ago."""
    return bisect_left(began, True, key=lambda at: now - at < seconds)

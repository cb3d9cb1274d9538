"""How many calls a second are let in, before a machine that does one thing after the other."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field

import pytest

from engine.trunks.rate_control import LEAST, LOOK_EVERY, RateControl

_CAPACITY = 150.0
"""Calls a second."""
_REFUSAL = 0.15
"""Of a call's work."""
_GIVEN_UP_AFTER, _THEN = 1.0, 2.0
"""Seconds after which a call is so many times as much work."""


@dataclass
class Machine:
    """Deals with one call after the other, refusals too."""

    control: RateControl = field(default_factory=RateControl)
    skew: float = 0.0
    """By which the clock of who notes the calls is ahead."""
    free: float = 0.0
    let_in: dict[int, int] = field(default_factory=dict)
    refused: dict[int, int] = field(default_factory=dict)
    waited: dict[int, float] = field(default_factory=dict)
    """By second, the longest wait of a call that came in it."""
    _done: deque[tuple[float, float]] = field(default_factory=deque)

    def take(self, rate: Callable[[float], float], until: float) -> None:
        """Calls come at `rate(instant)` a second."""
        look = LOOK_EVERY
        for instant in _arrivals(rate, until):
            while look <= instant:
                self._look(look)
                look += LOOK_EVERY
            self._call(instant)

    def _look(self, now: float) -> None:
        while self._done and self._done[0][0] <= now:
            done, came = self._done.popleft()
            self.control.note(done - came + self.skew)
        self.control.look(now)

    def _call(self, instant: float) -> None:
        second, turn = int(instant), max(self.free, instant)
        self.waited[second] = max(self.waited.get(second, 0.0), turn - instant)
        limit, so_far = self.control.limit, self.let_in.get(int(turn), 0)
        if limit is not None and so_far >= min(limit, limit * (turn % 1 + 1 / 16) + 3):
            self.refused[second] = self.refused.get(second, 0) + 1
            self.free = turn + _REFUSAL / _CAPACITY
            return
        self.let_in[int(turn)] = so_far + 1
        self.free = turn + (_THEN if turn - instant > _GIVEN_UP_AFTER else 1.0) / _CAPACITY
        self._done.append((self.free, instant))


class Unheard(RateControl):
    def look(self, now: float) -> int | None:
        return None


def _arrivals(rate: Callable[[float], float], until: float) -> Iterator[float]:
    instant = 0.0
    while instant < until:
        a_second = rate(instant)
        instant += 1 / a_second if a_second else 0.05
        if a_second:
            yield instant


def test_a_machine_that_keeps_up_refuses_nobody() -> None:
    machine = Machine()
    machine.take(lambda _: 0.95 * _CAPACITY, 60.0)
    assert not machine.refused


@pytest.mark.parametrize("skew", [0.0, 30.0])
def test_twice_as_many_as_it_can_take_are_no_more_than_it_can_take(skew: float) -> None:
    machine = Machine(skew=skew)
    machine.take(lambda instant: 2 * _CAPACITY if instant >= 5 else 0.5 * _CAPACITY, 60.0)
    assert max(machine.waited.values()) < _GIVEN_UP_AFTER
    assert max(machine.waited[second] for second in range(8, 60)) < 0.5
    assert min(machine.let_in[second] for second in range(8, 60)) > 0.5 * _CAPACITY


def test_a_clock_that_is_behind_tells_nothing_and_harms_nobody() -> None:
    machine = Machine(skew=-30.0)
    machine.take(lambda _: 2 * _CAPACITY, 20.0)
    assert not machine.refused


def test_a_clock_that_is_set_back_harms_nobody() -> None:
    machine = Machine()

    def rate(instant: float) -> float:
        machine.skew = -3.0 if instant < 10 else 0.0
        return 0.9 * _CAPACITY

    machine.take(rate, 30.0)
    assert not machine.refused


def test_a_machine_without_a_limit_would_not_recover() -> None:
    """What the control is there for."""
    machine = Machine()
    machine.control = Unheard()
    machine.take(lambda instant: 2 * _CAPACITY if 5 <= instant < 15 else 0.9 * _CAPACITY, 60.0)
    assert machine.waited[59] > 5.0


def test_all_are_let_in_again_soon() -> None:
    machine = Machine()
    machine.take(lambda instant: 2 * _CAPACITY if 5 <= instant < 25 else 0.4 * _CAPACITY, 60.0)
    assert max(machine.refused) <= 26
    assert machine.control.limit is None


def test_when_no_calls_come_any_more_the_limit_goes() -> None:
    machine = Machine()
    machine.take(lambda instant: 2 * _CAPACITY if instant < 5 else 0.0, 6.0)
    assert machine.control.limit is not None
    for look in range(120):
        machine.control.look(6.0 + look * LOOK_EVERY)
    assert machine.control.limit is None


def test_many_calls_of_an_instant_are_no_overload() -> None:
    machine = Machine()
    machine.take(lambda instant: 200.0 if 5 <= instant < 5.2 else 20.0, 20.0)
    assert not machine.refused


@pytest.mark.parametrize(("rate", "seconds"), [(0.2 * _CAPACITY, 0.5), (0.9 * _CAPACITY, 0.4)])
def test_a_moment_in_which_nothing_moves_is_no_overload(rate: float, seconds: float) -> None:
    machine = Machine()

    def coming(instant: float) -> float:
        if 5.0 <= instant < 5.0 + 1 / rate:
            machine.free = 5.0 + seconds
        return rate

    machine.take(coming, 20.0)
    assert machine.waited[5] > seconds - 0.1
    assert not machine.refused


def test_five_calls_a_second_are_let_in_however_late_they_are() -> None:
    control = RateControl()
    control.note(0.001)
    for look in range(500):
        if look % 4 == 0 or look >= 300:
            control.note(9.0)
        control.look(look * LOOK_EVERY)
        assert look >= 300 or control.limit is None
    assert control.limit == LEAST


def test_close_to_what_it_can_take_the_limit_is_raised_carefully() -> None:
    machine = Machine()
    machine.take(lambda instant: 2 * _CAPACITY if instant >= 5 else 0.5 * _CAPACITY, 60.0)
    late = [second for second in range(8, 60) if machine.waited[second] > 0.2]
    assert len(late) <= 12


def test_what_waits_for_long_does_not_lower_it_to_nothing() -> None:
    machine = Machine()

    def rate(instant: float) -> float:
        if 10.0 <= instant < 10.01:
            machine.free = 14.0
        return 0.9 * _CAPACITY

    machine.take(rate, 40.0)
    assert machine.waited[10] > 3.0
    assert min(machine.let_in[second] for second in range(15, 40)) > 0.08 * _CAPACITY
    assert max(machine.refused) < 37

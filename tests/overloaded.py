"""An engine that has more calls than it deals with in time."""

from __future__ import annotations

from engine.trunks.rate_control import LEAST, LOOK_EVERY, RateControl

_LOOKS, _LATE = 40, 10
"""Looks, and how many of them, the last, find calls late."""


def overloaded(now: float) -> RateControl:
    """As it is at that instant, ten calls a second having come of which the last waited for two: as low as it goes."""
    control = RateControl()
    for look in range(_LOOKS):
        control.note(2.0 if look >= _LOOKS - _LATE else 0.0)
        control.look(now - (_LOOKS - look) * LOOK_EVERY)
    assert control.limit == LEAST
    return control

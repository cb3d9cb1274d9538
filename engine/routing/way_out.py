"""Which stages a call goes through when nobody takes it. Pure."""

from __future__ import annotations

from engine.numbers.treatment import Failure
from engine.routing.call_plan import Forward, next_stage


def gone_through(plan: Forward, failure: Failure) -> tuple[int, ...]:
    """The places in `plan.stages` that a call goes through whose every telephone fails so; the last may end it."""
    gone: list[int] = []
    place = next_stage(plan.stages, None, plan.failed_before)
    while place is not None:
        gone.append(place)
        place = next_stage(plan.stages, place, failure)
    return tuple(gone)

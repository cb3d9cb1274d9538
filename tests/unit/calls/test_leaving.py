"""Callers who leave, at any instant of a call: nothing of it stays, and there is one record."""

from __future__ import annotations

import asyncio
import random
from pathlib import Path

import pytest

from engine.cdr.model import Result, Side
from tests.call_desk import SHOP, desk_at, service_number
from tests.fake_parties import Leg
from tests.virtual_time import run_virtual

SEED = 20260101
LONGEST = 9.0
"""Seconds; by then the call is connected whatever is played before."""


def instants(how_many: int) -> list[float]:
    """Seeded instants over the whole call, half of them in its busy first milliseconds and around each change."""
    chosen = random.Random(SEED)
    changes = [0.0, 0.5, 1.5, 2.5, 3.5, 4.2]
    near = [max(0.0, chosen.choice(changes) + chosen.uniform(-0.01, 0.02)) for _ in range(how_many // 2)]
    return near + [chosen.uniform(0.0, LONGEST) for _ in range(how_many - len(near))]


@pytest.mark.parametrize("record", [True, False])
def test_caller_who_leaves_at_any_instant_leaves_nothing_behind_but_one_record(tmp_path: Path, record: bool) -> None:
    results: set[Result] = set()

    async def run() -> None:
        async with desk_at(tmp_path, service_number(record=record)) as desk:
            for instant in instants(200):
                phone = desk.asterisk.phone(SHOP, rings_after=0.5, answers_after=2.5)
                caller = desk.call()
                await asyncio.sleep(instant)
                caller.hang_up()
                closed = await desk.one_call(caller)
                if closed is None:
                    assert instant < 0.01, "a call that came to us has no record"
                    continue
                assert closed.ended_by is Side.CALLER
                assert closed.result in (Result.CALLER_GAVE_UP, Result.ANSWERED)
                assert (closed.result is Result.ANSWERED) == bool(closed.answered_at)
                assert all(leg.gone for leg in phone.legs)
                results.add(closed.result)

    run_virtual(run())
    assert results == {Result.CALLER_GAVE_UP, Result.ANSWERED}, "the sweep did not reach every phase"


def test_caller_who_leaves_during_the_announcement_still_counts_as_not_in_service(tmp_path: Path) -> None:
    async def run() -> None:
        async with desk_at(tmp_path) as desk:
            for instant in (0.01, 0.5, 1.0, 1.99):
                caller = desk.call("050799999999")
                await asyncio.sleep(instant)
                caller.hang_up()
                closed = await desk.one_call(caller)
                assert closed is not None
                assert closed.result is Result.NOT_IN_SERVICE

    run_virtual(run())


def test_nobody_is_called_for_a_caller_who_has_left(tmp_path: Path) -> None:
    async def run() -> None:
        async with desk_at(tmp_path) as desk:
            phone = desk.asterisk.phone(SHOP)
            caller = desk.call()
            claimed = desk.asterisk._switch.claimed

            def claimed_too_late(leg: Leg) -> None:
                claimed(leg)
                caller.hang_up()

            desk.asterisk._switch.claimed = claimed_too_late  # type: ignore[method-assign]
            closed = await desk.one_call(caller)
            assert closed is not None
            assert closed.result is Result.CALLER_GAVE_UP
            assert phone.legs == []

    run_virtual(run())


def test_target_that_answers_and_hangs_up_in_one_breath_has_rejected(tmp_path: Path) -> None:
    async def run() -> None:
        async with desk_at(tmp_path) as desk:
            desk.asterisk.phone(SHOP, answers_after=1.0)
            enter_app = desk.asterisk._switch.enter_app

            def enter_and_go(leg: Leg, args: str) -> None:
                enter_app(leg, args)
                if args.startswith("target"):
                    desk.asterisk._switch.far_side_hangs_up(leg)

            desk.asterisk._switch.enter_app = enter_and_go  # type: ignore[method-assign]
            closed = await desk.one_call(desk.call())
            assert closed is not None
            assert (closed.result, closed.ended_by) == (Result.REJECTED, Side.TARGET)
            assert closed.legs[1].answered_at is not None

    run_virtual(run())


def test_target_that_hangs_up_at_any_instant_ends_the_call(tmp_path: Path) -> None:
    async def run() -> None:
        async with desk_at(tmp_path) as desk:
            for instant in (one / 20 for one in range(80)):
                desk.asterisk.phone(SHOP, rings_after=0.5, answers_after=1.0, hangs_up_after=instant)
                caller = desk.call()
                closed = await desk.one_call(caller)
                assert closed is not None
                assert closed.ended_by is Side.TARGET
                answered = closed.result is Result.ANSWERED
                assert answered or closed.result is Result.REJECTED
                assert answered == (200 in {code for _, code in caller.answers}), "who was not connected paid"

    run_virtual(run())

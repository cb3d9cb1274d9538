"""Asterisk refuses, hangs or is lost for a while: every call still ends in order, with one record and nothing left."""

from __future__ import annotations

import asyncio
import random
from collections.abc import Callable
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from engine.asterisk.commands import (
    AsteriskFailed,
    ChannelGone,
    NotInApplication,
    OutcomeUnknown,
    PreconditionFailed,
    WrongState,
)
from engine.asterisk.events import Event
from engine.cdr.model import Result, Side
from engine.foundation.errors import DariError, Invalid, NotAllowed, NotFound, TryLater
from tests.call_desk import NUMBER, SHOP, Desk, desk_at
from tests.fake_switch import FakeConnection
from tests.virtual_time import run_virtual

VERBS = (
    "claim",
    "play",
    "start_music",
    "originate",
    "record",
    "create_bridge",
    "answer",
    "add_to_bridge",
    "hang_up",
    "destroy_bridge",
)
ERRORS: tuple[Callable[[str], DariError], ...] = (
    TryLater,
    OutcomeUnknown,
    NotFound,
    ChannelGone,
    WrongState,
    PreconditionFailed,
    NotInApplication,
    AsteriskFailed,
    Invalid,
    NotAllowed,
)


async def call_with(desk: Desk, verb: str, error: DariError, after: float) -> None:
    """One call in which `verb` fails once, `after` seconds from its beginning."""
    desk.asterisk.phone(SHOP, rings_after=0.2, answers_after=0.5, hangs_up_after=8.0)
    caller = desk.call()
    if after:
        await asyncio.sleep(after)
    desk.asterisk.fail_next(verb, error)
    closed = await desk.one_call(caller)
    desk.asterisk._failures.clear()
    assert (closed is None) == (verb == "claim" and not after)
    if closed is not None and closed.result is Result.ANSWERED:
        assert closed.ended_by is Side.TARGET


@pytest.mark.parametrize("verb", VERBS)
def test_call_in_which_a_verb_fails_ends_in_order(tmp_path: Path, verb: str) -> None:
    async def run() -> None:
        async with desk_at(tmp_path) as desk:
            for error in ERRORS:
                for after in (0.0, 1.0, 2.6):
                    await call_with(desk, verb, error(f"{verb} fails"), after)

    run_virtual(run())


def test_call_in_which_a_verb_hangs_ends_in_order(tmp_path: Path) -> None:
    async def run() -> None:
        async with desk_at(tmp_path) as desk:
            for verb in VERBS:
                desk.asterisk.hanging[verb] = 5.0
                desk.asterisk.phone(SHOP, rings_after=0.2, answers_after=0.5, hangs_up_after=8.0)
                caller = desk.asterisk.incoming(NUMBER, claim_seconds=0.5)
                await desk.one_call(caller)
                desk.asterisk.hanging.clear()

    run_virtual(run())


def test_target_is_not_rung_on_when_the_invite_may_have_gone_out(tmp_path: Path) -> None:
    async def run() -> None:
        async with desk_at(tmp_path) as desk:
            desk.asterisk.fail_next("originate", OutcomeUnknown("no answer within 5 s"))
            caller = desk.call()
            closed = await desk.one_call(caller)
            assert closed is not None
            assert (closed.result, caller.final_code) == (Result.UNREACHABLE, 502)

    run_virtual(run())


@pytest.mark.parametrize(("verb", "result"), [("add_to_bridge", Result.ANSWERED), ("answer", Result.CALLER_GAVE_UP)])
def test_refusal_is_explained_by_a_hang_up_that_is_told_a_little_later(
    tmp_path: Path, verb: str, result: Result
) -> None:
    async def run() -> None:
        async with desk_at(tmp_path) as desk:
            desk.asterisk.phone(SHOP, rings_after=0.5, answers_after=2.0)
            desk.asterisk.fail_next(verb, WrongState("not in an application"))
            caller = desk.call()
            await asyncio.sleep(4.0)
            caller.hang_up()
            closed = await desk.one_call(caller)
            assert closed is not None
            assert (closed.result, closed.ended_by) == (result, Side.CALLER)

    run_virtual(run())


def test_what_asterisk_did_not_clear_away_is_cleared_soon_after(tmp_path: Path) -> None:
    async def run() -> None:
        async with desk_at(tmp_path) as desk:
            desk.asterisk.phone(SHOP, rings_after=0.5, answers_after=3.0, sip_code=486)
            caller = desk.call()
            await asyncio.sleep(2.9)
            desk.asterisk.fail_next("hang_up", TryLater("away"))
            await desk.at_rest(within=5.0)
            assert caller.final_code is not None

    run_virtual(run())


# The event socket


def test_socket_lost_and_back_at_any_instant_ends_every_call_in_order(tmp_path: Path) -> None:
    chosen = random.Random(7)

    async def run() -> None:
        async with desk_at(tmp_path) as desk:
            for _ in range(100):
                hangs_up = chosen.choice([None, 1.0, 4.0, 8.0])
                desk.asterisk.phone(SHOP, rings_after=0.5, answers_after=2.0, hangs_up_after=hangs_up)
                caller = desk.call()
                await asyncio.sleep(chosen.uniform(0.05, 5.0))
                desk.asterisk.connection.cut()
                gap = chosen.uniform(0.1, 6.0)
                await asyncio.sleep(gap / 2)
                if chosen.random() < 0.3:
                    caller.hang_up()
                await asyncio.sleep(gap / 2)
                desk.asterisk.connection.restore()
                if hangs_up is None:
                    await asyncio.sleep(10.0)
                    caller.hang_up()
                assert await desk.one_call(caller) is not None

    run_virtual(run())


def test_answer_that_nobody_told_is_found_after_the_gap(tmp_path: Path) -> None:
    async def run() -> None:
        async with desk_at(tmp_path) as desk:
            desk.asterisk.phone(SHOP, rings_after=0.5, answers_after=2.0, hangs_up_after=20.0)
            caller = desk.call()
            await asyncio.sleep(1.8)
            desk.asterisk.connection.cut()
            await asyncio.sleep(1.0)
            desk.asterisk.connection.restore()
            closed = await desk.one_call(caller)
            assert closed is not None
            assert closed.result is Result.ANSWERED
            assert closed.recording is not None

    run_virtual(run())


def test_end_of_a_sound_that_nobody_told_is_found_after_the_gap_and_does_not_count_as_heard(tmp_path: Path) -> None:
    async def run() -> None:
        async with desk_at(tmp_path) as desk:
            phone = desk.asterisk.phone(SHOP, rings_after=0.5, answers_after=2.0, hangs_up_after=20.0)
            caller = desk.call()
            await asyncio.sleep(3.2)  # in the target's notice
            desk.asterisk.connection.cut()
            await asyncio.sleep(2.0)
            desk.asterisk.connection.restore()
            closed = await desk.one_call(caller)
            assert closed is not None
            assert closed.result is Result.ANSWERED
            assert closed.recording_reason == "the target did not hear the whole recording notice"
            assert phone.heard[-1].began < 6.0

    run_virtual(run())


def test_talk_outlives_a_lost_socket_and_ends_with_whoever_hung_up_meanwhile(tmp_path: Path) -> None:
    async def run() -> None:
        async with desk_at(tmp_path) as desk:
            desk.asterisk.phone(SHOP, rings_after=0.5, answers_after=2.0)
            for cut_after, leaves in ((10.0, False), (10.0, True)):
                caller = desk.call()
                await asyncio.sleep(cut_after)
                desk.asterisk.connection.cut()
                await asyncio.sleep(5.0)
                if leaves:
                    caller.hang_up()
                desk.asterisk.connection.restore()
                await asyncio.sleep(20.0)
                assert desk.reception.live_calls == (0 if leaves else 1)
                caller.hang_up()
                closed = await desk.one_call(caller)
                assert closed is not None
                assert (closed.result, closed.ended_by) == (Result.ANSWERED, Side.CALLER)

    run_virtual(run())


# Events


def disorder(connection: FakeConnection, chosen: random.Random) -> None:
    """From now on some events come twice, and some late enough for others to overtake them."""
    tell, loop = connection.tell, asyncio.get_running_loop()

    def somehow(event: Event) -> None:
        for _ in range(chosen.choice([1, 1, 2])):
            loop.call_later(chosen.choice([0.0, 0.0, 0.003, 0.03]), tell, event)

    connection.tell = somehow  # type: ignore[method-assign]


@settings(max_examples=40, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(seed=st.integers(0, 10**6))
def test_events_twice_and_out_of_order_harm_no_call(tmp_path_factory: pytest.TempPathFactory, seed: int) -> None:
    chosen = random.Random(seed)

    async def run() -> None:
        async with desk_at(tmp_path_factory.mktemp("desk")) as desk:
            disorder(desk.asterisk.connection, chosen)
            sip_code = chosen.choice([None, None, 486, 603])
            desk.asterisk.phone(SHOP, rings_after=0.3, answers_after=2.0, sip_code=sip_code, hangs_up_after=8.0)
            caller = desk.call()
            await asyncio.sleep(chosen.uniform(0.1, 12.0))
            caller.hang_up()
            closed = await desk.one_call(caller)
            assert closed is not None
            assert desk.journal.count("originate") <= 1

    run_virtual(run())

"""Listeners beside whole calls on FakeAsterisk: whatever ends, nothing of them stays, and the call goes its way."""

from __future__ import annotations

import asyncio
import random
from contextlib import suppress
from pathlib import Path

import pytest

from engine.calls.call import Call
from engine.calls.legs import CallerHungUp
from engine.calls.listening import Listener, announced, talking
from engine.calls.listening_rules import Mode
from engine.calls.own_ids import listener_ids
from engine.cdr.model import Result, Side, StepKind
from engine.foundation.errors import Conflict, DariError, TryLater
from tests.call_desk import SHOP, Desk, desk_at, service_number
from tests.fake_parties import FakeCaller
from tests.virtual_time import run_virtual

TALKS_AFTER = 9.0
"""Seconds; by then the call is connected whatever is played before."""


async def talk(desk: Desk) -> tuple[Call, FakeCaller]:
    """A call whose two parties are connected."""
    desk.asterisk.phone(SHOP, answers_after=1.0)
    caller = desk.call()
    await asyncio.sleep(TALKS_AFTER)
    (call,) = desk.reception.calls()
    assert talking(call)
    return call, caller


def beside(desk: Desk) -> list[str]:
    """What listeners have in Asterisk."""
    return [one for one in desk.asterisk.left_over() if one.split(".")[-2][:1] in "lm"]


def test_listener_hears_and_leaves(tmp_path: Path) -> None:
    async def run() -> None:
        async with desk_at(tmp_path) as desk:
            call, caller = await talk(desk)
            assert announced(call)
            listener = Listener(call, Mode.LISTEN, "operator")
            line = await listener.open()
            async for frame in line.frames():
                assert len(frame) == 640
                break
            ids = listener_ids(call.id, "n1", 1)
            assert set(beside(desk)) == {ids.spy, ids.media, ids.bridge}
            await listener.close()
            assert beside(desk) == []
            assert call.listeners == []
            caller.hang_up()
            record = await desk.one_call(caller)
            assert record is not None
            (step,) = [step for step in record.steps if step.kind is StepKind.LISTENING]
            assert (step.to, step.whole) == ((), True)
            assert record.result is Result.ANSWERED

    run_virtual(run())


@pytest.mark.parametrize(
    ("mode", "whispers", "to"),
    [
        (Mode.LISTEN, "none", ()),
        (Mode.WHISPER, "out", (Side.TARGET,)),
        (Mode.BARGE, "both", (Side.CALLER, Side.TARGET)),
    ],
)
def test_mode_says_who_hears_the_listener(tmp_path: Path, mode: Mode, whispers: str, to: tuple[Side, ...]) -> None:
    async def run() -> None:
        async with desk_at(tmp_path) as desk:
            call, caller = await talk(desk)
            listener = Listener(call, mode, "operator")
            await listener.open()
            spy = desk.asterisk._switch.legs[listener_ids(call.id, "n1", 1).spy]
            assert call.target is not None
            assert (spy.spies_on, spy.whispers) == (call.target.channel, whispers)
            await listener.close()
            caller.hang_up()
            record = await desk.one_call(caller)
            assert record is not None
            assert [step.to for step in record.steps if step.kind is StepKind.LISTENING] == [to]

    run_virtual(run())


def test_call_ends_at_any_instant_of_a_listening(tmp_path: Path) -> None:
    """The listener is told, and the call's own end waits for nobody."""
    chosen = random.Random(20260101)

    async def listen(call: Call) -> None:
        listener = Listener(call, Mode.LISTEN, "operator")
        try:
            with suppress(CallerHungUp, DariError):
                await listener.open()
                await listener.until_talk_is_over()
        finally:
            await listener.close()

    async def run() -> None:
        async with desk_at(tmp_path) as desk:
            for turn in range(60):
                call, caller = await talk(desk)
                listening = asyncio.gather(listen(call), listen(call))
                await asyncio.sleep(chosen.uniform(0.0, 0.02))
                if turn % 2:
                    caller.hang_up()
                else:
                    desk.asterisk.hang_up_phone(desk.asterisk._phones[SHOP])
                await listening
                record = await desk.one_call(caller)
                assert record is not None
                assert record.ended_by is (Side.CALLER if turn % 2 else Side.TARGET)

    run_virtual(run())


@pytest.mark.parametrize("verb", ["external_media", "open_media", "create_bridge", "snoop", "add_to_bridge"])
def test_listening_that_cannot_begin_leaves_nothing_and_the_call_goes_on(tmp_path: Path, verb: str) -> None:
    async def run() -> None:
        async with desk_at(tmp_path) as desk:
            call, caller = await talk(desk)
            desk.asterisk.fail_next(verb, TryLater("Asterisk is busy"))
            listener = Listener(call, Mode.LISTEN, "operator")
            with pytest.raises(TryLater):
                await listener.open()
            await listener.close()
            assert beside(desk) == []
            assert talking(call)
            caller.hang_up()
            assert (await desk.one_call(caller)) is not None

    run_virtual(run())


def test_what_could_not_be_removed_is_found_while_the_call_goes_on(tmp_path: Path) -> None:
    async def run() -> None:
        async with desk_at(tmp_path) as desk:
            call, caller = await talk(desk)
            listener = Listener(call, Mode.LISTEN, "operator")
            await listener.open()
            desk.asterisk.fail_next("hang_up", TryLater("Asterisk is busy"))
            desk.asterisk.fail_next("destroy_bridge", TryLater("Asterisk is busy"))
            await listener.close()
            assert beside(desk)
            await asyncio.sleep(40.0)  # longer than from one comparison to the next
            assert beside(desk) == []
            assert talking(call)
            caller.hang_up()
            assert (await desk.one_call(caller)) is not None

    run_virtual(run())


def test_comparison_leaves_a_listener_alone(tmp_path: Path) -> None:
    async def run() -> None:
        async with desk_at(tmp_path) as desk:
            call, caller = await talk(desk)
            listener = Listener(call, Mode.LISTEN, "operator")
            await listener.open()
            await asyncio.sleep(100.0)
            assert len(beside(desk)) == 3
            await listener.close()
            caller.hang_up()
            assert (await desk.one_call(caller)) is not None

    run_virtual(run())


def test_listener_of_a_dead_engine_is_removed_by_its_next_life_and_the_call_goes_on(tmp_path: Path) -> None:
    async def run() -> None:
        async with desk_at(tmp_path) as first:
            call, caller = await talk(first)
            await Listener(call, Mode.LISTEN, "operator").open()
            recording = call.board.monitor / f"{call.id}.raw"
            recording.parent.mkdir(parents=True, exist_ok=True)
            recording.touch()
            await first.reception.close(grace=0)
            await first.spool.close()
            first.spool.close = _done  # type: ignore[method-assign]
            async with desk_at(tmp_path, asterisk=first.asterisk) as second:
                await asyncio.sleep(40.0)
                assert beside(second) == []
                (adopted,) = second.reception.calls()
                assert talking(adopted)
                assert announced(adopted)  # its recording is proof
                listener = Listener(adopted, Mode.LISTEN, "operator")
                await listener.open()
                await listener.close()
                caller.hang_up()
                await asyncio.sleep(1.0)
                assert second.asterisk.left_over() == []
                assert (await second.record()).result is Result.ANSWERED

    run_virtual(run())


def test_nobody_listens_before_the_talk(tmp_path: Path) -> None:
    async def run() -> None:
        async with desk_at(tmp_path) as desk:
            desk.asterisk.phone(SHOP, answers_after=None)
            caller = desk.call()
            await asyncio.sleep(5.0)
            (call,) = desk.reception.calls()
            listener = Listener(call, Mode.LISTEN, "operator")
            with pytest.raises(Conflict):
                await listener.open()
            await listener.close()
            caller.hang_up()
            assert (await desk.one_call(caller)) is not None

    run_virtual(run())


def test_number_that_does_not_record_announces_nothing(tmp_path: Path) -> None:
    async def run() -> None:
        async with desk_at(tmp_path, service_number(record=False)) as desk:
            call, caller = await talk(desk)
            assert not announced(call)
            caller.hang_up()
            assert (await desk.one_call(caller)) is not None

    run_virtual(run())


async def _done() -> None:
    pass

"""Live calls through the engine's own socket: what is shown, what can be done, and that refusals stay what they are."""

from __future__ import annotations

import asyncio
import tempfile
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path

import msgspec
import pytest

from engine.calls.arrival import Order
from engine.calls.control import control_door
from engine.calls.control_client import EngineStatus, LiveCall, ask, live_calls, place_call, switch_recording
from engine.calls.live_door import live_call_routes
from engine.cdr.model import Direction, Result, StepKind
from engine.foundation.clock import LoopClock
from engine.foundation.errors import Conflict, DariError, Invalid, NotAllowed, NotFound, TryLater
from engine.foundation.phone_number import PhoneNumber
from engine.numbers.treatment import RecordMode
from tests.call_desk import NODE, NUMBER, SHOP, START, Desk, WatchedAsterisk, desk_at, service_number
from tests.eventually import eventually
from tests.fake_parties import FakeCaller

CALLER, CUSTOMER = "01012345678", "01098765432"
CLICK = Order(number=PhoneNumber(NUMBER), first=PhoneNumber(SHOP), second=PhoneNumber(CUSTOMER))


@dataclass(frozen=True, slots=True)
class Door:
    """A desk, and the socket that leads to it."""

    desk: Desk
    socket: Path

    async def talk(self) -> tuple[LiveCall, FakeCaller]:
        """A call whose two parties have just been connected, as the door shows it."""
        self.desk.asterisk.phone(SHOP, rings_after=0.0, answers_after=0.05)
        caller = self.desk.call(caller=CALLER)
        return await self.connected(), caller

    async def connected(self) -> LiveCall:
        """The only call, once its parties talk."""

        def talks() -> bool:
            calls = self.desk.reception.calls()
            return any(step.kind is StepKind.CONNECT for call in calls for step in call.notes.steps)

        await eventually(talks)
        (live,) = await live_calls(self.socket)
        return live


@asynccontextmanager
async def open_door(folder: Path, **number: object) -> AsyncIterator[Door]:
    """In real time, for sockets know no other; every sound is short."""
    asterisk = WatchedAsterisk(f"dari-{NODE}", sound_seconds=0.02, clock=LoopClock(START))
    with tempfile.TemporaryDirectory(prefix="dari-") as short:  # a test's own folder is too deep for a socket
        socket = Path(short) / "engine.sock"
        async with asterisk, desk_at(folder, service_number(**number), asterisk=asterisk) as desk:
            routes = live_call_routes(desk.reception)
            async with control_door(socket, desk.reception, lambda: EngineStatus(state="ready"), routes):
                yield Door(desk, socket)


def played(folder: Path, scenario: Callable[[Door], Awaitable[None]], **number: object) -> None:
    async def run() -> None:
        async with open_door(folder, **number) as door:
            await scenario(door)

    asyncio.run(run())


async def refusal(asked: Awaitable[object]) -> DariError:
    with pytest.raises(DariError) as refused:
        await asked
    return refused.value


def test_live_calls_are_shown_while_they_live(tmp_path: Path) -> None:
    async def scenario(door: Door) -> None:
        assert await live_calls(door.socket) == []
        _, caller = await door.talk()
        await eventually(lambda: all(call.notes.goes_on(StepKind.RECORDING) for call in door.desk.reception.calls()))
        (live,) = await live_calls(door.socket)
        assert live.state == "connected"
        assert (live.number, live.caller, live.target, live.direction, live.recording) == (
            NUMBER,
            CALLER,
            SHOP,
            Direction.INCOMING,
            "recording",
        )
        assert live.answered_at is not None
        assert live.arrived_at < live.answered_at
        caller.hang_up()
        await door.desk.at_rest()
        assert await live_calls(door.socket) == []

    played(tmp_path, scenario)


def test_call_is_placed_and_has_the_id_that_was_told(tmp_path: Path) -> None:
    async def scenario(door: Door) -> None:
        door.desk.asterisk.phone(SHOP, rings_after=0.0, answers_after=0.05)
        door.desk.asterisk.phone(CUSTOMER, rings_after=0.0, answers_after=0.05)
        call_id = await place_call(door.socket, CLICK)
        live = await door.connected()
        assert (live.call_id, live.direction, live.caller, live.target) == (
            call_id,
            Direction.OUTGOING,
            SHOP,
            CUSTOMER,
        )

    played(tmp_path, scenario)


@pytest.mark.parametrize(
    ("changes", "error", "words"),
    [
        ({"number": PhoneNumber("050799999999")}, NotFound, "is not in service"),
        ({"first": PhoneNumber("112")}, NotAllowed, ""),
        ({"second": PhoneNumber("060123456")}, NotAllowed, ""),
    ],
)
def test_what_may_not_be_placed_is_refused_by_the_same_error(
    tmp_path: Path, changes: dict[str, PhoneNumber], error: type[DariError], words: str
) -> None:
    async def scenario(door: Door) -> None:
        order = msgspec.structs.replace(CLICK, **changes)
        refused = await refusal(place_call(door.socket, order))
        assert type(refused) is error
        assert words in str(refused)
        with pytest.raises(error) as inside:
            door.desk.reception.place(order)
        assert str(refused) == str(inside.value), "the sentence got lost on the way"

    played(tmp_path, scenario)


def test_draining_engine_places_nothing_for_now(tmp_path: Path) -> None:
    async def scenario(door: Door) -> None:
        door.desk.reception.draining = True
        assert type(await refusal(place_call(door.socket, CLICK))) is TryLater

    played(tmp_path, scenario)


def test_no_engine_is_try_later(tmp_path: Path) -> None:
    refused = asyncio.run(refusal(live_calls(tmp_path / "no.sock")))
    assert type(refused) is TryLater


def test_question_that_cannot_be_read_is_invalid(tmp_path: Path) -> None:
    async def scenario(door: Door) -> None:
        wrong = EngineStatus(state="ready")
        assert type(await refusal(ask(door.socket, "POST", "/calls", LiveCall, wrong))) is Invalid

    played(tmp_path, scenario)


def test_recording_pauses_and_goes_on(tmp_path: Path) -> None:
    async def scenario(door: Door) -> None:
        live, caller = await door.talk()
        assert (await switch_recording(door.socket, str(live.call_id), pause=True)).recording == "paused"
        assert (await live_calls(door.socket))[0].recording == "paused"
        # By the last eight digits too, as people read them.
        assert (await switch_recording(door.socket, live.call_id.hex[-8:], pause=False)).recording == "recording"
        (recording,) = door.desk.asterisk.recordings
        assert [silent for _, silent in recording.silences] == [True, False]
        caller.hang_up()
        await door.desk.at_rest()
        record = await door.desk.record()
        assert record.result is Result.ANSWERED
        assert [step.kind for step in record.steps].count(StepKind.PAUSE) == 1

    played(tmp_path, scenario)


def test_what_cannot_be_done_to_a_recording_is_a_conflict(tmp_path: Path) -> None:
    async def scenario(door: Door) -> None:
        live, _ = await door.talk()
        call = str(live.call_id)
        assert type(await refusal(switch_recording(door.socket, call, pause=False))) is Conflict, "it runs already"
        await switch_recording(door.socket, call, pause=True)
        assert type(await refusal(switch_recording(door.socket, call, pause=True))) is Conflict, "it pauses already"

    played(tmp_path, scenario)


def test_recording_on_demand_begins_with_the_word(tmp_path: Path) -> None:
    async def scenario(door: Door) -> None:
        live, _ = await door.talk()
        assert live.recording == "off"
        assert type(await refusal(switch_recording(door.socket, str(live.call_id), pause=True))) is Conflict
        assert (await switch_recording(door.socket, str(live.call_id), pause=False)).recording == "recording"

    played(tmp_path, scenario, recording=RecordMode.ON_KEY)


def test_number_that_does_not_record_says_so(tmp_path: Path) -> None:
    async def scenario(door: Door) -> None:
        live, _ = await door.talk()
        assert live.recording == "none"
        refused = await refusal(switch_recording(door.socket, str(live.call_id), pause=False))
        assert type(refused) is Conflict
        assert "does not record" in str(refused)

    played(tmp_path, scenario, record=False)


def test_call_in_which_nobody_talks_yet_is_a_conflict(tmp_path: Path) -> None:
    async def scenario(door: Door) -> None:
        door.desk.asterisk.phone(SHOP, answers_after=None)
        door.desk.call()
        await eventually(lambda: door.desk.reception.live_calls == 1)
        (live,) = await live_calls(door.socket)
        refused = await refusal(switch_recording(door.socket, str(live.call_id), pause=True))
        assert type(refused) is Conflict
        assert "nobody talks yet" in str(refused)

    played(tmp_path, scenario)


@pytest.mark.parametrize("wanted", ["019b76da-a800-7dca-b580-468c9303413e", "0000beef", "../status", "%"])
def test_call_that_is_not_live_is_not_found(tmp_path: Path, wanted: str) -> None:
    async def scenario(door: Door) -> None:
        await door.talk()
        refused = await refusal(switch_recording(door.socket, wanted, pause=True))
        assert type(refused) is NotFound
        assert wanted in str(refused)

    played(tmp_path, scenario)

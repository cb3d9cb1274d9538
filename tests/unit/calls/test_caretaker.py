"""Whoever an engine left is looked after while there is none: who is sent on, who is hung up, who talks on."""

from __future__ import annotations

import asyncio
from pathlib import Path
from uuid import UUID

import pytest

from engine.asterisk.commands import WrongState
from engine.asterisk.events import Bridge, Channel, DialplanPlace
from engine.calls.caretaker import Caretaker, Deed, Help, deeds
from engine.calls.contexts import GOES_ALONE as ALONE
from engine.calls.own_ids import bridge_of, first_channel_of, listener_ids, target_channel_of
from engine.foundation.errors import TryLater
from engine.trunks.pjsip import CONTEXT
from tests.call_desk import NODE, NUMBER, SHOP, Desk, desk_at
from tests.virtual_time import run_virtual

CALL = UUID("01900000-0000-7000-8000-000000000001")
CALLER = "1795305007.0"
TARGET, SECOND = (target_channel_of(CALL, NODE, attempt) for attempt in (1, 2))
FIRST = first_channel_of(CALL, NODE, 1)
LISTENER = listener_ids(CALL, NODE, 1)


def channel(channel_id: str, state: str, context: str = CONTEXT, application: str = "StasisBroadcast") -> Channel:
    place = DialplanPlace(context=context, exten=NUMBER, app_name=application)
    return Channel(id=channel_id, name="PJSIP/carrier-1", state=state, dialplan=place)


def bridge(*channels: str, bridge_id: str = bridge_of(CALL, NODE)) -> Bridge:
    return Bridge(id=bridge_id, technology="simple_bridge", bridge_type="mixing", channels=channels)


def hung_up(*channels: str) -> list[Deed]:
    return [Deed(one, Help.HANG_UP) for one in channels]


def needed(channels: dict[str, str], *bridges: Bridge) -> list[Deed]:
    """What is done for channels, by id, in these states, all of them ours."""
    return deeds([channel(one, state) for one, state in channels.items()], bridges, set(channels))


def test_a_caller_who_rings_goes_to_the_dialplan_after_its_legs_have_ended() -> None:
    found = needed({CALLER: "Ring", TARGET: "Ringing", SECOND: "Down"})
    assert found == [*hung_up(TARGET, SECOND), Deed(CALLER, Help.DIALPLAN, NUMBER)]


def test_so_does_one_whose_target_was_just_told_the_whisper() -> None:
    assert needed({CALLER: "Ring", TARGET: "Up"}) == [*hung_up(TARGET), Deed(CALLER, Help.DIALPLAN, NUMBER)]


def test_two_who_talk_are_left_alone_and_a_leg_that_still_rings_is_not() -> None:
    talk = bridge(CALLER, TARGET)
    assert needed({CALLER: "Up", TARGET: "Up"}, talk) == []
    assert needed({CALLER: "Up", TARGET: "Up", SECOND: "Ringing"}, talk) == hung_up(SECOND)
    assert needed({FIRST: "Up", TARGET: "Up"}, bridge(FIRST, TARGET)) == []


def test_whoever_is_left_of_a_talk_is_hung_up() -> None:
    assert needed({CALLER: "Up"}, bridge(CALLER)) == hung_up(CALLER)
    assert needed({TARGET: "Up"}, bridge(TARGET)) == hung_up(TARGET)


def test_whoever_was_answered_and_has_nobody_is_hung_up() -> None:
    assert needed({CALLER: "Up"}) == hung_up(CALLER)
    assert needed({CALLER: "Up", TARGET: "Up"}, bridge()) == hung_up(CALLER, TARGET)
    assert needed({FIRST: "Up"}) == hung_up(FIRST)


def test_a_party_of_a_call_that_was_placed_is_never_sent_into_the_dialplan() -> None:
    assert needed({FIRST: "Ringing"}) == hung_up(FIRST)


def test_who_listens_is_no_company_and_is_ended() -> None:
    spy, media = LISTENER.channels
    between = bridge(spy, media, bridge_id=LISTENER.bridge)
    assert needed({CALLER: "Up", TARGET: "Up", spy: "Up", media: "Up"}, bridge(CALLER, TARGET), between) == hung_up(
        spy, media
    )
    assert needed({CALLER: "Up", spy: "Up"}, bridge(CALLER, spy)) == hung_up(CALLER, spy)


def test_channels_of_others_are_not_touched() -> None:
    assert deeds([channel(CALLER, "Ring"), channel("1795305007.9", "Up")], [], {CALLER}) == [
        Deed(CALLER, Help.DIALPLAN, NUMBER)
    ]


@pytest.mark.parametrize("state", ["Ring", "Up"])
@pytest.mark.parametrize(
    ("context", "application"), [(CONTEXT, "Dial"), ("dari-alone-ring", "Dial"), ("dari-say", "Playback")]
)
def test_whom_the_dialplan_looks_after_needs_nobody(state: str, context: str, application: str) -> None:
    """Asterisk counts also those as ours of whom an engine only heard."""
    assert deeds([channel(CALLER, state, context, application)], [], {CALLER}) == []


class Absent(Caretaker):
    """A caretaker of a desk's calls; `come_after` deeds an engine is there again."""

    def __init__(self, desk: Desk, come_after: int = 1000) -> None:
        self.asked = 0
        self.come_after = come_after
        super().__init__([desk.asterisk], self._gone)

    def _gone(self) -> bool:
        self.asked += 1
        return self.asked <= self.come_after


async def left_by_its_engine(desk: Desk) -> None:
    """The engine dies; its calls stay."""
    await desk.reception.close(0)


def test_a_ringing_call_is_given_to_the_dialplan_without_its_ringback(tmp_path: Path) -> None:
    async def story() -> None:
        async with desk_at(tmp_path) as desk:
            phone = desk.asterisk.phone(SHOP, answers_after=None)
            caller = desk.call()
            await asyncio.sleep(3.0)
            await left_by_its_engine(desk)
            done = await Absent(desk).help()
            assert {deed.help for deed in done} == {Help.HANG_UP, Help.DIALPLAN}
            assert desk.asterisk.continued == [(caller.leg.id, CONTEXT, NUMBER, ALONE)]
            assert phone.legs[0].gone
            assert caller.heard[-1].ended is not None
            assert not caller.leg.gone
            assert await Absent(desk).help() == []

    run_virtual(story())


def test_as_soon_as_an_engine_is_there_the_rest_is_left_to_it(tmp_path: Path) -> None:
    async def story() -> None:
        async with desk_at(tmp_path) as desk:
            desk.asterisk.phone(SHOP, answers_after=None)
            callers = [desk.call(caller=f"0101234567{number}") for number in range(3)]
            await asyncio.sleep(3.0)
            await left_by_its_engine(desk)
            done = await Absent(desk, come_after=4).help()
            assert [deed.help for deed in done] == [*[Help.HANG_UP] * 3, Help.DIALPLAN]
            assert len([caller for caller in callers if caller.leg.in_app]) == 2
            assert await Absent(desk, come_after=0).help() == []

    run_virtual(story())


@pytest.mark.parametrize("error", [WrongState("not in Stasis"), TryLater("Asterisk is away")])
def test_who_was_faster_and_an_asterisk_that_is_away_are_ordinary(tmp_path: Path, error: WrongState | TryLater) -> None:
    async def story() -> None:
        async with desk_at(tmp_path) as desk:
            desk.asterisk.phone(SHOP, answers_after=None)
            caller = desk.call()
            await asyncio.sleep(3.0)
            await left_by_its_engine(desk)
            desk.asterisk.fail_next("continue_in_dialplan", error)
            assert [deed.help for deed in await Absent(desk).help()] == [Help.HANG_UP]
            assert caller.leg.in_app
            assert [deed.help for deed in await Absent(desk).help()] == [Help.DIALPLAN]

    run_virtual(story())

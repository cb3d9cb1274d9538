"""Live listening by ear, on the real Asterisk: who hears whom, and that the parties' own sound stays as it was."""

from __future__ import annotations

import asyncio
import random
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

import msgspec
import numpy as np
import pytest

from engine.calls import listening_door
from engine.calls.call import Call
from engine.calls.listening_rules import Mode
from engine.calls.own_ids import call_of, is_of_listener
from engine.cdr.model import StepKind
from engine.foundation.errors import Invalid, NotAllowed, NotFound, TryLater
from engine.foundation.ids import new_id
from engine.foundation.phone_number import PhoneNumber
from engine.numbers.treatment import RecordMode, Treatment
from engine.sandbox.caller import CallerLeg
from engine.sandbox.carrier import Carrier
from engine.sandbox.ear import tones
from engine.sandbox.leg import Leg
from engine.sandbox.phone import Answers
from engine.sandbox.recording import RATE, Recording
from tests.engine_rig import Rig
from tests.eventually import eventually
from tests.listening_post import Ear, Post, listening_post

NUMBER = PhoneNumber("050712345678")
SHOP = "0212345678"
CALLER_TONE, SHOP_TONE, STAFF_TONE = 500, 1100, 2800
NAMES = {CALLER_TONE: "caller", SHOP_TONE: "shop", STAFF_TONE: "staff"}


@dataclass(slots=True)
class Talk:
    """A caller and a shop that are connected."""

    call: Call
    caller: CallerLeg
    shop: Leg


@pytest.fixture
async def post(rig: Rig) -> AsyncIterator[Post]:
    async with listening_post(rig.reception) as post:
        yield post


def set_recording(rig: Rig, mode: RecordMode) -> None:
    treatment = Treatment(ringback=("test/ringback",), recording=mode)
    rig.numbers[NUMBER] = msgspec.structs.replace(rig.numbers[NUMBER], treatment=treatment)


@asynccontextmanager
async def talk(rig: Rig, carrier: Carrier, mode: RecordMode = RecordMode.ON_KEY) -> AsyncIterator[Talk]:
    set_recording(rig, mode)
    phone = carrier.shop(SHOP, Answers(after_seconds=0.1, tone=SHOP_TONE))
    caller = await carrier.call(str(NUMBER), tone=CALLER_TONE)
    shop = await phone.next_call()
    await caller.answered()
    await eventually(lambda: "shop" in heard(caller.recording))
    live = Talk(rig.reception.calls()[-1], caller, shop)
    ari = live.call.board.ari

    async def nothing_is_left() -> bool:
        channels = [channel.id for channel in await ari.channels()]
        made = [one for one in [*channels, *(bridge.id for bridge in await ari.bridges())] if call_of(one)]
        return live.call.caller.channel not in channels and live.call.id not in map(call_of, made)

    try:
        yield live
    finally:
        await caller.hang_up()
        await eventually(nothing_is_left)


def heard(recording: Recording) -> set[str]:
    found = tones(recording, list(NAMES)) if len(recording.samples) > RATE // 4 else []
    return {NAMES[int(one.what.removesuffix(" Hz"))] for one in found if one.what.endswith(" Hz")}


async def until_heard(ear: Ear | Leg, *names: str) -> None:
    """In the last second: the telephones speak in this process, and to look at more would keep them from it."""
    await eventually(lambda: set(names) <= heard(ear.recording.between(max(0.0, ear.recording.duration - 1.0), 1e9)))


def longest_gap(recording: Recording, frequency: int) -> float:
    """Seconds without a tone, the longest stretch of them between its first and its last moment."""
    frames = recording.samples[: len(recording.samples) // 80 * 80].astype(float).reshape(-1, 80)
    angle = 2 * np.pi * frequency * np.arange(80) / RATE
    strength = np.hypot(frames @ np.cos(angle), frames @ np.sin(angle))
    there = np.flatnonzero(strength > strength.max() / 3)
    return float(np.diff(there).max() - 1) / 100


def gaps(live: Talk) -> tuple[float, float]:
    """Of the shop's tone at the caller, of the caller's at the shop."""
    return longest_gap(live.caller.recording, SHOP_TONE), longest_gap(live.shop.recording, CALLER_TONE)


def undisturbed(live: Talk, beside: Talk) -> bool:
    """Whether a talk had no longer gaps than the one beside it, to which nobody listened: the machine makes some."""
    return max(gaps(live)) <= max(gaps(beside)) + GAP


async def until_nobody_listens(rig: Rig, live: Talk) -> None:
    """And nothing of whoever listened is left, in Asterisk or in the call, which forgets them last."""
    ari = live.call.board.ari

    async def nobody() -> bool:
        there = [channel.id for channel in await ari.channels()] + [bridge.id for bridge in await ari.bridges()]
        left = any(is_of_listener(one) for one in there) or live.call.listeners
        return not left and live.call.bridge in there

    await eventually(nobody)


GAP = 0.06
"""Seconds: three packets."""


async def test_listener_hears_both_and_the_parties_hear_what_they_would_have_heard(
    rig: Rig, carrier: Carrier, post: Post
) -> None:
    async with talk(rig, carrier, RecordMode.ALWAYS) as beside, talk(rig, carrier, RecordMode.ALWAYS) as live:
        for _ in range(3):
            async with post.listening(live.call.id) as ear:
                ear.speak(STAFF_TONE)
                await until_heard(ear, "caller", "shop")
        await until_nobody_listens(rig, live)
        assert heard(live.caller.recording) == {"shop"}
        assert heard(live.shop.recording) == {"caller"}
        assert undisturbed(live, beside)
    record = await rig.record(live.caller.call_id)
    assert [step.to for step in record.steps if step.kind is StepKind.LISTENING] == [()] * 3
    await eventually(lambda: sorted(post.journal.told()) == sorted(["asked", "began", "ended: left"] * 3))


@pytest.mark.parametrize(("mode", "hear_staff"), [(Mode.WHISPER, {"shop"}), (Mode.BARGE, {"shop", "caller"})])
async def test_staff_is_heard_by_whom_the_mode_says(
    rig: Rig, carrier: Carrier, post: Post, mode: Mode, hear_staff: set[str]
) -> None:
    async with talk(rig, carrier) as beside, talk(rig, carrier) as live:
        legs: dict[str, Leg] = {"shop": live.shop, "caller": live.caller}
        async with post.listening(live.call.id, mode) as ear:
            ear.speak(STAFF_TONE)
            for who in hear_staff:
                await until_heard(legs[who], "staff")
            await until_heard(ear, "caller", "shop")
        assert "staff" not in heard(ear.recording), "they hear themselves"
        assert {who for who, leg in legs.items() if "staff" in heard(leg.recording)} == hear_staff
        assert undisturbed(live, beside)


async def test_two_listen_at_once_and_neither_hears_the_other(rig: Rig, carrier: Carrier, post: Post) -> None:
    async with talk(rig, carrier) as beside, talk(rig, carrier) as live:
        async with post.listening(live.call.id) as first, post.listening(live.call.id) as second:
            second.speak(STAFF_TONE)
            await until_heard(first, "caller", "shop")
            await until_heard(second, "caller", "shop")
            await second.leave()
            await eventually(lambda: len(live.call.listeners) == 1)
            assert "staff" not in heard(first.recording)
            known = first.recording.duration
            await eventually(lambda: first.recording.duration > known + 0.5)
        await until_nobody_listens(rig, live)
        assert undisturbed(live, beside)


@pytest.mark.parametrize("who", ["caller", "shop"])
async def test_end_of_the_call_ends_the_listening(rig: Rig, carrier: Carrier, post: Post, who: str) -> None:
    async with talk(rig, carrier) as live, post.listening(live.call.id) as ear:
        await until_heard(ear, "caller", "shop")
        await (live.caller if who == "caller" else live.shop).hang_up()
        assert (await ear.over())["why"] == "call over"
        await rig.record(live.caller.call_id)
        await eventually(lambda: post.journal.told()[-1] == "ended: call over")


async def test_time_box_ends_the_listening_and_not_the_call(
    rig: Rig, carrier: Carrier, post: Post, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(listening_door, "_MINUTE", 0.5)
    async with talk(rig, carrier) as live, post.listening(live.call.id, minutes=1) as ear:
        assert (await ear.over())["why"] == "time over"
        await until_nobody_listens(rig, live)
        assert not live.caller.is_over
        await eventually(lambda: post.journal.told() == ["asked", "began", "ended: time over"])


async def test_leave_that_is_taken_back_ends_the_listening_and_not_the_call(
    rig: Rig, carrier: Carrier, post: Post, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(listening_door, "_ASK_AGAIN", 0.05)
    async with talk(rig, carrier) as live, post.listening(live.call.id) as ear:
        await until_heard(ear, "caller", "shop")
        post.journal.away = True
        await eventually(lambda: post.journal.asked_while_away >= 3)
        assert ear.states[-1]["state"] == "live"
        post.journal.away, post.journal.granted = False, False
        assert (await ear.over())["why"] == "taken back"
        await until_nobody_listens(rig, live)
        assert not live.caller.is_over
        await eventually(lambda: post.journal.told() == ["asked", "began", "ended: taken back"])
        with pytest.raises(NotAllowed, match="grant"):
            await post.ticket(live.call.id)
        assert post.journal.told()[-1].startswith("refused: listen live")


async def test_who_is_locked_while_they_listen_hears_no_more(
    rig: Rig, carrier: Carrier, post: Post, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(listening_door, "_ASK_AGAIN", 0.05)
    async with talk(rig, carrier) as live, post.listening(live.call.id) as ear:
        await until_heard(ear, "caller", "shop")
        late = await post.ticket(live.call.id)
        post.journal.known = False
        assert (await ear.over())["why"] == "taken back"
        assert not live.caller.is_over
        async with post.open(late) as again:
            assert (await again.over())["why"] == "refused"


async def test_ticket_is_worth_nothing_once_the_leave_is_taken_back(rig: Rig, carrier: Carrier, post: Post) -> None:
    async with talk(rig, carrier) as live:
        ticket = await post.ticket(live.call.id)
        post.journal.granted = False
        async with post.open(ticket) as ear:
            assert (await ear.over())["why"] == "refused"


async def test_lost_sound_ends_the_listening_and_not_the_call(rig: Rig, carrier: Carrier, post: Post) -> None:
    async with talk(rig, carrier) as live, post.listening(live.call.id) as ear:
        await until_heard(ear, "caller", "shop")
        await live.call.board.ari.hang_up(live.call.listeners[0].media, 16)
        assert (await ear.over())["why"] in ("sound lost", "call over")
        await until_nobody_listens(rig, live)
        assert not live.caller.is_over


async def test_engine_that_stops_leaves_no_listener(rig: Rig, carrier: Carrier, post: Post) -> None:
    async with talk(rig, carrier) as live, post.listening(live.call.id) as ear:
        await post.door.close()
        assert (await ear.over())["why"] == "engine stopped"
        assert post.journal.told()[-1] == "ended: engine stopped"
        await until_nobody_listens(rig, live)


async def test_who_leaves_at_any_instant_leaves_nothing_behind(rig: Rig, carrier: Carrier, post: Post) -> None:
    chosen, now = random.Random(20260101), asyncio.get_running_loop().time
    reached = set()
    async with talk(rig, carrier) as beside, talk(rig, carrier) as live:
        ticket, began = await post.ticket(live.call.id), now()
        async with post.open(ticket) as ear:
            await ear.live()
            until_live = now() - began
        for _ in range(50):
            async with post.open(await post.ticket(live.call.id)) as ear:
                await asyncio.sleep(chosen.uniform(0.0, 2 * until_live))
            reached.add(bool(ear.states))
        await until_nobody_listens(rig, live)
        assert undisturbed(live, beside)
    assert reached == {True, False}, "the sweep did not reach every phase"
    record = await rig.record(live.caller.call_id)
    assert all(step.ended_at for step in record.steps)


async def test_callers_who_leave_at_any_instant_of_a_listening_leave_nothing_behind(
    rig: Rig, carrier: Carrier, post: Post
) -> None:
    chosen = random.Random(20260102)
    for _ in range(8):
        async with talk(rig, carrier) as live, post.open(await post.ticket(live.call.id)) as ear:
            await asyncio.sleep(chosen.uniform(0.0, 0.1))
            await live.caller.hang_up()
            assert (await ear.over())["why"] in ("call over", "refused", "failed")
        await rig.record(live.caller.call_id)


async def test_refusals_are_said_and_written_down(rig: Rig, carrier: Carrier, post: Post) -> None:
    with pytest.raises(NotFound):
        await post.ticket(new_id(datetime.now(UTC)))
    async with talk(rig, carrier, RecordMode.NEVER) as live:
        with pytest.raises(NotAllowed, match="did not both hear the recording notice"):
            await post.ticket(live.call.id)
        with pytest.raises(Invalid, match="reason"):
            await post.ticket(live.call.id, reason=" ")
    assert [what.partition(":")[0] for what in post.journal.told()] == ["refused", "refused"]


async def test_nobody_listens_unwritten(rig: Rig, carrier: Carrier, post: Post) -> None:
    async with talk(rig, carrier) as live:
        ticket = await post.ticket(live.call.id)
        post.journal.away = True
        with pytest.raises(TryLater):
            await post.ticket(live.call.id)
        async with post.open(ticket) as ear:
            assert (await ear.over())["why"] == "refused"
        assert live.call.listeners == []
        assert not ear.recording.samples.size


async def test_end_is_written_when_the_database_is_back(
    rig: Rig, carrier: Carrier, post: Post, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(listening_door, "_WRITE_AGAIN", 0.05)
    async with talk(rig, carrier) as live:
        async with post.listening(live.call.id):
            post.journal.away = True
        await until_nobody_listens(rig, live)
        assert post.journal.told() == ["asked", "began"]
        post.journal.away = False
        await eventually(lambda: post.journal.told() == ["asked", "began", "ended: left"])


async def test_ticket_opens_once(rig: Rig, carrier: Carrier, post: Post) -> None:
    async with talk(rig, carrier) as live:
        ticket = await post.ticket(live.call.id)
        async with post.open(ticket) as first:
            await first.live()
            async with post.open(ticket) as second:
                assert (await second.over())["why"] == "refused"
            await until_heard(first, "caller", "shop")


async def test_listening_is_in_the_call_log(rig: Rig, carrier: Carrier, post: Post, tmp_path: Path) -> None:
    async with talk(rig, carrier) as live:
        async with post.listening(live.call.id, reason="about 01012345678"):
            pass
        await until_nobody_listens(rig, live)
    await rig.record(live.caller.call_id)
    lines = [line for line in (tmp_path / "log" / "calls.log").read_text().splitlines() if " listening " in line]
    assert [line.rsplit("  ", 1)[1] for line in lines] == ["listen: operator", "over: operator"]

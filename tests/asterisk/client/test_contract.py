"""What our verbs do, the same with FakeAsterisk and with a real Asterisk: so tests on the fake mean something."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from uuid import uuid4

import pytest

from engine.asterisk.commands import Ari, AsteriskFailed, ChannelGone, NotInApplication, WrongState
from engine.asterisk.events import (
    ChannelDestroyed,
    ChannelEnteredBridge,
    ChannelHangupRequest,
    ChannelLeftBridge,
    ChannelStateChange,
    Dial,
    PlaybackFinished,
    PlaybackStarted,
    StasisEnd,
    StasisStart,
)
from engine.asterisk.media import FRAME, MediaLine
from engine.foundation.errors import Invalid, NotFound
from engine.foundation.tasks import Tasks
from engine.sandbox.phone import Answers, Behaviour, Busy, NeverAnswers, Rejects, Rings
from tests.contract_worlds import LONG, MISSING, NUMBER, PATIENCE, SHORT, World
from tests.eventually import eventually


def fresh(name: str) -> str:
    """An id that no other test uses."""
    return f"{name}-{uuid4()}"


async def originate(world: World, channel: str, behaviour: Behaviour, ring_seconds: int = 5) -> None:
    endpoint = world.phone(behaviour)
    await world.ari.originate(channel, endpoint, app_args="target,7", caller_id="0212340000", ring_seconds=ring_seconds)


# Calling out


async def test_phone_that_rings_and_answers_comes_into_the_application_with_our_arguments(world: World) -> None:
    target = fresh("t")
    await originate(world, target, Answers(0.2))
    start = await world.inbox.next(StasisStart, target)
    assert start.args == ("target", "7")
    assert start.channel.state == "Up"
    assert start.channel.name.startswith("PJSIP/carrier-")
    assert (await world.ari.channel(target)).dialplan.app_name == "Stasis"
    assert [dial.dialstatus for dial in world.inbox.of(Dial, target)] == ["", "RINGING", "ANSWER"]


@pytest.mark.parametrize(
    ("behaviour", "cause", "sip_code", "status"),
    [
        (Busy(), 17, 486, "BUSY"),
        (Rejects(600), 17, 600, "BUSY"),
        (Rejects(603), 21, 603, "NOANSWER"),
        (Rejects(403), 21, 403, "NOANSWER"),
        (Rejects(404), 1, 404, "NOANSWER"),
        (Rejects(503), 34, 503, "CONGESTION"),
        (Rejects(500), 38, 500, "NOANSWER"),
        (Rings(0.2, 480), 19, 480, "NOANSWER"),
        (Rings(0.2, 486), 17, 486, "BUSY"),
    ],
    ids=str,
)
async def test_phone_that_refuses_tells_its_cause_and_never_comes_in(
    world: World, behaviour: Behaviour, cause: int, sip_code: int, status: str
) -> None:
    target = fresh("t")
    await originate(world, target, behaviour)
    destroyed = await world.inbox.next(ChannelDestroyed, target)
    assert (destroyed.cause, destroyed.tech_cause) == (cause, sip_code)
    request = await world.inbox.next(ChannelHangupRequest, target)
    assert (request.cause, request.tech_cause) == (cause, sip_code)
    assert world.inbox.of(Dial, target)[-1].dialstatus == status
    assert not world.inbox.of(StasisStart, target)


async def test_phone_that_nobody_answers_ends_at_the_time_limit_as_480(world: World) -> None:
    target = fresh("t")
    await originate(world, target, NeverAnswers(), ring_seconds=1)
    destroyed = await world.inbox.next(ChannelDestroyed, target)
    assert (destroyed.cause, destroyed.tech_cause) == (19, 480)
    assert not world.inbox.of(ChannelHangupRequest, target)


async def test_ringing_that_we_end_is_told_as_ours(world: World) -> None:
    target = fresh("t")
    await originate(world, target, NeverAnswers())
    await world.inbox.until(lambda: len(world.inbox.of(Dial, target)) == 2, "ringing")
    await world.ari.hang_up(target, 16)
    destroyed = await world.inbox.next(ChannelDestroyed, target)
    assert (destroyed.cause, destroyed.tech_cause) == (16, 0)
    [request] = world.inbox.of(ChannelHangupRequest, target)
    assert (request.cause, request.tech_cause) == (32, 0)


async def test_phone_that_hangs_up_after_answering_ends_its_channel(world: World) -> None:
    target = fresh("t")
    await world.answered_target(target, Answers(0.1, talk_seconds=0.2))
    destroyed = await world.inbox.next(ChannelDestroyed, target)
    assert destroyed.tech_cause == 0
    assert world.inbox.kinds(target)[-3:] == ["ChannelHangupRequest", "StasisEnd", "ChannelDestroyed"]


async def test_originate_says_what_is_wrong(world: World) -> None:
    caller, _ = await world.incoming()
    with pytest.raises(AsteriskFailed):
        await world.ari.originate(fresh("t"), "PJSIP/0212345678@nowhere", caller_id=None, ring_seconds=1)
    with pytest.raises(Invalid):
        await world.ari.originate(
            fresh("t"), world.phone(Busy()), caller_id=None, ring_seconds=1, originator=fresh("gone")
        )
    with pytest.raises(WrongState):
        await world.ari.originate(caller, world.phone(Busy()), caller_id=None, ring_seconds=1)


# A call comes in


async def test_caller_who_is_claimed_is_unanswered_and_shows_numbers(world: World) -> None:
    channel, caller = await world.incoming()
    shown = await world.ari.channel(channel)
    assert (shown.state, shown.dialplan.exten, shown.caller.number) == ("Ring", NUMBER, "01012345678")
    assert shown.protocol_id
    assert channel in (await world.ari.app()).channel_ids
    assert caller.codes == []


async def test_only_the_first_claim_wins(world: World) -> None:
    channel, _ = await world.incoming()
    with pytest.raises(WrongState):
        await world.ari.claim(channel)


async def test_claim_of_a_caller_who_left_finds_nobody_or_is_told_of_the_end(world: World) -> None:
    channel, caller = await world.offered()
    await caller.hang_up()
    try:
        await world.ari.claim(channel)
    except ChannelGone:
        return
    await world.inbox.next(StasisEnd, channel)


async def test_caller_whom_nobody_claims_is_refused_with_503(world: World) -> None:
    channel, caller = await world.offered()
    await caller.until_over()
    assert caller.codes[-1] == 503
    assert not world.inbox.of(StasisStart, channel)


async def test_caller_who_gives_up_is_told_with_487(world: World) -> None:
    channel, caller = await world.incoming()
    await caller.hang_up()
    await world.inbox.next(StasisEnd, channel)
    [request] = world.inbox.of(ChannelHangupRequest, channel)
    assert request.tech_cause == 487
    assert caller.codes == [487]


@pytest.mark.parametrize(
    ("cause", "sip_code"),
    [(1, 404), (16, 603), (17, 486), (19, 480), (20, 480), (21, 403), (27, 502), (34, 503), (38, 500)],
)
async def test_cause_that_we_hang_up_with_becomes_the_callers_answer(world: World, cause: int, sip_code: int) -> None:
    channel, caller = await world.incoming()
    await world.hung_up(channel, cause)
    await caller.until_over()
    assert caller.codes == [sip_code]


async def test_end_of_a_claimed_caller_is_told_by_stasis_end_only_unless_subscribed(world: World) -> None:
    channel, _ = await world.incoming()
    watched, _ = await world.incoming()
    await world.ari.subscribe([watched, fresh("gone")])
    await world.hung_up(channel)
    await world.hung_up(watched, 17)
    assert (await world.inbox.next(ChannelDestroyed, watched)).cause == 17
    assert not world.inbox.of(ChannelDestroyed, channel)
    [request] = world.inbox.of(ChannelHangupRequest, channel)
    assert request.cause == 32


async def test_ringing_is_180_and_sound_is_183_and_neither_answers(world: World) -> None:
    channel, caller = await world.incoming()
    await world.ari.ring(channel)
    await world.ari.play(channel, world.sound(SHORT), fresh("p"))
    await world.inbox.next(PlaybackFinished, channel)
    await world.hung_up(channel, 17)
    await caller.until_over()
    assert caller.codes == [180, 183, 486]


# Sounds


async def test_sound_is_told_from_start_to_end_and_opens_early_media(world: World) -> None:
    channel, caller = await world.incoming()
    playback = fresh("p")
    await world.ari.play(channel, world.sound(SHORT), playback)
    assert await world.ari.is_playing(playback)
    finished = await world.inbox.next(PlaybackFinished, playback)
    assert finished.playback.state == "done"

    async def is_over() -> bool:
        return not await world.ari.is_playing(playback)

    await eventually(is_over)  # Asterisk lets it go a moment after it said so
    assert world.inbox.kinds(playback) == ["PlaybackStarted", "PlaybackFinished"]
    assert caller.codes == [183]


async def test_sounds_are_played_one_after_another_and_a_stopped_one_counts_as_done(world: World) -> None:
    channel, _ = await world.incoming()
    first, second = fresh("p"), fresh("p")
    await world.ari.play(channel, world.sound(LONG), first)
    await world.ari.play(channel, world.sound(SHORT), second)
    await world.inbox.next(PlaybackStarted, first)
    assert not world.inbox.of(PlaybackStarted, second)
    await world.ari.stop_playback(first)
    finished = await world.inbox.next(PlaybackFinished, first)
    started = await world.inbox.next(PlaybackStarted, second)
    assert finished.playback.state == "done"
    assert world.inbox.position(finished) < world.inbox.position(started)


async def test_sound_stopped_before_its_turn_finishes_without_having_started(world: World) -> None:
    channel, _ = await world.incoming()
    first, second = fresh("p"), fresh("p")
    await world.ari.play(channel, world.sound(LONG), first)
    await world.ari.play(channel, world.sound(SHORT), second)
    await world.ari.stop_playback(second)
    await world.ari.stop_playback(first)
    await world.inbox.next(PlaybackFinished, second)
    assert world.inbox.kinds(second) == ["PlaybackFinished"]


async def test_sound_that_is_not_there_fails(world: World) -> None:
    channel, _ = await world.incoming()
    playback = fresh("p")
    await world.ari.play(channel, world.sound(MISSING), playback)
    assert (await world.inbox.next(PlaybackFinished, playback)).playback.state == "failed"


async def test_sound_that_the_caller_does_not_hear_out_fails(world: World) -> None:
    channel, caller = await world.incoming()
    playback = fresh("p")
    await world.ari.play(channel, world.sound(LONG), playback)
    await world.inbox.next(PlaybackStarted, playback)
    await caller.hang_up()
    assert (await world.inbox.next(PlaybackFinished, playback)).playback.state == "failed"


async def test_answer_waits_for_the_sound_that_plays(world: World) -> None:
    channel, caller = await world.incoming()
    playback = fresh("p")
    await world.ari.play(channel, world.sound(SHORT), playback)
    await world.ari.answer(channel)
    finished = await world.inbox.next(PlaybackFinished, playback)
    up = await world.inbox.next(ChannelStateChange, channel)
    assert up.channel.state == "Up"
    assert world.inbox.position(finished) < world.inbox.position(up)
    assert caller.codes == [183, 200]


async def test_answer_does_not_wait_for_music(world: World) -> None:
    channel, caller = await world.incoming()
    await world.ari.start_music(channel, await world.music())
    await world.ari.answer(channel)
    await world.ari.stop_music(channel)
    await world.hung_up(channel)
    await caller.until_over()
    assert caller.codes == [183, 200]


async def test_answer_that_waits_while_the_caller_hangs_up_finds_nobody(world: World) -> None:
    channel, caller = await world.incoming()
    await world.ari.play(channel, world.sound(LONG), fresh("p"))
    await world.inbox.next(PlaybackStarted, channel)
    hanging_up = Tasks("caller")
    hanging_up.start("hangs up", _soon(caller.hang_up))
    with pytest.raises(ChannelGone):
        await world.ari.answer(channel)
    await world.inbox.next(StasisEnd, channel)
    await hanging_up.close()


async def _soon(deed: Callable[[], Awaitable[None]]) -> None:
    await asyncio.sleep(0.1)
    await deed()


# Bridges


async def test_two_in_a_bridge_are_told_and_seen(world: World) -> None:
    bridge, target = fresh("b"), fresh("t")
    channel, _ = await world.bridged(bridge, target)
    await world.inbox.next(ChannelEnteredBridge, channel)
    await world.inbox.next(ChannelEnteredBridge, target)
    [shown] = [shown for shown in await world.ari.bridges() if shown.id == bridge]
    assert set(shown.channels) == {channel, target}


async def test_caller_is_answered_into_the_bridge_in_one_go_and_all_goes_in_one_go(world: World) -> None:
    bridge, target = fresh("b"), fresh("t")
    await world.ari.create_bridge(bridge)
    channel, caller = await world.incoming()
    await originate(world, target, Answers(0.1))
    await world.inbox.next(StasisStart, target)
    assert await world.ari.answer_into(bridge, channel, target) is None
    await world.inbox.next(ChannelEnteredBridge, target)
    assert (await world.ari.channel(channel)).state == "Up"
    assert await world.ari.clear_away([(channel, 16), (target, 16), (fresh("gone"), 16)], [bridge, fresh("gone")]) == []
    await caller.until_over()
    await world.inbox.next(ChannelDestroyed, target)
    assert bridge not in [shown.id for shown in await world.ari.bridges()]


async def test_answer_into_a_bridge_tells_what_failed(world: World) -> None:
    bridge, target = fresh("b"), fresh("t")
    await originate(world, target, Answers(0.1))
    await world.inbox.next(StasisStart, target)
    with pytest.raises(ChannelGone):
        await world.ari.answer_into(bridge, fresh("gone"), target)
    channel, _ = await world.incoming()
    apart = await world.ari.answer_into(bridge, channel, target)
    assert isinstance(apart, NotFound)
    await world.ari.create_bridge(bridge)
    assert isinstance(await world.ari.answer_into(bridge, channel, fresh("gone")), ChannelGone)


async def test_caller_who_hangs_up_leaves_the_target_in_the_bridge(world: World) -> None:
    bridge, target = fresh("b"), fresh("t")
    channel, caller = await world.bridged(bridge, target)
    await caller.hang_up()
    await world.inbox.next(StasisEnd, channel)
    [request] = world.inbox.of(ChannelHangupRequest, channel)
    assert request.tech_cause == 0
    assert world.inbox.of(ChannelLeftBridge, channel)
    [shown] = [shown for shown in await world.ari.bridges() if shown.id == bridge]
    assert shown.channels == (target,)
    await world.hung_up(target)
    assert (await world.inbox.next(ChannelDestroyed, target)).cause == 16


async def test_target_that_hangs_up_leaves_the_caller_in_the_bridge(world: World) -> None:
    bridge, target = fresh("b"), fresh("t")
    channel, caller = await world.bridged(bridge, target, Answers(0.1, talk_seconds=0.5))
    await world.inbox.next(ChannelDestroyed, target)
    assert (await world.ari.channel(channel)).state == "Up"
    await world.ari.destroy_bridge(bridge)
    await world.inbox.next(ChannelLeftBridge, channel)
    await world.hung_up(channel)
    await caller.until_over()


async def test_caller_who_gives_up_leaves_the_target_ringing(world: World) -> None:
    target = fresh("t")
    channel, caller = await world.incoming()
    await world.ari.originate(target, world.phone(NeverAnswers()), caller_id=None, ring_seconds=5, originator=channel)
    await world.inbox.until(lambda: len(world.inbox.of(Dial, target)) == 2, "ringing")
    await caller.hang_up()
    await world.inbox.next(StasisEnd, channel)
    assert (await world.ari.channel(target)).state == "Ringing"


async def test_music_ends_by_itself_in_a_bridge(world: World) -> None:
    bridge = fresh("b")
    channel, _ = await world.incoming()
    await world.ari.start_music(channel, await world.music())
    await world.ari.answer(channel)
    await world.ari.create_bridge(bridge)
    await world.ari.add_to_bridge(bridge, channel)
    await world.inbox.next(ChannelEnteredBridge, channel)


async def test_recording_of_a_channel_goes_on_until_it_is_ended_and_once_is_enough(world: World) -> None:
    name = fresh("r")
    channel, _ = await world.incoming()
    await world.ari.answer(channel)
    await world.ari.record_channel(channel, name, longest=60, silence=0)
    assert await world.ari.is_recording(name)
    await world.ari.end_recording(name)
    assert not await world.ari.is_recording(name)
    await world.ari.end_recording(name)


async def test_whoever_is_taken_out_of_a_bridge_can_be_played_to_at_once(world: World) -> None:
    bridge, playback = fresh("b"), fresh("p")
    channel, _ = await world.incoming()
    await world.ari.answer(channel)
    await world.ari.create_bridge(bridge)
    await world.ari.add_to_bridge(bridge, channel)
    await world.ari.remove_from_bridge(bridge, channel)
    await world.ari.destroy_bridge(bridge)
    await world.ari.play(channel, world.sound(SHORT), playback)
    finished = await world.inbox.next(PlaybackFinished, channel)
    assert (finished.playback.id, finished.playback.state) == (playback, "done")
    await world.ari.remove_from_bridge(bridge, channel)  # done already is done


# What cannot be done


@pytest.mark.parametrize(
    "verb",
    [
        lambda ari, gone: ari.channel(gone),
        lambda ari, gone: ari.claim(gone),
        lambda ari, gone: ari.answer(gone),
        lambda ari, gone: ari.ring(gone),
        lambda ari, gone: ari.progress(gone),
        lambda ari, gone: ari.play(gone, "x", gone),
        lambda ari, gone: ari.start_music(gone, "x"),
        lambda ari, gone: ari.variables(gone, ["X"]),
        lambda ari, gone: ari.set_variables(gone, {"X": "1"}),
        lambda ari, gone: ari.move(gone, "dari-test"),
        lambda ari, gone: ari.continue_in_dialplan(gone),
    ],
    ids=lambda verb: verb.__code__.co_names[0],
)
async def test_channel_that_is_gone_is_told_as_gone(
    world: World, verb: Callable[[Ari, str], Awaitable[object]]
) -> None:
    with pytest.raises(ChannelGone):
        await verb(world.ari, fresh("gone"))


async def test_ending_what_is_over_is_done(world: World) -> None:
    gone = fresh("gone")
    await world.ari.hang_up(gone, 16)
    await world.ari.stop_playback(gone)
    await world.ari.stop_music(gone)
    await world.ari.destroy_bridge(gone)
    await world.ari.create_bridge(gone)
    await world.ari.destroy_bridge(gone)
    await world.ari.destroy_bridge(gone)


async def test_phone_that_still_rings_takes_no_commands(world: World) -> None:
    target, bridge = fresh("t"), fresh("b")
    await originate(world, target, NeverAnswers())
    await world.inbox.next(Dial, target)
    await world.ari.create_bridge(bridge)
    with pytest.raises(WrongState):
        await world.ari.play(target, world.sound(SHORT), fresh("p"))
    with pytest.raises(WrongState):
        await world.ari.answer(target)
    with pytest.raises(NotInApplication):
        await world.ari.add_to_bridge(bridge, target)


async def test_bridge_tells_which_part_is_missing(world: World) -> None:
    channel, _ = await world.incoming()
    bridge = fresh("b")
    with pytest.raises(NotFound) as missing:
        await world.ari.add_to_bridge(bridge, channel)
    assert not isinstance(missing.value, ChannelGone)
    await world.ari.create_bridge(bridge)
    with pytest.raises(ChannelGone):
        await world.ari.add_to_bridge(bridge, fresh("gone"))
    with pytest.raises(WrongState):
        await world.ari.create_bridge(bridge)


# The rest


async def test_variables_are_kept_and_unknown_ones_are_empty(world: World) -> None:
    channel, _ = await world.incoming()
    await world.ari.set_variables(channel, {"DARI_A": "가 1", "DARI_B": "2,3"})
    got = await world.ari.variables(channel, ["DARI_A", "DARI_NONE", "DARI_B"])
    assert got == {"DARI_A": "가 1", "DARI_NONE": "", "DARI_B": "2,3"}


async def test_channel_moved_to_an_application_starts_there_with_arguments(world: World) -> None:
    channel, _ = await world.incoming()
    await world.ari.move(channel, world.ari.app_name, "adopted,1")
    await world.inbox.until(lambda: len(world.inbox.of(StasisStart, channel)) == 2, "second StasisStart")
    assert world.inbox.of(StasisStart, channel)[1].args == ("adopted", "1")


async def test_recording_wants_a_channel_that_is_there(world: World) -> None:
    channel, _ = await world.incoming()
    name = (await world.ari.channel(channel)).name
    await world.record(name, f"{fresh('r')}.raw", "bD")
    with pytest.raises(ChannelGone):
        await world.record("PJSIP/carrier-99999999", f"{fresh('r')}.raw", "bD")


async def test_start_is_told_as_one_instant_for_a_whole_life(world: World) -> None:
    assert await world.ari.started() == await world.ari.started() != ""


async def test_write_probe_passes_and_leaves_nothing(world: World) -> None:
    await world.ari.write_probe()

    async def nothing_is_left() -> bool:  # Asterisk destroys a moment after it says so
        return await world.ari.bridges() == []

    await eventually(nothing_is_left)


# Listening


async def listener(world: World, bridge: str, target: str) -> tuple[str, str, MediaLine]:
    """Spy channel and media channel of somebody who hears `target`, and their line."""
    spy, media = fresh("l"), fresh("m")
    line = await world.ari.open_media(await world.ari.external_media(media))
    await world.ari.snoop(target, spy)
    for channel in (spy, media):
        await world.inbox.next(StasisStart, channel)
    await world.ari.create_bridge(bridge)
    await world.ari.add_to_bridge(bridge, spy, media)
    return spy, media, line


async def test_listener_gets_frames_beside_the_call(world: World) -> None:
    talk, beside, target = fresh("b"), fresh("lb"), fresh("t")
    channel, caller = await world.bridged(talk, target)
    spy, media, line = await listener(world, beside, target)
    frames = [frame async for frame in first(line, 10)]
    assert {len(frame) for frame in frames} == {FRAME}
    members = {one.id: set(one.channels) for one in await world.ari.bridges() if one.id in (talk, beside)}
    assert members == {talk: {channel, target}, beside: {spy, media}}
    await line.close()
    await world.inbox.next(StasisEnd, media)

    async def gone() -> bool:
        return media not in {one.id for one in await world.ari.channels()}

    await eventually(gone)
    await world.hung_up(spy)
    await world.ari.destroy_bridge(beside)
    await caller.hang_up()


async def test_spy_ends_with_its_channel_and_the_line_with_its_own(world: World) -> None:
    talk, beside, target = fresh("b"), fresh("lb"), fresh("t")
    _, caller = await world.bridged(talk, target)
    spy, media, line = await listener(world, beside, target)
    await world.ari.hang_up(target, 16)
    await world.inbox.next(StasisEnd, spy)
    await world.ari.hang_up(media, 16)
    async with asyncio.timeout(PATIENCE):
        assert all(len(frame) == FRAME for frame in [frame async for frame in line.frames()])
    await line.close()
    await world.ari.destroy_bridge(beside)
    await caller.hang_up()


async def test_nobody_spies_on_a_channel_that_is_gone(world: World) -> None:
    with pytest.raises(ChannelGone):
        await world.ari.snoop(fresh("gone"), fresh("l"))


async def first(line: MediaLine, count: int) -> AsyncIterator[bytes]:
    """The next frames of a line."""
    async for frame in line.frames():
        yield frame
        count -= 1
        if not count:
            return

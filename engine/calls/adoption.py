"""Compares what Asterisk has with what we know: which channels of our calls are there, which are nobody's."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Collection, Mapping
from contextlib import suppress
from dataclasses import dataclass
from datetime import datetime, timedelta
from types import MappingProxyType
from uuid import UUID

import structlog

from engine.asterisk import events
from engine.asterisk.commands import Ari
from engine.calls.call import Call
from engine.calls.causes import NORMAL_CLEARING
from engine.calls.contexts import ALONE, BACK, runs_alone
from engine.calls.legs import TARGET_VARIABLE
from engine.calls.notes import Moment, moment_of
from engine.calls.own_ids import call_of, is_of_node, is_target
from engine.foundation.clock import Clock
from engine.foundation.errors import Conflict, DariError, NotFound
from engine.foundation.phone_number import PhoneNumber
from engine.trunks.pjsip import CONTEXT

log = structlog.get_logger(__name__)

_ANSWERED = "Up"
_IN_APPLICATION = ("Stasis", "StasisBroadcast")
"""The dialplan's words for a channel that is in some application, whichever that is."""
SURE_AFTER = 2.0
"""Seconds after which a channel that was asked for must be there, and one that is there must be known."""


@dataclass(frozen=True, slots=True)
class Found:
    """What Asterisk has at one moment."""

    at: Moment
    channels: dict[str, events.Channel]
    bridges: dict[str, events.Bridge]
    own: frozenset[str]
    """Channels that Asterisk counts as this engine's."""
    node: str
    """Ours."""
    numbers: dict[str, PhoneNumber]
    """The numbers dialled, by target channel, of the calls that an earlier life left open."""


async def hear_again(ari: Ari, callers: Collection[str], calls: Collection[UUID]) -> None:
    """Lets Asterisk tell us of the channels of these calls (their callers' ids, their ids): those that another
    application has come to ours.

    What happened before is told by nobody: look after it, not before.
    """
    own = set((await ari.app()).channel_ids)
    wanted = [channel for channel in await ari.channels() if channel.id in callers or call_of(channel.id) in calls]
    back = [channel.id for channel in wanted if channel.dialplan.context == BACK]
    await asyncio.gather(*(_take_back(ari, channel) for channel in back))
    await asyncio.gather(*(_bring_here(ari, channel) for channel in wanted if channel.id not in own))
    await ari.subscribe([channel.id for channel in wanted])


async def _take_back(ari: Ari, channel: str) -> None:
    """A call whose telephone rang in vain may be offered to us just now, and nobody here heard of it."""
    with suppress(NotFound, Conflict):  # nobody offers it any more
        await ari.claim(channel)


async def _bring_here(ari: Ari, channel: events.Channel) -> None:
    if channel.dialplan.app_name in _IN_APPLICATION and channel.dialplan.context != ALONE:
        with suppress(NotFound, Conflict):  # it has just left
            await ari.move(channel.id, ari.app_name)


async def look(ari: Ari, left_open: Collection[UUID], node: str, clock: Clock) -> Found:
    """Reads what Asterisk has; of the calls `left_open` by an earlier life also the numbers dialled."""
    numbers = {
        channel.id: await _number_dialled(ari, channel.id)
        for channel in (await ari.channels() if left_open else ())
        if call_of(channel.id) in left_open and is_target(channel.id)
    }
    at = Moment(clock.now(), clock.monotonic())
    own = frozenset((await ari.app()).channel_ids)
    bridges = {bridge.id: bridge for bridge in await ari.bridges()}
    channels = {channel.id: channel for channel in await ari.channels()}
    return Found(at, channels, bridges, own, node, numbers)


async def _number_dialled(ari: Ari, channel: str) -> PhoneNumber:
    try:
        return PhoneNumber((await ari.variables(channel, [TARGET_VARIABLE])).get(TARGET_VARIABLE, ""))
    except NotFound:
        return PhoneNumber("")


def see_direct(call: Call, found: Found, *, is_late: bool = False) -> None:
    """What became of a telephone that the dialplan rings for a call of ours, as far as nobody told us.

    `is_late`: the ringing must be over by now, and with it the time in which the call is offered to us: a caller who
    waits in an application still is in ours, and one who is elsewhere in the dialplan is without us.
    """
    caller = found.channels.get(call.caller.channel)
    if call.direct is None or caller is None:
        return
    if runs_alone(caller.dialplan.context) or (is_late and is_given_away(caller)):
        call.give_away()
        return
    if is_late and caller.dialplan.app_name in _IN_APPLICATION:
        call.come_back(None)
        return
    for bridge in found.bridges.values():
        others = [found.channels[one] for one in bridge.channels if one in found.channels and one != caller.id]
        if caller.id in bridge.channels and others:
            since = datetime.fromisoformat(bridge.creationtime)
            call.connected_by_dialplan(others[0], moment_of(since, call.notes.clock))


def catch_up(call: Call, found: Found, ends: Mapping[str, Moment] = MappingProxyType({})) -> bool:
    """Tells a call of ours which of its channels are there, and which went away unseen.

    A party that hangs up leaves the other one's channel to us. Where both are gone, or the Asterisk that they were in,
    nobody hung up. `ends`: when channels went, as far as Asterisk wrote that down; the others count as gone now.
    False when one is not there that was asked for so lately that it may still come.
    """
    sure = True
    see_direct(call, found)
    # Two whom the dialplan connected leave together, whoever of them hung up.
    connected = [call.caller] + ([call.target] if call.target and call.target is not call.direct else [])
    lost = [party for party in connected if not party.gone and party.channel not in found.channels]
    for party in call.parties:
        if channel := found.channels.get(party.channel):
            call.see(channel)
        elif party is call.direct:
            continue  # it goes with the caller, or comes back with it
        elif party.started.tick < found.at.tick - SURE_AFTER:
            hung_up = not call.notes.stopped and (party not in lost or len(lost) == 1)
            call.lose(party, hung_up=hung_up, at=ends.get(party.channel))
        elif not party.gone:
            sure = False
    return sure


async def remove(ari: Ari, channel: str) -> None:
    """Ends a channel that no call wants. One that stays is found again by the next comparison."""
    try:
        await ari.hang_up(channel, NORMAL_CLEARING)
    except DariError as error:
        log.warning("a channel that no call wants is not removed", channel=channel, reason=str(error))


async def catch_up_sounds(call: Call, ari: Ari, is_sure: Callable[[str], bool]) -> set[str]:
    """Tells a call of ours which of its sounds ended unseen: it would wait for their end.

    Those of which nobody `is_sure` come back: their end may be on its way to us just now.
    """
    over = {playback for playback in call.sounding() if not await ari.is_playing(playback)}
    for playback in filter(is_sure, over):
        call.sound_over(playback)
    return {playback for playback in over if not is_sure(playback)}


def is_deaf(channel: events.Channel, found: Found) -> bool:
    """Whether a leg that rings was dialled by another engine: its answer goes to that one's application, not to ours.

    Only an answered one can be moved.
    """
    dialled_elsewhere = call_of(channel.id) is not None and not is_of_node(channel.id, found.node)
    return dialled_elsewhere and channel.dialplan.app_name not in _IN_APPLICATION


def is_alone(channel: events.Channel | None) -> bool:
    """Whether the dialplan runs this caller's call just now: in its context for that, or in what that calls."""
    if channel is None or call_of(channel.id) is not None:
        return False
    return channel.dialplan.context == ALONE or channel.dialplan.app_name not in _IN_APPLICATION


def is_direct(channel: events.Channel | None) -> bool:
    """Whether the dialplan rings, or has connected, by itself what an engine decided for this caller."""
    return channel is not None and channel.dialplan.app_name == "Dial" and channel.dialplan.context == CONTEXT


def is_given_away(channel: events.Channel | None) -> bool:
    """Whether the dialplan runs this caller's call without any engine."""
    return is_alone(channel) and not is_direct(channel)


def newcomers(found: Found, callers: Collection[str]) -> list[events.Channel]:
    """Callers in our application whom nobody knows: whoever took their calls died before it could write them down."""
    return [
        channel
        for channel in found.channels.values()
        if channel.id in found.own and channel.id not in callers and is_caller(channel)
    ]


def is_caller(channel: events.Channel) -> bool:
    """Whether somebody calls in on it, unanswered, and is in some application."""
    unanswered = channel.state != _ANSWERED and channel.dialplan.app_name in _IN_APPLICATION
    return unanswered and call_of(channel.id) is None and not is_alone(channel)


def is_young(channel: events.Channel, found: Found) -> bool:
    """Whether we may hear of it only now."""
    return found.at.at - datetime.fromisoformat(channel.creationtime) < timedelta(seconds=SURE_AFTER)


@dataclass(frozen=True, slots=True)
class Ours:
    """Which of the channels and bridges are ours to end, once no live call wants them."""

    node: str
    live: Mapping[UUID, Call]
    callers: Collection[str]
    adopted: Collection[UUID]
    """Calls that we took over from another engine: what that one made for them is ours too."""
    ended: Callable[[str], bool]
    """Whether the call of the caller on a channel is over."""

    def stray_channels(self, found: Found) -> list[str]:
        """Those that no live call wants, nor anybody who listens to one. Another engine's are not ours to end."""
        return [channel.id for channel in found.channels.values() if self._is_stray(channel, found)]

    def stray_bridges(self, found: Found) -> list[str]:
        """Those of calls that are over, or of somebody who listened."""
        return [bridge for bridge in found.bridges if self._made(bridge) and not self._is_wanted(bridge)]

    def _is_stray(self, channel: events.Channel, found: Found) -> bool:
        if is_young(channel, found) or is_alone(channel):
            return is_direct(channel) and self.ended(channel.id)
        if call_of(channel.id):
            return self._made(channel.id) and not self._is_wanted(channel.id)
        is_left = self.ended(channel.id) or not is_caller(channel)
        return channel.id in found.own and channel.id not in self.callers and is_left

    def _made(self, channel_or_bridge: str) -> bool:
        owner = call_of(channel_or_bridge)
        return owner is not None and (owner in self.adopted or is_of_node(channel_or_bridge, self.node))

    def _is_wanted(self, channel_or_bridge: str) -> bool:
        """A listener's of an earlier life of the engine is nobody's any more, nor is a leg that was given up."""
        call = self.live.get(call_of(channel_or_bridge) or UUID(int=0))
        return call is not None and call.wants(channel_or_bridge)

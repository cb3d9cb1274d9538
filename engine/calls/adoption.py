"""Takes over live calls after a restart or a lost socket: compares what Asterisk has with what we know.

Connected calls go on to their end and their record. Calls that had not been connected yet are ended properly: their
script cannot be taken up in the middle, and nobody is left alone on a line.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from uuid import UUID

from engine.asterisk import events
from engine.asterisk.commands import Ari
from engine.calls.call import TARGET_VARIABLE, Call
from engine.calls.notes import Moment, Notes
from engine.calls.own_ids import call_of, is_of_listener, is_of_node, is_target
from engine.calls.party import Party, party_on
from engine.calls.state import CallState
from engine.calls.steps.connect import until_somebody_hangs_up
from engine.calls.steps.voicemail import keep_message, spooled_message
from engine.calls.switchboard import Switchboard
from engine.cdr.model import CallRecord, OpenCall, Result, Side, StepKind, closed
from engine.events.call_log import CallEventKind
from engine.foundation.clock import Clock
from engine.foundation.errors import NotFound
from engine.foundation.phone_number import PhoneNumber

_ANSWERED = "Up"
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
    numbers: dict[str, PhoneNumber]
    """The numbers dialled, by target channel, of the calls that an earlier life left open."""


async def hear_again(ari: Ari, callers: Collection[str], calls: Collection[UUID]) -> None:
    """Lets Asterisk tell us of the channels of these calls (their callers' ids, their ids).

    What happened before is told by nobody: look after it, not before.
    """
    wanted = [channel.id for channel in await ari.channels() if channel.id in callers or call_of(channel.id) in calls]
    if wanted:
        await ari.subscribe(wanted)


async def look(ari: Ari, left_open: Collection[UUID], clock: Clock) -> Found:
    """Reads what Asterisk has; of the calls `left_open` by an earlier life also the numbers dialled."""
    at = Moment(clock.now(), clock.monotonic())
    channels = {channel.id: channel for channel in await ari.channels()}
    bridges = {bridge.id: bridge for bridge in await ari.bridges()}
    own = frozenset((await ari.app()).channel_ids)
    numbers = {channel: await _number_dialled(ari, channel) for channel in channels if call_of(channel) in left_open}
    return Found(at, channels, bridges, own, numbers)


async def _number_dialled(ari: Ari, channel: str) -> PhoneNumber:
    try:
        return PhoneNumber((await ari.variables(channel, [TARGET_VARIABLE])).get(TARGET_VARIABLE, ""))
    except NotFound:
        return PhoneNumber("")


def catch_up(call: Call, found: Found) -> bool:
    """Tells a call of ours which of its channels are there, and which went away unseen.

    A party that hangs up leaves the other one's channel to us. Where both are gone, Asterisk went and nobody hung up.
    False when one is not there that was asked for so lately that it may still come.
    """
    sure = True
    connected = [call.caller] + ([call.target] if call.target else [])
    lost = [party for party in connected if not party.gone and party.channel not in found.channels]
    for party in call.parties:
        if channel := found.channels.get(party.channel):
            call.see(channel)
        elif party.started.tick < found.at.tick - SURE_AFTER:
            call.lose(party, hung_up=party not in lost or len(lost) == 1)
        elif not party.gone:
            sure = False
    return sure


async def catch_up_sounds(call: Call, ari: Ari) -> None:
    """Tells a call of ours which of its sounds ended unseen: it would wait for their end."""
    for playback in call.sounding():
        if not await ari.is_playing(playback):
            call.sound_over(playback)


def stray_channels(found: Found, live: Mapping[UUID, Call], callers: Collection[str], node: str) -> list[str]:
    """Channels of this engine that no live call wants, nor anybody who listens to one.

    Another engine's are not ours to end.
    """
    return [channel.id for channel in found.channels.values() if _is_stray(channel, found, live, callers, node)]


def _is_stray(
    channel: events.Channel, found: Found, live: Mapping[UUID, Call], callers: Collection[str], node: str
) -> bool:
    if found.at.at - datetime.fromisoformat(channel.creationtime) < timedelta(seconds=SURE_AFTER):
        return False
    if owner := call_of(channel.id):
        return is_of_node(channel.id, node) and not _is_wanted(live.get(owner), channel.id)
    return channel.id in found.own and channel.id not in callers


def stray_bridges(found: Found, live: Mapping[UUID, Call], node: str) -> list[str]:
    """Bridges that this engine made for calls that are over, or for somebody who listened."""
    return [
        bridge
        for bridge in found.bridges
        if (owner := call_of(bridge)) and is_of_node(bridge, node) and not _is_wanted(live.get(owner), bridge)
    ]


def _is_wanted(call: Call | None, channel_or_bridge: str) -> bool:
    """A listener's of an earlier life of the engine is nobody's any more, nor is a leg that was given up."""
    return call is not None and call.wants(channel_or_bridge)


def moment_of(instant: datetime, clock: Clock) -> Moment:
    """An instant that Asterisk or an earlier process told, on this process's monotonic clock; never in the future."""
    age = max((clock.now() - instant).total_seconds(), 0.0)
    return Moment(clock.now() - timedelta(seconds=age), clock.monotonic() - age)


def rebuild(board: Switchboard, notes: Notes, open_call: OpenCall, found: Found) -> Call | None:
    """The call as Asterisk has it now; None when the caller is not there any more."""
    caller_channel = _callers_channel(open_call, found)
    if caller_channel is None:
        return None
    caller = party_on(caller_channel, Side.CALLER, notes.arrival.caller, notes.arrived)
    caller.place = board.trunks.taken(caller.trunk)
    call = Call(board, notes, caller)
    for channel in found.channels.values():
        if call_of(channel.id) == call.id and is_target(channel.id):
            call.add_target(party_on(channel, Side.TARGET, found.numbers.get(channel.id) or None, notes.arrived))
    answered = [target for target in call.targets if found.channels[target.channel].state == _ANSWERED]
    call.target = _connected(answered, found.bridges.get(call.bridge))
    if call.target is not None:
        notes.target = call.target.number
    bridge = found.bridges.get(call.bridge)
    call.bridge_made = bridge is not None
    if caller_channel.state == _ANSWERED:
        if bridge is not None and call.target is not None:
            _was_answered(call, bridge)
        elif spooled_message(call).exists():
            keep_message(call)
            notes.conclude(Result.VOICEMAIL, Side.DARI)
    return call


def _callers_channel(open_call: OpenCall, found: Found) -> events.Channel | None:
    """The caller's; in a call that was placed, that of the first party, whichever INVITE reached it."""
    firsts = [
        channel
        for channel in found.channels.values()
        if call_of(channel.id) == open_call.arrival.call_id
        and not (is_target(channel.id) or is_of_listener(channel.id))
    ]
    if firsts:
        return max(firsts, key=lambda channel: (channel.state == _ANSWERED, channel.creationtime))
    return found.channels.get(open_call.arrival.channel)


def _connected(answered: list[Party], bridge: events.Bridge | None) -> Party | None:
    """Who has the call: the target in the bridge; before anybody is in it, the one that answered, if it is the only."""
    inside = [target for target in answered if bridge is not None and target.channel in bridge.channels]
    return next(iter(inside or (answered if len(answered) == 1 else [])), None)


def _was_answered(call: Call, bridge: events.Bridge) -> None:
    """The caller was answered, and the bridge had been made just before."""
    then = moment_of(datetime.fromisoformat(bridge.creationtime), call.notes.clock)
    call.move(CallState.CONNECTED)
    for party in filter(None, (call.caller, call.target)):
        party.answered = then
    call.notes.begin(StepKind.CONNECT, (Side.CALLER, Side.TARGET)).began = then
    call.notes.answered = then
    if (call.board.monitor / f"{call.id}.raw").exists():
        call.notes.recording = call.notes.file(".wav")
        call.notes.begin(StepKind.RECORDING, (Side.CALLER, Side.TARGET)).began = then


def legs_left(open_call: OpenCall, found: Found) -> list[str]:
    """Channels that were made for a call whose caller has gone."""
    return [channel for channel in found.channels if call_of(channel) == open_call.arrival.call_id]


async def go_on(call: Call, found: Found) -> None:
    """The rest of an adopted call. Raises CallerHungUp.

    A caller who was answered goes on to the end, connected now if the engine went between the answer and the bridge.
    """
    for target in call.targets:
        if target is not call.target:
            await call.drop(target)
    if call.state is CallState.CONNECTED and call.target is not None:
        if not {call.caller.channel, call.target.channel} <= set(found.bridges[call.bridge].channels):
            await call.bridge_with(call.target)
        call.notes.tell(CallEventKind.CONNECTED, "taken over")
        await until_somebody_hangs_up(call, call.target)
    else:
        call.notes.conclude(Result.LOST, Side.DARI)


def lost(open_call: OpenCall) -> CallRecord:
    """The record of a call whose end nobody saw, bounded by its last proof of life."""
    return closed(open_call.arrival, ended_at=open_call.last_alive, result=Result.LOST, ended_by=Side.DARI)

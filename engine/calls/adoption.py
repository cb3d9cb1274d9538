"""Takes over live calls after a restart or a lost socket: compares what Asterisk has with what we know.

Connected calls go on to their end and their record. Calls that had not been connected yet are ended properly: their
script cannot be taken up in the middle, and nobody is left alone on a line.
"""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass
from datetime import datetime, timedelta
from uuid import UUID

from engine.asterisk import events
from engine.asterisk.commands import Ari
from engine.calls.call import TARGET_VARIABLE, Call
from engine.calls.notes import Moment, Notes
from engine.calls.own_ids import call_of, is_of_node
from engine.calls.party import party_on
from engine.calls.state import CallState
from engine.calls.steps.connect import until_somebody_hangs_up
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
    parties = [party for party in (call.caller, call.target) if party is not None]
    lost = [party for party in parties if party.channel not in found.channels]
    for party in parties:
        if channel := found.channels.get(party.channel):
            call.see(channel)
        elif party.started.tick < found.at.tick - SURE_AFTER:
            call.lose(party, hung_up=len(lost) == 1)
        elif not party.gone:
            sure = False
    return sure


async def catch_up_sounds(call: Call, ari: Ari) -> None:
    """Tells a call of ours which of its sounds ended unseen: it would wait for their end."""
    for playback in call.sounding():
        if not await ari.is_playing(playback):
            call.sound_over(playback)


def stray_channels(found: Found, live: Collection[UUID], callers: Collection[str], node: str) -> list[str]:
    """Channels of this engine that belong to no live call. Another engine's are not ours to end."""
    return [channel.id for channel in found.channels.values() if _is_stray(channel, found, live, callers, node)]


def _is_stray(
    channel: events.Channel, found: Found, live: Collection[UUID], callers: Collection[str], node: str
) -> bool:
    if found.at.at - datetime.fromisoformat(channel.creationtime) < timedelta(seconds=SURE_AFTER):
        return False
    if owner := call_of(channel.id):
        return owner not in live and is_of_node(channel.id, node)
    return channel.id in found.own and channel.id not in callers


def stray_bridges(found: Found, live: Collection[UUID], node: str) -> list[str]:
    """Bridges that this engine made for calls that are over."""
    return [
        bridge
        for bridge in found.bridges
        if (owner := call_of(bridge)) and owner not in live and is_of_node(bridge, node)
    ]


def moment_of(instant: datetime, clock: Clock) -> Moment:
    """An instant that Asterisk or an earlier process told, on this process's monotonic clock; never in the future."""
    age = max((clock.now() - instant).total_seconds(), 0.0)
    return Moment(clock.now() - timedelta(seconds=age), clock.monotonic() - age)


def rebuild(board: Switchboard, notes: Notes, open_call: OpenCall, found: Found) -> Call | None:
    """The call as Asterisk has it now; None when the caller is not there any more."""
    caller_channel = found.channels.get(open_call.arrival.channel)
    if caller_channel is None:
        return None
    caller = party_on(caller_channel, Side.CALLER, notes.arrival.caller, notes.arrived)
    call = Call(board, notes, caller)
    target_channel = found.channels.get(call.target_channel)
    if target_channel is not None:
        number = found.numbers.get(target_channel.id) or None
        call.target = party_on(target_channel, Side.TARGET, number, notes.arrived)
        notes.target = number
    bridge = found.bridges.get(call.bridge)
    call.bridge_made = bridge is not None
    if bridge is not None and target_channel is not None and caller_channel.state == target_channel.state == _ANSWERED:
        _was_answered(call, bridge)
    return call


def _was_answered(call: Call, bridge: events.Bridge) -> None:
    """The caller was answered, and the bridge had been made just before."""
    then = moment_of(datetime.fromisoformat(bridge.creationtime), call.notes.clock)
    call.move(CallState.CONNECTED)
    for party in filter(None, (call.caller, call.target)):
        party.answered = then
    call.notes.begin(StepKind.CONNECT, (Side.CALLER, Side.TARGET)).began = then
    call.notes.answered = then
    if (call.board.monitor / f"{call.id}.raw").exists():
        call.notes.recording = f"{call.notes.arrival.arrived_at:%Y/%m/%d}/{call.id}.wav"


def legs_left(open_call: OpenCall, found: Found) -> list[str]:
    """Channels that were made for a call whose caller has gone."""
    return [channel for channel in found.channels if call_of(channel) == open_call.arrival.call_id]


async def go_on(call: Call, found: Found) -> None:
    """The rest of an adopted call. Raises CallerHungUp.

    A caller who was answered goes on to the end, connected now if the engine went between the answer and the bridge.
    """
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

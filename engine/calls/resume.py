"""A call of an earlier life of the engine, or of another, dead one, is rebuilt at its place and goes on.

What Asterisk has now are the facts; what the journal tells beside them is what nobody can see: where in its plan the
call was, and what was said and done before.
"""

from __future__ import annotations

import asyncio
from datetime import datetime

from engine.calls.adoption import Found, is_deaf, is_direct, see_direct
from engine.calls.call import Call
from engine.calls.incoming import Place, Ready, converse, directly, incoming, take_down
from engine.calls.journal import legs_of, party_again, recall
from engine.calls.legs import GivenAway
from engine.calls.notes import Moment, Notes, moment_of
from engine.calls.own_ids import attempt_of, call_of, is_first, is_of_listener, is_target
from engine.calls.party import Party, party_on
from engine.calls.state import CallState
from engine.calls.steps.connect import connect, until_somebody_hangs_up
from engine.calls.steps.recording import Recording
from engine.calls.steps.voicemail import keep_message, spooled_message
from engine.calls.steps.waiting import PlanAt
from engine.calls.switchboard import Switchboard
from engine.cdr.model import Direction, OpenCall, Side, StepKind, expected_file
from engine.routing.call_plan import CallPlan, Forward

_ANSWERED = "Up"
_BOTH = (Side.CALLER, Side.TARGET)
_NOT_TO_BE_STOPPED = (StepKind.RINGBACK, StepKind.CONNECT, StepKind.VOICEMAIL)


def rebuild(board: Switchboard, notes: Notes, open_call: OpenCall, found: Found) -> Call | None:
    """The call as Asterisk has it now; None when its caller is not there any more."""
    recall(notes, open_call)
    firsts = _parties(notes, open_call, found, Side.CALLER)
    if not firsts or (firsts[-1].channel not in found.channels and not is_being_placed(firsts[-1], open_call)):
        return None
    told = open_call.progress
    call = Call(board, notes, firsts.pop(), life=told.life + 1 if told else 2)
    call.know_again(firsts, _parties(notes, open_call, found, Side.TARGET))
    for bridge in found.bridges:
        if call_of(bridge) == call.id and not is_of_listener(bridge):
            call.has_bridge(bridge)
    if is_direct(found.channels.get(call.caller.channel)) and call.targets:
        call.direct = call.targets[-1]
        call.direct.leaves = True
        see_direct(call, found)
    _see_who_talks(call, open_call, found)
    if spooled_message(call).exists():
        keep_message(call)
    return call


def _see_who_talks(call: Call, open_call: OpenCall, found: Found) -> None:
    """Who has the call, and whether the two are connected: the journal may have missed that by a moment."""
    told, notes = open_call.progress, call.notes
    taker = told.taken_by if told else None
    bridge = found.bridges.get(call.bridge)
    inside = [target for target in call.targets if bridge is not None and target.channel in bridge.channels]
    call.target = next((target for target in call.targets if target.channel == taker), next(iter(inside), None))
    if call.target is not None:
        call.target.was_told = told is not None and told.taker_was_told and call.target.channel == taker
        notes.target = call.target.number
    if bridge is not None and inside and call.caller.channel in bridge.channels and not _were_connected(notes):
        _connected_since(call, moment_of(datetime.fromisoformat(bridge.creationtime), notes.clock))
    if _were_connected(notes):
        call.move(CallState.CONNECTED)


def is_being_placed(first: Party, open_call: OpenCall) -> bool:
    """Whether the call is one that we place, and its first party has not answered yet."""
    return open_call.arrival.direction is Direction.OUTGOING and first.answered is None


def place_of(call: Call, open_call: OpenCall) -> Place:
    """Where in its plan the call goes on."""
    told = open_call.progress
    if told is None:
        return Place(legs=tuple(call.targets))
    return Place(told.stage, told.failure, tuple(call.targets[told.legs_before :]))


async def ring_anew(call: Call) -> None:
    """Legs whose answer would go to a dead engine's application are given up: who may still answer is rung again."""
    for party in [party for party in call.parties if party.untold and not party.gone]:
        await call.drop(party)
        call.lose(party, hung_up=False)


async def resume(call: Call, plan: CallPlan, plan_at: PlanAt, place: Place) -> None:
    """The rest of the call. Raises CallerHungUp, and GivenAway of one that only the dialplan can go on with."""
    if call.direct is not None:
        if not isinstance(plan, Forward) or place.stage is None:
            raise GivenAway  # nobody knows any more what it goes through
        take_down(call, plan)
        await directly(call, plan, plan_at, call.direct, place.stage)
        return
    await _make_silence(call)
    talks = call.state is CallState.CONNECTED or _was_just_answered(call)
    for target in call.targets:
        if target is not call.target and not target.gone and (talks or target not in place.legs):
            await call.drop(target)
    if call.target is None or not talks:
        await incoming(call, plan, plan_at, place)
    elif isinstance(plan, Forward):
        await _talk_on(call, plan, call.target)
    else:
        await until_somebody_hangs_up(call, call.target)


async def _talk_on(call: Call, plan: Forward, target: Party) -> None:
    """The two stay connected, or are connected now if the engine went between the answer and the bridge."""
    take_down(call, plan)
    recording = Recording(call, plan, target)
    if call.state is not CallState.CONNECTED:
        await connect(call, target)
    await converse(call, plan, Ready(target, recording))


async def _make_silence(call: Call) -> None:
    """What an earlier life was saying ends: it would hold up what comes. Music, a talk and a message left go on."""
    addressed = [target for target in call.targets if target.answered and not target.gone]
    if call.state is CallState.CONNECTED:
        addressed = []
    if not any(map(call.notes.goes_on, _NOT_TO_BE_STOPPED)):
        addressed.append(call.caller)
    await asyncio.gather(*map(call.hush, addressed))


def _was_just_answered(call: Call) -> bool:
    """The caller was answered for a target that is still there, and they were not connected yet."""
    incoming_call = call.notes.arrival.direction is Direction.INCOMING
    return incoming_call and call.caller.answered is not None and call.target is not None and not call.target.gone


def _were_connected(notes: Notes) -> bool:
    return any(step.kind is StepKind.CONNECT for step in notes.steps)


def _connected_since(call: Call, then: Moment) -> None:
    for step in call.notes.steps:
        step.end(then, whole=True)
    for party in filter(None, (call.caller, call.target)):
        party.answered = party.answered or then
    call.notes.answered = call.notes.answered or then
    call.notes.begin(StepKind.CONNECT, _BOTH).began = then
    if (call.board.monitor / f"{call.id}.raw").exists():
        call.notes.recording = expected_file(call.notes.arrival, ".wav")
        call.notes.begin(StepKind.RECORDING, _BOTH).began = then


def _parties(notes: Notes, open_call: OpenCall, found: Found, side: Side) -> list[Party]:
    """The legs of one side that there were and are, oldest first."""
    arrival = open_call.arrival
    parties = {leg.channel: party_again(leg, notes.clock) for leg in legs_of(open_call, side)}
    for channel in found.channels.values():
        if _side_of(channel.id, open_call) is not side:
            continue
        number = arrival.caller if side is Side.CALLER else found.numbers.get(channel.id) or None
        began = moment_of(datetime.fromisoformat(channel.creationtime), notes.clock)
        party = parties.setdefault(channel.id, party_on(channel, side, number or None, began))
        party.channel_name = channel.name
        party.sip_call_id = party.sip_call_id or channel.protocol_id or None
        party.untold = is_deaf(channel, found)
        if side is Side.CALLER and channel.state == _ANSWERED:
            party.answered = party.answered or notes.moment()
    return sorted(parties.values(), key=lambda party: attempt_of(party.channel) if call_of(party.channel) else 0)


def _side_of(channel: str, open_call: OpenCall) -> Side | None:
    if channel == open_call.arrival.channel:
        return Side.CALLER
    if call_of(channel) != open_call.arrival.call_id:
        return None
    return Side.TARGET if is_target(channel) else Side.CALLER if is_first(channel) else None

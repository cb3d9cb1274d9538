"""Calls begin at the door: those that need no more are dialled by the dialplan, as the engine tells it."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from functools import partial

import structlog

from engine.asterisk import events
from engine.asterisk.call_door import Asked
from engine.asterisk.call_question import Question
from engine.calls.arrival import asked_about, read_number
from engine.calls.call import Call
from engine.calls.direct import direct_stage, values_for_dial
from engine.calls.incoming import directly, take_down
from engine.calls.live_calls import LiveCalls
from engine.calls.notes import Moment, Notes
from engine.calls.party import Party, Telephone
from engine.calls.planner import Planner, counted_already
from engine.calls.steps.dial import telephone_of
from engine.calls.switchboard import Switchboard, longest_call
from engine.cdr.model import Arrival, Side
from engine.events.call_log import CallEventKind
from engine.events.call_log_writer import CallLog
from engine.foundation.clock import Clock
from engine.foundation.errors import DariError, NotAllowed
from engine.foundation.ids import new_id
from engine.foundation.phone_number import PhoneNumber, check_target
from engine.foundation.tasks import Tasks
from engine.routing.call_plan import Forward, Ring
from engine.routing.model import Line
from engine.trunks.model import Trunk

log = structlog.get_logger(__name__)

_HEARD_WITHIN = 1.0
"""Seconds in which Asterisk lets us hear of a channel; later the call is offered to the engines as if not asked."""


@dataclass(frozen=True, slots=True)
class _Decided:
    """What is to be dialled for a call."""

    arrival: Arrival
    at: Moment
    plan: Forward
    stage: int
    telephone: Telephone
    trunk: Trunk


class DirectCalls:
    """Answers at the door (`engine/asterisk/call_door.py`)."""

    def __init__(
        self,
        board: Switchboard,
        live: LiveCalls,
        planner: Planner,
        call_log: CallLog,
        clock: Clock,
        takes_calls: Callable[[], bool],
    ) -> None:
        self._board = board
        self._live = live
        self._planner = planner
        self._log = call_log
        self._clock = clock
        self._takes_calls = takes_calls
        self._longest_call = longest_call(board.talk_limit)
        self._tasks = Tasks("direct calls")
        self._beginning: dict[str, list[events.Event]] = {}
        """What was told of callers whose calls are just beginning here."""
        self._last_was_direct: set[PhoneNumber] = set()
        """Numbers whose last call the dialplan dialled."""

    def keeps(self, event: events.Event) -> bool:
        """Whether it is of a call that is just beginning: that one gets it then."""
        for channel in events.channel_ids(event) if self._beginning else ():
            if channel in self._beginning and channel not in self._live.callers:
                self._beginning[channel].append(event)
                return True
        return False

    async def close(self) -> None:
        """Ends what is under way; the dialplan offers those calls to the engines."""
        await self._tasks.close()

    async def answer(self, asked: Asked) -> None:
        """Untold what to dial, the dialplan offers the call to the engines."""
        channel = asked.question.channel
        called = read_number(asked.question.number_sent)
        line = self._planner.line(called) if called else None
        if line is None or not asked.waits or channel in self._live.callers or channel in self._beginning:
            return
        number = line.number.number
        told_meanwhile = self._beginning[channel] = []
        try:
            # Of most numbers a call is as the last one was: Asterisk is asked to let us hear while the plan is made.
            hears = self._begin_to_hear(channel) if number in self._last_was_direct else None
            await asyncio.sleep(0)
            decided = await self._decide(asked.question, line)
            self._last_was_direct.discard(number)
            if decided is None:
                return
            self._last_was_direct.add(number)
            call = await self._let_in(asked, decided, line, hears or self._begin_to_hear(channel))
            if call is not None:
                for event in told_meanwhile:
                    call.deliver(event)
        except DariError as error:
            log.warning("a call is not dialled by the dialplan itself", reason=str(error))
        finally:
            del self._beginning[channel]

    async def _decide(self, question: Question, line: Line) -> _Decided | None:
        """None: the call needs an engine's hand."""
        now = Moment(self._clock.now(), self._clock.monotonic())
        arrival = asked_about(new_id(now.at), self._board.node, question, line.number)
        plan = await self._planner.plan(line, arrival.caller, arrival.arrived_at)
        stage = direct_stage(plan, arrival.arrived_at)
        with self._board.trunks.taken(arrival.trunk):  # the caller's own place
            trunk = next(iter(self._board.trunks.candidates(arrival.trunk)), None)
        if stage is None or trunk is None or not isinstance(plan, Forward):
            return None
        telephone = _telephone(plan, stage, arrival)
        return _Decided(arrival, now, plan, stage, telephone, trunk) if telephone else None

    async def _let_in(self, asked: Asked, decided: _Decided, line: Line, hears: Awaitable[bool]) -> Call | None:
        """The call; None: the dialplan offers it to the engines.

        It counts from its plan on: else calls of the same instant would share the last place of their number or trunk.
        """
        call: Call | None = None
        trunks = self._board.trunks
        self._planner.begins(line)
        try:
            with trunks.taken(decided.arrival.trunk), trunks.taken(decided.trunk.name):
                music_class = await self._board.music_class(decided.plan.ringback)
                values = values_for_dial(decided.telephone, decided.trunk, music_class)
                if values is not None and await hears and self._is_still_ours(asked):
                    asked.tell(values, self._longest_call)
                    call = self._begin(asked.question, decided, line)
        finally:
            if call is None:
                self._planner.ends(line)
        return call

    def _is_still_ours(self, asked: Asked) -> bool:
        """Not any more once the dialplan has gone on, and maybe offered the call; nor when we shall take no more."""
        return asked.waits and self._takes_calls() and asked.question.channel not in self._live.callers

    def _begin_to_hear(self, channel: str) -> Awaitable[bool]:
        """Asterisk is asked as soon as somebody waits for anything; its answer is for later."""
        hears: asyncio.Future[bool] = asyncio.get_running_loop().create_future()
        self._tasks.start("hearing", self._hear(channel, hears))
        return hears

    async def _hear(self, channel: str, hears: asyncio.Future[bool]) -> None:
        done = False
        try:
            async with asyncio.timeout(_HEARD_WITHIN):
                await self._board.ari.hear(channel)
            done = True
        except (DariError, TimeoutError) as error:
            log.warning("nothing is heard of a channel", channel=channel, reason=str(error) or "no answer in time")
        finally:
            if not hears.done():
                hears.set_result(done)

    def _begin(self, question: Question, decided: _Decided, line: Line) -> Call:
        """The call is ours, and in the journal."""
        arrival, plan, spool = decided.arrival, decided.plan, self._board.spool
        caller = Party(Side.CALLER, question.channel, question.channel_name, arrival.trunk, arrival.caller, decided.at)
        call = Call(self._board, Notes(arrival, self._clock, self._log, decided.at, stage=decided.stage), caller)
        target = call.rung_by_dialplan(decided.telephone, decided.trunk)
        take_down(call, plan)
        spool.arrived(arrival)
        spool.sync_soon()
        call.keep()
        call.notes.tell(CallEventKind.ARRIVED)

        plan_at = partial(self._planner.plan, line, arrival.caller)
        script = directly(call, plan, plan_at, target, decided.stage)
        self._live.attend(call, counted_already(self._planner, line, script))
        return call


def _telephone(plan: Forward, stage: int, arrival: Arrival) -> Telephone | None:
    ring = plan.stages[stage]
    if not isinstance(ring, Ring):
        return None
    try:
        check_target(ring.targets[0].number)
    except NotAllowed:
        return None  # the caller is told so by the usual way
    return telephone_of(ring.targets[0], plan, arrival)

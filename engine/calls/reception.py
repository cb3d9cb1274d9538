"""Claims each call, places those that are ordered, and brings every event to its call. Decides nothing."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from contextlib import suppress
from datetime import datetime
from functools import partial
from uuid import UUID

import structlog

from engine.asterisk import events
from engine.asterisk.call_door import Asked
from engine.asterisk.connection import Connected, Connection, Disconnected
from engine.calls import adoption
from engine.calls.arrival import Order, ordered, read_arrival, read_number
from engine.calls.call import Call
from engine.calls.comparison import COMPARED_EVERY, Comparison
from engine.calls.contexts import BACK
from engine.calls.direct_calls import DirectCalls
from engine.calls.incoming import incoming
from engine.calls.left_open import LeftOpen
from engine.calls.live_calls import LiveCalls
from engine.calls.notes import Notes, moment_of
from engine.calls.outgoing import first_answers, waiting_to_be_rung
from engine.calls.own_ids import call_of
from engine.calls.party import party_on
from engine.calls.planner import Planner, counted
from engine.calls.strays import Elsewhere, Strays
from engine.calls.switchboard import Switchboard
from engine.cdr.call_file import CallFile
from engine.cdr.model import OpenCall, Side
from engine.events.call_log import CallEventKind
from engine.events.call_log_writer import CallLog
from engine.foundation.clock import Clock
from engine.foundation.errors import Conflict, DariError, Invalid, NotFound, TryLater
from engine.foundation.ids import instant_of, new_id
from engine.foundation.phone_number import PhoneNumber, check_target, written
from engine.foundation.tasks import Tasks
from engine.numbers.model import ServiceNumber
from engine.routing.call_plan import CallPlan, Forward
from engine.routing.model import Line
from engine.routing.placed import check_calls_on

log = structlog.get_logger(__name__)

EVENTS_USED = (
    "CallBroadcast",
    "ChannelDestroyed",
    "ChannelDtmfReceived",
    "ChannelHangupRequest",
    "Dial",
    "PlaybackFinished",
    "RecordingFailed",
    "RecordingFinished",
    "StasisEnd",
    "StasisStart",
    "ApplicationReplaced",
)
"""What Asterisk is asked to tell; each of the others would cost it and us time in every call."""


_CALLED_IN = 5.0
_ASKED_EVERY = 0.02


class Reception:
    """All live calls of this engine."""

    def __init__(
        self,
        board: Switchboard,
        connection: Connection,
        planner: Planner,
        call_log: CallLog,
        clock: Clock,
        compared_every: float = COMPARED_EVERY,
        *,
        call_file: CallFile | None = None,
        elsewhere: Elsewhere | None = None,
    ) -> None:
        """`call_file`: Asterisk's own records of calls. `elsewhere` tells the calls that other engines have."""
        self._board = board
        self._connection = connection
        self._planner = planner
        self._log = call_log
        self._clock = clock
        self._live = LiveCalls(board.spool, clock)
        self._left_open = LeftOpen(board, self._live, planner, call_log, clock, call_file)
        self._strays = Strays(board, self._live, self._left_open, elsewhere)
        self._comparison = Comparison(board, self._live, self._left_open, self._strays, clock, compared_every)
        self._direct = DirectCalls(board, self._live, planner, call_log, clock, lambda: self.takes_calls)
        self._tasks = Tasks("reception")
        self._reading: asyncio.Task[None] | None = None
        self.draining = False

    @property
    def connected(self) -> bool:
        """Whether Asterisk's events come."""
        return self._comparison.connected

    @property
    def event_lag_ms(self) -> int | None:
        """How late events are dealt with; None when none came lately."""
        lag = self._connection.event_lag
        return None if lag is None else round(1000 * lag)

    @property
    def live_calls(self) -> int:
        """Calls whose record is not closed yet."""
        return len(self._live.by_id)

    def calls(self) -> list[Call]:
        """The live calls, oldest first."""
        return list(self._live.by_id.values())

    async def take_over(self, open_calls: Sequence[OpenCall], app: str) -> None:
        """Goes on with calls that a dead engine left, and that are in our spool now; `app` is its ARI application.

        Returns once the callers whom it had claimed and not written down are ours too, or that takes very long.
        """
        self._comparison.adopt_also(open_calls, app)
        with suppress(TimeoutError):
            async with asyncio.timeout(_CALLED_IN):
                while self._strays.is_looking_into(app):  # noqa: ASYNC110 - the comparison tells nobody
                    await asyncio.sleep(_ASKED_EVERY)

    def number(self, number: PhoneNumber) -> ServiceNumber | None:
        """A number in service as calls go by it now; None: not in service."""
        line = self._planner.line(number)
        return line.number if line else None

    async def run(self) -> None:
        """Takes calls until closed. Cancelled, it still reads events, which live calls need, until `close`.

        Raises Conflict when another engine takes our events away, and what any of its tasks failed of.
        """
        proving = self._tasks.start("proof of life", self._live.prove_life(lambda: self.connected))
        comparing = self._tasks.start("comparison", self._comparison.keep_comparing())
        self._reading = self._tasks.start("events", self._read())
        ended, _ = await asyncio.wait((self._reading, proving, comparing), return_when=asyncio.FIRST_COMPLETED)
        for task in ended:
            await task
        raise Conflict(
            f"another engine uses the ARI application {self._board.ari.app_name} on this Asterisk and gets its events; "
            "stop it, or set DARI_NODE to a name of its own"
        )

    async def _read(self) -> None:
        """Every event to its place, until the events go to somebody else."""
        async for event in self._connection.events():
            match event:
                case Connected():
                    self._comparison.connect()
                case Disconnected():
                    self._comparison.disconnect()
                case events.CallBroadcast():
                    self._consider(event.channel)
                case events.ApplicationReplaced():
                    self._comparison.disconnect()
                    return
                case events.StasisStart() if self._is_new_caller(event.channel):
                    self._begin(event)
                case _:
                    self._bring(event)

    async def close(self, grace: float) -> None:
        """No new calls; waits up to `grace` seconds for the live ones, then leaves them to Asterisk.

        The next engine adopts those that are left. An engine that gets no events any more does not wait.
        """
        self.draining = True
        if self._reading is not None and not self._reading.done():
            with suppress(TimeoutError):
                async with asyncio.timeout(grace):
                    await self._live.until_idle()
        await self._tasks.close()
        await self._direct.close()
        await self._live.close()

    # -- a call comes ----------------------------------------------------------------------------------------------

    @property
    def takes_calls(self) -> bool:
        """Whether calls are claimed; those that are not, the dialplan takes on alone."""
        return not self.draining and self._board.spool.healthy and self._planner.known

    def _consider(self, channel: events.Channel) -> None:
        """A call is offered to every engine: a new one, or one that the dialplan was to ring, to whoever has it."""
        mine = self._live.by_id.get(self._live.owner(channel.id) or UUID(int=0))
        if mine is not None:
            if mine.direct is not None and not mine.is_offered_back:
                mine.is_offered_back = True
                self._tasks.start("claim", self._claim_back(mine))
        elif self.takes_calls and channel.dialplan.context != BACK:
            self._tasks.start("claim", self._claim(channel))

    async def _claim(self, channel: events.Channel) -> None:
        try:
            await self._board.ari.claim(channel.id)
        except (Conflict, NotFound):
            pass  # another engine was first, or the caller has left
        except DariError as error:
            log.warning("call not claimed, the dialplan takes it on", reason=str(error))

    async def _claim_back(self, call: Call) -> None:
        try:
            await self._board.ari.claim(call.caller.channel)
        except Conflict:
            call.give_away()  # to another engine, which took it for a new one
        except DariError:
            self._live.look_now.set()  # the caller has left, or it was too late: the comparison tells which

    async def asked(self, asked: Asked) -> None:
        """A call has come to the door. Asterisk goes on with it, as it was told, once this returns."""
        if self.takes_calls and self.connected:
            await self._direct.answer(asked)

    def _is_new_caller(self, channel: events.Channel) -> bool:
        known = channel.id in self._live.callers or self._left_open.is_to_come(channel.id)
        return call_of(channel.id) is None and not known and not self._live.has_ended(channel.id)

    def _begin(self, start: events.StasisStart) -> None:
        channel = start.channel
        arrived = moment_of(datetime.fromisoformat(channel.creationtime), self._clock)
        call_id = new_id(arrived.at)
        called = read_number(channel.dialplan.exten)
        line = self._planner.line(called) if called else None
        arrival = read_arrival(call_id, self._board.node, start, line.number if line else None, instant_of(call_id))
        self._board.spool.arrived(arrival)
        self._board.spool.sync_soon()
        notes = Notes(arrival, self._clock, self._log, arrived)
        call = Call(self._board, notes, party_on(channel, Side.CALLER, arrival.caller, arrived))
        notes.tell(CallEventKind.ARRIVED)
        self._live.attend(call, self._planned(call, line, arrival.arrived_at))

    async def _planned(self, call: Call, line: Line | None, now: datetime) -> None:
        """The call's plan at the instant at which it comes to the number, and its script."""
        plan_at = partial(self._planner.plan, line, call.notes.arrival.caller)
        plan = await plan_at(now)
        let_in = isinstance(plan, Forward) and plan.failed_before is None
        await counted(self._planner, line if let_in else None, incoming(call, plan, plan_at))

    def place(self, order: Order) -> UUID:
        """Places a call; its id. Raises NotFound, NotAllowed or TryLater when it cannot be placed."""
        line = self._planner.line(order.number)
        if line is None:
            raise NotFound(f"number {written(order.number)} is not in service; name one that is")
        check_calls_on(line)
        check_target(order.first)
        if order.first == order.second:
            raise Invalid(f"second: {written(order.first)} is rung first already; name another number")
        trunks = self._board.trunks.candidates(None)
        if not (self.takes_calls and self.connected and trunks):
            raise TryLater("the engine takes no calls now, or no trunk has room; try again in a moment", after=5.0)
        placed = self._planner.placed(line, order.second) if order.second else None
        now = self._clock.now()
        call_id = new_id(now)
        arrival = ordered(call_id, self._board.node, order, line.number, trunks[0].name, instant_of(call_id))
        self._board.spool.arrived(arrival)
        notes = Notes(arrival, self._clock, self._log, moment_of(now, self._clock))
        call = Call(self._board, notes, waiting_to_be_rung(arrival, notes.arrived))
        notes.new_plan = placed
        call.keep()
        notes.tell(CallEventKind.PLACED)
        self._live.attend(call, self._placed(call, line, placed))
        return call_id

    async def _placed(self, call: Call, line: Line, plan: Forward | None) -> None:
        """A call that we place; without a plan of its own it goes through that of its number at that instant."""
        if not await first_answers(call):
            return
        if plan is None:
            await self._planned(call, line, call.notes.moment().at)
            return

        async def plan_at(_instant: datetime) -> CallPlan:
            return plan

        await counted(self._planner, line, incoming(call, plan, plan_at))

    # -- everything else that happens ----------------------------------------------------------------------------------

    def _bring(self, event: events.Event) -> None:
        """To the first of its channels that a live call has."""
        if self._direct.keeps(event):
            return
        for channel in events.channel_ids(event):
            call_id = self._live.owner(channel)
            if call_id is None:
                continue
            call = self._live.by_id.get(call_id)
            if isinstance(event, events.StasisStart):
                wanted = call.wants(channel) if call else self._left_open.is_to_come(channel)
                if not wanted:  # it answered when nobody wanted it any more
                    self._tasks.start("stray leg", adoption.remove(self._board.ari, channel))
            if call is not None:
                call.deliver(event)
                return

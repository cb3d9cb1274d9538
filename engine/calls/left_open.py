"""The calls that an earlier life of the engine, or another, dead one, left open: each is taken over, or closed."""

from __future__ import annotations

import asyncio
from collections.abc import Iterable, Mapping, Sequence
from datetime import datetime
from functools import partial
from uuid import UUID

import structlog

from engine.calls import adoption
from engine.calls.call import Call
from engine.calls.journal import legs_of
from engine.calls.live_calls import LiveCalls
from engine.calls.notes import Notes, moment_of
from engine.calls.outgoing import first_answers
from engine.calls.own_ids import call_of, voicemail_of
from engine.calls.planner import Planner, counted
from engine.calls.resume import is_being_placed, place_of, rebuild, resume, ring_anew
from engine.calls.state import CallState
from engine.calls.switchboard import Switchboard
from engine.calls.unseen_end import lost
from engine.cdr.call_file import CallFile
from engine.cdr.call_row import Alone, Row
from engine.cdr.model import OpenCall, Result, Side
from engine.events.call_log_writer import CallLog
from engine.foundation.clock import Clock
from engine.foundation.errors import DariError
from engine.routing.call_plan import Forward, plan_from_paper

log = structlog.get_logger(__name__)


class LeftOpen:
    """Those that nobody has gone on with yet. What the spool had open at the start is taken over once."""

    def __init__(
        self,
        board: Switchboard,
        live: LiveCalls,
        planner: Planner,
        call_log: CallLog,
        clock: Clock,
        call_file: CallFile | None,
    ) -> None:
        """`call_file`: Asterisk's own records of calls."""
        self.adopted: set[UUID] = set()
        """Calls taken over: another engine, or another life of this one, began them."""
        self._board = board
        self._live = live
        self._planner = planner
        self._log = call_log
        self._clock = clock
        self._call_file = call_file
        self._calls: dict[UUID, OpenCall] = {}
        self._without_row: set[UUID] = set()
        self.add(board.spool.left_open)

    @property
    def by_id(self) -> Mapping[UUID, OpenCall]:
        return self._calls

    def add(self, open_calls: Iterable[OpenCall]) -> None:
        """More of them, which our spool has now."""
        self._calls |= {open_call.arrival.call_id: open_call for open_call in open_calls}

    @property
    def callers(self) -> set[str]:
        """Their channels."""
        return {open_call.arrival.channel for open_call in self._calls.values()}

    def is_to_come(self, channel: str) -> bool:
        """Whether a channel is of one of them."""
        return channel in self.callers or call_of(channel) in self._calls

    def go_on(self, found: adoption.Found, calls: Iterable[OpenCall]) -> list[OpenCall]:
        """Takes over those of these calls that still are; those that are over, or that the dialplan runs alone.

        Between the look and this nothing is waited for: what happens from here on, the calls are told.
        """
        return [open_call for open_call in calls if not self._goes_on(open_call, found)]

    def _goes_on(self, open_call: OpenCall, found: adoption.Found) -> bool:
        arrival = open_call.arrival
        if self._is_anothers(open_call, found):
            return False
        try:
            call = rebuild(self._board, self._notes(open_call), open_call, found)
        except DariError as error:  # its journal says what cannot be
            log.error("call cannot be taken over", call=str(arrival.call_id), reason=str(error))
            return False
        if call is None:
            return False
        adoption.catch_up(call, found)
        call.keep()
        self.adopted.add(call.id)
        del self._calls[call.id]
        self._live.attend(call, self._taken_over(call, open_call))
        log.info("call taken over", call=str(call.id), state=call.state.value)
        return True

    def _is_anothers(self, open_call: OpenCall, found: adoption.Found) -> bool:
        """Whether we have that caller's call anew already, or the dialplan runs it: alone, or as an engine told it that
        died at once."""
        channel = open_call.arrival.channel
        caller = found.channels.get(channel)
        untold = adoption.is_direct(caller) and not legs_of(open_call, Side.TARGET)
        return untold or adoption.is_given_away(caller) or channel in self._live.callers

    def _notes(self, open_call: OpenCall) -> Notes:
        arrived = moment_of(open_call.arrival.arrived_at, self._clock)
        return Notes(open_call.arrival, self._clock, self._log, arrived)

    async def _taken_over(self, call: Call, open_call: OpenCall) -> None:
        """The rest of a call, by the plan that it had."""
        arrival, told = call.notes.arrival, open_call.progress
        line = self._planner.line(arrival.number) if arrival.number else None
        plan_at = partial(self._planner.plan, line, arrival.caller)
        await self._end_the_talk(call, open_call)
        await ring_anew(call)
        if is_being_placed(call.caller, open_call) and not await first_answers(call, (*call.earlier, call.caller)):
            return
        plan = plan_from_paper(told.plan) if told and told.plan else None
        if plan is None:
            plan = await plan_at(arrival.arrived_at)
        over_limit = isinstance(plan, Forward) and plan.failed_before is not None
        await counted(
            self._planner, None if over_limit else line, resume(call, plan, plan_at, place_of(call, open_call))
        )

    async def _end_the_talk(self, call: Call, open_call: OpenCall) -> None:
        """A caller whose target hung up while no engine was there has talked until then, and not to us."""
        target = call.target
        if call.state is not CallState.CONNECTED or target is None or not target.untold:
            return
        row = await self.row(target.channel, call.notes.arrival.arrived_at)
        target.ended = moment_of(row.ended_at if row else open_call.last_alive, self._clock)
        call.notes.end_steps(target.ended)
        call.notes.conclude(Result.ANSWERED, target.ender)

    async def close(self, over: Sequence[OpenCall], found: adoption.Found) -> None:
        """Calls that are over, or not ours any more: nothing that was made for them stays."""
        for open_call in over:
            call_id, channel = open_call.arrival.call_id, open_call.arrival.channel
            legs = [leg for leg in found.channels if call_of(leg) == call_id]
            row = await self.row(channel, open_call.arrival.arrived_at)
            if row is None and not self._surely_has_no_row(call_id):
                continue
            went_alone = row is not None and row.alone is not Alone.NO  # its record is read back from the row
            if went_alone or self._is_anothers(open_call, found):
                log.info("the dialplan runs a call without us", call=str(call_id))
                await self._board.spool.give_away([call_id])
            else:
                await self._close_unseen(open_call, row, hung_up=bool(legs))
            del self._calls[call_id]
            self.adopted.add(call_id)  # what cannot be removed just now is ours to remove later
            await self._clear_away(open_call, legs, [bridge for bridge in found.bridges if call_of(bridge) == call_id])

    def _surely_has_no_row(self, call_id: UUID) -> bool:
        """At the second look: Asterisk writes a row a moment after the channel is gone."""
        sure = self._call_file is None or call_id in self._without_row
        self._without_row.add(call_id)
        return sure

    async def _clear_away(self, open_call: OpenCall, legs: Iterable[str], bridges: Iterable[str]) -> None:
        ari, told = self._board.ari, open_call.progress
        for leg in legs:
            await adoption.remove(ari, leg)
        if told is not None and told.voicemail is not None:
            await ari.end_recording(voicemail_of(open_call.arrival.call_id))
        for bridge in bridges:
            await ari.destroy_bridge(bridge)

    async def _close_unseen(self, open_call: OpenCall, row: Row | None, *, hung_up: bool) -> None:
        arrival, told, notes = open_call.arrival, open_call.progress, self._notes(open_call)
        log.warning("call ended while no engine saw it", call=str(arrival.call_id))
        taker = told.taken_by if told else None
        target = await self.row(taker, arrival.arrived_at) if taker else None
        record = lost(open_call, notes, row, target, hung_up=hung_up)
        self._board.spool.closed(record)
        notes.tell_end(record)

    async def row(self, channel: str, since: datetime) -> Row | None:
        """What Asterisk itself wrote down of a channel."""
        if self._call_file is None:
            return None
        try:
            return await asyncio.to_thread(self._call_file.find, channel, since)
        except OSError as error:
            log.warning("Asterisk's own record of a call cannot be read", reason=error.strerror)
            return None

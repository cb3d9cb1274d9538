"""What Asterisk has is compared with what we know, and mended: calls are taken over, channels of nobody removed."""

from __future__ import annotations

import asyncio
from contextlib import suppress

import structlog

from engine.calls import adoption
from engine.calls.call import Call
from engine.calls.causes import NORMAL_CLEARING
from engine.calls.live_calls import LiveCalls
from engine.calls.notes import Notes
from engine.calls.planner import Planner, counted
from engine.calls.switchboard import Switchboard
from engine.cdr.model import Direction, OpenCall
from engine.events.call_log import CallLog
from engine.foundation.clock import Clock
from engine.foundation.errors import DariError
from engine.routing.call_plan import Forward
from engine.routing.model import Line

log = structlog.get_logger(__name__)

_COMPARED_EVERY = 30.0
"""Seconds."""


class Comparison:
    """After each (re)connect, and every so often. What an earlier life of the engine left open is taken over once."""

    def __init__(
        self, board: Switchboard, live: LiveCalls, planner: Planner, call_log: CallLog, clock: Clock, node: str
    ) -> None:
        self.connected = False
        """Whether events come; nothing is compared while they do not."""
        self._board = board
        self._live = live
        self._planner = planner
        self._log = call_log
        self._clock = clock
        self._node = node
        self._left_open = board.spool.left_open

    def connect(self) -> None:
        """Events come again, after a gap: it is looked at now what happened in it."""
        self.connected = True
        self._live.look_now.set()

    def disconnect(self) -> None:
        """No events until `connect`."""
        self.connected = False

    async def keep_comparing(self) -> None:
        """Until cancelled."""
        look_now = self._live.look_now
        while True:
            after_a_gap = look_now.is_set()
            look_now.clear()
            sure = True
            if self.connected:
                try:
                    sure = await self._mend(after_a_gap)
                except DariError as error:
                    log.warning("Asterisk's channels not compared", reason=str(error))
                    if after_a_gap:
                        look_now.set()
                    await asyncio.sleep(1.0)
                    continue
            with suppress(TimeoutError):
                async with asyncio.timeout(_COMPARED_EVERY if sure else adoption.SURE_AFTER):
                    await look_now.wait()

    async def remove(self, channel: str) -> None:
        """Ends a channel that no call wants. One that stays is found again by the next comparison."""
        try:
            await self._board.ari.hang_up(channel, NORMAL_CLEARING)
        except DariError as error:
            log.warning("a channel that no call wants is not removed", channel=channel, reason=str(error))

    async def _mend(self, after_a_gap: bool) -> bool:
        """False when a channel was too young to be sure of, and is to be looked for again."""
        ari, known = self._board.ari, list(self._live.by_id.values())
        left_open = {open_call.arrival.call_id: open_call for open_call in self._left_open}
        if after_a_gap:
            callers = {*self._live.callers, *(open_call.arrival.channel for open_call in self._left_open)}
            await adoption.hear_again(ari, callers, {*self._live.by_id, *left_open})
        found = await adoption.look(ari, left_open, self._clock)
        sure = True
        for call in known:
            sure &= adoption.catch_up(call, found)
            if after_a_gap:  # else the end of a sound may be on its way to us just now
                await adoption.catch_up_sounds(call, ari)
        self._left_open = []
        for open_call in left_open.values():
            await self._adopt(open_call, found)
        await self._clear_away(found)
        return sure

    async def _adopt(self, open_call: OpenCall, found: adoption.Found) -> None:
        arrival = open_call.arrival
        notes = Notes(arrival, self._clock, self._log, adoption.moment_of(arrival.arrived_at, self._clock))
        call = adoption.rebuild(self._board, notes, open_call, found)
        if call is not None:
            line = self._planner.line(arrival.number) if arrival.number else None
            self._live.attend(call, self._taken_over(call, line, found))
            return
        log.warning("call ended while no engine saw it", call=str(arrival.call_id))
        record = adoption.lost(open_call)
        self._board.spool.closed(record)
        notes.tell_end(record)
        for channel in adoption.legs_left(open_call, found):
            await self.remove(channel)

    async def _taken_over(self, call: Call, line: Line | None, found: adoption.Found) -> None:
        """The rest of an adopted call; its plan of then says which message it is owed."""
        notes, arrival = call.notes, call.notes.arrival
        if arrival.direction is Direction.INCOMING:
            plan = await self._planner.plan(line, arrival.caller, arrival.arrived_at)
            notes.rules = plan.rules
            notes.callback = plan.callback if isinstance(plan, Forward) else None
        await counted(self._planner, line, adoption.go_on(call, found))

    async def _clear_away(self, found: adoption.Found) -> None:
        for channel in adoption.stray_channels(found, self._live.by_id, self._live.callers, self._node):
            log.warning("a channel that no call wants is removed", channel=channel)
            await self._board.ari.hang_up(channel, NORMAL_CLEARING)
        for bridge in adoption.stray_bridges(found, self._live.by_id, self._node):
            await self._board.ari.destroy_bridge(bridge)

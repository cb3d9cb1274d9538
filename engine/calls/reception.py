"""Claims each call, and brings every Asterisk event to its call: one task and one mailbox per call. Decides nothing."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine
from contextlib import suppress
from dataclasses import dataclass
from datetime import datetime
from uuid import UUID

import structlog

from engine.asterisk import events
from engine.asterisk.connection import Connected, Connection, Disconnected
from engine.calls import adoption
from engine.calls.arrival import read_arrival, read_number
from engine.calls.call import Call, CallerHungUp
from engine.calls.causes import NORMAL_CLEARING
from engine.calls.incoming import incoming
from engine.calls.notes import Notes
from engine.calls.own_ids import call_of
from engine.calls.party import party_on
from engine.calls.switchboard import Switchboard
from engine.cdr.model import CallRecord, OpenCall, Result, Side
from engine.events.call_log import CallEventKind, CallLog
from engine.foundation.clock import Clock
from engine.foundation.errors import Conflict, DariError, NotFound
from engine.foundation.ids import instant_of, new_id
from engine.foundation.phone_number import PhoneNumber
from engine.foundation.tasks import Tasks
from engine.numbers.model import ServiceNumber
from engine.routing.plan import CallPlan
from engine.trunks.model import Trunk

log = structlog.get_logger(__name__)

PROOF_OF_LIFE = 5.0
"""Seconds between proofs of life in the spool: they bound the end of calls whose engine dies."""

COMPARED_EVERY = 30.0
"""Seconds."""

EVENTS_USED = (
    "CallBroadcast",
    "ChannelDestroyed",
    "ChannelHangupRequest",
    "Dial",
    "PlaybackFinished",
    "StasisEnd",
    "StasisStart",
    "ApplicationReplaced",
)
"""What Asterisk is asked to tell; each of the others would cost it and us time in every call."""


@dataclass(frozen=True, slots=True)
class Directory:
    """What reception looks up: pure lookups in memory, nothing waits."""

    ready: Callable[[], bool]
    """Whether the numbers are known at all, from the database or from the snapshot."""
    number: Callable[[PhoneNumber], ServiceNumber | None]
    trunk: Callable[[str], Trunk | None]
    plan: Callable[[ServiceNumber | None, PhoneNumber | None, datetime], CallPlan]


class Reception:
    """All live calls of this engine."""

    def __init__(
        self,
        board: Switchboard,
        connection: Connection,
        directory: Directory,
        call_log: CallLog,
        clock: Clock,
        node: str,
    ) -> None:
        self._board = board
        self._connection = connection
        self._directory = directory
        self._log = call_log
        self._clock = clock
        self._node = node
        self._tasks = Tasks("reception")
        self._calls: dict[UUID, Call] = {}
        self._by_caller: dict[str, UUID] = {}
        self._left_open = board.spool.left_open
        self._look_now = asyncio.Event()
        self._reading: asyncio.Task[None] | None = None
        self._idle = asyncio.Event()
        self._idle.set()
        self.connected = False
        self.draining = False

    @property
    def live_calls(self) -> int:
        """Calls whose record is not closed yet."""
        return len(self._calls)

    def calls(self) -> list[Call]:
        """The live calls, oldest first."""
        return list(self._calls.values())

    async def run(self) -> None:
        """Takes calls until closed. Cancelled, it still reads events, which live calls need, until `close`.

        Raises Conflict when another engine takes our events away.
        """
        self._tasks.start("proof of life", self._prove_life())
        self._tasks.start("comparison", self._compare())
        self._reading = self._tasks.start("events", self._read())
        await asyncio.shield(self._reading)
        raise Conflict(
            f"another engine uses the ARI application {self._board.ari.app_name} on this Asterisk and gets its events; "
            "stop it, or set DARI_NODE to a name of its own"
        )

    async def _read(self) -> None:
        """Every event to its place, until the events go to somebody else."""
        async for event in self._connection.events():
            match event:
                case Connected():
                    self.connected = True
                    self._look_now.set()
                case Disconnected():
                    self.connected = False
                case events.CallBroadcast() if self.takes_calls:
                    self._tasks.start("claim", self._claim(event.channel))
                case events.ApplicationReplaced():
                    self.connected = False
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
                    await self._idle.wait()
        await self._tasks.close()

    # -- a call comes ----------------------------------------------------------------------------------------------

    @property
    def takes_calls(self) -> bool:
        """Whether calls are claimed; those that are not, the dialplan takes on alone."""
        return not self.draining and self._board.spool.healthy and self._directory.ready()

    async def _claim(self, channel: events.Channel) -> None:
        try:
            await self._board.ari.claim(channel.id)
        except (Conflict, NotFound):
            pass  # another engine was first, or the caller has left
        except DariError as error:
            log.warning("call not claimed, the dialplan takes it on", reason=str(error))

    def _is_new_caller(self, channel: events.Channel) -> bool:
        return call_of(channel.id) is None and channel.id not in self._by_caller

    def _begin(self, start: events.StasisStart) -> None:
        channel = start.channel
        arrived = adoption.moment_of(datetime.fromisoformat(channel.creationtime), self._clock)
        call_id = new_id(arrived.at)
        called = read_number(channel.dialplan.exten)
        number = self._directory.number(called) if called else None
        arrival = read_arrival(call_id, self._node, start, number, instant_of(call_id))
        self._board.spool.arrived(arrival)
        notes = Notes(arrival, self._clock, self._log, arrived)
        call = Call(self._board, notes, party_on(channel, Side.CALLER, arrival.caller, arrived))
        notes.tell(CallEventKind.ARRIVED)
        plan = self._directory.plan(number, arrival.caller, arrived.at)
        self._attend(call, incoming(call, plan, self._directory.trunk(arrival.trunk)))

    def _attend(self, call: Call, script: Coroutine[object, object, None]) -> None:
        self._calls[call.id] = call
        self._idle.clear()
        self._by_caller[call.caller.channel] = call.id
        self._tasks.start(f"call {call.id}", self._live(call, script))

    async def _live(self, call: Call, script: Coroutine[object, object, None]) -> None:
        """A call from beginning to end, whatever happens: one of the two places that stop every exception."""
        try:
            await script
        except CallerHungUp:
            call.notes.conclude(Result.ANSWERED if call.notes.answered else Result.CALLER_GAVE_UP, call.caller.ender)
        except DariError as error:
            log.error("call failed", call=str(call.id), reason=str(error))
            call.notes.conclude(Result.FAILED, Side.DARI)
        except Exception:
            log.exception("call failed", call=str(call.id))
            call.notes.conclude(Result.FAILED, Side.DARI)
        try:
            if not await call.clear_away():
                self._look_now.set()
        finally:
            self._close(call, call.record())

    def _close(self, call: Call, record: CallRecord) -> None:
        self._board.spool.closed(record)
        self._by_caller.pop(call.caller.channel, None)
        self._calls.pop(call.id, None)
        if not self._calls:
            self._idle.set()
        call.notes.tell_end(record)

    # -- everything else that happens ----------------------------------------------------------------------------------

    def _bring(self, event: events.Event) -> None:
        for channel in events.channel_ids(event):
            call_id = self._by_caller.get(channel) or call_of(channel)
            call = self._calls.get(call_id) if call_id else None
            if call is not None:
                call.deliver(event)
                return
            if call_id is not None and isinstance(event, events.StasisStart):  # it answered after its call was over
                self._tasks.start("stray leg", self._remove(channel))

    async def _remove(self, channel: str) -> None:
        """Ends a channel of no call. One that stays is found again by the next comparison."""
        try:
            await self._board.ari.hang_up(channel, NORMAL_CLEARING)
        except DariError as error:
            log.warning("a channel of no call is not removed", channel=channel, reason=str(error))

    async def _compare(self) -> None:
        """After each (re)connect, and every so often, what Asterisk has is compared with what we know, and mended."""
        while True:
            after_a_gap = self._look_now.is_set()
            self._look_now.clear()
            sure = True
            if self.connected:
                try:
                    sure = await self._mend(after_a_gap)
                except DariError as error:
                    log.warning("Asterisk's channels not compared", reason=str(error))
                    if after_a_gap:
                        self._look_now.set()
                    await asyncio.sleep(1.0)
                    continue
            with suppress(TimeoutError):
                async with asyncio.timeout(COMPARED_EVERY if sure else adoption.SURE_AFTER):
                    await self._look_now.wait()

    async def _mend(self, after_a_gap: bool) -> bool:
        """False when a channel was too young to be sure of, and is to be looked for again."""
        ari, known = self._board.ari, self.calls()
        left_open = {open_call.arrival.call_id: open_call for open_call in self._left_open}
        if after_a_gap:
            callers = {*self._by_caller, *(open_call.arrival.channel for open_call in self._left_open)}
            await adoption.hear_again(ari, callers, {*self._calls, *left_open})
        found = await adoption.look(ari, left_open, self._clock)
        sure = True
        for call in known:
            sure &= adoption.catch_up(call, found)
            if after_a_gap:  # else the end of a sound may be on its way to us just now
                await adoption.catch_up_sounds(call, ari)
        self._left_open = []
        for open_call in left_open.values():
            self._adopt(open_call, found)
        for channel in adoption.stray_channels(found, self._calls, self._by_caller, self._node):
            log.warning("a channel of no call is removed", channel=channel)
            await ari.hang_up(channel, NORMAL_CLEARING)
        for bridge in adoption.stray_bridges(found, self._calls, self._node):
            await ari.destroy_bridge(bridge)
        return sure

    def _adopt(self, open_call: OpenCall, found: adoption.Found) -> None:
        notes = Notes(
            open_call.arrival,
            self._clock,
            self._log,
            adoption.moment_of(open_call.arrival.arrived_at, self._clock),
        )
        call = adoption.rebuild(self._board, notes, open_call, found)
        if call is None:
            record = adoption.lost(open_call)
            self._board.spool.closed(record)
            notes.tell_end(record)
            for channel in adoption.legs_left(open_call, found):
                self._tasks.start("left leg", self._remove(channel))
            log.warning("call ended while no engine saw it", call=str(open_call.arrival.call_id))
            return
        self._attend(call, adoption.go_on(call, found))

    async def _prove_life(self) -> None:
        """Without calls too, with a sync while the disk is not well: nothing else would show that it is well again."""
        spool = self._board.spool
        while True:
            await asyncio.sleep(PROOF_OF_LIFE)
            spool.alive(list(self._calls), self._clock.now())
            if not spool.healthy:
                with suppress(TimeoutError):
                    async with asyncio.timeout(PROOF_OF_LIFE):
                        await spool.synced()

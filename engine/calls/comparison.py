"""What Asterisk has is compared with what we know, and mended: calls are taken over, channels of nobody removed."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from contextlib import suppress

import structlog

from engine.calls import adoption
from engine.calls.call import Call
from engine.calls.left_open import LeftOpen
from engine.calls.live_calls import LiveCalls
from engine.calls.notes import Moment, moment_of
from engine.calls.strays import Strays
from engine.calls.switchboard import Switchboard
from engine.cdr.model import OpenCall
from engine.foundation.clock import Clock
from engine.foundation.errors import DariError

log = structlog.get_logger(__name__)

COMPARED_EVERY = 30.0
"""Seconds."""


class Comparison:
    """After each (re)connect, and every so often."""

    def __init__(
        self, board: Switchboard, live: LiveCalls, left_open: LeftOpen, strays: Strays, clock: Clock, every: float
    ) -> None:
        self.connected = False
        """Whether events come; nothing is compared while they do not."""
        self._ari = board.ari
        self._node = board.node
        self._live = live
        self._left_open = left_open
        self._strays = strays
        self._clock = clock
        self._every = every
        self._sounds_over: set[str] = set()
        """Sounds that had ended at the last comparison while nobody had told us."""
        self._started = ""
        """When the Asterisk started that was compared last."""
        self._cut: Moment | None = None
        """When its events stopped, since then."""

    def connect(self) -> None:
        """Events come again, after a gap: it is looked at now what happened in it."""
        self.connected = True
        self._live.look_now.set()

    def disconnect(self) -> None:
        """No events until `connect`."""
        if self.connected:
            self._live.seen_alive()
            self._cut = self._cut or self._now()
        self.connected = False
        self._live.in_touch.clear()

    def adopt_also(self, open_calls: Sequence[OpenCall], app: str | None = None) -> None:
        """Calls of a dead engine, which our spool has now: at once they are taken over, wherever each of them stands.

        `app` is the dead engine's ARI application: callers in it whom no spool knows are begun as new calls.
        """
        self._left_open.add(open_calls)
        if app:
            self._strays.look_into(app)
        self._live.look_now.set()

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
                async with asyncio.timeout(self._every if sure else adoption.SURE_AFTER):
                    await look_now.wait()

    async def _mend(self, after_a_gap: bool) -> bool:
        """False when something was too young to be sure of, or was taken over just now: it is looked at again."""
        known = list(self._live.by_id.values())
        if after_a_gap:
            await self._see_whether_it_is_another()
        left_open = dict(self._left_open.by_id)
        if after_a_gap:
            callers = {*self._live.callers, *self._left_open.callers}
            await adoption.hear_again(self._ari, callers, {*self._live.by_id, *left_open})
            await self._strays.call_in()
        found = await adoption.look(self._ari, left_open, self._node, self._clock)
        over = self._left_open.go_on(found, left_open.values())
        sure = await self._catch_up(known, found, after_a_gap) and not left_open
        await self._left_open.close(over, found)
        sure = await self._strays.clear_away(found) and sure
        if self.connected and not self._live.look_now.is_set():
            self._live.in_touch.set()
        return sure

    async def _catch_up(self, known: Sequence[Call], found: adoption.Found, after_a_gap: bool) -> bool:
        """Tells calls what happened to them unseen. False when that is not sure yet."""
        sure, over_now = True, set[str]()
        for call in known:
            ends = await self._unseen_ends(call, found) if after_a_gap else {}
            sure &= adoption.catch_up(call, found, ends)
            over_now |= await adoption.catch_up_sounds(
                call, self._ari, lambda sound: after_a_gap or sound in self._sounds_over
            )
        self._sounds_over = over_now
        return sure and not over_now

    async def _unseen_ends(self, call: Call, found: adoption.Found) -> dict[str, Moment]:
        """When the parties went who left while no events came, as far as Asterisk has written it down."""
        gone = [party for party in call.parties if not party.gone and party.channel not in found.channels]
        rows = [await self._left_open.row(party.channel, party.started.at) for party in gone]
        return {row.channel: moment_of(row.ended_at, self._clock) for row in rows if row}

    async def _see_whether_it_is_another(self) -> None:
        """Calls end with the Asterisk that they were in: at the instant at which it told nothing more."""
        started = await self._ari.started()
        if self._started not in ("", started) and self._cut is not None:
            log.warning("Asterisk was started anew: the calls that were in it are over")
            for call in self._live.by_id.values():
                if call.notes.arrived.tick < self._cut.tick:
                    call.stop(self._cut)
        self._started, self._cut = started, None

    def _now(self) -> Moment:
        return Moment(self._clock.now(), self._clock.monotonic())

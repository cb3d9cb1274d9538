"""The live calls of this engine: each runs in a task of its own until its record is closed. Decides nothing."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Collection, Coroutine, Mapping
from contextlib import suppress
from uuid import UUID

import structlog

from engine.calls.call import Call
from engine.calls.legs import CallerHungUp, GivenAway
from engine.calls.own_ids import call_of
from engine.cdr.model import CallRecord, Result, Side
from engine.cdr.spool import Spool
from engine.foundation.clock import Clock
from engine.foundation.errors import DariError
from engine.foundation.tasks import Tasks

log = structlog.get_logger(__name__)

_PROOF_OF_LIFE = 4.0
"""Seconds between proofs of life in the spool: they bound the end of calls whose engine dies."""

_ENDED_KEPT = 10_000


class LiveCalls:
    """Calls whose record is not closed yet, by id and by their caller's channel."""

    def __init__(self, spool: Spool, clock: Clock) -> None:
        self.look_now = asyncio.Event()
        """Something may have been left in Asterisk: it is to be compared with what we know, soon."""
        self.in_touch = asyncio.Event()
        """Not set from the loss of Asterisk's events until it was compared again: it may have died, with its calls."""
        self.in_touch.set()
        self._spool = spool
        self._clock = clock
        self._tasks = Tasks("live calls")
        self._calls: dict[UUID, Call] = {}
        self._by_caller: dict[str, UUID] = {}
        """Of callers whose channel Asterisk named."""
        self._ended: dict[str, None] = {}
        """Channels of callers whose calls are over, oldest first."""
        self._idle = asyncio.Event()
        self._idle.set()

    @property
    def by_id(self) -> Mapping[UUID, Call]:
        """Oldest first."""
        return self._calls

    @property
    def callers(self) -> Collection[str]:
        """Their channels, as far as Asterisk named them."""
        return self._by_caller.keys()

    def has_ended(self, channel: str) -> bool:
        """Whether the call of the caller on that channel is over: whatever is told of it late begins no other."""
        return channel in self._ended

    def owner(self, channel: str) -> UUID | None:
        """The call that a channel belongs to, live or not; None: it is of no call that we know."""
        return self._by_caller.get(channel) or call_of(channel)

    def attend(self, call: Call, script: Coroutine[object, object, None]) -> None:
        """The call lives from now on."""
        self._calls[call.id] = call
        self._idle.clear()
        if call_of(call.caller.channel) is None:
            self._by_caller[call.caller.channel] = call.id
        self._tasks.start(f"call {call.id}", self._live(call, script))

    async def until_idle(self) -> None:
        """Waits until there are none."""
        await self._idle.wait()

    async def close(self) -> None:
        """Leaves those that there are to Asterisk, and to whoever adopts them."""
        await self._tasks.close()

    def seen_alive(self) -> None:
        """All of them live at this instant."""
        self._spool.alive(list(self._calls), self._clock.now())

    async def prove_life(self, connected: Callable[[], bool]) -> None:
        """Only while `connected()`: of calls in an Asterisk that may be dead nobody knows whether they live.

        Without calls too, with a sync while the disk is not well: nothing else would show that it is well again.
        """
        while True:
            await asyncio.sleep(_PROOF_OF_LIFE)
            self._spool.alive(list(self._calls) if connected() else (), self._clock.now())
            if not self._spool.healthy:
                with suppress(TimeoutError):
                    async with asyncio.timeout(_PROOF_OF_LIFE):
                        await self._spool.synced()

    async def _live(self, call: Call, script: Coroutine[object, object, None]) -> None:
        """A call from beginning to end, whatever happens: one of the two places that stop every exception."""
        try:
            await script
        except GivenAway:
            await self._give_away(call)
            return
        except CallerHungUp:
            _conclude_with_caller(call)
        except DariError as error:
            log.error("call failed", call=str(call.id), reason=str(error))
            call.notes.conclude(Result.FAILED, Side.DARI)
        except Exception:
            log.exception("call failed", call=str(call.id))
            call.notes.conclude(Result.FAILED, Side.DARI)
        await self.in_touch.wait()  # a script that failed for want of Asterisk tells no end of the call
        if call.notes.stopped is not None:
            _conclude_with_caller(call)
        try:
            if not await call.clear_away():
                self.look_now.set()
        finally:
            self._close(call, call.record())

    def _close(self, call: Call, record: CallRecord) -> None:
        self._spool.closed(record)
        self._forget(call)
        call.notes.tell_end(record)

    async def _give_away(self, call: Call) -> None:
        """Its record is made from what Asterisk writes down of it."""
        log.info("the dialplan runs a call without us", call=str(call.id))
        await call.let_go()
        self._forget(call)
        await self._spool.give_away([call.id])

    def _forget(self, call: Call) -> None:
        if self._by_caller.pop(call.caller.channel, None):
            self._ended[call.caller.channel] = None
            if len(self._ended) > _ENDED_KEPT:
                del self._ended[next(iter(self._ended))]
        self._calls.pop(call.id, None)
        if not self._calls:
            self._idle.set()


def _conclude_with_caller(call: Call) -> None:
    """The call ended with its caller."""
    unanswered = Result.LOST if call.caller.unseen else Result.CALLER_GAVE_UP
    call.notes.conclude(Result.ANSWERED if call.notes.answered else unanswered, call.caller.ender)

"""How much the dialplan lets in: limits that we set as Asterisk's global variables, and that it counts calls against.

Refused there, a call costs next to nothing; refused by an engine it would come too late, because Asterisk is the first
to have too much. The limits hold while no engine is there, too.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Iterable

import structlog

from engine.foundation.errors import DariError
from engine.trunks.model import Trunk
from engine.trunks.rate_control import LOOK_EVERY, RateControl

log = structlog.get_logger(__name__)

TOO_MANY = "more calls come than can be dealt with in time; the rest get 503"
"""What operators are told while a limit that was found out holds."""
CALLS_AT_ONCE = "DARI_CALLS"
CALLS_A_SECOND = "DARI_CALLS_A_SECOND"
NO_LIMIT = "0"
AGAIN_EVERY = 5.0
"""Seconds after which everything is set again: an Asterisk that was restarted has forgotten it."""
_SET_WITHIN = 1.0
"""Seconds; later another limit may be right."""
_LESS_OFTEN = 10
"""While Asterisk does not take it."""

SetGlobal = Callable[[str, str], Awaitable[None]]


def trunk_limit(name: str) -> str:
    """The global variable with the most calls at once of that trunk."""
    return f"{CALLS_AT_ONCE}_{name}"


def limits(trunks: Iterable[Trunk], calls_at_once: int, calls_a_second: int | None) -> dict[str, str]:
    """Every limit by the name of its variable; `calls_a_second` None: somebody else sets it. Pure."""
    return {
        CALLS_AT_ONCE: str(calls_at_once),
        **({} if calls_a_second is None else {CALLS_A_SECOND: str(calls_a_second)}),
        **{trunk_limit(trunk.name): str(trunk.max_calls or NO_LIMIT) for trunk in trunks},
    }


class Overload:
    """Keeps Asterisk's limits equal to ours. Run `keep_setting` as a task."""

    def __init__(
        self,
        set_global: SetGlobal,
        trunks: Callable[[], Iterable[Trunk]],
        calls_at_once: int,
        calls_a_second: int | None,
    ) -> None:
        """0: no limit for the whole system. `calls_a_second` None: it is found out (`keep_finding`)."""
        self._set_global = set_global
        self._trunks = trunks
        self._calls_at_once = calls_at_once
        self._calls_a_second = calls_a_second
        self._set: dict[str, str] = {}
        self._failing = False
        self._one_at_a_time = asyncio.Lock()

    async def set_now(self) -> None:
        """Sets every limit: after connecting, and after trunks changed. What fails is left to `keep_setting`."""
        async with self._one_at_a_time:
            wanted = limits(self._trunks(), self._calls_at_once, self._calls_a_second)
            removed = dict.fromkeys(self._set.keys() - wanted.keys(), NO_LIMIT)
            try:
                for name, value in (removed | wanted).items():
                    await self._set_global(name, value)
            except DariError as error:
                if not self._failing:
                    log.warning("limits not set in Asterisk, trying again", reason=str(error))
                self._failing = True
            else:
                self._set, self._failing = wanted, False

    async def keep_setting(self, every: float = AGAIN_EVERY) -> None:
        """Sets them now and again until cancelled."""
        while True:
            await self.set_now()
            await asyncio.sleep(every)


async def keep_finding(
    control: RateControl, engines: int, set_global: SetGlobal, now: Callable[[], float], every: float = LOOK_EVERY
) -> None:
    """Sets how many calls a second are let in, as one of so many engines finds it out, until cancelled.

    Each of them gets an equal share of the calls. First what an engine before set is gone.
    """
    told: int | None = None  # unknown
    told_at, refuses = now(), False
    while True:
        limit = (control.look(now()) or 0) * engines
        if bool(limit) != refuses:
            refuses = bool(limit)
            _tell_operators(limit)
        if limit != told or now() - told_at > AGAIN_EVERY:
            told, told_at = limit, now()
            try:
                async with asyncio.timeout(_SET_WITHIN):
                    await set_global(CALLS_A_SECOND, str(limit))
            except (DariError, TimeoutError):
                told = None
        await asyncio.sleep(every if told is not None else _LESS_OFTEN * every)


def _tell_operators(limit: int) -> None:
    if limit:
        log.warning(TOO_MANY, calls_a_second=limit)
    else:
        log.info("all calls are let in again")

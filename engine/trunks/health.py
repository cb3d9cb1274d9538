"""Whether each trunk is there, as Asterisk sees it: its answers to OPTIONS, and our registrations. Never waited for.

Asked of the manager (AMI), because only it tells all of it: ARI knows an endpoint as online or offline, without round
trip and registration, and a trunk that nobody asks after counts there as offline.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Iterable
from dataclasses import dataclass

import structlog

from engine.asterisk.manager import Contact
from engine.foundation.errors import DariError
from engine.trunks.model import Health, Trunk

log = structlog.get_logger(__name__)

EVERY = 3.0
"""Seconds between two looks; a change that Asterisk tells of is looked at at once."""

FORGOTTEN_AFTER = 30.0
"""Seconds after which what was last seen says nothing any more: Asterisk or its manager is away."""


@dataclass(frozen=True, slots=True)
class Sight:
    """What was seen of one trunk."""

    health: Health = Health.UNKNOWN
    reason: str = ""
    round_trip_ms: float | None = None
    registered: bool | None = None


UNSEEN = Sight()


def sight_of(trunk: Trunk, contact: Contact | None, registration: str | None) -> Sight:
    """How the trunk is, from the status of its contact and of its registration (None: Asterisk has none). Pure."""
    registered = registration == "Registered" if trunk.register and registration else None
    trip = contact.round_trip_ms if contact else None
    if trunk.options_seconds and contact and contact.status == "Unreachable":
        return Sight(Health.DOWN, "it does not answer OPTIONS", None, registered)
    if registered is False:
        return Sight(Health.DOWN, f"our registration is {(registration or '').lower()}", trip, registered)
    asked = contact is not None and contact.status == "Reachable" and trunk.options_seconds > 0
    return Sight(Health.UP if registered or asked else Health.UNKNOWN, "", trip, registered)


class TrunkHealth:
    """What was last seen of every trunk. `of` never waits; run `keep_fresh` as a task beside it."""

    def __init__(
        self,
        trunks: Callable[[], Iterable[Trunk]],
        contact: Callable[[str], Awaitable[Contact | None]],
        registrations: Callable[[], Awaitable[dict[str, str]]],
        now: Callable[[], float],
    ) -> None:
        """`contact` and `registrations` ask Asterisk, by trunk; `now` is a monotonic clock."""
        self._trunks = trunks
        self._contact = contact
        self._registrations = registrations
        self._now = now
        self._seen: dict[str, tuple[Sight, float]] = {}
        self._news = asyncio.Event()
        self._failing = False

    def of(self, name: str) -> Sight:
        """What is known of that trunk; nothing when it was not seen for long."""
        sight, at = self._seen.get(name, (UNSEEN, 0.0))
        return sight if self._now() - at <= FORGOTTEN_AFTER else UNSEEN

    def health(self, name: str) -> Health:
        """`of(name).health`."""
        return self.of(name).health

    def changed(self) -> None:
        """Asterisk said that something about its trunks is different: have a look soon."""
        self._news.set()

    async def look(self) -> None:
        """Asks Asterisk about every trunk that is watched at all. What fails leaves what is known."""
        trunks = list(self._trunks())
        try:
            registrations = await self._registrations() if any(trunk.register for trunk in trunks) else {}
            for trunk in trunks:
                await self._look_at(trunk, registrations.get(trunk.name))
        except DariError as error:
            if not self._failing:
                log.warning("trunks' health not known, going on without", reason=str(error))
            self._failing = True
        else:
            self._failing = False
            self._seen = {trunk.name: self._seen[trunk.name] for trunk in trunks if trunk.name in self._seen}

    async def keep_fresh(self, every: float = EVERY) -> None:
        """Looks again and again until cancelled."""
        while True:
            self._news.clear()
            await self.look()
            try:
                async with asyncio.timeout(every):
                    await self._news.wait()
            except TimeoutError:
                continue

    async def _look_at(self, trunk: Trunk, registration: str | None) -> None:
        if not (trunk.options_seconds or trunk.register):
            return
        contact = await self._contact(trunk.name) if trunk.options_seconds else None
        sight = sight_of(trunk, contact, registration)
        before = self.of(trunk.name)
        self._seen[trunk.name] = (sight, self._now())
        if sight.health is not before.health and Health.DOWN in (sight.health, before.health):
            tell = log.warning if sight.health is Health.DOWN else log.info
            tell("trunk changed its health", trunk=trunk.name, health=sight.health.value, reason=sight.reason)

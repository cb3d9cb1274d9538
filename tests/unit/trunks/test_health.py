"""What is made of what Asterisk knows about trunks."""

from __future__ import annotations

import asyncio

import msgspec
import pytest
import structlog

from engine.asterisk.manager import Contact
from engine.foundation.errors import TryLater
from engine.foundation.tasks import Tasks
from engine.trunks.health import FORGOTTEN_AFTER, Sight, TrunkHealth, sight_of
from engine.trunks.load import Load
from engine.trunks.model import Health, Login, Trunk
from engine.trunks.outgoing import Trunks

PLAIN = Trunk(name="t", match=("192.0.2.1",), contact="sip:192.0.2.1")
ASKED = msgspec.structs.replace(PLAIN, options_seconds=30)
REGISTERED = msgspec.structs.replace(PLAIN, register=True, login=Login(user="u", password="p"))
BOTH = msgspec.structs.replace(REGISTERED, options_seconds=30)
UP, DOWN = Contact("Reachable", 12.5), Contact("Unreachable")


@pytest.mark.parametrize(
    ("trunk", "contact", "registration", "health"),
    [
        (PLAIN, None, None, Health.UNKNOWN),
        (PLAIN, Contact("NonQualified"), None, Health.UNKNOWN),
        (ASKED, UP, None, Health.UP),
        (ASKED, DOWN, None, Health.DOWN),
        (ASKED, Contact("Unknown"), None, Health.UNKNOWN),
        (ASKED, None, None, Health.UNKNOWN),
        (REGISTERED, None, "Registered", Health.UP),
        (REGISTERED, None, "Rejected", Health.DOWN),
        (REGISTERED, None, "Unregistered", Health.DOWN),
        (REGISTERED, None, None, Health.UNKNOWN),
        (BOTH, UP, "Rejected", Health.DOWN),
        (BOTH, DOWN, "Registered", Health.DOWN),
        (BOTH, UP, "Registered", Health.UP),
    ],
)
def test_a_trunk_is_down_when_it_does_not_answer_or_does_not_know_us(
    trunk: Trunk, contact: Contact | None, registration: str | None, health: Health
) -> None:
    seen = sight_of(trunk, contact, registration)
    assert seen.health is health
    assert bool(seen.reason) is (health is Health.DOWN)


class Asterisk:
    """What its manager would say; None: it is away."""

    def __init__(self) -> None:
        self.contacts: dict[str, Contact] | None = {"t": UP}
        self.asked = 0
        self.now = 1000.0
        self.trunks = [ASKED]

    async def contact(self, name: str) -> Contact | None:
        self.asked += 1
        if self.contacts is None:
            raise TryLater("the manager of Asterisk is away")
        return self.contacts.get(name)

    async def registrations(self) -> dict[str, str]:
        return {}

    def health(self) -> TrunkHealth:
        return TrunkHealth(lambda: self.trunks, self.contact, self.registrations, lambda: self.now)


async def test_what_was_seen_is_kept_while_asterisk_is_away_and_then_forgotten() -> None:
    asterisk = Asterisk()
    health = asterisk.health()
    assert health.of("t") == Sight()
    await health.look()
    assert health.of("t") == Sight(Health.UP, "", 12.5, None)
    asterisk.contacts = None
    with structlog.testing.capture_logs() as logged:
        await health.look()
        await health.look()
    assert len(logged) == 1
    asterisk.now += FORGOTTEN_AFTER
    assert health.health("t") is Health.UP
    asterisk.now += 0.1
    assert health.health("t") is Health.UNKNOWN


async def test_going_down_and_coming_back_is_told_once_each() -> None:
    asterisk = Asterisk()
    health = asterisk.health()
    with structlog.testing.capture_logs() as logged:
        for contact in (UP, DOWN, DOWN, UP, UP):
            asterisk.contacts = {"t": contact}
            await health.look()
    assert [(line["log_level"], line["health"]) for line in logged] == [("warning", "down"), ("info", "up")]


async def test_trunks_that_nobody_wants_watched_cost_nothing_and_removed_ones_are_forgotten() -> None:
    asterisk = Asterisk()
    health = asterisk.health()
    await health.look()
    asterisk.trunks = [PLAIN]
    asked = asterisk.asked
    await health.look()
    assert asterisk.asked == asked
    asterisk.trunks = []
    await health.look()
    assert health.of("t") == Sight()


async def test_a_word_of_asterisk_makes_it_look_at_once() -> None:
    asterisk = Asterisk()
    health = asterisk.health()
    tasks = Tasks("test")
    tasks.start("health", health.keep_fresh(every=3600.0))
    try:
        async with asyncio.timeout(10):
            while health.health("t") is not Health.UP:
                await asyncio.sleep(0.001)
            asterisk.contacts = {"t": DOWN}
            health.changed()
            while health.health("t") is not Health.DOWN:
                await asyncio.sleep(0.001)
    finally:
        await tasks.close()


async def test_a_call_sees_trunks_with_their_load_and_health() -> None:
    asterisk = Asterisk()
    second = msgspec.structs.replace(PLAIN, name="a", priority=200, max_calls=1)
    asterisk.trunks = [ASKED, second]
    health = asterisk.health()
    await health.look()
    trunks = Trunks(lambda: asterisk.trunks, health, Load(), lambda: asterisk.now)
    assert [trunk.name for trunk in trunks.candidates("a")] == ["a", "t"]
    with trunks.taken("a"), trunks.sent(ASKED):
        assert [trunk.name for trunk in trunks.candidates("a")] == ["t"]
        assert [(one.name, one.health, one.calls) for one in trunks.states()] == [
            ("a", Health.UNKNOWN, 1),
            ("t", Health.UP, 1),
        ]
    assert trunks.find("a") == second
    assert trunks.find("nobody") is None

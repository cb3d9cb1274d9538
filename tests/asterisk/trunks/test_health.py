"""Whether trunks are there, as Asterisk sees it; and trunks that change while calls go on."""

from __future__ import annotations

import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import msgspec

from engine.asterisk.manager import Manager
from engine.foundation.tasks import Tasks
from engine.sandbox.carrier import Carrier
from engine.sandbox.digest import Account
from engine.sandbox.ear import tones
from engine.sandbox.phone import Answers
from engine.trunks.health import TrunkHealth
from engine.trunks.model import Health, Login, Trunk
from engine.trunks.provisioning import TrunkProvisioning
from tests.asterisk.trunks.desk import FIRST_TRUNK, NOBODY, NUMBER, SECOND_TRUNK, SERVER, SHOP, Desk
from tests.eventually import eventually
from tests.real_asterisk import RunningAsterisk

ASKED = msgspec.structs.replace(FIRST_TRUNK, options_seconds=2)


@asynccontextmanager
async def watched(manager: Manager, *trunks: Trunk, every: float) -> AsyncIterator[TrunkHealth]:
    health = TrunkHealth(lambda: trunks, manager.contact, manager.registrations, time.monotonic)
    for event in ("ContactStatus", "Registry"):
        manager.tell_of(event, health.changed)
    await manager.connect()
    tasks = Tasks("health")
    tasks.start("health", health.keep_fresh(every))
    try:
        yield health
    finally:
        await tasks.close()


async def test_a_carrier_that_answers_options_is_up_and_a_silent_one_is_down(
    asterisk: RunningAsterisk, manager: Manager, first: Carrier
) -> None:
    await asterisk.change_trunks([ASKED, SECOND_TRUNK])
    async with watched(manager, ASKED, SECOND_TRUNK, every=0.2) as health:
        await eventually(lambda: health.health("first") is Health.UP)
        assert (health.of("first").round_trip_ms or 0) > 0
        first.desk.options_code = None
        await eventually(lambda: health.health("first") is Health.DOWN)
        assert health.of("first").reason == "it does not answer OPTIONS"
        first.desk.options_code = 503
        await eventually(lambda: health.health("first") is Health.UP)
        assert health.health("second-one") is Health.UNKNOWN


async def test_asterisk_tells_of_a_change_before_anybody_looks(
    asterisk: RunningAsterisk, manager: Manager, first: Carrier
) -> None:
    await asterisk.change_trunks([ASKED])
    async with watched(manager, ASKED, every=3600.0) as health:
        await eventually(lambda: health.health("first") is Health.UP)
        first.desk.options_code = None
        await eventually(lambda: health.health("first") is Health.DOWN)


async def test_a_registration_that_is_refused_is_down(
    asterisk: RunningAsterisk, manager: Manager, first: Carrier
) -> None:
    first.desk.account = Account("dari01", "right")
    trunk = msgspec.structs.replace(FIRST_TRUNK, register=True, login=Login(user="dari01", password="wrong"))
    async with watched(manager, trunk, every=0.2) as health:
        provisioning = TrunkProvisioning(
            asterisk.etc, asterisk.settings.rtp_address, manager.reload, manager.register_again
        )
        await provisioning.provide([trunk])
        await eventually(lambda: health.of("first").reason == "our registration is rejected")
        assert health.health("first") is Health.DOWN
        right = msgspec.structs.replace(trunk, login=Login(user="dari01", password="right"))
        await provisioning.provide([right])
        await eventually(lambda: health.health("first") is Health.UP)
        assert health.of("first").registered


async def test_trunks_come_change_and_go_while_a_call_on_another_goes_on(
    desk: Desk, asterisk: RunningAsterisk, manager: Manager, first: Carrier
) -> None:
    await manager.connect()
    provisioning = TrunkProvisioning(asterisk.etc, asterisk.settings.rtp_address, manager.reload)
    one, other = await first.call(NUMBER, tone=700), await first.call(NUMBER, tone=1100)
    await one.answered()
    await other.answered()
    await desk.bring_together("talk", 2)

    async def goes_on() -> None:
        since = time.monotonic()
        await eventually(lambda: bool(tones(other.recording.since(since), [700])))

    await goes_on()
    newcomer = Trunk(name="newcomer", match=(NOBODY,), contact=f"sip:{NOBODY}:5070")
    moved = msgspec.structs.replace(newcomer, contact=f"sip:{NOBODY}:5071", prefix="9", options_seconds=30)
    registering = msgspec.structs.replace(moved, login=Login(user="u", password="p"), register=True)
    async with Carrier(NOBODY, 5070, (SERVER, 5060)) as carrier:
        assert not await carrier.is_known()
        await provisioning.provide([FIRST_TRUNK, newcomer])
        assert await carrier.is_known()
        carrier.shop(SHOP, Answers())
        await desk.place("to-newcomer", newcomer)
        await eventually(lambda: "to-newcomer" in desk.answered)
        for trunks in ([FIRST_TRUNK, moved], [FIRST_TRUNK, registering], [FIRST_TRUNK]):
            await provisioning.provide(trunks)
            await goes_on()
        assert not await carrier.is_known()
        assert "to-newcomer" not in desk.ended
    assert [one.is_over, other.is_over] == [False, False]

"""A running shop that is asked directly: its engine over the socket, its records in the database. No command is run."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager, suppress
from dataclasses import dataclass

from sqlalchemy.ext.asyncio import AsyncEngine

from engine.asterisk.commands import Ari
from engine.calls.control_client import engine_status
from engine.cdr.model import CallRecord
from engine.cdr.search import recent
from engine.foundation.database import open_database, transaction
from engine.foundation.errors import DariError
from engine.foundation.process import Process
from engine.sandbox.caller import CallerLeg
from engine.sandbox.carrier import Carrier
from engine.sandbox.leg import Leg
from engine.sandbox.phone import NeverAnswers, TargetLeg
from engine.settings import Settings
from tests.chaos.field import settings_of
from tests.chaos.processes import STRIKING, Hand, killed
from tests.chaos.proof import Proof
from tests.eventually import eventually
from tests.running_shop import CALLER, NUMBER, TARGET, RunningShop, running_shop

_EVERYTHING = 10_000


@dataclass(slots=True)
class WatchedShop:
    """What tests of whole-system faults do with a shop."""

    shop: RunningShop
    settings: Settings
    database: AsyncEngine
    ari: Ari

    @property
    def carrier(self) -> Carrier:
        return self.shop.carrier

    async def ringing_call(self, from_number: str) -> tuple[CallerLeg, TargetLeg]:
        """A call that nobody answers, once it rings."""
        phone = self.carrier.shop(TARGET, NeverAnswers())
        caller = await self.carrier.call(NUMBER, from_number=from_number, tone=CALLER)
        leg = await phone.next_call(30.0)
        await caller.provisional(183, 30.0)
        return caller, leg

    async def record(self, caller: CallerLeg) -> CallRecord:
        """The only record of a call, once it is there."""
        found: list[CallRecord] = []

        async def is_there() -> bool:
            with suppress(DariError):
                async with transaction(self.database) as connection:
                    records = await recent(connection, limit=_EVERYTHING)
                found[:] = [record for record in records if record.sip_call_id == caller.call_id]
            return bool(found)

        await eventually(is_there)
        assert len(found) == 1
        return found[0]

    async def until_live(self, calls: int) -> None:
        """Until the engine takes calls and has so many."""

        async def has_so_many() -> bool:
            with suppress(DariError):
                status = await engine_status(self.settings.paths.engine_socket)
                return status.state == "ready" and status.live_calls == calls
            return False

        await eventually(has_so_many)

    async def until_asterisk_is_empty(self) -> None:
        """No channel is left there, and no bridge but that of a probe."""

        async def is_empty() -> bool:
            with suppress(DariError):
                bridges = [bridge for bridge in await self.ari.bridges() if not bridge.id.startswith("probe")]
                return not bridges and not await self.ari.channels()
            return False

        await eventually(is_empty)

    def forget_calls(self) -> None:
        """The telephones were told of no end: those that still believe in a call give it up."""
        legs: list[Leg] = [*self.carrier.callers, *self.carrier.targets]
        for leg in legs:
            leg.abandon()

    async def kill_dari_up(self, hand: Hand = STRIKING) -> Proof:
        """kill -9 of the supervisor alone."""
        supervisor = Process.of(self.shop.up.process.pid)
        assert supervisor is not None, "`dari up` is not there"
        proof = await killed(supervisor, hand)
        if proof.measured:
            await self.shop.up.process.wait()
        return proof

    def log_of(self, part: str) -> str:
        """What a part has logged so far."""
        return (self.settings.paths.log / f"{part}.log").read_text()


@asynccontextmanager
async def watched_shop(ip: str, carrier_ip: str, **settings: str) -> AsyncIterator[WatchedShop]:
    """As `running_shop`."""
    async with AsyncExitStack() as stack:
        shop = await stack.enter_async_context(running_shop(ip, carrier_ip, **settings))
        known = settings_of(shop.home)
        database = open_database(known.database_url, 5.0, application_name="dari test")
        stack.push_async_callback(database.dispose)
        ari = await stack.enter_async_context(
            Ari(known.ari_url, known.app_name, known.ari_user, known.ari_password, timeout=10.0)
        )
        yield WatchedShop(shop, known, database, ari)

"""An outbox, the sandbox gateway behind it and a shop whose calls bring messages, for tests on a real database."""

from __future__ import annotations

import asyncio
import json
from collections import deque
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path
from uuid import UUID

import aiohttp
import pytest
from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncEngine

from engine.api.app import make_api, serving
from engine.api.receipts import receipts_router
from engine.callbacks.call_ended import call_ended
from engine.foundation.clock import SystemClock
from engine.foundation.database import transaction
from engine.foundation.phone_number import PhoneNumber
from engine.jobs.queue import ids_of
from engine.messages.gateways.gateway import Answer, Finding, Outgoing
from engine.messages.gateways.sandbox import SANDBOX_RECEIPTS, SandboxGateway
from engine.messages.model import Message, Status
from engine.messages.outbox import SEND_MESSAGE, Outbox
from engine.messages.search import message
from engine.messages.search import messages as all_messages
from engine.numbers.model import ServiceNumber
from engine.sandbox.gateway import GatewaySetup, gateway
from engine.sandbox.gateway_faults import Fault, Faults
from tests.answered_call import CALLER, answered_call
from tests.hand_clock import HandClock
from tests.loopback import ANY_PORT
from tests.shop import keep_call, open_shop

KEY = "test-key"
SWITCHED_OFF = PhoneNumber("01011110000")


@dataclass
class System:
    """An outbox, the gateway it sends to, and the shop whose calls bring messages."""

    database: AsyncEngine
    outbox: Outbox
    clock: HandClock
    faults: Faults
    folder: Path
    shop: ServiceNumber
    gateway: SandboxGateway

    async def queued(self, caller: PhoneNumber = CALLER) -> Message:
        """A message that a call has just brought."""
        call = await keep_call(self.database, answered_call(self.clock.now(), caller=caller), self.shop)
        await call_ended(self.database, call.call_id, self.clock.now())
        [kept] = await all_messages(self.database, call_id=call.call_id)
        assert kept.status is Status.QUEUED
        return kept

    async def send(self, *messages: Message) -> None:
        await self.outbox.send_all([kept.id for kept in messages])

    async def status(self, kept: Message) -> Status:
        return (await message(self.database, kept.id)).status

    def acceptances(self, kept: Message) -> int:
        """How often the gateway has accepted the message, by its own journal."""
        lines = (self.folder / "messages.jsonl").read_text().splitlines()
        return sum(json.loads(line)["order"]["id"] == str(kept.id) for line in lines)


@asynccontextmanager
async def system(
    database: AsyncEngine, folder: Path, *faults: Fault, timeout: float = 10.0, delivery_seconds: float = 60.0
) -> AsyncIterator[System]:
    plan = Faults(posts=deque(faults))
    setup = GatewaySetup(key=KEY, folder=folder, delivery_seconds=delivery_seconds, faults=plan)
    shop = await open_shop(database)
    api = make_api([receipts_router(database, KEY, SystemClock())])
    async with (
        serving(api, ANY_PORT) as api_url,
        gateway(ANY_PORT, setup) as url,
        aiohttp.ClientSession() as session,
    ):
        adapter = SandboxGateway(session, url, KEY, api_url + SANDBOX_RECEIPTS, timeout)
        clock = HandClock()
        yield System(database, Outbox(database, adapter, clock), clock, plan, folder, shop, adapter)
        plan.go_on.set()


async def claimed_by_a_dying_worker(s: System, *messages: Message) -> None:
    """What is left of a worker that was killed between its claim and the gateway's answers."""

    class Dying:
        name = "sandbox"
        at_once = 100

        async def submit(self, messages: Sequence[Outgoing]) -> Sequence[Answer]:
            raise asyncio.CancelledError

        async def look_up(self, message_id: UUID) -> Finding:
            raise asyncio.CancelledError

    with pytest.raises(asyncio.CancelledError):
        await Outbox(s.database, Dying(), s.clock).send_all([kept.id for kept in messages])
    for kept in messages:
        assert await s.status(kept) is Status.SENDING


async def waiting_to_be_sent(database: AsyncEngine) -> list[tuple[set[UUID], timedelta]]:
    """The jobs for later: whose messages, and how long after now they were put in."""
    query = text("""
        SELECT payload, execute_after - created AS pause FROM pgqueuer
        WHERE entrypoint = :name AND status = 'queued' AND execute_after > created ORDER BY execute_after, id
    """)
    async with transaction(database) as connection:
        rows = await connection.execute(query, {"name": SEND_MESSAGE})
        return [(set(ids_of(row.payload)), row.pause) for row in rows]


async def waiting_for_a_lock(database: AsyncEngine, count: int) -> bool:
    """Whether so many statements wait for another transaction."""
    query = "SELECT count(*) FROM pg_stat_activity WHERE datname = current_database() AND wait_event_type = 'Lock'"
    async with transaction(database) as connection:  # one of its own: the view stands still within a transaction
        return bool(await connection.scalar(text(query)) == count)

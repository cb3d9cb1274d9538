"""A shop in a database: its account, its registered sender, its number, and calls that it had."""

from __future__ import annotations

import msgspec
from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncEngine

from engine.accounts.book import account_named, register_sender
from engine.accounts.model import LOCAL_OPERATOR
from engine.cdr import store as cdr_store
from engine.cdr.model import CallRecord
from engine.foundation.clock import SystemClock
from engine.foundation.database import transaction
from engine.foundation.phone_number import PhoneNumber
from engine.jobs.queue import ids_of
from engine.numbers import inventory
from engine.numbers.model import ServiceNumber
from tests.answered_call import number_with_text


async def open_shop(database: AsyncEngine, number: ServiceNumber | None = None) -> ServiceNumber:
    """Puts `number` (or one that sends a message after calls) into service for an account; the number as kept."""
    number = number or number_with_text()
    async with transaction(database) as connection:
        now = SystemClock().now()
        account = await account_named(connection, LOCAL_OPERATOR, "다리꽃집", now)
        number = msgspec.structs.replace(number, account_id=account.id)
        if number.sender:
            evidence = "the shop's own telephone line"
            await register_sender(connection, LOCAL_OPERATOR, account.id, number.sender, evidence, now)
        return await inventory.add(connection, number)


async def keep_call(database: AsyncEngine, call: CallRecord, shop: ServiceNumber) -> CallRecord:
    """Writes `call` as one to the shop's number."""
    call = msgspec.structs.replace(call, account_id=shop.account_id, number=shop.number)
    async with transaction(database) as connection:
        await cdr_store.insert(connection, [call])
    return call


async def jobs_in_queue(database: AsyncEngine) -> list[str]:
    """The names of the jobs that wait, in the order in which they were put in; for each thing that one is to do."""
    async with transaction(database) as connection:
        rows = await connection.execute(
            text("SELECT entrypoint, payload FROM pgqueuer WHERE status = 'queued' ORDER BY id")
        )
        return [job.entrypoint for job in rows for _ in ids_of(job.payload)]


async def events_of(database: AsyncEngine, call: CallRecord) -> list[str]:
    """The kinds of the events about a call, in order."""
    async with transaction(database) as connection:
        rows = await connection.execute(
            text("SELECT kind FROM events WHERE call_id = :call_id ORDER BY id"), {"call_id": call.call_id}
        )
        return list(rows.scalars())


async def window_of(database: AsyncEngine, shop: ServiceNumber, recipient: PhoneNumber) -> object:
    """When the recipient's last message was, as the repeat window has it; None for none."""
    async with transaction(database) as connection:
        return await connection.scalar(
            text("""
                SELECT last_at FROM callback_recipients
                WHERE account_id = :account AND recipient = :recipient AND purpose = 'callback'
            """),
            {"account": shop.account_id, "recipient": recipient},
        )

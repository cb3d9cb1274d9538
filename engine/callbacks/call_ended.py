"""The jobs around a callback: after a call it is decided, kept and queued; when nobody got it, its window is free."""

from __future__ import annotations

from datetime import datetime, timedelta
from uuid import UUID

import structlog
from sqlalchemy.ext.asyncio import AsyncConnection, AsyncEngine

from engine.accounts.book import is_sender
from engine.callbacks import store
from engine.callbacks.decision import Decision, HoldMessage, SendMessage, decide
from engine.cdr.model import CallRecord
from engine.cdr.search import find
from engine.foundation.database import transaction
from engine.foundation.errors import Conflict
from engine.foundation.ids import new_id
from engine.foundation.phone_number import PhoneNumber
from engine.messages.model import Category, Channel, Message, Status
from engine.messages.outbox import keep_message
from engine.numbers.inventory import look_up
from engine.numbers.model import ServiceNumber

log = structlog.get_logger(__name__)


async def call_ended(database: AsyncEngine, call_id: UUID, now: datetime) -> None:
    """Decides on the message after a call, and keeps it, sent or held, with its certificate. Once per call.

    Nothing is kept for a call of a number that sends no messages: there was nothing to decide. Raises NotFound
    when there is no record of the call.
    """
    try:
        async with transaction(database) as connection:
            call = await find(connection, str(call_id))
            number = await _number_of(connection, call)
            if number is not None and number.callback is not None:
                await _decide_and_keep(connection, call, number, number.callback, now)
    except _DecidedBefore:
        log.info("this call's message was decided before", call=str(call_id))


async def message_failed(database: AsyncEngine, message_id: UUID) -> None:
    """Frees the repeat window of a message that nobody got: the caller's next call may bring one."""
    async with transaction(database) as connection:
        await store.release_window(connection, message_id)


class _DecidedBefore(Conflict):
    """Another run of the job has kept its decision: what this one did in its transaction is undone."""


async def _decide_and_keep(
    connection: AsyncConnection, call: CallRecord, number: ServiceNumber, text: str, now: datetime
) -> None:
    message_id = new_id(now)
    senders = await _registered(connection, number)
    decision = decide(call, number, senders, await _last_message_at(connection, call, number), now)
    while isinstance(decision, SendMessage) and not await _claim(connection, call, number, message_id, now):
        # Another call of this caller ended at the same time, and its message came first.
        decision = decide(call, number, senders, await _last_message_at(connection, call, number), now)
    if not await keep_message(connection, _message(message_id, call, number, text, decision, now)):
        raise _DecidedBefore(f"call {call.call_id}: its message was decided before")


async def _number_of(connection: AsyncConnection, call: CallRecord) -> ServiceNumber | None:
    """The number called, if it still is whose it was: a new owner's text is not for an old owner's caller."""
    number = await look_up(connection, call.number) if call.number else None
    return number if number and number.account_id == call.account_id else None


async def _registered(connection: AsyncConnection, number: ServiceNumber) -> set[PhoneNumber]:
    """The number's sender, if the account has registered it."""
    if number.sender and await is_sender(connection, number.account_id, number.sender):
        return {number.sender}
    return set()


async def _last_message_at(connection: AsyncConnection, call: CallRecord, number: ServiceNumber) -> datetime | None:
    return await store.last_message_at(connection, number.account_id, call.caller) if call.caller else None


async def _claim(
    connection: AsyncConnection, call: CallRecord, number: ServiceNumber, message_id: UUID, now: datetime
) -> bool:
    window = timedelta(days=number.repeat_window_days)
    return call.caller is not None and await store.claim_window(
        connection, number.account_id, call.caller, message_id, now, window
    )


def _message(
    message_id: UUID, call: CallRecord, number: ServiceNumber, text: str, decision: Decision, now: datetime
) -> Message:
    held = decision.reason if isinstance(decision, HoldMessage) else ""
    return Message(
        id=message_id,
        account_id=number.account_id,
        call_id=call.call_id,
        number=number.number,
        recipient=call.caller,
        sender=number.sender,
        channel=Channel.SMS,
        category=Category.INFORMATION,
        text=text,
        status=Status.HELD if held else Status.QUEUED,
        reason=held,
        certificate=decision.certificate,
        decided_at=now,
    )

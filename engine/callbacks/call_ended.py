"""The jobs around messages after calls: each is decided, kept and queued; when nobody got it, its window is free."""

from __future__ import annotations

from collections.abc import Set
from datetime import datetime
from uuid import UUID

import msgspec
import structlog
from sqlalchemy.ext.asyncio import AsyncConnection, AsyncEngine

from engine.accounts.book import is_sender
from engine.accounts.model import ALL_MODULES
from engine.accounts.tree import find as find_account
from engine.callbacks import store
from engine.callbacks.decision import Decision, EndedCall, HoldMessage, SendMessage, decide
from engine.callbacks.rules import gist, repeat_window
from engine.callbacks.wishes import Wish, wishes
from engine.cdr.model import CallRecord
from engine.cdr.search import find
from engine.contacts.consents import record_consent
from engine.contacts.model import Consent, ConsentChannel, Covers, KeyPress
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
    """Decides on the messages after a call, and keeps each, sent or held, with its certificate. Once per call.

    A consent given in the call is written down, whatever becomes of its message. Nothing is kept for a call that asks
    for no message: there was nothing to decide. Raises NotFound when there is no record of the call.
    """
    try:
        async with transaction(database) as connection:
            call = await find(connection, str(call_id))
            if call.account_id is not None:
                await _keep_consent(connection, call, call.account_id, now)
                await _keep_messages(connection, call, call.account_id, now)
    except _DecidedBefore:
        log.info("this call's messages were decided before", call=str(call_id))


async def message_failed(database: AsyncEngine, message_id: UUID) -> None:
    """Frees the repeat window of a message that nobody got: the caller's next call may bring one."""
    async with transaction(database) as connection:
        await store.release_window(connection, message_id)


class _DecidedBefore(Conflict):
    """Another run of the job has kept its decisions: what this one did in its transaction is undone."""


async def _keep_consent(connection: AsyncConnection, call: CallRecord, account_id: UUID, now: datetime) -> None:
    """A key press of somebody whose number is known."""
    if call.consent is None or call.caller is None or call.number is None:
        return
    consent = Consent(
        id=new_id(now),
        account_id=account_id,
        recipient=call.caller,
        service=call.number,
        channel=ConsentChannel.TEXT,
        covers=Covers.MESSAGE_ASKED_FOR,
        given_at=call.consent.at,
        call_id=call.call_id,
        evidence=msgspec.convert(call.consent, KeyPress, from_attributes=True),
    )
    await record_consent(connection, consent)


async def _keep_messages(connection: AsyncConnection, call: CallRecord, account_id: UUID, now: datetime) -> None:
    number = await _number_of(connection, call)
    off = ALL_MODULES - (await find_account(connection, account_id)).modules
    ended = EndedCall(call, number, await _registered(connection, number), off)
    said: set[str] = set()
    for wish in wishes(call, number):
        message_id = new_id(now)
        decision = await _decision(connection, ended, wish, message_id, said, now)
        if isinstance(decision, SendMessage):
            said.add(gist(wish.text))
        if not await keep_message(connection, _message(message_id, account_id, ended, wish, decision, now)):
            raise _DecidedBefore(f"call {call.call_id}: its messages were decided before")


async def _number_of(connection: AsyncConnection, call: CallRecord) -> ServiceNumber | None:
    """The number called, if it still is whose it was: a new owner's text is not for an old owner's caller."""
    number = await look_up(connection, call.number) if call.number else None
    return number if number and number.account_id == call.account_id else None


async def _registered(connection: AsyncConnection, number: ServiceNumber | None) -> set[PhoneNumber]:
    """The number's sender, if the account has registered it."""
    if number and number.sender and await is_sender(connection, number.account_id, number.sender):
        return {number.sender}
    return set()


async def _decision(
    connection: AsyncConnection, ended: EndedCall, wish: Wish, message_id: UUID, said: Set[str], now: datetime
) -> Decision:
    """What is decided about a wish; a message that is to go has taken its repeat window."""
    caller, number = ended.call.caller, ended.number
    if caller is None or number is None:
        return decide(ended, wish, None, said, now)
    window = repeat_window(wish.purpose, ended.call, number)
    while True:
        last_at = await store.last_message_at(connection, number.account_id, caller, window)
        decision = decide(ended, wish, last_at, said, now)
        if isinstance(decision, HoldMessage):
            return decision
        if await store.claim_window(connection, number.account_id, caller, message_id, now, window):
            return decision
        # Another call of this caller ended at the same time, and its message came first.


def _message(
    message_id: UUID, account_id: UUID, ended: EndedCall, wish: Wish, decision: Decision, now: datetime
) -> Message:
    held = decision.reason if isinstance(decision, HoldMessage) else ""
    return Message(
        id=message_id,
        account_id=account_id,
        call_id=ended.call.call_id,
        number=ended.call.number,
        purpose=wish.purpose,
        recipient=ended.call.caller,
        sender=ended.number.sender if ended.number else None,
        channel=Channel.SMS,
        category=Category.INFORMATION,
        text=wish.text,
        status=Status.HELD if held else Status.QUEUED,
        reason=held,
        certificate=decision.certificate,
        needs=wish.needs,
        decided_at=now,
    )

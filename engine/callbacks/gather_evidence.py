"""Reads what the decision about messages goes by, for a call that might be or that was."""

from __future__ import annotations

from sqlalchemy.ext.asyncio import AsyncConnection

from engine.accounts.book import is_sender
from engine.callbacks import store
from engine.callbacks.evidence import Evidence
from engine.callbacks.rules import repeat_window
from engine.callbacks.store import Place, place_of
from engine.cdr.model import CallRecord
from engine.foundation.phone_number import PhoneNumber
from engine.messages.model import Purpose
from engine.numbers.model import ServiceNumber


async def evidence_now(connection: AsyncConnection, call: CallRecord, number: ServiceNumber) -> Evidence:
    """As the job after `call` would find it at this moment."""
    last = await store.last_messages_at(connection, _places(call, number))
    return Evidence(await _senders(connection, number), {place.purpose: at for place, at in last.items()})


async def evidence_then(connection: AsyncConnection, call: CallRecord, number: ServiceNumber) -> Evidence:
    """As it was when `call` arrived: of the messages decided before. The senders are those registered today."""
    last = {}
    for place in _places(call, number):
        at = await store.sent_before(connection, place, call.arrived_at)
        if at is not None:
            last[place.purpose] = at
    return Evidence(await _senders(connection, number), last)


def _places(call: CallRecord, number: ServiceNumber) -> list[Place]:
    if call.caller is None:
        return []
    return [place_of(number.account_id, call.caller, repeat_window(purpose, call, number)) for purpose in Purpose]


async def _senders(connection: AsyncConnection, number: ServiceNumber) -> set[PhoneNumber]:
    """The number's sender, if the account has registered it."""
    if number.sender and await is_sender(connection, number.account_id, number.sender):
        return {number.sender}
    return set()

"""The jobs around messages after calls: each is decided, kept and queued; when nobody got it, its window is free.

Calls that ended together are decided together, in one transaction. A call that another one is in the way of, or that
was decided before, is left out: what becomes of the others does not depend on it.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Sequence
from datetime import datetime
from uuid import UUID

import msgspec
import structlog
from sqlalchemy.ext.asyncio import AsyncConnection, AsyncEngine

from engine.callbacks import store
from engine.callbacks.cases import Case, cases_of
from engine.callbacks.decision import Decision, HoldMessage, foreseen
from engine.callbacks.rules import repeat_window
from engine.callbacks.store import Claim, Place
from engine.callbacks.wishes import Wish
from engine.cdr.model import CallRecord
from engine.cdr.search import of_ids
from engine.contacts.consents import record_consent
from engine.contacts.model import Consent, ConsentChannel, Covers, KeyPress
from engine.foundation.database import transaction
from engine.foundation.errors import Conflict, NotFound
from engine.foundation.ids import new_id
from engine.messages.model import Category, Channel, Message, Status
from engine.messages.outbox import keep_messages

log = structlog.get_logger(__name__)


async def calls_ended(database: AsyncEngine, call_ids: Collection[UUID], now: datetime) -> None:
    """Decides on the messages after calls, and keeps each, sent or held, with its certificate. Once per call.

    A consent given in a call is written down, whatever becomes of its message. Nothing is kept for a call that asks
    for no message: there was nothing to decide. Raises NotFound when there is no record of a call.
    """
    together = sorted(set(call_ids))  # everybody writes in this order: nobody waits for who waits for him
    alone: list[UUID] = []
    while together:
        try:
            async with transaction(database) as connection:
                alone += await _decide(connection, together, now)
            break
        except _WindowsTaken as taken:
            alone += taken.calls
            together = _without(together, taken.calls)
        except _DecidedBefore as before:
            log.info("calls whose messages were decided before", calls=[str(call_id) for call_id in before.calls])
            together = _without(together, before.calls)
    for call_id in sorted(alone):
        await call_ended(database, call_id, now)


async def call_ended(database: AsyncEngine, call_id: UUID, now: datetime) -> None:
    """As `calls_ended`, of one."""
    await calls_ended(database, [call_id], now)


async def message_failed(database: AsyncEngine, message_id: UUID) -> None:
    """Frees the repeat window of a message that nobody got: the caller's next call may bring one."""
    async with transaction(database) as connection:
        await store.release_window(connection, message_id)


class _Undone(Conflict):
    """The transaction is undone, for these calls cannot be decided in it."""

    def __init__(self, reason: str, calls: Collection[UUID]) -> None:
        super().__init__(reason)
        self.calls = calls


class _WindowsTaken(_Undone):
    """Other calls of their callers ended at the same time, and their messages came first."""


class _DecidedBefore(_Undone):
    """Another run of the job has kept its decisions on them."""


async def _decide(connection: AsyncConnection, call_ids: Sequence[UUID], now: datetime) -> list[UUID]:
    """Decides on the messages after these calls, but for the calls that it returns: each after the others."""
    records = await of_ids(connection, call_ids)
    for call_id in call_ids:
        if call_id not in records:
            raise NotFound(f"call {call_id}: there is no record of it")
    calls = [records[call_id] for call_id in call_ids]
    decided, later = _decided(await cases_of(connection, calls), now)
    await _keep_consents(connection, [call for call in calls if call.call_id not in later], now)
    going = [(case, message) for case, message in decided if message.status is Status.QUEUED]
    taken = await store.claim_windows(connection, [_claim(case, message) for case, message in going], now)
    if lost := _calls(case for case, message in going if message.id not in taken):
        raise _WindowsTaken("the repeat windows of some calls were taken at this moment", lost)
    kept = await keep_messages(connection, [message for _, message in decided])
    if known := _calls(case for case, message in decided if message.id not in kept):
        raise _DecidedBefore("the messages of some calls were decided before", known)
    return later


def _decided(cases: Iterable[Case], now: datetime) -> tuple[list[tuple[Case, Message]], list[UUID]]:
    """The messages of those that no earlier one stands in the way of; and the calls of the others."""
    decided: list[tuple[Case, Message]] = []
    later: list[UUID] = []
    in_use: set[Place] = set()
    for case in cases:
        if in_use.isdisjoint(case.places.values()):
            messages = [_message(case, *one, now) for one in foreseen(case.ended, case.last_at, now)]
            in_use.update(case.places[message.purpose] for message in messages if message.status is Status.QUEUED)
            decided += [(case, message) for message in messages]
        else:
            in_use.update(case.places.values())
            later.append(case.ended.call.call_id)
    return decided, later


def _calls(cases: Iterable[Case]) -> set[UUID]:
    return {case.ended.call.call_id for case in cases}


def _without(call_ids: Iterable[UUID], left_out: Collection[UUID]) -> list[UUID]:
    return [call_id for call_id in call_ids if call_id not in left_out]


def _claim(case: Case, message: Message) -> Claim:
    window = repeat_window(message.purpose, case.ended.call, case.ended.number)
    return Claim(case.places[message.purpose], window.length, message.id)


async def _keep_consents(connection: AsyncConnection, calls: Iterable[CallRecord], now: datetime) -> None:
    """The key presses of those whose number is known."""
    for call in calls:
        if call.account_id is None or call.consent is None or call.caller is None or call.number is None:
            continue
        consent = Consent(
            id=new_id(now),
            account_id=call.account_id,
            recipient=call.caller,
            service=call.number,
            channel=ConsentChannel.TEXT,
            covers=Covers.MESSAGE_ASKED_FOR,
            given_at=call.consent.at,
            call_id=call.call_id,
            evidence=msgspec.convert(call.consent, KeyPress, from_attributes=True),
        )
        await record_consent(connection, consent)


def _message(case: Case, wish: Wish, decision: Decision, now: datetime) -> Message:
    call, number = case.ended.call, case.ended.number
    held = decision.reason if isinstance(decision, HoldMessage) else ""
    return Message(
        id=new_id(now),
        account_id=case.account_id,
        call_id=call.call_id,
        number=call.number,
        purpose=wish.purpose,
        recipient=call.caller,
        sender=number.sender if number else None,
        channel=Channel.SMS,
        category=Category.INFORMATION,
        text=wish.text,
        status=Status.HELD if held else Status.QUEUED,
        reason=held,
        certificate=decision.certificate,
        needs=wish.needs,
        decided_at=now,
    )

"""Reads what the messages after calls are decided by, for many calls at a time: one statement for each question."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence, Set
from dataclasses import dataclass
from datetime import datetime
from typing import NamedTuple
from uuid import UUID

from sqlalchemy.ext.asyncio import AsyncConnection

from engine.accounts.book import senders_among
from engine.accounts.modules import switched_off
from engine.callbacks import store
from engine.callbacks.decision import EndedCall
from engine.callbacks.rules import repeat_window
from engine.callbacks.store import Place, place_of
from engine.callbacks.wishes import Wish, wishes
from engine.cdr.model import CallRecord
from engine.foundation.phone_number import PhoneNumber
from engine.messages.model import Purpose
from engine.numbers.inventory import look_up_all
from engine.numbers.model import ServiceNumber


@dataclass(frozen=True, slots=True)
class Case:
    """A call that asks for messages, and what is decided on them by."""

    account_id: UUID
    ended: EndedCall
    places: Mapping[Purpose, Place]
    """The repeat windows of its messages; none where the caller or the number is not known."""
    last_at: Mapping[Purpose, datetime]
    """When the caller last got a message there."""


class _Asking(NamedTuple):
    call: CallRecord
    account_id: UUID
    number: ServiceNumber | None
    places: dict[Purpose, Place]


async def cases_of(connection: AsyncConnection, calls: Sequence[CallRecord]) -> list[Case]:
    """Of those calls that ask for messages, in the same order. A call of nobody's asks for none."""
    numbers = await look_up_all(connection, {call.number for call in calls if call.number})
    asking = [one for call in calls if (one := _asking(call, numbers))]
    senders = {(one.account_id, one.number.sender) for one in asking if one.number and one.number.sender}
    registered = await senders_among(connection, senders)
    off = await switched_off(connection, {one.account_id for one in asking})
    last = await store.last_messages_at(connection, [place for one in asking for place in one.places.values()])
    return [
        Case(
            one.account_id,
            EndedCall(one.call, one.number, _senders(one, registered), off[one.account_id]),
            one.places,
            {purpose: last[place] for purpose, place in one.places.items() if place in last},
        )
        for one in asking
    ]


def _asking(call: CallRecord, numbers: Mapping[PhoneNumber, ServiceNumber]) -> _Asking | None:
    if call.account_id is None:
        return None
    number = numbers.get(call.number) if call.number else None
    if number and number.account_id != call.account_id:
        number = None  # a new owner's text is not for an old owner's caller
    wished = wishes(call, number)
    return _Asking(call, call.account_id, number, _places(call, number, wished)) if wished else None


def _places(call: CallRecord, number: ServiceNumber | None, wished: Iterable[Wish]) -> dict[Purpose, Place]:
    if call.caller is None or number is None:
        return {}
    return {
        wish.purpose: place_of(number.account_id, call.caller, repeat_window(wish.purpose, call, number))
        for wish in wished
    }


def _senders(one: _Asking, registered: Set[tuple[UUID, PhoneNumber]]) -> set[PhoneNumber]:
    """The number's sender, if the account has registered it."""
    sender = one.number.sender if one.number else None
    return {sender} if sender and (one.account_id, sender) in registered else set()

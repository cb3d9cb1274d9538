"""What is known of a call when its INVITE came: pure reading of the caller's channel. Trusts nothing that it says."""

from __future__ import annotations

import re
from datetime import datetime
from uuid import UUID

import msgspec

from engine.asterisk.events import StasisStart
from engine.calls.own_ids import first_channel_of
from engine.cdr.model import Arrival, Direction
from engine.foundation.phone_number import PhoneNumber, national
from engine.numbers.model import ServiceNumber

_SENT_AT_MOST = 64


class Order(msgspec.Struct, frozen=True, kw_only=True):
    """A call that somebody wants placed."""

    number: PhoneNumber
    """A number in service: in its account's name the call is made, and both parties see it."""
    first: PhoneNumber
    """Who asked for the call, and is rung first."""
    second: PhoneNumber | None = None
    """Who is rung then; None: the first party goes through the number as its callers do, to hear it (test call)."""


def read_number(sent: str) -> PhoneNumber | None:
    """The number called, however the trunk wrote it (050…, +8250…, 8250…); None when it is none."""
    return national(sent)


def read_caller(sent: str, presentation: str) -> PhoneNumber | None:
    """The caller's number; None for withheld, absent and impossible ones. Only digits ever leave here.

    `presentation` is Asterisk's CALLERID(pres). A withheld number that the carrier told us in trust goes no further.
    """
    number = None if presentation.startswith("prohib") else national(sent)
    return number if number and 3 <= len(number) <= 15 else None


def trunk_of(channel_name: str) -> str:
    """The PJSIP endpoint in a channel's name: `PJSIP/carrier-00000001` -> `carrier`."""
    return channel_name.partition("/")[2].rpartition("-")[0]


def read_arrival(
    call_id: UUID, node: str, start: StasisStart, number: ServiceNumber | None, arrived_at: datetime
) -> Arrival:
    """The arrival, with the owner of `number` at this moment. The dialplan's one argument is CALLERID(pres)."""
    channel = start.channel
    called = read_number(channel.dialplan.exten)
    presentation = start.args[0] if start.args else ""
    caller = read_caller(channel.caller.number, presentation)
    return Arrival(
        call_id=call_id,
        node=node,
        sip_call_id=channel.protocol_id or None,
        channel=channel.id,
        number=called,
        number_sent=as_sent(channel.dialplan.exten),
        number_kind=number.kind if number else None,
        account_id=number.account_id if number else None,
        caller=caller,
        caller_sent="withheld" if presentation.startswith("prohib") else as_sent(channel.caller.number),
        trunk=trunk_of(channel.name),
        arrived_at=arrived_at,
    )


def ordered(call_id: UUID, node: str, order: Order, number: ServiceNumber, trunk: str, at: datetime) -> Arrival:
    """The arrival of a call that we place. Its caller is the party that is rung first."""
    return Arrival(
        call_id=call_id,
        node=node,
        sip_call_id=None,
        channel=first_channel_of(call_id, node, 1),
        number=number.number,
        number_sent=number.number,
        number_kind=number.kind,
        account_id=number.account_id,
        caller=order.first,
        caller_sent=order.first,
        trunk=trunk,
        arrived_at=at,
        direction=Direction.OUTGOING,
    )


def as_sent(sent: str) -> str:
    """What a trunk sent, as it may be written down: printable, at most 64 characters."""
    return re.sub(r"[^\x20-\x7e]", "?", sent)[:_SENT_AT_MOST]

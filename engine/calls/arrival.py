"""What is known of a call when its INVITE came: pure reading of the caller's channel. Trusts nothing that it says."""

from __future__ import annotations

import re
from datetime import datetime
from uuid import UUID

import msgspec

from engine.asterisk.call_question import Question
from engine.asterisk.events import StasisStart
from engine.calls.own_ids import first_channel_of
from engine.cdr.model import Arrival, Direction
from engine.foundation.ids import instant_of
from engine.foundation.phone_number import PhoneNumber, national
from engine.numbers.model import ServiceNumber

_SENT_AT_MOST = 64
_WITHHELD = "prohib"
"""So begins CALLERID(pres) of a caller who withholds the number."""


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
    number = None if presentation.startswith(_WITHHELD) else national(sent)
    return number if number and 3 <= len(number) <= 15 else None


def trunk_of(channel_name: str) -> str:
    """The PJSIP endpoint in a channel's name: `PJSIP/carrier-00000001` -> `carrier`."""
    return channel_name.partition("/")[2].rpartition("-")[0]


def read_arrival(
    call_id: UUID, node: str, start: StasisStart, number: ServiceNumber | None, arrived_at: datetime
) -> Arrival:
    """The arrival, with the owner of `number` at this moment. The dialplan's one argument is CALLERID(pres)."""
    channel = start.channel
    sent = Question(
        channel=channel.id,
        channel_name=channel.name,
        number_sent=channel.dialplan.exten,
        caller_sent=channel.caller.number,
        withheld=bool(start.args) and start.args[0].startswith(_WITHHELD),
    )
    return _came_in(call_id, node, sent, number, arrived_at, channel.protocol_id or None)


def asked_about(call_id: UUID, node: str, question: Question, number: ServiceNumber) -> Arrival:
    """The arrival of a call that Asterisk asks about at the door; its SIP Call-ID is told later."""
    return _came_in(call_id, node, question, number, instant_of(call_id), None)


def _came_in(
    call_id: UUID,
    node: str,
    sent: Question,
    number: ServiceNumber | None,
    arrived_at: datetime,
    sip_call_id: str | None,
) -> Arrival:
    return Arrival(
        call_id=call_id,
        node=node,
        sip_call_id=sip_call_id,
        channel=sent.channel,
        number=read_number(sent.number_sent),
        number_sent=as_sent(sent.number_sent),
        number_kind=number.kind if number else None,
        account_id=number.account_id if number else None,
        caller=None if sent.withheld else read_caller(sent.caller_sent, ""),
        caller_sent="withheld" if sent.withheld else as_sent(sent.caller_sent),
        trunk=trunk_of(sent.channel_name),
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

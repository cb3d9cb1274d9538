"""The heart of callbacks, pure: does a call deserve a message, and if not, why not.

Every rule is asked, also after one has refused, so that the certificate is whole. The reason kept is that
of the first refusal in the order of `_verdicts`: the shop's wish, the call, the caller, the message, the delay.
"""

from __future__ import annotations

from collections.abc import Set
from dataclasses import dataclass
from datetime import datetime, timedelta

from engine.cdr.model import CallRecord, Result
from engine.foundation.phone_number import PhoneNumber, masked
from engine.messages.model import Check
from engine.messages.rules import (
    KOREA,
    Rule,
    Verdict,
    is_information,
    recipient_is_mobile,
    sender_is_registered,
    text_fits,
)
from engine.numbers.model import ServiceNumber

LATEST = timedelta(minutes=30)
"""After that a message about the call surprises more than it serves."""

_TEMPLATE = Rule(
    name="a text is set on the number",
    version="template/1",
    refusal="the number sends no message after calls",
    refusal_ko="통화 후 보낼 문자가 설정되어 있지 않습니다.",
)
_ANSWERED = Rule(
    name="the call was answered",
    version="answered/1",
    refusal="the call was not answered",
    refusal_ko="연결되지 않은 전화여서 문자를 보내지 않았습니다.",
)
_LONG_ENOUGH = Rule(
    name="the call was long enough",
    version="talk-time/1",
    refusal="the call was too short",
    refusal_ko="통화 시간이 설정한 최소 시간보다 짧아 문자를 보내지 않았습니다.",
)
_CALLER_KNOWN = Rule(
    name="the caller's number is known",
    version="caller/1",
    refusal="the caller's number is not known",
    refusal_ko="발신번호를 알 수 없는 전화여서 문자를 보내지 않았습니다.",
)
_NOT_REPEATED = Rule(
    name="no message within the repeat window",
    version="repeat-window/1",
    refusal="the caller already got a message within the repeat window",
    refusal_ko="이 고객에게는 설정한 기간 안에 이미 문자를 보냈습니다.",
)
_IN_TIME = Rule(
    name="the call ended a short while ago",
    version="in-time/1",
    refusal="it is too late for a message about the call",
    refusal_ko="통화가 끝난 지 30분이 지나 문자를 보내지 않았습니다.",
)


@dataclass(frozen=True, slots=True)
class SendMessage:
    """Every rule passed."""

    certificate: tuple[Check, ...]


@dataclass(frozen=True, slots=True)
class HoldMessage:
    """At least one rule refused; the reasons are the first one's."""

    certificate: tuple[Check, ...]
    reason: str
    """For operators, in English."""
    reason_ko: str
    """For the shop."""


Decision = SendMessage | HoldMessage


def decide(
    call: CallRecord,
    number: ServiceNumber | None,
    registered_senders: Set[PhoneNumber],
    last_message_at: datetime | None,
    now: datetime,
) -> Decision:
    """Whether the caller of `call` gets the message set on `number`, and the certificate of it.

    `number` is None when nobody has it any more. `last_message_at` is when the number's account last sent
    this caller a message after a call, None when it never did.
    """
    verdicts = _verdicts(call, number, registered_senders, last_message_at, now)
    certificate = tuple(verdict.check for verdict in verdicts)
    refusal = next((verdict for verdict in verdicts if not verdict.passed), None)
    if refusal is None:
        return SendMessage(certificate)
    return HoldMessage(certificate, refusal.reason, refusal.rule.refusal_ko)


def _verdicts(
    call: CallRecord,
    number: ServiceNumber | None,
    registered_senders: Set[PhoneNumber],
    last_message_at: datetime | None,
    now: datetime,
) -> tuple[Verdict, ...]:
    """Every rule's verdict; the order decides which refusal is named."""
    text = number.callback if number else None
    sender = number.sender if number else None
    return (
        _template(number),
        _ANSWERED.says(call.result is Result.ANSWERED, f"the result is “{call.result.value}”"),
        _long_enough(call, number),
        _CALLER_KNOWN.says(call.caller is not None, masked(call.caller) if call.caller else "withheld"),
        recipient_is_mobile(call.caller, now),
        _not_repeated(number, last_message_at, now),
        sender_is_registered(sender, registered_senders, now),
        text_fits(text, now),
        is_information(text, now),
        _in_time(call, now),
    )


def _template(number: ServiceNumber | None) -> Verdict:
    if number is None:
        return _TEMPLATE.says(False, "the number is not in service")
    return _TEMPLATE.says(bool(number.callback), "a text is set" if number.callback else "no text is set")


def _long_enough(call: CallRecord, number: ServiceNumber | None) -> Verdict:
    needed = number.min_talk_seconds if number else 0
    return _LONG_ENOUGH.says(call.talk_seconds >= needed, f"talked {call.talk_seconds:.1f} s, {needed} s are needed")


def _not_repeated(number: ServiceNumber | None, last_message_at: datetime | None, now: datetime) -> Verdict:
    days = number.repeat_window_days if number else 0
    if last_message_at is None:
        return _NOT_REPEATED.says(True, "no message before")
    passed = days == 0 or last_message_at <= now - timedelta(days=days)
    last = last_message_at.astimezone(KOREA).isoformat(sep=" ", timespec="seconds")
    return _NOT_REPEATED.says(passed, f"the last one was at {last}, the window is {days} days")


def _in_time(call: CallRecord, now: datetime) -> Verdict:
    late = now - call.ended_at
    return _IN_TIME.says(
        late <= LATEST,
        f"the call ended {late.total_seconds():.0f} s ago, {LATEST.total_seconds():.0f} s are allowed",
    )

"""The heart of callbacks, pure: does a call deserve a message, and if not, why not.

Every rule is asked, also after one has refused, so that the certificate is whole. The reason kept is that
of the first refusal in the order of `_verdicts`: the message's basis, the account's functions, the call, the caller,
the message, the delay.
"""

from __future__ import annotations

from collections.abc import Mapping, Set
from dataclasses import dataclass
from datetime import datetime

from engine.accounts.model import Module
from engine.callbacks.rules import (
    caller_is_known,
    functions_are_on,
    gist,
    is_in_service,
    is_in_time,
    is_not_repeated,
    repeat_window,
    says_something_else,
    talked_long_enough,
    text_is_set,
    was_answered,
    was_asked_for,
    was_promised,
)
from engine.callbacks.wishes import Wish, wishes
from engine.cdr.model import CallRecord
from engine.foundation.phone_number import PhoneNumber
from engine.messages.model import Check, Purpose
from engine.messages.rules import Verdict, is_information, recipient_is_mobile, sender_is_registered, text_fits
from engine.numbers.model import ServiceNumber


@dataclass(frozen=True, slots=True)
class EndedCall:
    """A call that is over, and whose messages they are."""

    call: CallRecord
    number: ServiceNumber | None
    """The number called; None when it is out of service or another account's by now."""
    senders: Set[PhoneNumber]
    """The sender numbers that the account has registered."""
    off: Set[Module] = frozenset()
    """The functions that are switched off for the account."""


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


def decide(ended: EndedCall, wish: Wish, last_at: datetime | None, said: Set[str], now: datetime) -> Decision:
    """Whether the caller gets the message of `wish`, and the certificate of it.

    `last_at` is when this caller last got a message of the wish's repeat window, None for never; `said` is the gist of
    what the call's messages decided before say, as `gist` gives it.
    """
    verdicts = _verdicts(ended, wish, last_at, said, now)
    certificate = tuple(verdict.check for verdict in verdicts)
    refusal = next((verdict for verdict in verdicts if not verdict.passed), None)
    if refusal is None:
        return SendMessage(certificate)
    return HoldMessage(certificate, refusal.reason, refusal.rule.refusal_ko)


def foreseen(ended: EndedCall, last_at: Mapping[Purpose, datetime], now: datetime) -> tuple[tuple[Wish, Decision], ...]:
    """Every message that the call asks for with its decision, in order; `last_at` by purpose, as in `decide`."""
    decided: list[tuple[Wish, Decision]] = []
    said: set[str] = set()
    for wish in wishes(ended.call, ended.number):
        decision = decide(ended, wish, last_at.get(wish.purpose), said, now)
        if isinstance(decision, SendMessage):
            said.add(gist(wish.text))
        decided.append((wish, decision))
    return tuple(decided)


def _verdicts(
    ended: EndedCall, wish: Wish, last_at: datetime | None, said: Set[str], now: datetime
) -> tuple[Verdict, ...]:
    """Every rule's verdict; the order decides which refusal is named."""
    call, number = ended.call, ended.number
    window = repeat_window(wish.purpose, call, number)
    return (
        *_basis(ended, wish),
        functions_are_on(wish.needs, ended.off),
        caller_is_known(call),
        recipient_is_mobile(call.caller, now),
        is_not_repeated(window, last_at, now),
        says_something_else(wish.text, said),
        sender_is_registered(number.sender if number else None, ended.senders, now),
        text_fits(wish.text, now),
        is_information(wish.text, now),
        is_in_time(call, now),
    )


def _basis(ended: EndedCall, wish: Wish) -> tuple[Verdict, ...]:
    """Why there should be such a message at all: the shop's wish and the call, or what the caller was promised."""
    call, number = ended.call, ended.number
    match wish.purpose:
        case Purpose.CALLBACK:
            return (text_is_set(wish, call, number), was_answered(call), talked_long_enough(call, number))
        case Purpose.CONSENT:
            return (was_asked_for(call), is_in_service(number))
        case Purpose.TEXT_ONLY:
            return (was_promised(call), is_in_service(number))

"""Which messages a call asks for, pure; whether each may go is `decision`'s to say."""

from __future__ import annotations

from dataclasses import dataclass, replace

from engine.accounts.model import Module
from engine.cdr.model import CallRecord, Direction, StepKind
from engine.foundation.phone_number import PhoneNumber
from engine.foundation.placeholders import filled
from engine.messages.model import Purpose
from engine.messages.rules import KOREA
from engine.numbers.message_template import message_facts
from engine.numbers.model import ServiceNumber


@dataclass(frozen=True, slots=True)
class Wish:
    """A message that somebody wants sent."""

    purpose: Purpose
    text: str
    """With the facts of the call filled in; empty when none is set, or a rule took the number's away."""
    needs: tuple[Module, ...] = (Module.CALLBACK,)
    """The functions without which it is not sent."""


def wishes(call: CallRecord, number: ServiceNumber | None) -> tuple[Wish, ...]:
    """The messages to decide on after a call, at most one for each purpose; what the caller was promised comes first.

    `number` is None when nobody has it any more. A number without a text, in a call to which no rule gave one, wishes
    nothing; nor does a call that Dari placed. Times in texts are Korean.
    """
    if call.direction is Direction.OUTGOING:
        return ()
    wished: list[Wish] = []
    if call.consent:
        wished.append(_wish(Purpose.CONSENT, call.consent.text, call, number))
    if call.text_only:
        wished.append(_wish(Purpose.TEXT_ONLY, call.text_only, call, number))
    if number and (call.callback or number.callback):
        wished.append(callback_wish(call, number))
    return tuple(wished)


def callback_wish(call: CallRecord, number: ServiceNumber) -> Wish:
    """The callback, whether there is a text or not: what a rule set for the call, or else the number's."""
    text = number.callback if call.callback is None else call.callback
    wish = _wish(Purpose.CALLBACK, text or "", call, number)
    return replace(wish, needs=(*wish.needs, Module.STORE_MESSAGE)) if _is_store_message(call, number) else wish


def _is_store_message(call: CallRecord, number: ServiceNumber) -> bool:
    """Whether it is the message that the store notice tells of: in this call, or in all calls to the number."""
    told = any(step.kind is StepKind.STORE_NOTICE for step in call.steps)
    return told or bool(number.treatment.store_notice)


def _wish(purpose: Purpose, text: str, call: CallRecord, number: ServiceNumber | None) -> Wish:
    facts = message_facts(
        call.number or PhoneNumber(call.number_sent),
        number.treatment.label if number else None,
        call.arrived_at.astimezone(KOREA),
    )
    return Wish(purpose, filled(text, facts))

"""Our own rules for messages after calls, beside those of the law in `engine.messages.rules`. Pure."""

from __future__ import annotations

from collections.abc import Collection, Set
from dataclasses import dataclass
from datetime import datetime, timedelta

from engine.accounts.model import Module
from engine.callbacks.wishes import Wish
from engine.cdr.model import CallRecord, Result
from engine.foundation.phone_number import PhoneNumber, masked
from engine.messages.model import Purpose
from engine.messages.rules import KOREA, Rule, Verdict
from engine.numbers.model import ServiceNumber

LATEST = timedelta(minutes=30)
"""After that a message about the call surprises more than it serves."""

SAID_IN_CALL_ONCE_IN = timedelta(minutes=10)
"""Who was told in the call that a message comes, or pressed a key for it, must get one, today as yesterday, so that the
number's repeat window is not asked. Who calls again at once has it already; and a caller's number can be forged, so
that calls with somebody else's number must not be able to flood a telephone."""

_TEMPLATE = Rule(
    name="a text is set on the number",
    version="template/2",
    refusal="the number sends no message after this call",
    refusal_ko="이 전화에는 통화 후 보낼 문자가 설정되어 있지 않습니다.",
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
_PROMISED_ONCE = Rule(
    name="no promised message a short while ago",
    version="promise-window/1",
    refusal="the caller already got the promised message a short while ago",
    refusal_ko="이 고객에게는 조금 전 전화에서 안내한 문자를 이미 보냈습니다.",
)
_ASKED_ONCE = Rule(
    name="no message asked for a short while ago",
    version="asked-window/1",
    refusal="the caller already got the message asked for a short while ago",
    refusal_ko="이 고객에게는 조금 전 전화에서 요청하신 문자를 이미 보냈습니다.",
)
_NOT_THE_SAME = Rule(
    name="no other message of the call says the same",
    version="same-text/1",
    refusal="another message of this call says the same",
    refusal_ko="같은 내용의 문자를 이 통화에서 이미 보내 다시 보내지 않았습니다.",
)
_IN_TIME = Rule(
    name="the call ended a short while ago",
    version="in-time/1",
    refusal="it is too late for a message about the call",
    refusal_ko="통화가 끝난 지 30분이 지나 문자를 보내지 않았습니다.",
)
_ASKED_FOR = Rule(
    name="the caller asked for it in the call",
    version="asked-for/1",
    refusal="the caller did not ask for it",
    refusal_ko="고객이 통화 중에 요청하지 않은 문자입니다.",
)
_PROMISED = Rule(
    name="nobody was reached and the caller was promised a message",
    version="promised/1",
    refusal="the caller was not promised a message",
    refusal_ko="연결된 전화여서 부재 안내 문자를 보내지 않았습니다.",
)
_IN_SERVICE = Rule(
    name="the number is in service for the account",
    version="in-service/1",
    refusal="the number is not its owner's any more",
    refusal_ko="번호가 더 이상 서비스 중이 아니어서 문자를 보내지 않았습니다.",
)
_FUNCTIONS = Rule(
    name="the functions that it needs are on",
    version="functions/1",
    refusal="a function that the message needs is switched off for the account",
    refusal_ko="문자 기능이 꺼져 있어 문자를 보내지 않았습니다.",
)


_ONCE = {Purpose.CALLBACK: _NOT_REPEATED, Purpose.CONSENT: _ASKED_ONCE, Purpose.TEXT_ONLY: _PROMISED_ONCE}


@dataclass(frozen=True, slots=True)
class RepeatWindow:
    """Within `length` a recipient gets one such message: of all the account's numbers, or of `number` alone."""

    purpose: Purpose
    length: timedelta
    number: PhoneNumber | None = None


def repeat_window(purpose: Purpose, call: CallRecord, number: ServiceNumber | None) -> RepeatWindow:
    """The window that limits such messages."""
    match purpose:
        case Purpose.CALLBACK:
            return RepeatWindow(purpose, timedelta(days=number.repeat_window_days if number else 0))
        case Purpose.TEXT_ONLY | Purpose.CONSENT:
            return RepeatWindow(purpose, SAID_IN_CALL_ONCE_IN, call.number)


def text_is_set(wish: Wish, call: CallRecord, number: ServiceNumber | None) -> Verdict:
    if number is None:
        return _TEMPLATE.says(False, "the number is not in service")
    if not wish.text:
        return _TEMPLATE.says(False, "no text is set" if call.callback is None else "a rule says that none is sent")
    return _TEMPLATE.says(True, "a text is set" if call.callback is None else "a rule set the text")


def was_answered(call: CallRecord) -> Verdict:
    return _ANSWERED.says(call.result is Result.ANSWERED, _result(call))


def talked_long_enough(call: CallRecord, number: ServiceNumber | None) -> Verdict:
    needed = number.min_talk_seconds if number else 0
    return _LONG_ENOUGH.says(call.talk_seconds >= needed, f"talked {call.talk_seconds:.1f} s, {needed} s are needed")


def was_asked_for(call: CallRecord) -> Verdict:
    """The basis of a message asked for by key press, and its evidence."""
    if call.consent is None:
        return _ASKED_FOR.says(False, "no key was pressed")
    pressed = call.consent
    when = "before" if pressed.before_talk else "after"
    return _ASKED_FOR.says(
        True,
        f"pressed {pressed.key} at {_korean(pressed.at)}, {when} the talk, "
        f"having heard {pressed.sound} (SHA-256 {pressed.sound_version})",
    )


def was_promised(call: CallRecord) -> Verdict:
    """The basis of a message to a caller who reached nobody."""
    return _PROMISED.says(bool(call.text_only) and call.result is not Result.ANSWERED, _result(call))


def is_in_service(number: ServiceNumber | None) -> Verdict:
    return _IN_SERVICE.says(number is not None, "it is" if number else "it was released or has another owner")


def functions_are_on(needed: Collection[Module], off: Set[Module]) -> Verdict:
    """`off`: what is switched off for the account, there or above it."""
    lacking = [module.value for module in needed if module in off]
    return _FUNCTIONS.says(not lacking, ", ".join(lacking) + " is off" if lacking else "they are")


def caller_is_known(call: CallRecord) -> Verdict:
    return _CALLER_KNOWN.says(call.caller is not None, masked(call.caller) if call.caller else "withheld")


def is_not_repeated(window: RepeatWindow, last_at: datetime | None, now: datetime) -> Verdict:
    """`last_at` is when the recipient last got a message that the window is about; None when it never did."""
    rule = _ONCE[window.purpose]
    if last_at is None:
        return rule.says(True, "no message before")
    passed = not window.length or last_at <= now - window.length
    return rule.says(passed, f"the last one was at {_korean(last_at)}, the window is {_length(window.length)}")


def says_something_else(text: str, said: Set[str]) -> Verdict:
    """`said`: what the call's other messages say, each as `gist` gives it."""
    same = gist(text) in said
    return _NOT_THE_SAME.says(not same, "the text goes to the caller already" if same else f"others: {len(said)}")


def is_in_time(call: CallRecord, now: datetime) -> Verdict:
    late = now - call.ended_at
    return _IN_TIME.says(
        late <= LATEST,
        f"the call ended {late.total_seconds():.0f} s ago, {LATEST.total_seconds():.0f} s are allowed",
    )


def gist(text: str) -> str:
    """What two texts that read the same have in common: spaces and line ends make no difference."""
    return "".join(text.split())


def _result(call: CallRecord) -> str:
    return f"the result is “{call.result.value}”"


def _korean(instant: datetime) -> str:
    return instant.astimezone(KOREA).isoformat(sep=" ", timespec="seconds")


def _length(window: timedelta) -> str:
    return f"{window.days} days" if window.days or not window else f"{window.seconds // 60} minutes"

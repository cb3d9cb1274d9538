"""The live log of calls, for people: one line per event of a call, and the same as JSON for programs. Pure."""

from __future__ import annotations

import unicodedata
from datetime import datetime, timedelta, timezone
from enum import Enum
from functools import lru_cache
from uuid import UUID

import msgspec

from engine.foundation.phone_number import NumberClass, PhoneNumber, classify, masked, written

KST = timezone(timedelta(hours=9), "KST")
_REMEMBERED = 4096
"""The same parties come in every line of a call."""
_SHORT_ID = 8


class CallEventKind(Enum):
    """What happened to a call, in the words of those who watch."""

    ARRIVED = "arrived"
    PLACED = "placed"
    """Dari calls on somebody's order."""
    NOTICE = "notice"
    RINGBACK = "ringback"
    RINGING = "ringing"
    """The target rings."""
    ANSWERED = "answered"
    """The target answered."""
    WHISPER = "whisper"
    CONNECTED = "connected"
    RECORDING = "recording"
    NOT_RECORDED = "not recorded"
    ANNOUNCEMENT = "announcement"
    CONSENT = "consent"
    VOICEMAIL = "voicemail"
    LISTENING = "listening"
    ENDED = "ended"
    MESSAGE_QUEUED = "message queued"
    MESSAGE_SENT = "message sent"
    MESSAGE_HELD = "message held"
    MESSAGE_DELIVERED = "message delivered"
    MESSAGE_FAILED = "message failed"


KIND_WIDTH = max(len(kind.value) for kind in CallEventKind)
_NUMBER_WIDTH = len("0507-1234-5678")
PARTIES_WIDTH = 3 * _NUMBER_WIDTH + 2 * len(" -> ")


class CallEvent(msgspec.Struct, frozen=True, kw_only=True):
    """One event. `detail` may hold what a caller sent: it is cleaned before it is written or shown."""

    at: datetime
    call_id: UUID
    kind: CallEventKind
    number: PhoneNumber | None = None
    """The number called."""
    caller: PhoneNumber | None = None
    target: PhoneNumber | None = None
    detail: str = ""
    account_id: UUID | None = None
    """Whose number was called, while the engine has the call."""


def short_id(call_id: UUID) -> str:
    """The last eight hex digits: random in a time-ordered id, and enough to name a call of these days."""
    return call_id.hex[-_SHORT_ID:]


def line(event: CallEvent) -> str:
    """The event in fixed columns: Korean time, short call id, kind, caller -> number -> target, detail."""
    columns = (
        event.at.astimezone(KST).replace(tzinfo=None).isoformat(" ", "milliseconds"),
        short_id(event.call_id),
        f"{event.kind.value:<{KIND_WIDTH}}",
        f"{parties(event):<{PARTIES_WIDTH}}",
        event.detail,
    )
    return printable("  ".join(columns)).rstrip()


def parties(event: CallEvent) -> str:
    """Caller -> number -> target, each in its column; the target only once it is known."""
    return _in_columns(event.caller, event.number, event.target)


@lru_cache(_REMEMBERED)
def _in_columns(caller: PhoneNumber | None, number: PhoneNumber | None, target: PhoneNumber | None) -> str:
    numbers = (caller, number, target) if target else (caller, number)
    return " -> ".join(f"{written(number) if number else '-':<{_NUMBER_WIDTH}}" for number in numbers)


def without_numbers(event: CallEvent) -> CallEvent:
    """The event with people's numbers masked.

    A 050 number stays whole: it stands in advertisements, names no person, and differs from its neighbours
    in just those digits that masking would hide.
    """
    return msgspec.structs.replace(
        event,
        number=_hidden(event.number),
        caller=_hidden(event.caller),
        target=_hidden(event.target),
    )


@lru_cache(_REMEMBERED)
def _hidden(number: PhoneNumber | None) -> PhoneNumber | None:
    """Digits with stars inside (`010****5678`), which `written` sets with hyphens like any other number."""
    if number is None or classify(number) is NumberClass.VIRTUAL:
        return number
    return PhoneNumber(masked(number).replace("-", ""))


def printable(text: str) -> str:
    """Without anything that ends a line, moves a cursor or turns the direction of writing."""
    return text if text.isprintable() else "".join("?" if _steers(char) else char for char in text)


def _steers(char: str) -> bool:
    return unicodedata.category(char) in ("Cc", "Cf", "Cs", "Co", "Cn", "Zl", "Zp")

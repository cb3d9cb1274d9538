"""How the calls of a number are treated. Every setting may be left unsaid: a rule changes only what it names.

The standing treatment of a number and that of each of its rules are of this one kind; `engine.routing` lays them over
each other.
"""

from __future__ import annotations

from enum import Enum

import msgspec

from engine.foundation.phone_number import PhoneNumber

COUNT_THIS_WEEK = "count_this_week"
"""How many calls of this caller the week has seen, this one included: 세 번째. Weeks begin on Monday."""
LAST_TALK = "last_talk"
"""The day on which this caller was last talked to: 11월 14일."""
LABEL = "label"
"""Where calls to the number come from: 배달앱."""
WHISPER_FACTS = (COUNT_THIS_WEEK, LAST_TALK, LABEL)
"""What a whisper's text may hold, each in braces; filled in for each call."""


class TargetOrder(Enum):
    """In which order several targets ring."""

    IN_TURN = "in turn"
    """One after the other, each for its own time."""
    ALL_AT_ONCE = "all at once"
    """Together; who takes the call first has it."""
    BY_SHARE = "by share"
    """One is drawn by the shares, the others follow in turn."""
    LAST_TALKED = "last talked first"
    """Whoever talked to this caller last, then the others in turn."""


class RecordMode(Enum):
    """Whether talks are recorded; never without the notice to both sides."""

    NEVER = "never"
    ALWAYS = "always"
    ON_KEY = "on key"
    """From the moment at which the called party presses `*1`."""


class CallerShown(Enum):
    """Which number the target sees."""

    CALLER = "caller"
    NUMBER = "number"
    """The number called, so that the shop sees where the call comes from."""


class Failure(Enum):
    """Why nobody was reached."""

    BUSY = "busy"
    NO_ANSWER = "no answer"
    UNREACHABLE = "unreachable"
    REJECTED = "rejected"
    NOT_ACCEPTED = "not accepted"
    """Something answered, and nobody pressed 1."""
    OVER_LIMIT = "over limit"
    """More calls than the number or its account may have."""


class Then(Enum):
    """What comes when nobody was reached."""

    RING = "ring"
    ANNOUNCE = "announce"
    VOICEMAIL = "voicemail"
    TEXT = "text"


class Target(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True, gc=False):
    """A telephone that is rung."""

    number: PhoneNumber
    ring_seconds: int | None = None
    """None: the treatment's ring time."""
    share: int = 0
    """Percent of the calls that it gets first; used by BY_SHARE."""


class Fallback(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """One link of the chain after the targets; asked in their order, each with how the last attempt failed."""

    then: Then
    on: tuple[Failure, ...] = ()
    """Empty: however it failed."""
    targets: tuple[Target, ...] = ()
    """For RING, one after the other."""
    sounds: tuple[str, ...] = ()
    """For ANNOUNCE: heard once, in their order. For VOICEMAIL: the greeting. For TEXT: what the caller hears."""
    text: str | None = None
    """For TEXT: the message that the caller gets."""


class Whisper(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True, gc=False):
    """What the target alone hears when it answers: a sound, or a text that is spoken; neither: nothing."""

    sound: str | None = None
    text: str | None = None
    """May hold WHISPER_FACTS."""


class ConsentOffer(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True, gc=False):
    """Offers the caller a message for a key press, which is kept as the consent (X5)."""

    text: str
    """The message that whoever presses 1 gets."""
    sound: str = "ko/consent-offer"
    before: bool = False
    """Also before the talk, on trunks whose forward path is open before the answer."""


class Treatment(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """What a call goes through. None: not said here. Sounds are names under the sounds folder, or `prompt:NAME`."""

    targets: tuple[Target, ...] | None = None
    """Instead of the number's own target."""
    order: TargetOrder | None = None
    ring_seconds: int | None = None
    """How long each target rings."""
    notice: str | None = None
    """An announcement of the shop's own before the ringback; "": none."""
    fee_notice: bool | None = None
    """That the caller's carrier may charge for the call (X9)."""
    store_notice: bool | None = None
    """That the shop's information will come by message (K2): its text is fixed, nobody can skip it, and no rule can
    switch it off."""
    ringback: tuple[str, ...] | None = None
    """Heard in this order, again and again; (): the standard ringing tone."""
    whisper: Whisper | None = None
    accept: bool | None = None
    """Whether the called party presses 1 to take the call, so that no voicemail ever does."""
    shown: CallerShown | None = None
    recording: RecordMode | None = None
    announcement: str | None = None
    """Heard instead of ringing anybody: closed, on holiday; "": none, the targets ring."""
    busy: tuple[str, ...] | None = None
    """Heard when the shop talks, instead of a bare busy tone (C21)."""
    fallbacks: tuple[Fallback, ...] | None = None
    callback: str | None = None
    """The message after an answered call; "": none."""
    consent: ConsentOffer | None = None
    label: str | None = None
    """Where calls to the number come from, as whispers say it: 배달앱."""


class Limits(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True, gc=False):
    """How many calls a number or an account may have; None: as many as come."""

    at_once: int | None = None
    per_hour: int | None = None
    """Within the last 60 minutes."""
    per_day: int | None = None
    """Within the last 24 hours."""

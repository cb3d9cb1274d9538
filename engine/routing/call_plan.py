"""What a call goes through, decided. Values: made by `plan`, walked by `engine.calls`, shown by `dari explain`.

As JSON a plan is kept with the live call, so that another life of an engine goes on with the same one.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from enum import Enum
from uuid import UUID

import msgspec

from engine.accounts.model import Module
from engine.cdr.model import Result
from engine.foundation.phone_number import PhoneNumber
from engine.numbers.treatment import CallerShown, ConsentOffer, Failure, RecordMode


class NoticeKind(Enum):
    """What the caller is told before the ringback, in this order."""

    STORE_INFO = "store information"
    RECORDING = "recording"
    FEE = "fee"
    OWN = "own"


@dataclass(frozen=True, slots=True)
class Notice:
    kind: NoticeKind
    sound: str

    @property
    def mandatory(self) -> bool:
        """Whether it is heard to its end even when the target is ready before."""
        return self.kind is not NoticeKind.OWN


@dataclass(frozen=True, slots=True)
class Ringing:
    """One telephone, and for how many seconds it rings."""

    number: PhoneNumber
    seconds: int


class Ring(msgspec.Struct, frozen=True, tag=True):
    """These ring together; whoever takes the call first has it. Nobody does: the next stage."""

    targets: tuple[Ringing, ...]
    on: frozenset[Failure] | None = None
    """Only after such a failure; None: whatever failed before, and when nothing has yet."""
    follows: bool = False
    """Rings also when the stage right before it rang, however that failed: both are of one link of the chain."""


class Say(msgspec.Struct, frozen=True, tag=True):
    """The caller hears this, unanswered, and is then refused for the failure before."""

    sounds: tuple[str, ...]
    on: frozenset[Failure] | None = None


class Voicemail(msgspec.Struct, frozen=True, tag=True):
    """The caller is answered, hears the greeting, and leaves a message that is kept with the call."""

    greeting: str
    on: frozenset[Failure] | None = None


class SendText(msgspec.Struct, frozen=True, tag=True):
    """The caller hears that a message will come, and is refused for the failure before; the message is sent."""

    sound: str
    text: str
    on: frozenset[Failure] | None = None


Stage = Ring | Say | Voicemail | SendText


@dataclass(frozen=True, slots=True)
class WhisperPlan:
    """A sound, or a text to be spoken, its facts filled in. A text that cannot be spoken in time is left out."""

    sound: str | None = None
    text: str | None = None


@dataclass(frozen=True, slots=True)
class Asked:
    """A rule that was asked, and why it held or not. `settings` are those that it decided for this call."""

    rule: str
    holds: bool
    why: str
    settings: tuple[str, ...] = ()


class LeftOut(Enum):
    """What the number promises to callers, and not to this one, who can get no text message."""

    OFFER = "offer"
    TEXT = "text"


class Announce(msgspec.Struct, frozen=True, tag=True):
    """The caller hears `sound`, then is refused as `result`."""

    sound: str
    result: Result
    account_id: UUID | None = None
    asked: tuple[Asked, ...] = ()
    switched_off: tuple[Module, ...] = ()
    """The functions for want of which nobody is rung."""

    @property
    def rules(self) -> tuple[str, ...]:
        """Names of the rules that decided a setting of this call, as its record keeps them."""
        return _deciding(self.asked)


class Forward(msgspec.Struct, frozen=True, tag=True):
    """The caller hears notices and ringback while targets ring; the target hears the whisper; then they talk."""

    account_id: UUID
    stages: tuple[Stage, ...]
    """In their order; a stage whose `on` does not fit how the last attempt failed is passed over."""
    failed_before: Failure | None
    """OVER_LIMIT when there are too many calls: the targets are left out, and the chain after them is asked with it."""
    notices: tuple[Notice, ...]
    ringback: tuple[str, ...]
    ringback_until: datetime | None
    """When rules change the ringback; a call that still rings then asks for a plan of that instant."""
    whisper: WhisperPlan | None
    accept: bool
    shown: CallerShown
    recording: RecordMode
    consent: ConsentOffer | None
    callback: str | None
    """The message after the call that a rule sets in place of the number's; "": none."""
    asked: tuple[Asked, ...] = ()
    left_out: tuple[LeftOut, ...] = ()
    switched_off: tuple[Module, ...] = ()
    """The functions that the number's settings ask for, and that are off for its account."""

    @property
    def rules(self) -> tuple[str, ...]:
        """Names of the rules that decided a setting of this call, as its record keeps them."""
        return _deciding(self.asked)

    @property
    def recording_notice_to_target(self) -> str | None:
        return None if self.recording is RecordMode.NEVER else RECORDING_NOTICE_TO_TARGET


CallPlan = Announce | Forward

RECORDING_NOTICE_TO_TARGET = "ko/recording-notice-target"

_plan_decoder: msgspec.json.Decoder[CallPlan] = msgspec.json.Decoder(CallPlan)


def plan_on_paper(plan: CallPlan) -> msgspec.Raw:
    """The plan as JSON, without the rules that decided nothing."""
    deciding = tuple(rule for rule in plan.asked if rule.settings)
    return msgspec.Raw(msgspec.json.encode(msgspec.structs.replace(plan, asked=deciding)))


def plan_from_paper(paper: msgspec.Raw) -> CallPlan | None:
    """The plan again; None when an engine of another version wrote it in words that this one does not know."""
    try:
        return _plan_decoder.decode(paper)
    except msgspec.MsgspecError:
        return None


def next_stage(stages: tuple[Stage, ...], done: int | None, failure: Failure | None) -> int | None:
    """The place of the stage that comes after the one at `done` ended with `failure`; None: the call ends.

    `done` is None at the start, with `failed_before` as the failure. After anything but a Ring nothing comes.
    """
    if done is not None and not isinstance(stages[done], Ring):
        return None
    first = 0 if done is None else done + 1
    for at in range(first, len(stages)):
        stage = stages[at]
        continues = isinstance(stage, Ring) and stage.follows and at - 1 == done
        if continues or stage.on is None or failure in stage.on:
            return at
    return None


def _deciding(asked: tuple[Asked, ...]) -> tuple[str, ...]:
    return tuple(rule.rule for rule in asked if rule.settings)

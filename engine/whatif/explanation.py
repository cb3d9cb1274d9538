"""A call that nobody has placed, explained whole, from the very plan and decision that a real one would get. Pure."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime, timedelta
from enum import Enum
from uuid import UUID
from zoneinfo import ZoneInfo

import msgspec

from engine.accounts.model import Module
from engine.callbacks.decision import Decision, EndedCall, HoldMessage, foreseen
from engine.callbacks.evidence import Evidence
from engine.callbacks.wishes import Wish
from engine.calls.causes import CAUSE_TOWARDS_CALLER
from engine.cdr.model import CallRecord, Consent, Result, Side
from engine.foundation.phone_number import PhoneNumber
from engine.messages.model import Check, Purpose
from engine.numbers.model import ServiceNumber
from engine.numbers.treatment import CallerShown, ConsentOffer, Failure, Limits, RecordMode
from engine.routing.call_plan import (
    Announce,
    CallPlan,
    Forward,
    LeftOut,
    NoticeKind,
    Ring,
    Say,
    SendText,
    Stage,
    Voicemail,
)
from engine.routing.model import History, Line
from engine.routing.way_out import gone_through

STANDARD_ZONE = "Asia/Seoul"
"""In which instants are told of a number that nobody has."""

_RINGS_BEFORE = timedelta(seconds=10)
_MESSAGE_AFTER = timedelta(seconds=1)


class RuleAnswer(msgspec.Struct, frozen=True, kw_only=True):
    """A rule that was asked; `settings` are those that it decided."""

    rule: str
    holds: bool
    why: str
    settings: tuple[str, ...]


class Announcement(msgspec.Struct, frozen=True, kw_only=True):
    """What the caller hears instead of ringing, and how the call is refused then."""

    sound: str
    result: Result
    cause: int
    """Q.850 cause towards the caller."""


class NoticeHeard(msgspec.Struct, frozen=True, kw_only=True):
    """What the caller is told before the ringback."""

    kind: NoticeKind
    sound: str
    whole: bool
    """Heard to its end, even when the target is ready before."""


class StageKind(Enum):
    """What a stage does."""

    RING = "ring"
    ANNOUNCE = "announce"
    VOICEMAIL = "voicemail"
    TEXT = "text"


class Telephone(msgspec.Struct, frozen=True, kw_only=True):
    """One that would ring, and for how long at most."""

    number: PhoneNumber
    seconds: int


class StageTold(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """One stage of the plan. Several telephones ring together."""

    kind: StageKind
    after: tuple[Failure, ...] | None = None
    """Only when the attempt before failed so; None: however it failed, and when there was none."""
    follows: bool = False
    """Also when the stage right before it rang, however that failed."""
    telephones: tuple[Telephone, ...] = ()
    sounds: tuple[str, ...] = ()
    text: str | None = None
    """The message that the caller gets."""


class IfNobody(msgspec.Struct, frozen=True, kw_only=True):
    """What comes when every telephone that rings fails so."""

    failure: Failure
    stages: tuple[int, ...]
    """The stages gone through, by their place from 1."""
    result: Result
    cause: int
    """Q.850 cause towards the caller."""


class LimitsAsked(msgspec.Struct, frozen=True, kw_only=True):
    """How many calls there may be, and how many there are."""

    number: Limits
    account: Limits
    number_load: tuple[int, int, int]
    """At once, in the last hour, in the last day; without this call."""
    account_load: tuple[int, int, int]


class Forwarding(msgspec.Struct, frozen=True, kw_only=True):
    """How the call is forwarded."""

    notices: tuple[NoticeHeard, ...]
    ringback: tuple[str, ...]
    ringback_until: datetime | None
    """When rules change the ringback of a call that still rings."""
    stages: tuple[StageTold, ...]
    over_limit: bool
    """There are too many calls: no telephone rings but those of the chain."""
    if_nobody: tuple[IfNobody, ...]
    whisper_sound: str | None
    whisper_text: str | None
    press_1: bool
    """Whether the called party presses 1 to take the call."""
    target_sees: PhoneNumber | None
    """The number shown to the target; None: a withheld one."""
    recording: RecordMode
    recording_notice_to_target: str | None
    consent: ConsentOffer | None
    left_out: tuple[LeftOut, ...]
    """What the number promises to callers who can get a text message, and not to this one."""


class MessageTold(msgspec.Struct, frozen=True, kw_only=True):
    """A message that the call would ask for, and what would be decided about it."""

    purpose: Purpose
    talk_seconds: float | None
    """It is assumed that the call was answered and so long a talk; None: that nobody was reached."""
    sent: bool
    text: str
    """Empty: a rule took the number's text away."""
    reason: str
    """Why it is not sent, for operators; empty when it is."""
    reason_ko: str
    certificate: tuple[Check, ...]


class Explanation(msgspec.Struct, frozen=True, kw_only=True):
    """Everything about one call that might be. Instants are on the account's wall clock."""

    number: PhoneNumber
    caller: PhoneNumber | None
    """None: withheld."""
    at: datetime
    zone: str
    source: str
    """Where the settings were read."""
    in_service: bool
    """Whether somebody has the number; one that is suspended is somebody's too."""
    suspended: bool
    """All its callers hear `announcement`."""
    label: str | None
    """Where calls to the number come from."""
    past_known: bool
    past_calls: int
    """This caller's earlier calls to the number that were looked at."""
    rules: tuple[RuleAnswer, ...]
    switched_off: tuple[Module, ...]
    """The functions that the number's settings ask for in this call, and that are off for its account."""
    announcement: Announcement | None
    """Or else `forwarding`."""
    forwarding: Forwarding | None
    limits: LimitsAsked | None
    messages: tuple[MessageTold, ...]
    """After the call, were it answered; for a press of 1, where that is offered; and those that a caller is promised
    who reaches nobody."""
    evidence_known: bool
    """False: the database was away; the sender is taken as registered, and no message as sent before."""


@dataclass(frozen=True, slots=True)
class Asking:
    """Who calls what, and when."""

    number: PhoneNumber
    caller: PhoneNumber | None
    at: datetime


def explain(
    asking: Asking,
    line: Line | None,
    history: History,
    plan: CallPlan,
    evidence: Evidence | None,
    *,
    source: str,
    talk_seconds: float,
) -> Explanation:
    """`plan` is that of `line` for the call; `evidence` is None when the database cannot be asked."""
    zone = line.account.zone if line else STANDARD_ZONE
    return Explanation(
        number=asking.number,
        caller=asking.caller,
        at=asking.at.astimezone(ZoneInfo(zone)),
        zone=zone,
        source=source,
        in_service=line is not None,
        suspended=line is not None and line.number.suspended is not None,
        label=line.number.treatment.label if line else None,
        past_known=history.known,
        past_calls=len(history.calls),
        rules=tuple(
            RuleAnswer(rule=one.rule, holds=one.holds, why=one.why, settings=one.settings) for one in plan.asked
        ),
        switched_off=plan.switched_off,
        announcement=_announcement(plan) if isinstance(plan, Announce) else None,
        forwarding=_forwarding(plan, asking, zone) if isinstance(plan, Forward) else None,
        limits=_limits(line, history) if line else None,
        messages=_messages(line, asking, plan, evidence, talk_seconds) if line and isinstance(plan, Forward) else (),
        evidence_known=evidence is not None,
    )


def possible_failures(plan: Forward) -> tuple[Failure, ...]:
    """How a call of this plan may reach nobody."""
    if not _rings(plan):
        return (plan.failed_before or Failure.NO_ANSWER,)
    others = (failure for failure in Failure if failure is not Failure.OVER_LIMIT)
    return tuple(failure for failure in others if failure is not Failure.NOT_ACCEPTED or plan.accept)


def result_after(plan: Forward, failure: Failure) -> Result:
    """How such a call ends."""
    gone = [plan.stages[place] for place in gone_through(plan, failure)]
    if gone and isinstance(gone[-1], Voicemail):
        return Result.VOICEMAIL
    rang = any(isinstance(stage, Ring) for stage in gone)
    return Result((failure if rang else plan.failed_before or failure).value)


def assumed_record(
    asking: Asking,
    number: ServiceNumber,
    plan: CallPlan | None,
    talk_seconds: float | None,
    text_only: str | None = None,
    offered: ConsentOffer | None = None,
) -> CallRecord:
    """The record of the call, had it been answered and talked so long; None: had nobody been reached.

    `offered`: the caller pressed 1 for it.
    """
    forward = plan if isinstance(plan, Forward) else None
    first = next((stage for stage in forward.stages if isinstance(stage, Ring)), None) if forward else None
    answered_at = asking.at + _RINGS_BEFORE
    return CallRecord(
        call_id=UUID(int=0),
        node="",
        sip_call_id=None,
        account_id=number.account_id,
        number=asking.number,
        number_sent=asking.number,
        number_kind=number.kind,
        caller=asking.caller,
        caller_sent=asking.caller or "",
        target=first.targets[0].number if first else None,
        trunk="",
        arrived_at=asking.at,
        answered_at=None if talk_seconds is None else answered_at,
        ended_at=answered_at + timedelta(seconds=talk_seconds or 0.0),
        talk_seconds=talk_seconds or 0.0,
        result=Result.NO_ANSWER if talk_seconds is None else Result.ANSWERED,
        ended_by=Side.CALLER,
        callback=forward.callback if forward else None,
        text_only=text_only,
        consent=_pressed(offered, answered_at + timedelta(seconds=talk_seconds or 0.0)) if offered else None,
    )


def _pressed(offer: ConsentOffer, at: datetime) -> Consent:
    return Consent(key="1", at=at, sound=offer.sound, sound_version="", before_talk=False, text=offer.text)


def _announcement(plan: Announce) -> Announcement:
    return Announcement(sound=plan.sound, result=plan.result, cause=cause_of(plan.result))


def cause_of(result: Result) -> int:
    """The Q.850 cause with which the caller is refused."""
    return CAUSE_TOWARDS_CALLER[result]


def _forwarding(plan: Forward, asking: Asking, zone: str) -> Forwarding:
    return Forwarding(
        notices=tuple(
            NoticeHeard(kind=notice.kind, sound=notice.sound, whole=notice.mandatory) for notice in plan.notices
        ),
        ringback=plan.ringback,
        ringback_until=plan.ringback_until.astimezone(ZoneInfo(zone)) if plan.ringback_until else None,
        stages=tuple(map(_stage, plan.stages)),
        over_limit=plan.failed_before is Failure.OVER_LIMIT,
        if_nobody=_if_nobody(plan),
        whisper_sound=plan.whisper.sound if plan.whisper else None,
        whisper_text=plan.whisper.text if plan.whisper else None,
        press_1=plan.accept,
        target_sees=asking.number if plan.shown is CallerShown.NUMBER else asking.caller,
        recording=plan.recording,
        recording_notice_to_target=plan.recording_notice_to_target,
        consent=plan.consent,
        left_out=plan.left_out,
    )


def _stage(stage: Stage) -> StageTold:
    after = None if stage.on is None else tuple(failure for failure in Failure if failure in stage.on)
    match stage:
        case Ring():
            ringing = tuple(Telephone(number=one.number, seconds=one.seconds) for one in stage.targets)
            return StageTold(kind=StageKind.RING, after=after, follows=stage.follows, telephones=ringing)
        case Say():
            return StageTold(kind=StageKind.ANNOUNCE, after=after, sounds=stage.sounds)
        case Voicemail():
            return StageTold(kind=StageKind.VOICEMAIL, after=after, sounds=(stage.greeting,))
        case SendText():
            return StageTold(kind=StageKind.TEXT, after=after, sounds=(stage.sound,), text=stage.text)


def _if_nobody(plan: Forward) -> tuple[IfNobody, ...]:
    told = []
    for failure in possible_failures(plan):
        result = result_after(plan, failure)
        stages = tuple(place + 1 for place in gone_through(plan, failure))
        told.append(IfNobody(failure=failure, stages=stages, result=result, cause=cause_of(result)))
    return tuple(told)


def _limits(line: Line, history: History) -> LimitsAsked:
    number, account = history.number, history.account
    return LimitsAsked(
        number=line.number.limits,
        account=line.account.limits,
        number_load=(number.at_once, number.last_hour, number.last_day),
        account_load=(account.at_once, account.last_hour, account.last_day),
    )


def _messages(
    line: Line, asking: Asking, plan: Forward, evidence: Evidence | None, talk_seconds: float
) -> tuple[MessageTold, ...]:
    number = line.number
    known = evidence or Evidence({number.sender} if number.sender else set())
    told: list[MessageTold] = []
    for purpose, talked, record in _cases(asking, number, plan, talk_seconds):
        now = record.ended_at + _MESSAGE_AFTER
        for wish, decision in foreseen(EndedCall(record, number, known.senders, line.account.off), known.last_at, now):
            if wish.purpose is purpose:
                told.append(_message(wish, decision, talked))
    return tuple(told)


def _cases(
    asking: Asking, number: ServiceNumber, plan: Forward, talk_seconds: float
) -> Iterator[tuple[Purpose, float | None, CallRecord]]:
    """What may become of the call, and the message that is asked for then."""
    if _rings(plan):
        yield Purpose.CALLBACK, talk_seconds, assumed_record(asking, number, plan, talk_seconds)
        if plan.consent:
            pressed = assumed_record(asking, number, plan, talk_seconds, offered=plan.consent)
            yield Purpose.CONSENT, talk_seconds, pressed
    for text in dict.fromkeys(stage.text for stage in plan.stages if isinstance(stage, SendText)):
        yield Purpose.TEXT_ONLY, None, assumed_record(asking, number, plan, None, text)


def _rings(plan: Forward) -> bool:
    return any(isinstance(plan.stages[place], Ring) for place in gone_through(plan, Failure.NO_ANSWER))


def _message(wish: Wish, decision: Decision, talk_seconds: float | None) -> MessageTold:
    held = decision if isinstance(decision, HoldMessage) else None
    return MessageTold(
        purpose=wish.purpose,
        talk_seconds=talk_seconds,
        sent=held is None,
        text=wish.text,
        reason=held.reason if held else "",
        reason_ko=held.reason_ko if held else "",
        certificate=decision.certificate,
    )

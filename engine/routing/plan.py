"""The heart, pure: what a call to a number goes through. Everything that wants to know asks this one function.

The order of decisions, the same for every call:

1. Nobody has the number: the announcement says so.
2. The caller is in the account's group `blocked`: turned away, and no rule is asked.
3. Calls are switched off for the account: the announcement is that of a number that is not in service.
4. The number is suspended: the announcement says so, whatever its rules say.
5. The number's rules are asked in their order. For each setting the first enabled rule decides that holds and says it;
   what no rule says, the number's standing treatment says, and what that leaves unsaid, the system's defaults. What
   needs a function that is switched off for the account is then left out, whoever said it.
6. An announcement (closed, on holiday) is heard instead of ringing anybody.
7. More calls than the number or its account may have: the targets are left out, the chain after them is asked.
8. The targets ring in the order set. Whoever may not be dialled is left out; nobody is left: not forwardable.
9. Then the fallbacks, each by how the last attempt failed, without promises of a text message to callers who can get
   none (withheld, no mobile), who are not offered one either; then the busy sounds for a caller whom they leave busy. A
   caller over a limit is told so; after any other failure there is the bare SIP answer alone.
"""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime

import msgspec

from engine.accounts.model import Module
from engine.cdr.model import Result
from engine.foundation.phone_number import PhoneNumber
from engine.messages.rules import recipient_is_mobile
from engine.numbers.treatment import CallerShown, Failure, Limits, RecordMode, Target, TargetOrder, Then, Treatment
from engine.routing.call_plan import Announce, Asked, CallPlan, Forward, LeftOut, Notice, NoticeKind, Ring, Stage
from engine.routing.edges import edges
from engine.routing.model import BLOCKED, History, Line, Load, Rule
from engine.routing.opening import Situation, situation, verdict
from engine.routing.stages import after_targets, in_order, lot, rings
from engine.routing.switched import as_switched, targets_of
from engine.routing.whisper_text import whispered

NOT_IN_SERVICE = "ko/not-in-service"
BLOCKED_SOUND = "ko/blocked"
STANDARD_RINGBACK = "ko/ringback-tone"
STORE_INFO_NOTICE = "ko/store-info-notice"
RECORDING_NOTICE_TO_CALLER = "ko/recording-notice"
FEE_NOTICE = "ko/fee-notice"

SETTINGS = Treatment.__struct_fields__
_SWITCHED_OFF = "it is switched off"


def plan(
    line: Line | None, caller: PhoneNumber | None, instant: datetime, history: History, ring_seconds: int
) -> CallPlan:
    """What a call from `caller` to the number of `line` at `instant` goes through; `line` is None when nobody has it.

    `caller` is None when it is withheld. `ring_seconds` is the system's ring time, where nothing else is said.
    """
    if line is None:
        return Announce(NOT_IN_SERVICE, Result.NOT_IN_SERVICE)
    account_id = line.number.account_id
    if caller is not None and caller in line.account.groups.get(BLOCKED, ()):
        return Announce(BLOCKED_SOUND, Result.BLOCKED, account_id)
    if Module.CALLS in line.account.off:
        return Announce(NOT_IN_SERVICE, Result.SWITCHED_OFF, account_id, switched_off=(Module.CALLS,))
    if line.number.suspended is not None:
        return Announce(line.number.suspended, Result.NOT_IN_SERVICE, account_id)
    call = situation(line, caller, instant.astimezone(UTC), history)
    said, asked = laid_over(line, call)
    treatment, switched_off = as_switched(line, said)
    if treatment.announcement:
        return Announce(treatment.announcement, Result.CLOSED, account_id, _deciding_only("announcement", asked))
    over = _is_over(line.number.limits, history.number) or _is_over(line.account.limits, history.account)
    targets = () if over else targets_of(line, treatment)
    if not over and not targets:
        lacking = tuple(module for module in switched_off if module is Module.MOBILE_TARGETS)
        asked = _deciding_only("targets", asked)
        return Announce(NOT_IN_SERVICE, Result.NOT_FORWARDABLE, account_id, asked, lacking)
    seconds = treatment.ring_seconds or ring_seconds
    first = _first(line.number.number, targets, treatment, call, seconds) if targets else ()
    kept, left_out = _what_can_be_kept(treatment, call)
    found = _forward(line, call, kept, asked, first + after_targets(kept, line.number.number, seconds), over)
    if not (left_out or switched_off):
        return found
    return msgspec.structs.replace(found, left_out=left_out, switched_off=switched_off)


def laid_over(line: Line, call: Situation) -> tuple[Treatment, tuple[Asked, ...]]:
    """The treatment that results from the line's rules and its standing one, and what each rule had to say."""
    said: dict[str, object] = {}
    asked: list[Asked] = []
    for rule in line.rules:
        if not rule.enabled:
            asked.append(Asked(rule.name, False, _SWITCHED_OFF))
            continue
        holds, why = verdict(rule.condition, call)
        decided: tuple[str, ...] = ()
        if holds:
            fresh = {name: value for name, value in _said(rule.treatment) if name not in said}
            said.update(fresh)
            decided = tuple(fresh)
        asked.append(Asked(rule.name, holds, why, decided))
    return msgspec.structs.replace(line.number.treatment, **said), tuple(asked)


def _said(treatment: Treatment) -> list[tuple[str, object]]:
    """What a rule says; that the store notice is off, only the number can say (K2)."""
    said = [(name, value) for name in SETTINGS if (value := getattr(treatment, name)) is not None]
    return [one for one in said if one != ("store_notice", False)]


def _deciding_only(setting: str, asked: tuple[Asked, ...]) -> tuple[Asked, ...]:
    """For a call of which one setting alone decides: the others are nobody's doing."""
    return tuple(replace(rule, settings=(setting,) if setting in rule.settings else ()) for rule in asked)


def _is_over(limits: Limits, load: Load) -> bool:
    return any(
        most is not None and there_are >= most
        for most, there_are in (
            (limits.at_once, load.at_once),
            (limits.per_hour, load.last_hour),
            (limits.per_day, load.last_day),
        )
    )


def _first(
    number: PhoneNumber, targets: tuple[Target, ...], treatment: Treatment, call: Situation, seconds: int
) -> tuple[Stage, ...]:
    order = treatment.order or TargetOrder.IN_TURN
    drawn = lot(number, call.caller, call.instant) if order is TargetOrder.BY_SHARE else 0.0
    return rings(in_order(targets, order, history=call.history, drawn=drawn), seconds)


def _forward(
    line: Line, call: Situation, treatment: Treatment, asked: tuple[Asked, ...], stages: tuple[Stage, ...], over: bool
) -> Forward:
    recording = treatment.recording or RecordMode.NEVER
    return Forward(
        account_id=line.number.account_id,
        stages=stages,
        failed_before=Failure.OVER_LIMIT if over else None,
        notices=_notices(treatment, recording) if any(isinstance(stage, Ring) for stage in stages) else (),
        ringback=treatment.ringback or (STANDARD_RINGBACK,),
        ringback_until=_ringback_until(line, call, treatment.ringback),
        whisper=whispered(treatment, call),
        accept=bool(treatment.accept),
        shown=treatment.shown or CallerShown.CALLER,
        recording=recording,
        consent=treatment.consent if treatment.consent and treatment.consent.text else None,
        callback=treatment.callback,
        asked=asked,
    )


def _what_can_be_kept(treatment: Treatment, call: Situation) -> tuple[Treatment, tuple[LeftOut, ...]]:
    """The treatment without the messages that it promises, for a caller who can get none; and what was left out."""
    chain = treatment.fallbacks or ()
    offers = treatment.consent is not None and bool(treatment.consent.text)
    texts = any(link.then is Then.TEXT for link in chain)
    if not (offers or texts) or recipient_is_mobile(call.caller, call.instant).passed:
        return treatment, ()
    without_texts = tuple(link for link in chain if link.then is not Then.TEXT)
    kept = msgspec.structs.replace(treatment, consent=None, fallbacks=without_texts)
    return kept, (LeftOut.OFFER,) * offers + (LeftOut.TEXT,) * texts


def _notices(treatment: Treatment, recording: RecordMode) -> tuple[Notice, ...]:
    """In the order of NoticeKind."""
    notices: list[Notice] = []
    if treatment.store_notice:
        notices.append(Notice(NoticeKind.STORE_INFO, STORE_INFO_NOTICE))
    if recording is not RecordMode.NEVER:
        notices.append(Notice(NoticeKind.RECORDING, RECORDING_NOTICE_TO_CALLER))
    if treatment.fee_notice:
        notices.append(Notice(NoticeKind.FEE, FEE_NOTICE))
    if treatment.notice:
        notices.append(Notice(NoticeKind.OWN, treatment.notice))
    return tuple(notices)


def _ringback_until(line: Line, call: Situation, now: tuple[str, ...] | None) -> datetime | None:
    """The first instant, as far ahead as telephones ring, at which the rules say another ringback than `now`."""
    rules = [rule for rule in line.rules if rule.enabled and rule.treatment.ringback is not None]
    if not rules:
        return None
    for edge in edges((rule.condition for rule in rules), call.instant, call.zone, call.history):
        if (_ringback_at(edge, line, call, rules) or ()) != (now or ()):
            return edge
    return None


def _ringback_at(edge: datetime, line: Line, call: Situation, rules: list[Rule]) -> tuple[str, ...] | None:
    then = situation(line, call.caller, edge, call.history)
    decides = next((rule for rule in rules if verdict(rule.condition, then)[0]), None)
    return line.number.treatment.ringback if decides is None else decides.treatment.ringback

"""An explanation in words: sections of lines, as a terminal or a page shows them. Pure."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from enum import Enum

from engine.accounts.model import Module
from engine.foundation.phone_number import PhoneNumber, written
from engine.messages.model import Check, Purpose
from engine.numbers.treatment import Limits, RecordMode
from engine.routing.call_plan import LeftOut, NoticeKind
from engine.whatif.explanation import (
    Explanation,
    Forwarding,
    IfNobody,
    LimitsAsked,
    MessageTold,
    StageKind,
    StageTold,
    Telephone,
)
from engine.whatif.timeline import Moment


class Tone(Enum):
    """How a line is meant."""

    PLAIN = "plain"
    GOOD = "good"
    BAD = "bad"
    PITY = "pity"
    """Not as wished, and nobody's fault."""
    DIM = "dim"


@dataclass(frozen=True, slots=True)
class Said:
    """One line: a short mark, what it is about, and what is so."""

    mark: str
    about: str
    text: str
    tone: Tone = Tone.PLAIN


@dataclass(frozen=True, slots=True)
class Section:
    """Lines that belong together."""

    title: str
    lines: tuple[Said, ...]


_RECORDING = {
    RecordMode.NEVER: "no",
    RecordMode.ALWAYS: "yes, from the beginning, once both heard the notice",
    RecordMode.ON_KEY: "from the moment at which the called party presses *1, once both heard the notice",
}

_IN_VAIN = dict.fromkeys(Module, "nothing of it is done") | {
    Module.CALLS: "callers hear that the number is not in service",
    Module.RECORDING: "the talk is not recorded",
    Module.CALLBACK: "no message is offered, promised or sent",
    Module.STORE_MESSAGE: "no message with the shop's information is promised or sent",
    Module.MOBILE_TARGETS: "mobile telephones are passed over",
}
"""What becomes of a call whose settings ask for a function that is off."""


def title(told: Explanation) -> str:
    """Who calls what, and when."""
    caller = written(told.caller) if told.caller else "a withheld number"
    return f"{written(told.number)} called by {caller} on {told.at:%a %Y-%m-%d %H:%M:%S} {told.zone}"


def sections(told: Explanation) -> tuple[Section, ...]:
    """Everything in the order in which it happens."""
    made = [Section("Rules", tuple(_rules(told)))]
    if told.announcement:
        heard = told.announcement
        refused = f"refused as “{heard.result.value}”, Q.850 cause {heard.cause}"
        made.append(
            Section("Nobody is rung", (Said("", "caller hears", heard.sound), Said("", "then", refused, Tone.PITY)))
        )
    if told.forwarding:
        made += _forwarding(told, told.forwarding)
    if told.limits and (limits := tuple(_limits(told.limits))):
        made.append(Section("Limits", limits))
    made += [_message(message, told.evidence_known) for message in told.messages]
    return tuple(made)


def heard_section(timeline: Iterable[Moment]) -> Section:
    """What comes when, from `engine.whatif.heard`."""
    lines = [
        Said(
            f"{moment.at:.1f}",
            moment.ear.value,
            moment.what
            + (f": {moment.sound}" if moment.sound else "")
            + (f" ({moment.seconds:.1f} s)" if moment.seconds else "")
            + (" IS MISSING, set it again" if moment.missing else ""),
            Tone.BAD if moment.missing else Tone.PLAIN,
        )
        for moment in timeline
    ]
    return Section("Heard, seconds from the beginning", tuple(lines))


def _rules(told: Explanation) -> Iterable[Said]:
    if not told.in_service:
        yield Said("", "not in service", "nobody has this number", Tone.PITY)
    elif told.suspended:
        yield Said("", "suspended", "all callers hear its announcement, whatever its rules say", Tone.PITY)
    elif not told.rules:
        yield Said("", "none", "the number's standing settings decide everything", Tone.DIM)
    for rule in told.rules:
        decided = f"; decides {', '.join(rule.settings)}" if rule.settings else ""
        mark, tone = ("yes", Tone.GOOD) if rule.holds else ("no", Tone.DIM)
        yield Said(mark, rule.rule, rule.why + decided, tone)
    for module in told.switched_off:
        yield Said("off", module.value, f"switched off for the account: {_IN_VAIN[module]}", Tone.PITY)
    if not told.past_known:
        yield Said("!", "the past", "not known: rules that ask about earlier calls do not hold", Tone.PITY)
    elif told.past_calls:
        calls = "call" if told.past_calls == 1 else "calls"
        yield Said("", "the past", f"{told.past_calls} earlier {calls} of this caller looked at", Tone.DIM)


def _forwarding(told: Explanation, plan: Forwarding) -> list[Section]:
    caller = [
        Said(
            "",
            "announcement" if notice.kind is NoticeKind.OWN else f"{notice.kind.value} notice",
            notice.sound + (" (heard to its end)" if notice.whole else " (until the target is ready)"),
        )
        for notice in plan.notices
    ]
    until = f" until {plan.ringback_until:%H:%M:%S}, then as rules say" if plan.ringback_until else ""
    caller.append(Said("", "ringback", (", ".join(plan.ringback) or "the standard ringing tone") + until))
    rings = [Said(f"{place}.", _asked_after(stage), _stage(stage)) for place, stage in enumerate(plan.stages, 1)]
    if LeftOut.TEXT in plan.left_out:
        rings.append(Said("no", "text", f"no text is promised: {_no_texts(told)}", Tone.PITY))
    if plan.over_limit:
        rings.insert(0, Said("!", "over the limit", "there are too many calls: the targets are left out", Tone.PITY))
    return [
        Section("The caller hears, unanswered and unpaid", tuple(caller)),
        Section("Who rings", tuple(rings)),
        Section("If nobody takes the call", tuple(map(_if_nobody, plan.if_nobody))),
        Section("Who answers", tuple(_answers(told, plan))),
    ]


def _asked_after(stage: StageTold) -> str:
    if stage.after is None:
        return "ring" if stage.kind is StageKind.RING else "otherwise"
    if stage.follows:
        return "after the one before"
    return "after " + ", ".join(failure.value for failure in stage.after)


def _stage(stage: StageTold) -> str:
    match stage.kind:
        case StageKind.RING:
            together = " together; who takes it first has it" if len(stage.telephones) > 1 else ""
            return ", ".join(map(_telephone, stage.telephones)) + together
        case StageKind.ANNOUNCE:
            return f"announcement {', '.join(stage.sounds)}, then refused"
        case StageKind.VOICEMAIL:
            return f"voicemail: answered, greeting {', '.join(stage.sounds)}, the message is kept with the call"
        case StageKind.TEXT:
            return f"hears {', '.join(stage.sounds)}, is refused, and gets the text “{stage.text}”"


def _telephone(one: Telephone) -> str:
    return f"{written(one.number)} for {one.seconds} s"


def _if_nobody(way: IfNobody) -> Said:
    stages = " → ".join(f"{place}." for place in way.stages)
    ends = f"ends as “{way.result.value}”, Q.850 cause {way.cause}"
    return Said("", way.failure.value, f"{stages} → {ends}" if stages else ends)


def _answers(told: Explanation, plan: Forwarding) -> Iterable[Said]:
    yield Said("", "sees", _seen(told, plan.target_sees))
    if plan.whisper_sound:
        yield Said("", "hears alone", plan.whisper_sound)
    elif plan.whisper_text:
        yield Said("", "hears alone", f"“{plan.whisper_text}”, spoken")
    if plan.recording_notice_to_target:
        yield Said("", "recording notice", plan.recording_notice_to_target)
    if plan.press_1:
        yield Said("", "press 1", "takes the call; without it the call counts as not accepted")
    yield Said("", "recorded", _RECORDING[plan.recording])
    if plan.consent:
        when = "after the talk, and before it on trunks that allow" if plan.consent.before else "after the talk"
        yield Said("", "offer", f"{when} the caller hears {plan.consent.sound}; 1 brings “{plan.consent.text}”")
    if LeftOut.OFFER in plan.left_out:
        yield Said("no", "offer", f"no offer: {_no_texts(told)}", Tone.PITY)


def _no_texts(told: Explanation) -> str:
    return "the caller's number is no mobile" if told.caller else "the caller's number is withheld"


def _seen(told: Explanation, shown: PhoneNumber | None) -> str:
    if shown is None:
        return "no number: it is withheld"
    return f"{written(shown)}, the number called" if shown == told.number else f"{written(shown)}, the caller's"


def _limits(asked: LimitsAsked) -> Iterable[Said]:
    for whose, limits, load in (
        ("number", asked.number, asked.number_load),
        ("account", asked.account, asked.account_load),
    ):
        if text := _limit(limits, load):
            yield Said("", whose, text)


def _limit(limits: Limits, load: tuple[int, int, int]) -> str:
    named = (
        (limits.at_once, load[0], "at once"),
        (limits.per_hour, load[1], "in an hour"),
        (limits.per_day, load[2], "in a day"),
    )
    return ", ".join(f"{now} of {most} {what}" for most, now, what in named if most is not None)


def _message(told: MessageTold, evidence_known: bool) -> Section:
    lines = []
    if told.sent:
        lines.append(Said("yes", "sent", f"“{told.text}”", Tone.GOOD))
    else:
        lines.append(Said("no", "not sent", told.reason, Tone.PITY))
    if not evidence_known:
        away = "the sender is registered and no message was sent before: the database is away"
        lines.append(Said("!", "assumed", away, Tone.PITY))
    lines += [_check(check) for check in told.certificate]
    after = "nobody was reached" if told.talk_seconds is None else f"a talk of {told.talk_seconds:g} s"
    pressed = " and a press of 1" if told.purpose is Purpose.CONSENT else ""
    return Section(f"The message after {after}{pressed}", tuple(lines))


def _check(check: Check) -> Said:
    return Said(
        "yes" if check.passed else "no",
        check.rule,
        f"{check.evidence} [{check.version}]",
        Tone.DIM if check.passed else Tone.PITY,
    )

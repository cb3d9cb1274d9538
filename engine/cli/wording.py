"""Conditions, treatments and limits in the words that people read; as far as can be, those that they type."""

from __future__ import annotations

import re
from collections.abc import Iterable

from engine.cli.calendar import shown_dates, shown_span, shown_weekdays
from engine.foundation.phone_number import written
from engine.numbers.treatment import CallerShown, ConsentOffer, Fallback, Limits, Target, Then, Treatment, Whisper
from engine.routing.model import Condition

_SHOWN = {CallerShown.CALLER: "the caller's number", CallerShown.NUMBER: "the number called"}


def condition_words(condition: Condition) -> str:
    """On one line; `always` for none."""
    parts = [
        shown_weekdays(condition.weekdays),
        ",".join(map(shown_span, condition.times)),
        ",".join(map(shown_dates, condition.dates)),
        " or ".join(kind.value for kind in condition.days),
    ]
    if condition.callers:
        parts.append("callers " + ",".join(condition.callers))
    if condition.last_call:
        results = " or ".join(result.value for result in condition.last_call.results)
        parts.append(f"last call {results} within {condition.last_call.within_hours} h")
    return "; ".join(filter(None, parts)) or "always"


def treatment_words(treatment: Treatment) -> dict[str, str]:
    """What is said, by the setting's name."""
    named = {
        "targets": treatment.targets and ", ".join(map(_target, treatment.targets)),
        "order": treatment.order and treatment.order.value,
        "ring time": treatment.ring_seconds and f"{treatment.ring_seconds} s",
        "target sees": treatment.shown and _SHOWN[treatment.shown],
        "notice": _sounds_or_none(treatment.notice),
        "fee notice": _yes_or_no(treatment.fee_notice),
        "store notice": _yes_or_no(treatment.store_notice),
        "ringback": _list_or_none(treatment.ringback, "the standard tone"),
        "whisper": _whisper(treatment.whisper),
        "label": treatment.label,
        "accept": _yes_or_no(treatment.accept),
        "announcement": _sounds_or_none(treatment.announcement),
        "busy": _list_or_none(treatment.busy, "none"),
        "fallback": None if treatment.fallbacks is None else "; ".join(map(_fallback, treatment.fallbacks)) or "none",
        "recording": treatment.recording and treatment.recording.value,
        "message": None if treatment.callback is None else treatment.callback.replace("\n", " ") or "none",
        "consent": _consent(treatment.consent),
    }
    return {name: text for name, text in named.items() if text}


def limits_words(limits: Limits) -> str:
    """On one line; `none`."""
    said = ((limits.at_once, "at once"), (limits.per_hour, "an hour"), (limits.per_day, "a day"))
    return ", ".join(f"{count} {unit}" for count, unit in said if count is not None) or "none"


def sound_words(sounds: Iterable[str]) -> str:
    """Own sounds are named after their content: the beginning is enough to tell them apart."""
    return ", ".join(re.sub(r"(own/.{8}).*", r"\1", name) for name in sounds)


def _target(target: Target) -> str:
    seconds = f" {target.ring_seconds} s" if target.ring_seconds else ""
    return written(target.number) + seconds + (f" {target.share} %" if target.share else "")


def _fallback(link: Fallback) -> str:
    after = f"{', '.join(failure.value for failure in link.on)}: " if link.on else ""
    if link.then is Then.TEXT:
        return f"{after}text “{link.text}”"
    what = ", ".join(map(_target, link.targets)) or sound_words(link.sounds)
    return f"{after}{link.then.value} {what}".rstrip()


def _whisper(whisper: Whisper | None) -> str | None:
    if whisper is None:
        return None
    return f"“{whisper.text}”" if whisper.text else sound_words([whisper.sound]) if whisper.sound else "none"


def _consent(offer: ConsentOffer | None) -> str | None:
    if offer is None:
        return None
    return f"“{offer.text}” after {sound_words([offer.sound])}{', also before the talk' * offer.before}"


def _sounds_or_none(sound: str | None) -> str | None:
    return None if sound is None else sound_words([sound]) or "none"


def _list_or_none(sounds: tuple[str, ...] | None, none: str) -> str | None:
    return None if sounds is None else sound_words(sounds) or none


def _yes_or_no(said: bool | None) -> str | None:
    return None if said is None else "yes" if said else "no"

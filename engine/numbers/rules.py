"""What a number may be set to. Pure; whatever needs the database is asked in `inventory`."""

from __future__ import annotations

import re
from collections.abc import Collection, Sequence

import msgspec

from engine.accounts.book import check_sender
from engine.foundation.errors import Invalid
from engine.foundation.phone_number import NumberClass, PhoneNumber, check_target, classify, written
from engine.numbers.message_template import checked_template
from engine.numbers.model import NumberKind, ServiceNumber
from engine.numbers.sound_names import is_sound, may_be_prompt, named_prompt
from engine.numbers.treatment import WHISPER_FACTS, Fallback, Limits, Target, TargetOrder, Then, Treatment, Whisper

_KINDS = {
    NumberClass.VIRTUAL: (NumberKind.VIRTUAL,),
    NumberClass.TOLL_FREE: (NumberKind.OPT_OUT,),
    NumberClass.LANDLINE: (NumberKind.OWN, NumberKind.MESSAGE_RECEIVING),
    NumberClass.MOBILE: (NumberKind.OWN, NumberKind.MESSAGE_RECEIVING),
    NumberClass.INTERNET: (NumberKind.OWN, NumberKind.MESSAGE_RECEIVING),
    NumberClass.REPRESENTATIVE: (NumberKind.OWN, NumberKind.MESSAGE_RECEIVING),
}
_RANGES = {
    "repeat_window_days": ("repeat window", 0, 366, "days"),
    "min_talk_seconds": ("least talk time", 0, 3600, "seconds"),
}
_LIMITS = {"at_once": "calls at once", "per_hour": "calls per hour", "per_day": "calls per day"}
_MOST_CALLS = 1_000_000
_RING = (3, 120)
_MOST_TARGETS = 20
_MOST_SOUNDS = 20
_MOST_FALLBACKS = 10
_LONGEST_LABEL = 40
_LONGEST_WHISPER = 200
_FACT = re.compile(r"\{[^{}]*\}|[{}]")
_WHISPER_FACTS = tuple(f"{{{fact}}}" for fact in WHISPER_FACTS)


def kind_of(number: PhoneNumber) -> NumberKind:
    """What a number is served as when nothing else is said. Raises Invalid when it cannot be served at all."""
    return _kinds(number)[0]


def checked(number: ServiceNumber) -> ServiceNumber:
    """The number as it is to be kept. Raises Invalid or NotAllowed for the first setting that breaks a rule."""
    if number.kind not in (kinds := _kinds(number.number)):
        raise Invalid(
            f"number: {written(number.number)} cannot be of kind {number.kind.value}, "
            f"only {' or '.join(kind.value for kind in kinds)}"
        )
    _check_rung(number.target, number.number)
    for field, (named, least, most, unit) in _RANGES.items():
        _check_range(named, getattr(number, field), least, most, unit)
    check_limits(number.limits)
    if number.treatment.callback is not None:
        raise Invalid("callback: a number's own message is its callback, not part of its treatment")
    treatment = _plain(checked_treatment(number.treatment, number.number))
    if treatment.order is TargetOrder.BY_SHARE and sum(target.share for target in treatment.targets or ()) != 100:
        raise Invalid("targets: their shares must make 100 percent when they ring by share")
    if number.sender is None and texts_of(treatment):
        raise Invalid(
            "sender: a message in place of the call or for a key press needs a sender; name a registered number"
        )
    return _with_checked_callback(msgspec.structs.replace(number, treatment=treatment))


def checked_treatment(treatment: Treatment, number: PhoneNumber, label: str | None = None) -> Treatment:
    """The treatment as it is to be kept for calls to `number`, whose standing label may be given.

    Raises Invalid or NotAllowed for what it may not say.
    """
    label = label or treatment.label
    _check_range("ring time", treatment.ring_seconds, *_RING, "seconds")
    if treatment.targets is not None:
        _check_targets("targets", treatment.targets, number)
    for field in ("notice", "announcement"):
        _check_sounds(field, [sound for sound in [getattr(treatment, field)] if sound])
    _check_sounds("ringback", treatment.ringback or ())
    _check_sounds("busy", treatment.busy or ())
    if treatment.whisper is not None:
        _check_whisper(treatment.whisper)
    if treatment.label is not None and not _printable(treatment.label, _LONGEST_LABEL):
        raise Invalid(f"label: {treatment.label[:40]!r} must be at most {_LONGEST_LABEL} printable characters")
    changes: dict[str, object] = {}
    if treatment.callback:
        changes["callback"] = checked_template(treatment.callback, "callback", label)
    if treatment.fallbacks is not None:
        if len(treatment.fallbacks) > _MOST_FALLBACKS:
            raise Invalid(f"fallback: at most {_MOST_FALLBACKS} links make a chain")
        changes["fallbacks"] = tuple(_checked_fallback(link, number, label) for link in treatment.fallbacks)
    if treatment.consent is not None:
        _check_sounds("consent", [treatment.consent.sound])
        text = checked_template(treatment.consent.text, "consent", label)
        changes["consent"] = msgspec.structs.replace(treatment.consent, text=text)
    return msgspec.structs.replace(treatment, **changes)


def laid_over(under: Treatment, over: Treatment) -> Treatment:
    """What `over` says, and for the rest what `under` says."""
    said = {name: value for name, value in msgspec.structs.asdict(over).items() if value is not None}
    return msgspec.structs.replace(under, **said)


def without(treatment: Treatment, names: Collection[str]) -> Treatment:
    """The treatment, no longer saying these settings. Raises Invalid for a name that is none of them."""
    for name in names:
        if name not in Treatment.__struct_fields__:
            raise Invalid(f"setting {name!r}: there is none of that name; {', '.join(Treatment.__struct_fields__)} are")
    return msgspec.structs.replace(treatment, **dict.fromkeys(names))


def texts_of(treatment: Treatment) -> list[str]:
    """The messages that it may send without a talk: they need the number's sender."""
    texts = [link.text for link in treatment.fallbacks or () if link.text]
    return [*texts, treatment.consent.text] if treatment.consent else texts


def rings_mobiles(number: ServiceNumber) -> bool:
    """Whether it may ring a mobile telephone by its own settings."""
    said = number.treatment
    targets = [number.target, *(target.number for target in said.targets or ())]
    targets += [target.number for link in said.fallbacks or () for target in link.targets]
    return any(classify(target) is NumberClass.MOBILE for target in targets)


def check_limits(limits: Limits) -> None:
    """Raises Invalid for limits that cannot be."""
    for field, named in _LIMITS.items():
        _check_range(named, getattr(limits, field), 1, _MOST_CALLS, "calls")


def _plain(treatment: Treatment) -> Treatment:
    """Nothing lies under a number's own treatment: what it says not to do is the same as not saying it."""
    empty = {
        field: None
        for field in ("notice", "ringback", "announcement", "busy", "fallbacks")
        if not getattr(treatment, field)
    }
    if treatment.whisper == Whisper():
        empty["whisper"] = None
    if treatment.label == "":
        empty["label"] = None
    return msgspec.structs.replace(treatment, **empty)


def _check_targets(field: str, targets: Sequence[Target], number: PhoneNumber) -> None:
    if not 1 <= len(targets) <= _MOST_TARGETS:
        raise Invalid(f"{field}: name 1 to {_MOST_TARGETS} numbers to ring")
    if len({target.number for target in targets}) < len(targets):
        raise Invalid(f"{field}: a number is named twice; name each one once")
    for target in targets:
        _check_rung(target.number, number)
        _check_range("ring time", target.ring_seconds, *_RING, "seconds")
        _check_range("share", target.share, 0, 100, "percent")


def _check_rung(target: PhoneNumber, number: PhoneNumber) -> None:
    check_target(target)
    if target == number:
        raise Invalid(f"target: {written(number)} cannot be forwarded to itself; name another number")


def _checked_fallback(link: Fallback, number: PhoneNumber, label: str | None) -> Fallback:
    """Each link has what its deed needs, and nothing else."""
    if link.then is Then.RING:
        _check_targets("fallback", link.targets, number)
    elif link.targets:
        raise Invalid(f"fallback: {link.then.value} rings nobody; name no number for it")
    _check_sounds("fallback", link.sounds)
    if link.then is Then.ANNOUNCE and not link.sounds:
        raise Invalid("fallback: an announcement needs a sound")
    if link.then is Then.VOICEMAIL and len(link.sounds) > 1:
        raise Invalid("fallback: voicemail has one greeting")
    if link.then is not Then.TEXT:
        if link.text is not None:
            raise Invalid(f"fallback: {link.then.value} sends no message; name no text for it")
        return link
    if len(link.sounds) > 1:
        raise Invalid("fallback: one sound says that a message will come")
    return msgspec.structs.replace(link, text=checked_template(link.text or "", "fallback", label))


def _check_whisper(whisper: Whisper) -> None:
    if whisper.sound is not None and whisper.text is not None:
        raise Invalid("whisper: it is a sound or a text, not both")
    if whisper.sound is not None:
        _check_sounds("whisper", [whisper.sound])
    if whisper.text is None:
        return
    if not whisper.text.strip() or not _printable(whisper.text, _LONGEST_WHISPER):
        raise Invalid(f"whisper: the text must be 1 to {_LONGEST_WHISPER} printable characters")
    for fact in _FACT.findall(whisper.text):
        if fact not in _WHISPER_FACTS:
            raise Invalid(f"whisper: {fact} is none of the facts that can be filled in: {', '.join(_WHISPER_FACTS)}")


def _check_sounds(field: str, sounds: Sequence[str]) -> None:
    if len(sounds) > _MOST_SOUNDS:
        raise Invalid(f"{field}: at most {_MOST_SOUNDS} sounds")
    for sound in sounds:
        prompt = named_prompt(sound)
        if not (is_sound(sound) if prompt is None else may_be_prompt(prompt)):
            raise Invalid(
                f"{field}: {sound!r} is not the name of a sound, like ko/ringback-tone, nor of a prompt, like "
                "prompt:greeting; give an audio file"
            )


def _check_range(named: str, value: int | None, least: int, most: int, unit: str) -> None:
    if value is not None and not least <= value <= most:
        raise Invalid(f"{named}: {value} must be {least} to {most} {unit}")


def _printable(text: str, longest: int) -> bool:
    return len(text) <= longest and text.isprintable()


def _kinds(number: PhoneNumber) -> tuple[NumberKind, ...]:
    kinds = _KINDS.get(classify(number))
    if kinds is None:
        raise Invalid(
            f"number: {written(number)} cannot be put into service; name a 050, landline, mobile, 15xx or 080 number"
        )
    return kinds


def _with_checked_callback(number: ServiceNumber) -> ServiceNumber:
    if number.sender is not None:
        check_sender(number.sender)
    if number.callback is None:
        return number
    if number.sender is None:
        raise Invalid(
            "callback: a message needs a sender; name a registered number as its sender, never the 050 number"
        )
    callback = checked_template(number.callback, "callback", number.treatment.label)
    return msgspec.structs.replace(number, callback=callback)

"""What a number may be set to. Pure; whatever needs the database is asked in `inventory`."""

from __future__ import annotations

import re

import msgspec

from engine.accounts.book import check_sender
from engine.foundation.errors import Invalid
from engine.foundation.message_text import check_text
from engine.foundation.phone_number import NumberClass, PhoneNumber, check_target, classify, written
from engine.numbers.model import NumberKind, ServiceNumber

_KINDS = {
    NumberClass.VIRTUAL: (NumberKind.VIRTUAL,),
    NumberClass.TOLL_FREE: (NumberKind.OPT_OUT,),
    NumberClass.LANDLINE: (NumberKind.OWN, NumberKind.MESSAGE_RECEIVING),
    NumberClass.MOBILE: (NumberKind.OWN, NumberKind.MESSAGE_RECEIVING),
    NumberClass.INTERNET: (NumberKind.OWN, NumberKind.MESSAGE_RECEIVING),
    NumberClass.REPRESENTATIVE: (NumberKind.OWN, NumberKind.MESSAGE_RECEIVING),
}
_SOUND = re.compile(r"[a-z0-9-]+/[a-z0-9-]+")
_RANGES = {
    "ring_seconds": ("ring time", 3, 120, "seconds"),
    "repeat_window_days": ("repeat window", 0, 366, "days"),
    "min_talk_seconds": ("least talk time", 0, 3600, "seconds"),
}


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
    check_target(number.target)
    if number.target == number.number:
        raise Invalid(f"target: {written(number.number)} cannot be forwarded to itself; name another number")
    for field, (named, least, most, unit) in _RANGES.items():
        value = getattr(number, field)
        if value is not None and not least <= value <= most:
            raise Invalid(f"{named}: {value} must be {least} to {most} {unit}")
    for field in ("ringback", "whisper"):
        sound = getattr(number, field)
        if sound is not None and not _SOUND.fullmatch(sound):
            raise Invalid(f"{field}: {sound!r} is not the name of a sound, like ko/ringback-tone; give an audio file")
    return _with_checked_callback(number)


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
    return msgspec.structs.replace(number, callback=check_text(number.callback, "callback"))

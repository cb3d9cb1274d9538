"""How calls are treated, in requests and answers: `engine.numbers.treatment` as JSON.

What is not said, or null, is left to what lies under it. In a change null takes away what was said.
"""

from __future__ import annotations

from typing import Annotated, Any

import msgspec
from annotated_types import MaxLen
from pydantic import ConfigDict, Field

from engine.api.wire import PhoneBoth, Shape
from engine.numbers import treatment as of
from engine.numbers.treatment import CallerShown, Failure, RecordMode, TargetOrder, Then

_LONGEST_TEXT = 2000
_MOST = 50

Sound = Annotated[
    str,
    Field(
        max_length=80,
        description="A sound's name like `ko/closed`, or a prompt of the account like `prompt:인사말`.",
        examples=["ko/closed", "prompt:인사말"],
    ),
]
Text = Annotated[str, Field(max_length=_LONGEST_TEXT)]
Figure = Annotated[int, Field(ge=0, le=1_000_000)]


class Target(Shape):
    """A telephone that is rung."""

    number: PhoneBoth
    ring_seconds: Figure | None = None
    """3 to 120; null: the treatment's ring time."""
    share: Figure = 0
    """Percent of the calls that it gets first; used by the order `by share`."""


class Fallback(Shape):
    """One link of the chain for callers who reach nobody."""

    then: Then
    on: Annotated[tuple[Failure, ...], MaxLen(_MOST)] = ()
    """After which failures; empty: however it failed."""
    targets: Annotated[tuple[Target, ...], MaxLen(_MOST)] = ()
    """For `ring`."""
    sounds: Annotated[tuple[Sound, ...], MaxLen(_MOST)] = ()
    """For `announce`, `voicemail` (the greeting) and `text` (what the caller hears)."""
    text: Text | None = None
    """For `text`: the message that the caller gets."""


class Whisper(Shape):
    """What the target alone hears when it answers: a sound, or a text that is spoken; neither: nothing."""

    sound: Sound | None = None
    text: Text | None = None
    """May hold `{count_this_week}`, `{last_talk}` and `{label}`."""


class ConsentOffer(Shape):
    """Offers the caller a message for a key press, which is kept as the consent."""

    text: Text
    """The message that whoever presses 1 gets."""
    sound: Sound = "ko/consent-offer"
    before: bool = False
    """Also before the talk, where the carrier lets keys through before the answer."""


class Treatment(Shape):
    """What a call goes through. Null: not said here."""

    model_config = ConfigDict(
        json_schema_extra={
            "examples": [
                {
                    "targets": [{"number": {"national": "023456789", "e164": "+8223456789"}, "ring_seconds": 20}],
                    "order": "in turn",
                    "ringback": ["prompt:인사말"],
                    "whisper": {"text": "{label}에서 온 전화입니다"},
                    "recording": "always",
                    "label": "배달앱",
                }
            ]
        }
    )

    targets: Annotated[tuple[Target, ...], MaxLen(_MOST)] | None = None
    """Instead of the number's own target."""
    order: TargetOrder | None = None
    """In which order several targets ring."""
    ring_seconds: Figure | None = None
    """How long each target rings: 3 to 120."""
    notice: Sound | None = None
    """An announcement of the shop's own before the ringback; `""`: none."""
    fee_notice: bool | None = None
    """That the caller's carrier may charge for the call."""
    store_notice: bool | None = None
    """That the shop's information comes by message; no rule can switch it off."""
    ringback: Annotated[tuple[Sound, ...], MaxLen(_MOST)] | None = None
    """Heard in this order, again and again; empty: the standard ringing tone."""
    whisper: Whisper | None = None
    accept: bool | None = None
    """Whether the called party presses 1 to take the call."""
    shown: CallerShown | None = None
    """Which number the target sees."""
    recording: RecordMode | None = None
    announcement: Sound | None = None
    """Heard instead of ringing anybody: closed, on holiday; `""`: none, the targets ring."""
    busy: Annotated[tuple[Sound, ...], MaxLen(_MOST)] | None = None
    """Heard when the shop talks, instead of a bare busy tone."""
    fallbacks: Annotated[tuple[Fallback, ...], MaxLen(_MOST)] | None = None
    callback: Text | None = None
    """In a rule: the message after an answered call; `""`: none. A number's own message is its `callback`."""
    consent: ConsentOffer | None = None
    label: Annotated[str, Field(max_length=100)] | None = None
    """Where calls to the number come from, as whispers say it: 배달앱."""

    def as_said(self) -> of.Treatment:
        """What it says."""
        return msgspec.convert(_said(self), of.Treatment)

    def taken_away(self) -> tuple[str, ...]:
        """The settings that are null by name: no longer to be said."""
        return tuple(name for name in sorted(self.model_fields_set) if getattr(self, name) is None)


class Limits(Shape):
    """How many calls there may be; null: as many as come."""

    model_config = ConfigDict(json_schema_extra={"examples": [{"at_once": 5, "per_hour": 100, "per_day": None}]})

    at_once: Figure | None = None
    per_hour: Figure | None = None
    """Within the last 60 minutes."""
    per_day: Figure | None = None
    """Within the last 24 hours."""

    def as_said(self) -> of.Limits:
        return msgspec.convert(_said(self), of.Limits)


def _said(shape: Shape) -> dict[str, Any]:
    return shape.model_dump(exclude_none=True)

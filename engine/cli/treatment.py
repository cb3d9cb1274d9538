"""How a treatment is typed: the options that `dari number` and `dari rule` have in common."""

from __future__ import annotations

import re
from collections.abc import Callable, Collection
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated
from uuid import UUID

import typer
from sqlalchemy.ext.asyncio import AsyncConnection

from engine.cli.options import word, words_of
from engine.foundation.errors import Invalid
from engine.foundation.phone_number import parse
from engine.numbers.sound_names import is_sound, named_prompt, prompt_sound
from engine.numbers.treatment import (
    CallerShown,
    ConsentOffer,
    Failure,
    Fallback,
    RecordMode,
    Target,
    TargetOrder,
    Then,
    Treatment,
    Whisper,
)
from engine.prompts.catalogue import exists, keep
from engine.prompts.library import played
from engine.settings import PRODUCT_FILES, read_settings

Take = Callable[[str, str], str]
"""Makes a sound's name of what was typed for the option named second: a file, a prompt, or a name already."""

_RING, _HEAR, _TOLD, _ELSE = "Whom it rings", "What callers hear", "What the called party hears", "When nobody is there"
_AFTER = "Recording and messages"

_FIGURE = re.compile(r"[0-9]{0,4}")
_FALLBACK_HELP = (
    "When nobody was reached: ring=NUMBER[:SECONDS][,…], announce=SOUND[,…], voicemail[=SOUND] or text=TEXT; in front "
    "of it, with a colon, after which failures: busy,no-answer:voicemail. Again for the next link of the chain."
)


@dataclass(frozen=True, slots=True, kw_only=True)
class TreatmentOptions:
    """As typed; None: not named. SOUND is an audio file, a prompt of the account, or a sound's name like ko/closed."""

    targets: Annotated[
        list[str] | None,
        typer.Option(
            "--targets",
            metavar="NUMBER[:SECONDS[:SHARE]]",
            help="Rings this instead of the target, so long, first in so many percent of the calls; again for more.",
            rich_help_panel=_RING,
        ),
    ] = None
    order: Annotated[
        TargetOrder | None,
        typer.Option(
            parser=word(TargetOrder),
            metavar=words_of(TargetOrder),
            help="In which order several targets ring.",
            rich_help_panel=_RING,
        ),
    ] = None
    ring_seconds: Annotated[
        int | None,
        typer.Option(
            "--ring-seconds",
            metavar="SECONDS",
            help="How long each target rings. Default: the system's.",
            rich_help_panel=_RING,
        ),
    ] = None
    shown: Annotated[
        CallerShown | None,
        typer.Option(
            "--show",
            parser=word(CallerShown),
            metavar=words_of(CallerShown),
            help="Which number the target sees: the caller's, or the one that was called.",
            rich_help_panel=_RING,
        ),
    ] = None
    ringback: Annotated[
        list[str] | None,
        typer.Option(
            metavar="SOUND",
            help="What callers hear as it rings. Each SOUND is an audio file up to 5 min, a prompt of the account, or "
            "a sound like ko/closed; again for more, heard in turn.",
            rich_help_panel=_HEAR,
        ),
    ] = None
    no_ringback: Annotated[
        bool, typer.Option("--no-ringback", help="The standard ringing tone.", rich_help_panel=_HEAR)
    ] = False
    notice: Annotated[
        str | None,
        typer.Option(metavar="SOUND", help="An announcement of your own before the ringback.", rich_help_panel=_HEAR),
    ] = None
    no_notice: Annotated[
        bool, typer.Option("--no-notice", help="No announcement before it.", rich_help_panel=_HEAR)
    ] = False
    fee_notice: Annotated[
        bool | None,
        typer.Option(
            "--fee-notice/--no-fee-notice",
            help="Tell callers that their carrier may charge the call.",
            rich_help_panel=_HEAR,
        ),
    ] = None
    store_notice: Annotated[
        bool | None,
        typer.Option(
            "--store-notice/--no-store-notice",
            help="Tell callers that the shop's information comes by message; only the number can switch it off.",
            rich_help_panel=_HEAR,
        ),
    ] = None
    announcement: Annotated[
        str | None,
        typer.Option(
            metavar="SOUND",
            help="Heard instead of ringing anybody: closed, on holiday.",
            rich_help_panel=_HEAR,
        ),
    ] = None
    no_announcement: Annotated[
        bool, typer.Option("--no-announcement", help="Ring, whatever else says otherwise.", rich_help_panel=_HEAR)
    ] = False
    busy: Annotated[
        list[str] | None,
        typer.Option(
            metavar="SOUND",
            help="Heard when the shop talks, instead of a bare busy tone; again for more, heard in turn.",
            rich_help_panel=_HEAR,
        ),
    ] = None
    no_busy: Annotated[bool, typer.Option("--no-busy", help="The bare busy tone.", rich_help_panel=_HEAR)] = False
    whisper: Annotated[
        str | None,
        typer.Option(metavar="SOUND", help="What the shop alone hears before it is connected.", rich_help_panel=_TOLD),
    ] = None
    whisper_text: Annotated[
        str | None,
        typer.Option(
            metavar="TEXT",
            help="The same as a text that is spoken; may hold {label}, {count_this_week} and {last_talk}.",
            rich_help_panel=_TOLD,
        ),
    ] = None
    no_whisper: Annotated[bool, typer.Option("--no-whisper", help="No whisper.", rich_help_panel=_TOLD)] = False
    label: Annotated[
        str | None,
        typer.Option(
            metavar="TEXT", help="Where calls to the number come from, for {label}: 배달앱.", rich_help_panel=_TOLD
        ),
    ] = None
    accept: Annotated[
        bool | None,
        typer.Option(
            "--accept/--no-accept",
            help="Whoever answers presses 1 to take the call, so that no voicemail does.",
            rich_help_panel=_TOLD,
        ),
    ] = None
    fallback: Annotated[
        list[str] | None,
        typer.Option(metavar="[ON:]THEN[=VALUE]", help=_FALLBACK_HELP, rich_help_panel=_ELSE),
    ] = None
    voicemail: Annotated[
        bool,
        typer.Option("--voicemail", help="Voicemail, however it failed; behind any --fallback.", rich_help_panel=_ELSE),
    ] = False
    no_fallback: Annotated[bool, typer.Option("--no-fallback", help="The call just ends.", rich_help_panel=_ELSE)] = (
        False
    )
    record: Annotated[
        bool | None,
        typer.Option(
            "--record/--no-record",
            help="Record, after the notice was played to both sides.",
            rich_help_panel=_AFTER,
        ),
    ] = None
    recording: Annotated[
        RecordMode | None,
        typer.Option(
            parser=word(RecordMode),
            metavar=words_of(RecordMode),
            help="The same, or only from the moment at which the called party presses *1.",
            rich_help_panel=_AFTER,
        ),
    ] = None
    consent: Annotated[
        str | None,
        typer.Option(
            metavar="TEXT", help="The message for callers who press 1 when it is offered.", rich_help_panel=_AFTER
        ),
    ] = None
    consent_sound: Annotated[
        str | None, typer.Option(metavar="SOUND", help="What offers it to them.", rich_help_panel=_AFTER)
    ] = None
    consent_before: Annotated[
        bool,
        typer.Option(
            "--consent-before", help="Offer it also before the talk, where the trunk can.", rich_help_panel=_AFTER
        ),
    ] = False

    def treatment(self, take: Take) -> Treatment:
        """What was named. Raises Invalid for what cannot be read or contradicts itself."""
        self._check_contradictions()
        return Treatment(
            targets=tuple(_target(text) for text in self.targets) if self.targets else None,
            order=self.order,
            ring_seconds=self.ring_seconds,
            notice="" if self.no_notice else self.notice and take(self.notice, "notice"),
            fee_notice=self.fee_notice,
            store_notice=self.store_notice,
            ringback=() if self.no_ringback else _taken(self.ringback, "ringback", take),
            whisper=self._whisper(take),
            accept=self.accept,
            shown=self.shown,
            recording=self._recording(),
            announcement="" if self.no_announcement else self.announcement and take(self.announcement, "announcement"),
            busy=() if self.no_busy else _taken(self.busy, "busy", take),
            fallbacks=self._fallbacks(take),
            consent=self._consent(take),
            label=self.label,
        )

    def _check_contradictions(self) -> None:
        taken_away = {
            "ringback": (self.ringback, self.no_ringback),
            "notice": (self.notice, self.no_notice),
            "announcement": (self.announcement, self.no_announcement),
            "busy": (self.busy, self.no_busy),
            "whisper": (self.whisper or self.whisper_text, self.no_whisper),
            "fallback": (self.fallback or self.voicemail, self.no_fallback),
        }
        for name, (given, gone) in taken_away.items():
            check_one_of(name, given, taken_away=gone)
        if self.whisper and self.whisper_text:
            raise Invalid("whisper: give --whisper or --whisper-text, not both")
        if self.record is not None and self.recording is not None:
            raise Invalid("recording: give --record, --no-record or --recording, not two of them")
        if self.consent is None and (self.consent_sound or self.consent_before):
            raise Invalid("consent: say with --consent which message the caller gets")

    def _whisper(self, take: Take) -> Whisper | None:
        if self.no_whisper:
            return Whisper()
        if self.whisper_text is not None:
            return Whisper(text=self.whisper_text)
        return None if self.whisper is None else Whisper(sound=take(self.whisper, "whisper"))

    def _recording(self) -> RecordMode | None:
        if self.record is None:
            return self.recording
        return RecordMode.ALWAYS if self.record else RecordMode.NEVER

    def _fallbacks(self, take: Take) -> tuple[Fallback, ...] | None:
        if self.no_fallback:
            return ()
        chain = [_fallback(text, take) for text in self.fallback or ()]
        if self.voicemail:
            chain.append(Fallback(then=Then.VOICEMAIL))
        return tuple(chain) or None

    def _consent(self, take: Take) -> ConsentOffer | None:
        if self.consent is None:
            return None
        if self.consent_sound is None:
            return ConsentOffer(text=self.consent, before=self.consent_before)
        sound = take(self.consent_sound, "consent")
        return ConsentOffer(text=self.consent, sound=sound, before=self.consent_before)


def named_only(typed: str, field: str) -> str:
    """A sound's name in place of a file or a prompt that is not looked up yet: to check what else was typed first."""
    del field
    return typed if _is_name(typed) else "own/not-taken-in-yet"


def taking_in(prompts: Collection[str]) -> Take:
    """Takes a file into the sounds folder; a sound's name stays, and so does that of one of the account's `prompts`.

    Raises Invalid for what is none of them, or a file and a prompt at once.
    """

    def taken_in(typed: str, field: str) -> str:
        sounds = read_settings().paths.sounds
        named = named_prompt(typed)
        prompt = typed if named is None else named
        is_file = _is_there_as(Path.is_file, typed)
        if is_file and typed in prompts:
            raise Invalid(
                f"{field}: {typed} is a file here and a prompt of the account; name the file as ./{typed}, or the "
                f"prompt as {prompt_sound(typed)}"
            )
        if prompt in prompts and not is_file:
            return prompt_sound(prompt)
        if _is_name(typed) and _is_there(typed, sounds):
            return typed
        if _is_there_as(Path.exists, typed):
            return keep(Path(typed), sounds, field=field)
        raise Invalid(
            f"{field}: there is no file, no sound and no prompt of the account named {typed}; name an audio file, a "
            "sound like ko/closed, or a prompt that `dari prompt list` shows"
        )

    return taken_in


async def takes_in(rows: AsyncConnection, account: UUID) -> Take:
    """What was typed, taken in for a number of that account."""
    return taking_in(await played(rows, account))


def _is_there_as(kind: Callable[[Path], bool], typed: str) -> bool:
    """False also for what cannot be a path: too long, or with a null in it."""
    try:
        return kind(Path(typed))
    except (OSError, ValueError):
        return False


def _is_there(name: str, sounds: Path) -> bool:
    return exists(name, sounds) or (PRODUCT_FILES / "prompts/sounds" / f"{name}.wav").is_file()


def check_one_of(field: str, given: object, *, taken_away: bool) -> None:
    """Raises Invalid when the same thing is named and taken away."""
    if given and taken_away:
        raise Invalid(f"{field}: give --{field} or --no-{field}, not both")


def _is_name(typed: str) -> bool:
    """A file of that name in this folder is meant before a sound of that name."""
    return is_sound(typed) and not Path(typed).exists()


def _taken(typed: list[str] | None, field: str, take: Take) -> tuple[str, ...] | None:
    return tuple(take(text, field) for text in typed) if typed else None


def _target(text: str) -> Target:
    number, *rest = text.split(":")
    if len(rest) > 2 or not all(_FIGURE.fullmatch(part) for part in rest):
        raise Invalid(f"targets: {text!r} is no target; write it like 02-345-6789, 02-345-6789:20 or 02-345-6789:20:70")
    seconds, share, *_ = [*(int(part) if part else None for part in rest), None, None]
    return Target(number=parse(number, "targets"), ring_seconds=seconds, share=share or 0)


def _fallback(text: str, take: Take) -> Fallback:
    head, _, value = text.partition("=")
    failures, _, then_word = head.rpartition(":")
    try:
        then = word(Then)(then_word)
        on = tuple(word(Failure)(failure) for failure in failures.split(",")) if failures else ()
    except typer.BadParameter as error:
        raise Invalid(
            f"fallback: {error.message}; write it like busy,no-answer:voicemail or ring=02-345-6789:20"
        ) from None
    if then is Then.TEXT:
        return Fallback(then=then, on=on, text=value)
    values = value.split(",") if value else []
    if then is Then.RING:
        return Fallback(then=then, on=on, targets=tuple(map(_target, values)))
    return Fallback(then=then, on=on, sounds=tuple(take(sound, "fallback") for sound in values))

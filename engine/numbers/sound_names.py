"""Which sounds a treatment names, and what those are that it names as prompts of its account. Pure.

A sound's name is a path under the sounds folder (`ko/closed`); `prompt:인사말` is the account's prompt of that name, in
whatever version is current when a call comes.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Mapping
from functools import partial

import msgspec

from engine.numbers.treatment import Treatment

NOT_THERE = "own/no-such-prompt"
"""Stands for a prompt that the account has no more: a sound that is not there, and is treated as one."""
LONGEST_PROMPT = 64

_PROMPT = "prompt:"
_SOUND = re.compile(r"[a-z0-9-]+/[a-z0-9-]+")


def is_sound(name: str) -> bool:
    """Whether it names a sound under the sounds folder."""
    return bool(_SOUND.fullmatch(name))


def named_prompt(sound: str) -> str | None:
    """The prompt that is meant; None: it is no prompt."""
    return sound.removeprefix(_PROMPT) if sound.startswith(_PROMPT) else None


def prompt_sound(name: str) -> str:
    """How a treatment names the prompt."""
    return _PROMPT + name


def may_be_prompt(name: str) -> bool:
    """Whether a prompt may have this name; `/` belongs to sounds, so that the two are never mistaken."""
    return 0 < len(name) <= LONGEST_PROMPT and name == name.strip() and name.isprintable() and "/" not in name


def sounds_of(said: Treatment) -> Iterator[str]:
    """Every sound that a treatment names; "" where it names none."""
    yield from (said.notice or "", said.announcement or "")
    yield from (*(said.ringback or ()), *(said.busy or ()))
    if said.whisper is not None:
        yield said.whisper.sound or ""
    for link in said.fallbacks or ():
        yield from link.sounds
    if said.consent is not None and said.consent.text:
        yield said.consent.sound


def prompts_of(said: Treatment) -> list[str]:
    """Names of the prompts that a treatment plays, each once."""
    return list(dict.fromkeys(name for sound in sounds_of(said) if (name := named_prompt(sound)) is not None))


def played_sound(sound: str, prompts: Mapping[str, str]) -> str:
    """What is played for a sound that may be a prompt: `prompts` by name."""
    name = named_prompt(sound)
    return sound if name is None else prompts.get(name, NOT_THERE)


def with_sounds(said: Treatment, prompts: Mapping[str, str]) -> Treatment:
    """The treatment with the sound of each prompt in its place: `prompts` by name. Itself when it names none."""
    if not prompts_of(said):
        return said

    return _with_each(said, partial(played_sound, prompts=prompts))


def with_prompts_named(said: Treatment, names: Mapping[str, str]) -> Treatment:
    """The treatment with each prompt under its other name: `names` by those it has."""
    sounds = {name: prompt_sound(names[name]) if name in names else NOT_THERE for name in prompts_of(said)}
    return _with_each(said, partial(played_sound, prompts=sounds)) if sounds else said


def _with_each(said: Treatment, played: Callable[[str], str]) -> Treatment:
    def several(sounds: tuple[str, ...] | None) -> tuple[str, ...] | None:
        return None if sounds is None else tuple(map(played, sounds))

    replace = msgspec.structs.replace
    whisper, consent = said.whisper, said.consent
    return replace(
        said,
        notice=said.notice and played(said.notice),
        announcement=said.announcement and played(said.announcement),
        ringback=several(said.ringback),
        busy=several(said.busy),
        whisper=replace(whisper, sound=played(whisper.sound)) if whisper and whisper.sound else whisper,
        fallbacks=None
        if said.fallbacks is None
        else tuple(replace(link, sounds=tuple(map(played, link.sounds))) for link in said.fallbacks),
        consent=replace(consent, sound=played(consent.sound)) if consent else None,
    )

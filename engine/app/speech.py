"""The voices that the settings give us."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from contextlib import AsyncExitStack
from typing import NamedTuple

import structlog

from engine.foundation.errors import Invalid, TryLater
from engine.prompts.speech.setup import SpeechSetup, opened_speech
from engine.settings import Settings

log = structlog.get_logger(__name__)


def speech_setup(settings: Settings) -> SpeechSetup:
    """Whose voices there are."""
    return SpeechSetup(
        espeak_files=settings.asterisk_files,
        espeak=settings.espeak,
        default=settings.voice,
        polly_key_id=settings.polly_key_id,
        polly_key=settings.polly_key,
        polly_region=settings.polly_region,
        clova_key_id=settings.clova_key_id,
        clova_key=settings.clova_key,
        google_key=settings.google_key,
        timeout=settings.voice_timeout,
    )


class Voice(NamedTuple):
    """What a process says its texts with."""

    sound_for: Callable[[str], Awaitable[str]]
    """The sound of a text. Raises TryLater, also when there is no voice at all."""
    ready: Callable[[str], str | None]
    """The sound of a text that has been spoken already."""


async def open_voice(settings: Settings, stack: AsyncExitStack) -> Voice:
    """For a process that goes on without a voice when there is none."""
    try:
        speech = await stack.enter_async_context(opened_speech(speech_setup(settings), settings.paths.sounds))
    except Invalid as error:
        reason = str(error)
        log.warning("texts cannot be spoken", reason=reason)
    else:
        return Voice(speech.sound_for, speech.ready)

    async def speechless(_text: str) -> str:
        raise TryLater(reason)

    return Voice(speechless, lambda _text: None)

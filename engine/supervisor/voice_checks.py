"""What the doctor asks of the voice that texts are spoken with; nothing needs to run for it."""

from __future__ import annotations

from engine.app.speech import speech_setup
from engine.foundation.errors import DariError, Invalid
from engine.prompts.speech.espeak import Espeak, find_espeak
from engine.prompts.speech.setup import opened_speech
from engine.settings import Settings
from engine.supervisor.check import Check, bad, ok, refused

_NAME = "voice"
_WORD = "다리"


async def voice_check(settings: Settings) -> Check:
    """espeak-ng says a word; the others, of which each word is paid for, are only looked up."""
    try:
        async with opened_speech(speech_setup(settings), settings.paths.sounds) as speech:
            provider, _, voice = speech.voice_named(None).partition("/")
        if provider != Espeak.name:
            return ok(_NAME, f"{provider}/{voice}, its key is set; no word was tried")
        program = find_espeak(settings.asterisk_files, settings.espeak)
        await Espeak(program, settings.voice_timeout).speak(_WORD, voice)
    except Invalid as error:
        return _missing(settings, error)
    except DariError as error:
        return refused(_NAME, error)
    return ok(_NAME, f"{provider}/{voice} by {program}")


def _missing(settings: Settings, error: Invalid) -> Check:
    found, _, mend = str(error).partition("; ")
    if settings.voice.partition("/")[0] != Espeak.name:
        mend = "set the key of that provider, or name another voice in DARI_VOICE"
    return bad(_NAME, f"{found}: no text is spoken", mend)

"""Which providers of speech a process has: espeak-ng where there is one, and those whose keys are set."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path

import aiohttp

from engine.foundation.clock import Clock, SystemClock
from engine.foundation.errors import Invalid
from engine.prompts.speech.clova import Clova
from engine.prompts.speech.espeak import Espeak, find_espeak
from engine.prompts.speech.google import Google
from engine.prompts.speech.polly import Polly
from engine.prompts.speech.provider import SpeechProvider
from engine.prompts.speech.signature import AwsKey
from engine.prompts.speech.speech import Speech


@dataclass(frozen=True, slots=True, kw_only=True)
class SpeechSetup:
    """Whose voices there are. A provider without its key is left out."""

    espeak_files: Path
    """Folder into which espeak-ng is unpacked beside Asterisk where the system has none."""
    espeak: str = ""
    """Its program; empty: found."""
    default: str = "espeak"
    """The voice of those who name none: a provider, or a provider's voice like `polly/Jihye`."""
    polly_key_id: str = ""
    polly_key: str = field(default="", repr=False)
    polly_region: str = "ap-northeast-2"
    clova_key_id: str = ""
    clova_key: str = field(default="", repr=False)
    google_key: str = field(default="", repr=False)
    timeout: float = 10.0
    """Seconds for which a provider may be silent."""


@asynccontextmanager
async def opened_speech(setup: SpeechSetup, sounds: Path, clock: Clock | None = None) -> AsyncIterator[Speech]:
    """Speech with all providers that are set up, closed at the end.

    Raises Invalid when the default voice has no provider, saying how to get espeak-ng if it is that one.
    """
    async with aiohttp.ClientSession() as session:
        speech = Speech(_providers(setup, session, clock or SystemClock()), setup.default, sounds, clock)
        try:
            yield speech
        finally:
            await speech.close()


def _providers(setup: SpeechSetup, session: aiohttp.ClientSession, clock: Clock) -> list[SpeechProvider]:
    found: list[SpeechProvider] = []
    try:
        found.append(Espeak(find_espeak(setup.espeak_files, setup.espeak), setup.timeout))
    except Invalid:
        if setup.default.partition("/")[0] == Espeak.name:
            raise
    if setup.polly_key_id and setup.polly_key:
        key = AwsKey(id=setup.polly_key_id, secret=setup.polly_key, region=setup.polly_region, service="polly")
        found.append(Polly(session, key, clock, setup.timeout))
    if setup.clova_key_id and setup.clova_key:
        found.append(Clova(session, setup.clova_key_id, setup.clova_key, setup.timeout))
    if setup.google_key:
        found.append(Google(session, setup.google_key, setup.timeout))
    return found

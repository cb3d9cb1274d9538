"""Texts as sounds: spelled out, spoken once by a provider, kept under the sounds folder, found again at once."""

from __future__ import annotations

import asyncio
import hashlib
from collections.abc import Iterable
from pathlib import Path

from engine.foundation.clock import Clock, SystemClock
from engine.foundation.errors import DariError, Invalid, TryLater
from engine.foundation.tasks import Tasks
from engine.prompts.catalogue import exists, keep_speech, note_spoken, spoken
from engine.prompts.speech.provider import SpeechProvider
from engine.prompts.spoken_korean import VERSION, spelled_out
from engine.prompts.telephone_sound import NoSound

LONGEST_TEXT = 1000
"""Characters. Nobody listens to more on a telephone."""
_REMEMBERED = 10_000
_LOOK_AGAIN = 43_200.0
"""Seconds after which the note of a spoken text is read again, which tells `sweep` that it is in use."""


class Speech:
    """Speaks texts through its providers. One per process; close it at the end."""

    def __init__(
        self, providers: Iterable[SpeechProvider], default: str, sounds: Path, clock: Clock | None = None
    ) -> None:
        """`default` is the voice of those who name none: a provider, or a provider's voice like `polly/Jihye`.

        Raises Invalid for a default that no provider has.
        """
        self._providers = {provider.name: provider for provider in providers}
        self._default = default
        self._sounds = sounds
        self._clock = clock or SystemClock()
        self._known: dict[str, tuple[str, float]] = {}
        self._making: dict[str, asyncio.Future[str]] = {}
        self._tasks = Tasks("speech")
        self._voice(None)

    @property
    def voices(self) -> list[str]:
        """Every known voice as `sound_for` takes it; providers may have more."""
        return [f"{provider.name}/{voice}" for provider in self._providers.values() for voice in provider.voices]

    async def sound_for(self, text: str, voice: str | None = None) -> str:
        """The name of the sound that says the text, made if need be. Requests for the same text make it once.

        Raises Invalid for an empty or too long text and for what the provider does not take, NotAllowed when it refuses
        us, TryLater when it is away or busy. A caller who goes away ends nobody else's wait.
        """
        provider, voice_name = self._voice(voice)
        said = _checked(text)
        key = _key(provider, voice_name, said)
        if known := await asyncio.to_thread(self._kept, key):
            return known
        if (making := self._making.get(key)) is None:
            making = self._making[key] = asyncio.get_running_loop().create_future()
            self._tasks.start("speak", self._make(key, provider, voice_name, said, making))
        return await asyncio.shield(making)

    def ready(self, text: str, voice: str | None = None) -> str | None:
        """The sound's name when the text has been spoken already; at most two small files are looked at.

        Raises Invalid as `sound_for`.
        """
        provider, voice_name = self._voice(voice)
        return self._kept(_key(provider, voice_name, _checked(text)))

    def voice_named(self, voice: str | None) -> str:
        """The whole name, like `polly/Seoyeon`, of the voice that `sound_for` takes. Raises Invalid."""
        provider, voice_name = self._voice(voice)
        return f"{provider.name}/{voice_name}"

    async def close(self) -> None:
        """Ends what is being spoken; those who wait for it get TryLater."""
        await self._tasks.close()
        for making in self._making.values():  # of tasks that had not begun
            _end(making)
        self._making.clear()

    async def _make(
        self, key: str, provider: SpeechProvider, voice: str, said: str, making: asyncio.Future[str]
    ) -> None:
        try:
            audio = await provider.speak(said, voice)
            name = await asyncio.to_thread(self._keep, key, audio, provider.name)
            making.set_result(name)
        except DariError as error:
            making.set_exception(error)
        finally:
            self._making.pop(key, None)
            _end(making)

    def _keep(self, key: str, audio: bytes, provider: str) -> str:
        try:
            name = keep_speech(audio, self._sounds)
            note_spoken(key, name, self._sounds)
        except NoSound as reason:
            raise TryLater(f"speech by {provider}: its sound cannot be used, {reason}; try again") from None
        except OSError as error:
            raise TryLater(f"speech: {self._sounds} takes no sounds ({error.strerror}); free its disk") from None
        self._remember(key, name)
        return name

    def _kept(self, key: str) -> str | None:
        name, until = self._known.get(key, ("", 0.0))
        if name and self._clock.monotonic() < until and exists(name, self._sounds):
            return name
        found = spoken(key, self._sounds, self._clock.now())
        if found:
            self._remember(key, found)
        return found

    def _remember(self, key: str, name: str) -> None:
        if len(self._known) >= _REMEMBERED:
            self._known.clear()
        self._known[key] = (name, self._clock.monotonic() + _LOOK_AGAIN)

    def _voice(self, voice: str | None) -> tuple[SpeechProvider, str]:
        wanted = voice or self._default
        name, _, voice_name = wanted.partition("/")
        provider = self._providers.get(name)
        if provider is None:
            known = ", ".join(self._providers) or "none"
            raise Invalid(f"voice {wanted[:40]}: no provider of that name is set up (there is {known}); name another")
        return provider, voice_name or provider.voices[0]


def _end(making: asyncio.Future[str]) -> None:
    """Nobody waits for it any longer; an error that all have gone away from is no oversight."""
    if not making.done():
        making.set_exception(TryLater("speech: it ended before the text was spoken; try again"))
    making.exception()


def _checked(text: str) -> str:
    """The text as it is given to a provider."""
    said = " ".join(spelled_out(text).split())
    if not any(letter.isalnum() for letter in said):
        raise Invalid("text: there is nothing in it to be spoken; give words")
    if len(said) > LONGEST_TEXT or not said.replace("\u200d", "").isprintable():
        raise Invalid(f"text: it must be at most {LONGEST_TEXT} printable characters, numbers spelled out; shorten it")
    return said


def _key(provider: SpeechProvider, voice: str, said: str) -> str:
    """Of what the sound depends on; the numbers' reading is in the text already, its version makes sure."""
    return hashlib.sha256("\0".join((provider.name, voice, said, str(VERSION))).encode()).hexdigest()

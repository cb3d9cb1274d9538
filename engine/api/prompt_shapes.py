"""Prompts in requests and answers: a prompt, its versions, and what a new one is made of."""

from __future__ import annotations

from datetime import datetime
from typing import Annotated, Any

from fastapi import Path
from pydantic import ConfigDict, Field, model_validator

from engine.api.wire import Shape
from engine.numbers.sound_names import LONGEST_PROMPT
from engine.prompts.mixing import Mix
from engine.prompts.model import Origin
from engine.prompts.speech.speech import LONGEST_TEXT

_MIX = Mix()
PromptName = Annotated[str, Field(min_length=1, max_length=LONGEST_PROMPT, examples=["인사말"])]
PromptInPath = Annotated[
    str,
    Path(alias="prompt", min_length=1, max_length=LONGEST_PROMPT, description="A prompt's name.", examples=["인사말"]),
]
VersionInPath = Annotated[int, Path(alias="version", ge=1, le=2_000_000_000, description="A version's number.")]

_VERSION: dict[str, Any] = {
    "version": 2,
    "origin": "speech",
    "source": "다리분식입니다. 곧 연결해 드리겠습니다.",
    "voice": "espeak/ko",
    "music": None,
    "seconds": 3.4,
    "created_at": "2026-11-22T00:30:00Z",
}
_PROMPT: dict[str, Any] = {"name": "인사말", "current": _VERSION, "versions": 2}


class Version(Shape):
    """One version of a prompt; versions are never changed."""

    model_config = ConfigDict(json_schema_extra={"examples": [_VERSION]})

    version: int
    origin: Origin
    source: str
    """The uploaded file's name, or the text that is spoken."""
    voice: str | None
    """Who speaks the text; null: a recording."""
    music: str | None
    """Under a mix: the uploaded music's name."""
    seconds: float
    created_at: datetime


class Prompt(Shape):
    """A prompt as it is played now. Settings name it `prompt:NAME`."""

    model_config = ConfigDict(json_schema_extra={"examples": [_PROMPT]})

    name: str
    current: Version
    versions: int
    """How many are kept."""


class Prompts(Shape):
    """An account's prompts by name."""

    model_config = ConfigDict(json_schema_extra={"examples": [{"prompts": [_PROMPT]}]})

    prompts: tuple[Prompt, ...]


class PromptVersions(Shape):
    """A prompt with all its versions, the oldest first."""

    model_config = ConfigDict(
        json_schema_extra={"examples": [{"name": "인사말", "current": 2, "versions": [_VERSION]}]}
    )

    name: str
    current: int
    """Which one is played."""
    versions: tuple[Version, ...]


class SpokenText(Shape):
    """A text to be spoken."""

    model_config = ConfigDict(json_schema_extra={"examples": [{"text": "다리분식입니다. 곧 연결해 드리겠습니다."}]})

    text: Annotated[str, Field(min_length=1, max_length=LONGEST_TEXT)]
    """Digits are read as in Korean: 3번째 is 세 번째."""
    voice: Annotated[str, Field(min_length=1, max_length=100)] | None = None
    """Who says it, like `espeak/ko`; null: the system's voice."""


class Mixture(Shape):
    """A voice over background music, both out of the account's prompts; or a voice that is spoken."""

    model_config = ConfigDict(
        json_schema_extra={"examples": [{"music": "배경음악", "text": "다리분식입니다.", "ducking": 12}]}
    )

    music: PromptName
    """The prompt that is the music: begun again, or cut, to last as long as the voice."""
    voice: PromptName | None = None
    """The prompt that is the voice. Either this or `text`."""
    text: Annotated[str, Field(min_length=1, max_length=LONGEST_TEXT)] | None = None
    """What is spoken."""
    speaker: Annotated[str, Field(min_length=1, max_length=100)] | None = None
    """Who says the text, like `espeak/ko`; null: the system's voice."""
    music_level: Annotated[float, Field(ge=-40, le=6, allow_inf_nan=False)] = _MIX.music_level
    """dB of the music alone, against the voice."""
    ducking: Annotated[float, Field(ge=0, le=60, allow_inf_nan=False)] = _MIX.ducking
    """How many dB softer the music is under the voice."""
    before: Annotated[float, Field(ge=0, le=30, allow_inf_nan=False)] = _MIX.before
    """Seconds of music before the voice."""
    after: Annotated[float, Field(ge=0, le=30, allow_inf_nan=False)] = _MIX.after
    """Seconds of music after the voice."""

    @model_validator(mode="after")
    def _one_voice(self) -> Mixture:
        if (self.voice is None) == (self.text is None):
            raise ValueError("name either a voice or a text")
        if self.voice is not None and self.speaker is not None:
            raise ValueError("speaker: it says who speaks the text; leave it out with a voice")
        return self

    def how(self) -> Mix:
        return Mix(music_level=self.music_level, ducking=self.ducking, before=self.before, after=self.after)


class Voices(Shape):
    """Who can speak texts; providers may have more."""

    model_config = ConfigDict(json_schema_extra={"examples": [{"voices": ["espeak/ko"]}]})

    voices: tuple[str, ...]


class VersionWanted(Shape):
    """Which version is to be played."""

    model_config = ConfigDict(json_schema_extra={"examples": [{"version": 1}]})

    version: Annotated[int, Field(ge=1, le=2_000_000_000)]

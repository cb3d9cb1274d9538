"""An account's prompts: uploaded or spoken, by name, each with its versions; numbers play the one in use."""

from __future__ import annotations

import tempfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from datetime import datetime
from http import HTTPStatus
from pathlib import Path as File
from typing import Annotated, Any
from uuid import UUID

from fastapi import APIRouter, Path, Query, Response
from fastapi.responses import FileResponse
from pydantic import ConfigDict, Field, model_validator
from sqlalchemy.ext.asyncio import AsyncConnection

from engine.accounts.model import Actor, Deed
from engine.api.door import ActorDep, FileBody, Now, Rows, door_router
from engine.api.equipment import Equipment, EquipmentDep
from engine.api.etag import IfMatch, tagged, unchanged
from engine.api.owned import allowed_account
from engine.api.takes import takes_file
from engine.api.wire import AccountInPath, Shape
from engine.api.written_down import Thing, write_down
from engine.foundation.errors import Invalid, NotFound
from engine.numbers.sound_names import LONGEST_PROMPT
from engine.prompts import library
from engine.prompts.catalogue import forms_of
from engine.prompts.library import Shelf, Spoken
from engine.prompts.mixing import Mix
from engine.prompts.model import Origin
from engine.prompts.speech.speech import LONGEST_TEXT
from engine.routing import book

LARGEST_SOUND = 50_000_000
"""Bytes: five minutes of uncompressed studio sound."""
_LONGEST_FILE = 60
_KINDS = (
    "application/octet-stream",
    "audio/aac",
    "audio/flac",
    "audio/mp4",
    "audio/mpeg",
    "audio/ogg",
    "audio/wav",
    "audio/webm",
    "audio/x-m4a",
    "audio/x-wav",
)

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


def prompts_router() -> APIRouter:
    """`/accounts/{account}/prompts` and `/voices`."""
    router = door_router("prompts")
    of, one = "/accounts/{account}/prompts", "/accounts/{account}/prompts/{prompt}"
    upload = takes_file(*_KINDS, largest=LARGEST_SOUND)
    sound: dict[int | str, dict[str, Any]] = {
        200: {"content": {"audio/wav": {"schema": {"type": "string", "format": "binary"}}}}
    }
    router.get("/voices")(voices)
    router.get(of)(list_prompts)
    router.get(one)(read_prompt)
    router.delete(one, status_code=HTTPStatus.NO_CONTENT)(remove_prompt)
    router.post(f"{one}/upload", status_code=HTTPStatus.CREATED, openapi_extra=upload)(upload_prompt)
    router.post(f"{one}/speech", status_code=HTTPStatus.CREATED)(speak_prompt)
    router.post(f"{one}/mix", status_code=HTTPStatus.CREATED)(mix_prompt)
    router.put(f"{one}/current")(use_version)
    router.delete(one + "/versions/{version}", status_code=HTTPStatus.NO_CONTENT)(remove_version)
    router.get(one + "/versions/{version}/sound", response_class=FileResponse, responses=sound)(hear_version)
    return router


async def voices(_actor: ActorDep, equipment: EquipmentDep) -> Voices:
    """Who can speak texts."""
    try:
        return Voices(voices=tuple((await equipment.speech()).voices))
    except Invalid:
        return Voices(voices=())


async def list_prompts(account: AccountInPath, actor: ActorDep, rows: Rows) -> Prompts:
    """An account's prompts by name."""
    await allowed_account(rows, actor, Deed.SEE_PROMPTS, account)
    return Prompts.model_validate({"prompts": await library.listing(rows, account)})


async def read_prompt(
    account: AccountInPath, prompt: PromptInPath, actor: ActorDep, rows: Rows, response: Response
) -> PromptVersions:
    """A prompt with all its versions."""
    await allowed_account(rows, actor, Deed.SEE_PROMPTS, account)
    return tagged(response, await _read(rows, account, prompt))


async def upload_prompt(
    account: AccountInPath,
    prompt: PromptInPath,
    body: FileBody,
    actor: ActorDep,
    rows: Rows,
    now: Now,
    equipment: EquipmentDep,
    file: Annotated[str, Query(min_length=1, max_length=60, description="What the file is called.")] = "upload",
) -> Version:
    """Take in a recording (0.2 s to 5 min of wav, mp3, m4a, ogg, flac …) as the version that is played from now on."""
    library.checked_name(prompt)
    await allowed_account(rows, actor, Deed.CHANGE_PROMPTS, account)
    with _as_file(body, file) as path:
        made = await library.add(rows, Shelf(account, prompt, equipment.sounds, now), path)
    return await _made(rows, actor, account, prompt, Version.model_validate(made), now)


async def speak_prompt(
    account: AccountInPath,
    prompt: PromptInPath,
    wanted: SpokenText,
    actor: ActorDep,
    rows: Rows,
    now: Now,
    equipment: EquipmentDep,
) -> Version:
    """Have a text spoken as the version that is played from now on."""
    library.checked_name(prompt)
    await allowed_account(rows, actor, Deed.CHANGE_PROMPTS, account)
    spoken = Spoken(text=wanted.text, speech=await equipment.speaker(), voice=wanted.voice)
    made = await library.speak(rows, Shelf(account, prompt, equipment.sounds, now), spoken)
    return await _made(rows, actor, account, prompt, Version.model_validate(made), now)


async def mix_prompt(
    account: AccountInPath,
    prompt: PromptInPath,
    wanted: Mixture,
    actor: ActorDep,
    rows: Rows,
    now: Now,
    equipment: EquipmentDep,
) -> Version:
    """Put a voice over background music as the version that is played from now on. Music and voice are prompts too."""
    library.checked_name(prompt)
    await allowed_account(rows, actor, Deed.CHANGE_PROMPTS, account)
    shelf = Shelf(account, prompt, equipment.sounds, now)
    with tempfile.TemporaryDirectory(prefix="dari-mix-") as folder:

        async def called(name: str, part: str) -> File:
            """The prompt's sound in a file that is called like it."""
            path = File(folder) / part / (name.strip(".") or part)[:_LONGEST_FILE]
            path.parent.mkdir()
            path.symlink_to(await _sound_of(rows, account, name, None, equipment))
            return path

        music = await called(wanted.music, "music")
        voice: File | Spoken
        if wanted.voice is not None:
            voice = await called(wanted.voice, "voice")
        else:
            voice = Spoken(text=wanted.text or "", speech=await equipment.speaker(), voice=wanted.speaker)
        made = await library.mix(rows, shelf, voice, music, wanted.how())
    return await _made(rows, actor, account, prompt, Version.model_validate(made), now)


async def use_version(
    account: AccountInPath,
    prompt: PromptInPath,
    wanted: VersionWanted,
    actor: ActorDep,
    rows: Rows,
    now: Now,
    if_match: IfMatch,
    response: Response,
) -> PromptVersions:
    """Play another version from the next call on."""
    await allowed_account(rows, actor, Deed.CHANGE_PROMPTS, account)
    before = await unchanged(rows, f"prompt {account} {prompt}", if_match, lambda: _read(rows, account, prompt))
    await library.rollback(rows, account, prompt, wanted.version)
    await _note(rows, actor, account, prompt, {"current": before.current}, {"current": wanted.version}, now)
    return tagged(response, await _read(rows, account, prompt))


async def remove_prompt(account: AccountInPath, prompt: PromptInPath, actor: ActorDep, rows: Rows, now: Now) -> None:
    """Remove a prompt that no number plays."""
    await allowed_account(rows, actor, Deed.CHANGE_PROMPTS, account)
    await book.remove_prompt(rows, account, prompt)
    await _note(rows, actor, account, prompt, {}, None, now)


async def remove_version(
    account: AccountInPath, prompt: PromptInPath, version: VersionInPath, actor: ActorDep, rows: Rows, now: Now
) -> None:
    """Remove a version that is not played."""
    await allowed_account(rows, actor, Deed.CHANGE_PROMPTS, account)
    await library.remove(rows, account, prompt, version)
    await _note(rows, actor, account, prompt, {"version": version}, None, now)


async def hear_version(
    account: AccountInPath,
    prompt: PromptInPath,
    version: VersionInPath,
    actor: ActorDep,
    rows: Rows,
    equipment: EquipmentDep,
) -> FileResponse:
    """A version as callers hear it."""
    await allowed_account(rows, actor, Deed.SEE_PROMPTS, account)
    return FileResponse(await _sound_of(rows, account, prompt, version, equipment), media_type="audio/wav")


async def _sound_of(
    rows: AsyncConnection, account: UUID, prompt: str, version: int | None, equipment: Equipment
) -> File:
    """The file of a version, the best that there is; None: of the one that is played. Raises NotFound."""
    found = await library.version_of(rows, account, prompt, version)
    files = {path.suffix: path for path in forms_of(found.sound, equipment.sounds)}
    path = files.get(".wav16") or files.get(".wav")
    if path is None:
        raise NotFound(f"prompt {prompt}: the sound of version {found.version} is gone; upload it again")
    return path


async def _read(rows: AsyncConnection, account: UUID, prompt: str) -> PromptVersions:
    current = (await library.find(rows, account, prompt)).current.version
    versions = await library.versions(rows, account, prompt)
    return PromptVersions.model_validate({"name": prompt, "current": current, "versions": versions})


async def _made(
    rows: AsyncConnection, actor: Actor, account: UUID, prompt: str, version: Version, now: datetime
) -> Version:
    told = {"version": version.version, "origin": version.origin.value, "seconds": version.seconds}
    await _note(rows, actor, account, prompt, None, told, now)
    return version


async def _note(
    rows: AsyncConnection,
    actor: Actor,
    account: UUID,
    prompt: str,
    before: Mapping[str, object] | None,
    after: Mapping[str, object] | None,
    now: datetime,
) -> None:
    thing = Thing("prompt", account, prompt)
    await write_down(rows, actor, Deed.CHANGE_PROMPTS, thing, before=before, after=after, now=now)


@contextmanager
def _as_file(body: bytes, name: str) -> Iterator[File]:
    """The upload as a file of that name, for as long as the block runs; errors name the file alone."""
    name = File(name).name
    with tempfile.TemporaryDirectory(prefix="dari-upload-") as folder:
        path = File(folder) / ("upload" if name in ("", "..") else name)
        path.write_bytes(body)
        try:
            yield path
        except Invalid as error:
            raise Invalid(str(error).replace(str(path), path.name)) from None

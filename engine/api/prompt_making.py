"""How an account's prompts are made: out of a recording, a text, or a voice over music. Each makes a new version."""

from __future__ import annotations

import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import datetime
from http import HTTPStatus
from pathlib import Path as File
from typing import Annotated
from uuid import UUID

from fastapi import APIRouter, Query
from sqlalchemy.ext.asyncio import AsyncConnection

from engine.accounts.model import Actor, Deed
from engine.api.door import ActorDep, FileBody, Now, Rows, door_router
from engine.api.equipment import Equipment, EquipmentDep
from engine.api.owned import allowed_account
from engine.api.prompt_shapes import Mixture, PromptInPath, SpokenText, Version
from engine.api.takes import takes_file
from engine.api.wire import AccountInPath
from engine.foundation.errors import Invalid, NotFound
from engine.prompts import library
from engine.prompts.catalogue import forms_of
from engine.prompts.library import Shelf, Spoken

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


def prompt_making_router() -> APIRouter:
    """`/accounts/{account}/prompts/{prompt}/upload`, `/speech` and `/mix`."""
    router = door_router("prompts")
    one = "/accounts/{account}/prompts/{prompt}"
    upload = takes_file(*_KINDS, largest=LARGEST_SOUND)
    router.post(f"{one}/upload", status_code=HTTPStatus.CREATED, openapi_extra=upload)(upload_prompt)
    router.post(f"{one}/speech", status_code=HTTPStatus.CREATED)(speak_prompt)
    router.post(f"{one}/mix", status_code=HTTPStatus.CREATED)(mix_prompt)
    return router


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
    shelf = await _allowed_shelf(rows, actor, account, prompt, equipment, now)
    with _as_file(body, file) as path:
        made = await library.add(rows, actor, shelf, path)
    return Version.model_validate(made)


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
    shelf = await _allowed_shelf(rows, actor, account, prompt, equipment, now)
    spoken = Spoken(text=wanted.text, speech=await equipment.speaker(), voice=wanted.voice)
    made = await library.speak(rows, actor, shelf, spoken)
    return Version.model_validate(made)


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
    shelf = await _allowed_shelf(rows, actor, account, prompt, equipment, now)
    with tempfile.TemporaryDirectory(prefix="dari-mix-") as folder:

        async def called(name: str, part: str) -> File:
            """The prompt's sound in a file that is called like it."""
            path = File(folder) / part / (name.strip(".") or part)[:_LONGEST_FILE]
            path.parent.mkdir()
            path.symlink_to(await sound_of(rows, account, name, None, equipment))
            return path

        music = await called(wanted.music, "music")
        voice: File | Spoken
        if wanted.voice is not None:
            voice = await called(wanted.voice, "voice")
        else:
            voice = Spoken(text=wanted.text or "", speech=await equipment.speaker(), voice=wanted.speaker)
        made = await library.mix(rows, actor, shelf, voice, music, wanted.how())
    return Version.model_validate(made)


async def sound_of(
    rows: AsyncConnection, account: UUID, prompt: str, version: int | None, equipment: Equipment
) -> File:
    """The file of a version, the best that there is; None: of the one that is played. Raises NotFound."""
    found = await library.version_of(rows, account, prompt, version)
    files = {path.suffix: path for path in forms_of(found.sound, equipment.sounds)}
    path = files.get(".wav16") or files.get(".wav")
    if path is None:
        raise NotFound(f"prompt {prompt}: the sound of version {found.version} is gone; upload it again")
    return path


async def _allowed_shelf(
    rows: AsyncConnection, actor: Actor, account: UUID, prompt: str, equipment: Equipment, now: datetime
) -> Shelf:
    """Where the new version goes, for an actor who may make one. Raises NotFound, NotAllowed, Invalid."""
    library.checked_name(prompt)
    await allowed_account(rows, actor, Deed.CHANGE_PROMPTS, account)
    return Shelf(account, prompt, equipment.sounds, now)


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

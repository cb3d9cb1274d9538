"""The library: an account's own prompts by name, each with its versions.

Each deed works in the caller's transaction (`engine.foundation.database.transaction`), so that nothing is half done,
and writes there what it changed; whether the actor may do it, the door has asked. A sound is made before the first
statement: nobody waits for a decoder or a provider with a lock held.
"""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from uuid import UUID

import msgspec
from sqlalchemy.ext.asyncio import AsyncConnection

from engine.accounts.model import Actor, Deed
from engine.accounts.told import Thing, write_down
from engine.foundation.errors import Conflict, Invalid, NotFound
from engine.numbers.sound_names import LONGEST_PROMPT, may_be_prompt
from engine.prompts import catalogue, store
from engine.prompts.mixing import Mix, mixed
from engine.prompts.model import Origin, Prompt, Version
from engine.prompts.speech.speech import Speech


@dataclass(frozen=True, slots=True)
class Shelf:
    """Where a version goes: an account's prompt of that name, and the folder of sounds. `now` is when it was made."""

    account: UUID
    name: str
    sounds: Path
    now: datetime

    def __post_init__(self) -> None:
        """Raises Invalid for a name that cannot be one."""
        checked_name(self.name)


@dataclass(frozen=True, slots=True, kw_only=True)
class Spoken:
    """A text and who says it; without a voice it is the default one."""

    text: str
    speech: Speech
    voice: str | None = None

    async def sound(self) -> str:
        return await self.speech.sound_for(self.text, self.voice)

    @property
    def speaker(self) -> str:
        return self.speech.voice_named(self.voice)


async def add(connection: AsyncConnection, actor: Actor, shelf: Shelf, file: Path) -> Version:
    """Takes an audio file in as the prompt's new current version. Raises Invalid for a file that is of no use."""
    sound = await asyncio.to_thread(catalogue.keep, file, shelf.sounds, field="file")
    return await _put(connection, actor, shelf, _made(shelf, sound, Origin.FILE, file.name))


async def speak(connection: AsyncConnection, actor: Actor, shelf: Shelf, spoken: Spoken) -> Version:
    """Has a text spoken as the prompt's new current version. Raises what `Speech.sound_for` does."""
    made = _made(shelf, await spoken.sound(), Origin.SPEECH, spoken.text)
    return await _put(connection, actor, shelf, msgspec.structs.replace(made, voice=spoken.speaker))


async def mix(
    connection: AsyncConnection,
    actor: Actor,
    shelf: Shelf,
    voice: Path | Spoken,
    music: Path,
    how: Mix | None = None,
) -> Version:
    """Puts a voice, recorded or spoken, over music as the prompt's new current version. Raises as `add` and `speak`."""
    if isinstance(voice, Spoken):
        voice_sound, source, speaker = await voice.sound(), voice.text, voice.speaker
    else:
        voice_sound = await asyncio.to_thread(catalogue.keep, voice, shelf.sounds, field="voice")
        source, speaker = voice.name, None
    sound = await asyncio.to_thread(_mixed, voice_sound, music, shelf.sounds, how)
    made = _made(shelf, sound, Origin.MIX, source)
    return await _put(connection, actor, shelf, msgspec.structs.replace(made, voice=speaker, music=music.name))


async def listing(connection: AsyncConnection, account: UUID) -> list[Prompt]:
    """The account's prompts by name."""
    return await store.of_account(connection, account)


async def find(connection: AsyncConnection, account: UUID, name: str) -> Prompt:
    """One prompt as it is now. Raises NotFound."""
    found = await store.of_account(connection, account, name)
    if not found:
        raise _no_such(name)
    return found[0]


async def versions(connection: AsyncConnection, account: UUID, name: str) -> list[Version]:
    """A prompt's versions, oldest first. Raises NotFound."""
    found = await store.versions(connection, account, name)
    if not found:
        raise _no_such(name)
    return found


async def version_of(connection: AsyncConnection, account: UUID, name: str, version: int | None) -> Version:
    """One version; None: the current one. Raises NotFound."""
    if version is None:
        return (await find(connection, account, name)).current
    for found in await versions(connection, account, name):
        if found.version == version:
            return found
    raise _no_version(name, version)


async def rollback(
    connection: AsyncConnection, actor: Actor, account: UUID, name: str, version: int, now: datetime
) -> Prompt:
    """Makes another version the current one; calls that play the former one are not touched. Raises NotFound."""
    before = await find(connection, account, name)
    if not await store.use(connection, account, name, version):
        raise _no_version(name, version)
    if before.current.version != version:
        old, new = {"current": before.current.version}, {"current": version}
        await _tell(connection, actor, account, name, now, before=old, after=new)
    return await find(connection, account, name)


async def remove(
    connection: AsyncConnection, actor: Actor, account: UUID, name: str, now: datetime, version: int | None = None
) -> None:
    """Removes a prompt, or one version that is not the current one. Raises NotFound or Conflict.

    The sound itself stays until nobody uses it (`engine.prompts.catalogue.sweep`).
    """
    if version is None:
        before = await find(connection, account, name)
        if not await store.delete(connection, account, name):
            raise _no_such(name)
        gone: dict[str, object] = {"current": before.current.version, "versions": before.versions}
    else:
        gone = _told(await version_of(connection, account, name, version))
        if not await store.delete_version(connection, account, name, version):
            raise Conflict(f"prompt {name}: version {version} is the current one; use another version first")
    await _tell(connection, actor, account, name, now, before=gone)


async def sounds_in_use(connection: AsyncConnection) -> set[str]:
    """The sounds of all versions of all accounts, for `engine.prompts.catalogue.sweep`."""
    return await store.sounds(connection)


async def played(connection: AsyncConnection, account: UUID) -> dict[str, str]:
    """The sound of each prompt's current version, by the prompt's name."""
    return (await _played(connection, account)).get(account, {})


async def played_by_account(connection: AsyncConnection) -> dict[UUID, dict[str, str]]:
    """As `played`, of all accounts that have prompts."""
    return await _played(connection, None)


def checked_name(name: str) -> str:
    """A prompt's name. Raises Invalid; `/` belongs to sounds, so that the two are never mistaken."""
    if not may_be_prompt(name):
        raise Invalid(f"prompt: {name[:40]!r} must be 1 to {LONGEST_PROMPT} printable characters without a slash")
    return name


async def _played(connection: AsyncConnection, account: UUID | None) -> dict[UUID, dict[str, str]]:
    by_account: dict[UUID, dict[str, str]] = {}
    async for part in store.played(connection, account):
        for owner, name, sound in part:
            by_account.setdefault(owner, {})[name] = sound
    return by_account


def _mixed(voice: str, music: Path, sounds: Path, how: Mix | None) -> str:
    under = catalogue.brought_to_level(music, "music")
    return catalogue.keep_samples(mixed(catalogue.wide_samples(voice, sounds), under, how), sounds)


def _made(shelf: Shelf, sound: str, origin: Origin, source: str) -> Version:
    return Version(
        version=0,
        sound=sound,
        origin=origin,
        source=source,
        seconds=round(catalogue.seconds(sound, shelf.sounds), 3),
        created_at=shelf.now,
    )


async def _put(connection: AsyncConnection, actor: Actor, shelf: Shelf, made: Version) -> Version:
    version = await store.add_version(connection, shelf.account, shelf.name, made)
    await _tell(connection, actor, shelf.account, shelf.name, shelf.now, after=_told(version))
    return version


async def _tell(
    connection: AsyncConnection,
    actor: Actor,
    account: UUID,
    name: str,
    now: datetime,
    *,
    before: Mapping[str, object] | None = None,
    after: Mapping[str, object] | None = None,
) -> None:
    thing = Thing("prompt", account, name)
    await write_down(connection, actor, Deed.CHANGE_PROMPTS, thing, before=before, after=after, now=now)


def _told(version: Version) -> dict[str, object]:
    return {"version": version.version, "origin": version.origin, "seconds": version.seconds}


def _no_such(name: str) -> NotFound:
    return NotFound(f"prompt {name} is not in this account; look in its list of prompts")


def _no_version(name: str, version: int) -> NotFound:
    return NotFound(f"prompt {name} has no version {version}; look which ones it has")

"""Prompts by name and version on the real database, their sounds in a real folder."""

from __future__ import annotations

import asyncio
from datetime import UTC, datetime
from pathlib import Path
from uuid import UUID

import pytest
from sqlalchemy import text
from sqlalchemy.exc import IntegrityError
from sqlalchemy.ext.asyncio import AsyncEngine

from engine.accounts.model import LOCAL_OPERATOR
from engine.foundation.database import transaction
from engine.foundation.errors import Conflict, Invalid, NotFound
from engine.prompts import library
from engine.prompts.catalogue import exists, seconds
from engine.prompts.library import Shelf, Spoken
from engine.prompts.mixing import Mix
from engine.prompts.model import Origin, Version
from engine.prompts.speech.speech import Speech
from engine.prompts.telephone_sound import WIDE_RATE, pcm, wav
from tests.opened_shop import open_shop
from tests.tones import tone, write_audio

NOW = datetime(2026, 11, 21, 9, 0, tzinfo=UTC)


class Announcer:
    """Speaks every text as a tone."""

    name = "announcer"
    voices = ("low",)

    async def speak(self, text: str, voice: str) -> bytes:
        return wav(pcm(tone(500 + 10 * len(text), 1.0, WIDE_RATE) / 32768), WIDE_RATE)


@pytest.fixture
def sounds(tmp_path: Path) -> Path:
    return tmp_path / "sounds"


@pytest.fixture
async def shop(database: AsyncEngine) -> UUID:
    return await open_shop(database)


def recording(folder: Path, frequency: int, length: float = 1.0) -> Path:
    return write_audio(folder / f"{frequency}.wav", tone(frequency, length))


async def added(database: AsyncEngine, shelf: Shelf, file: Path) -> Version:
    async with transaction(database) as connection:
        return await library.add(connection, LOCAL_OPERATOR, shelf, file)


async def test_a_recording_becomes_version_after_version(
    database: AsyncEngine, shop: UUID, sounds: Path, tmp_path: Path
) -> None:
    shelf = Shelf(shop, "인사말", sounds, NOW)
    first = await added(database, shelf, recording(tmp_path, 700))
    second = await added(database, shelf, recording(tmp_path, 800, 2.0))
    assert (first.version, second.version) == (1, 2)
    assert (first.origin, first.source, first.voice, first.music) == (Origin.FILE, "700.wav", None, None)
    assert second.seconds == pytest.approx(2, abs=0.05)
    async with transaction(database) as connection:
        (listed,) = await library.listing(connection, shop)
        assert (listed.name, listed.current, listed.versions) == ("인사말", second, 2)
        assert await library.versions(connection, shop, "인사말") == [first, second]
        assert await library.version_of(connection, shop, "인사말", None) == second
        assert await library.version_of(connection, shop, "인사말", 1) == first
        assert await library.sounds_in_use(connection) == {first.sound, second.sound}
    assert exists(first.sound, sounds)
    assert exists(second.sound, sounds)


async def test_one_mix_wanted_by_several_at_once_is_made_for_each(
    database: AsyncEngine, shop: UUID, sounds: Path, tmp_path: Path
) -> None:
    shelf = Shelf(shop, "인사말", sounds, NOW)
    voice, music = recording(tmp_path, 700), recording(tmp_path, 800)

    async def mixed() -> Version:
        async with transaction(database) as connection:
            return await library.mix(connection, LOCAL_OPERATOR, shelf, voice, music)

    made = await asyncio.gather(*(mixed() for _ in range(6)))
    assert sorted(one.version for one in made) == [1, 2, 3, 4, 5, 6]
    assert len({one.sound for one in made}) == 1


async def test_an_earlier_version_is_played_again(
    database: AsyncEngine, shop: UUID, sounds: Path, tmp_path: Path
) -> None:
    shelf = Shelf(shop, "greeting", sounds, NOW)
    first = await added(database, shelf, recording(tmp_path, 700))
    second = await added(database, shelf, recording(tmp_path, 800))
    async with transaction(database) as connection:
        assert (await library.rollback(connection, LOCAL_OPERATOR, shop, "greeting", 1, NOW)).current == first
    third = await added(database, shelf, recording(tmp_path, 900))
    assert third.version == 3
    async with transaction(database) as connection:
        assert await library.versions(connection, shop, "greeting") == [first, second, third]
        assert (await library.find(connection, shop, "greeting")).current == third


async def test_a_text_and_a_mix_keep_where_they_came_from(
    database: AsyncEngine, shop: UUID, sounds: Path, tmp_path: Path
) -> None:
    speech = Speech([Announcer()], "announcer", sounds)
    music = recording(tmp_path, 300, 5.0)
    how = Mix(before=0.5, after=0.5)
    async with transaction(database) as connection:
        shelf = Shelf(shop, "greeting", sounds, NOW)
        spoken = await library.speak(connection, LOCAL_OPERATOR, shelf, Spoken(text="안녕 2명", speech=speech))
        over = await library.mix(
            connection, LOCAL_OPERATOR, shelf, Spoken(text="안녕하세요", speech=speech), music, how
        )
        own = await library.mix(connection, LOCAL_OPERATOR, shelf, recording(tmp_path, 900, 2.0), music, how)
    await speech.close()
    assert (spoken.version, spoken.origin, spoken.source, spoken.voice) == (
        1,
        Origin.SPEECH,
        "안녕 2명",
        "announcer/low",
    )
    assert (over.origin, over.source, over.voice, over.music) == (Origin.MIX, "안녕하세요", "announcer/low", "300.wav")
    assert (own.origin, own.source, own.voice, own.music) == (Origin.MIX, "900.wav", None, "300.wav")
    assert seconds(over.sound, sounds) == pytest.approx(2.0, abs=0.1)
    assert seconds(own.sound, sounds) == pytest.approx(3.0, abs=0.1)
    async with transaction(database) as connection:
        assert await library.versions(connection, shop, "greeting") == [spoken, over, own]


async def test_versions_that_come_at_once_all_get_a_number(
    database: AsyncEngine, shop: UUID, sounds: Path, tmp_path: Path
) -> None:
    shelf = Shelf(shop, "greeting", sounds, NOW)
    files = [recording(tmp_path, frequency) for frequency in (600, 700, 800, 900)]
    made = await asyncio.gather(*(added(database, shelf, file) for file in files))
    assert sorted(version.version for version in made) == [1, 2, 3, 4]
    async with transaction(database) as connection:
        assert (await library.find(connection, shop, "greeting")).current.version == 4


async def test_a_removed_number_is_not_given_again(
    database: AsyncEngine, shop: UUID, sounds: Path, tmp_path: Path
) -> None:
    shelf = Shelf(shop, "greeting", sounds, NOW)
    for frequency in (700, 800):
        await added(database, shelf, recording(tmp_path, frequency))
    async with transaction(database) as connection:
        await library.rollback(connection, LOCAL_OPERATOR, shop, "greeting", 1, NOW)
        await library.remove(connection, LOCAL_OPERATOR, shop, "greeting", NOW, 2)
    assert (await added(database, shelf, recording(tmp_path, 900))).version == 3


async def test_the_version_that_is_played_is_not_removed_alone(
    database: AsyncEngine, shop: UUID, sounds: Path, tmp_path: Path
) -> None:
    version = await added(database, Shelf(shop, "greeting", sounds, NOW), recording(tmp_path, 700))
    async with transaction(database) as connection:
        with pytest.raises(Conflict, match="version 1 is the current one"):
            await library.remove(connection, LOCAL_OPERATOR, shop, "greeting", NOW, 1)
        await library.remove(connection, LOCAL_OPERATOR, shop, "greeting", NOW)
        assert await library.listing(connection, shop) == []
        assert await library.sounds_in_use(connection) == set()
    assert exists(version.sound, sounds)  # a call may still play it


async def test_what_is_not_there_is_told(database: AsyncEngine, shop: UUID, sounds: Path, tmp_path: Path) -> None:
    await added(database, Shelf(shop, "greeting", sounds, NOW), recording(tmp_path, 700))
    async with transaction(database) as connection:
        for deed in (
            library.find(connection, shop, "other"),
            library.versions(connection, shop, "other"),
            library.rollback(connection, LOCAL_OPERATOR, shop, "other", 1, NOW),
            library.remove(connection, LOCAL_OPERATOR, shop, "other", NOW),
        ):
            with pytest.raises(NotFound, match="not in this account"):
                await deed
        with pytest.raises(NotFound, match="no version 2"):
            await library.rollback(connection, LOCAL_OPERATOR, shop, "greeting", 2, NOW)
        with pytest.raises(NotFound, match="no version 2"):
            await library.remove(connection, LOCAL_OPERATOR, shop, "greeting", NOW, 2)
        with pytest.raises(NotFound, match="no version 2"):
            await library.version_of(connection, shop, "greeting", 2)


async def test_accounts_do_not_see_each_other_s(
    database: AsyncEngine, shop: UUID, sounds: Path, tmp_path: Path
) -> None:
    other = await open_shop(database, "other")
    mine = await added(database, Shelf(shop, "greeting", sounds, NOW), recording(tmp_path, 700))
    theirs = await added(database, Shelf(other, "greeting", sounds, NOW), recording(tmp_path, 800))
    assert (mine.version, theirs.version) == (1, 1)
    async with transaction(database) as connection:
        await library.remove(connection, LOCAL_OPERATOR, other, "greeting", NOW)
        assert (await library.find(connection, shop, "greeting")).current == mine


async def test_a_file_that_is_refused_leaves_nothing(
    database: AsyncEngine, shop: UUID, sounds: Path, tmp_path: Path
) -> None:
    (tmp_path / "text.mp3").write_text("no music" * 100)
    with pytest.raises(Invalid, match=r"^file: .*text\.mp3"):
        await added(database, Shelf(shop, "greeting", sounds, NOW), tmp_path / "text.mp3")
    async with transaction(database) as connection:
        with pytest.raises(Invalid, match=r"^music: "):
            await library.mix(
                connection,
                LOCAL_OPERATOR,
                Shelf(shop, "greeting", sounds, NOW),
                recording(tmp_path, 700),
                tmp_path / "text.mp3",
            )
        assert await library.listing(connection, shop) == []


@pytest.mark.parametrize("name", ["", " x", "a/b", "x" * 65, "a\nb"])
def test_a_name_that_cannot_be_one_is_refused(name: str, sounds: Path) -> None:
    with pytest.raises(Invalid, match="prompt: "):
        Shelf(UUID(int=0), name, sounds, NOW)


@pytest.mark.parametrize(
    "broken",
    [
        "UPDATE prompts SET current_version = 2",
        "DELETE FROM prompt_versions",
        "UPDATE prompt_versions SET sound = '../x'",
        "UPDATE prompt_versions SET origin = 'mix'",
        "UPDATE prompt_versions SET origin = 'speech'",
        "UPDATE prompt_versions SET seconds = 0",
        "UPDATE prompts SET name = 'a/b'",
        "INSERT INTO prompts (account_id, name, current_version, last_version) "
        "SELECT account_id, 'empty', 1, 1 FROM prompts",
    ],
)
async def test_the_tables_themselves_refuse_what_no_rule_allows(
    database: AsyncEngine, shop: UUID, sounds: Path, tmp_path: Path, broken: str
) -> None:
    await added(database, Shelf(shop, "greeting", sounds, NOW), recording(tmp_path, 700))
    with pytest.raises(IntegrityError):
        async with transaction(database) as connection:
            await connection.execute(text(broken))

"""Who hears a recording: its owner, with a reason, and it is written down."""

from __future__ import annotations

from datetime import timedelta
from pathlib import Path
from uuid import UUID, uuid4

import pytest
from sqlalchemy import text

from engine.foundation.database import transaction
from engine.foundation.errors import GaveUp, Invalid, NotAllowed, NotFound
from engine.recordings import playback
from engine.recordings.keys import MasterKey, destroy_keys, new_key, wrap_anew
from engine.recordings.model import Deed, Reader, RecordingKind
from engine.recordings.playback import access_log, export, open_recording
from engine.recordings.retention import sweep
from engine.recordings.sealed import CHUNK, Damaged
from engine.recordings.sound import wav_header
from tests.integration.recordings.conftest import MASTER, TALK, VOICEMAIL, Desk
from tests.sounds_left import inside, talk

SECONDS = 40.0
Span = tuple[int, int | None]
WAV = wav_header(2, round(8000 * SECONDS)) + talk(SECONDS)


async def begun(desk: Desk, reader: Reader, call_id: UUID, kind: RecordingKind, span: Span = (0, None)) -> None:
    """Somebody opens a recording, and hears nothing of it yet."""
    async with open_recording(desk.archive, reader, call_id, kind, span=span):
        pass


async def test_each_hearing_is_written_down_before_the_first_sound(desk: Desk) -> None:
    kept = await desk.kept()
    await begun(desk, desk.reader(), kept.call_id, TALK)
    (access,) = await access_log(desk.archive, kept.call_id)
    assert (access.who, access.account_id, access.reason) == ("kim@shop", desk.owner, "a complaint about an order")
    assert (access.deed, access.kind, access.granted, access.at) == (Deed.LISTEN, TALK, True, desk.clock.now())


async def test_another_organisation_is_refused_and_that_is_written_down(desk: Desk, tmp_path: Path) -> None:
    kept, others = await desk.kept(), await desk.kept(desk.other)
    for mine, stranger in ((kept, desk.other), (others, desk.owner)):
        with pytest.raises(NotAllowed, match="another organisation"):
            await begun(desk, desk.reader(stranger), mine.call_id, TALK)
        with pytest.raises(NotAllowed):
            await export(desk.archive, desk.reader(stranger), mine.call_id, TALK, tmp_path / "a.wav")
        log = await access_log(desk.archive, mine.call_id)
        assert [(each.account_id, each.granted, each.deed) for each in log] == [
            (stranger, False, Deed.EXPORT),
            (stranger, False, Deed.LISTEN),
        ]
    assert not (tmp_path / "a.wav").exists()


async def test_even_with_the_rows_changed_an_owner_cannot_read_anothers(desk: Desk) -> None:
    """Whoever can write to the database still has only keys that are bound to their owners."""
    kept, others = await desk.kept(), await desk.kept(desk.other)
    async with transaction(desk.archive.database) as connection:
        await connection.execute(
            text("UPDATE recordings SET account_id = :mine WHERE call_id = :call"),
            {"mine": desk.owner, "call": others.call_id},
        )
    with pytest.raises(Damaged, match="another recording"):
        await desk.heard(others)
    async with transaction(desk.archive.database) as connection:
        await connection.execute(
            text("""
                UPDATE recording_keys k SET wrapped = o.wrapped FROM recording_keys o
                WHERE k.account_id = :mine AND o.account_id = :other
            """),
            {"mine": desk.owner, "other": desk.other},
        )
    with pytest.raises(Invalid, match="does not open their key"):
        await desk.heard(kept)


@pytest.mark.parametrize("reason", ["", "   ", "a\nb", "x" * 501])
async def test_without_a_reason_nobody_hears_anything(desk: Desk, reason: str) -> None:
    kept = await desk.kept()
    with pytest.raises(Invalid, match="reason"):
        await begun(desk, desk.reader(reason=reason), kept.call_id, TALK)


async def test_what_is_not_there_is_told(desk: Desk) -> None:
    kept = await desk.kept()
    with pytest.raises(NotFound):
        await begun(desk, desk.reader(), uuid4(), TALK)
    with pytest.raises(NotFound, match="no voicemail"):
        await begun(desk, desk.reader(), kept.call_id, VOICEMAIL)
    desk.clock.advance(timedelta(days=400))
    await sweep(desk.archive)
    with pytest.raises(NotFound, match="was deleted on"):
        await begun(desk, desk.reader(), kept.call_id, TALK)


_MEBI = 16 * CHUNK


@pytest.mark.parametrize(
    "span",
    [(0, None), (0, 44), (0, 0), (44, 45), (CHUNK - 1, CHUNK + 1), (_MEBI - 3, _MEBI + 3), (_MEBI, None),
     (5, 3 * CHUNK), (len(WAV) - 2, None), (len(WAV), None), (100, 10**9)],
)  # fmt: skip
async def test_a_player_gets_any_part(desk: Desk, span: tuple[int, int | None]) -> None:
    kept = await desk.kept(seconds=SECONDS)
    async with open_recording(desk.archive, desk.reader(), kept.call_id, TALK, span=span) as opened:
        assert opened.size == len(WAV)
        assert b"".join([piece async for piece in opened.pieces]) == WAV[span[0] : span[1]]


@pytest.mark.parametrize("span", [(-1, 4), (5, 4), (10**9, None)])
async def test_a_part_that_there_is_not_is_refused(desk: Desk, span: tuple[int, int | None]) -> None:
    kept = await desk.kept()
    with pytest.raises(Invalid, match="there are no bytes"):
        await begun(desk, desk.reader(), kept.call_id, TALK, span=span)


async def test_a_changed_file_is_told_and_not_exported(desk: Desk, tmp_path: Path) -> None:
    kept = await desk.kept(seconds=SECONDS)
    path = desk.archive.folder / kept.file
    content = bytearray(path.read_bytes())
    content[-5] ^= 1
    path.write_bytes(bytes(content))
    with pytest.raises(Damaged, match=kept.file):
        await desk.heard(kept)
    with pytest.raises(Damaged, match="dari recording check"):
        await export(desk.archive, desk.reader(), kept.call_id, TALK, tmp_path / "a.wav")
    assert list(tmp_path.glob("*a.wav*")) == []
    path.unlink()
    with pytest.raises(Damaged, match="the file is gone"):
        await desk.heard(kept)


async def test_an_older_file_of_the_same_call_is_not_taken_for_the_kept_one(desk: Desk) -> None:
    kept = await desk.kept()
    async with transaction(desk.archive.database) as connection:
        await connection.execute(text("UPDATE recordings SET sha256 = :sha"), {"sha": b"x" * 32})
    with pytest.raises(Damaged, match="not the one that was kept"):
        await desk.heard(kept)


async def test_an_export_is_a_plain_wav_for_its_owner_only(desk: Desk, tmp_path: Path) -> None:
    kept = await desk.kept(seconds=SECONDS)
    told: list[tuple[int, int]] = []
    target = tmp_path / "talk.wav"
    await export(desk.archive, desk.reader(), kept.call_id, TALK, target, lambda done, size: told.append((done, size)))
    assert inside(target) == (2, 8000, talk(SECONDS))
    assert target.stat().st_mode & 0o777 == 0o600
    assert told[-1] == (len(WAV), len(WAV))
    assert [each.deed for each in await access_log(desk.archive)] == [Deed.EXPORT]
    with pytest.raises(Invalid, match="cannot be written"):
        await export(desk.archive, desk.reader(), kept.call_id, TALK, tmp_path / "nowhere" / "a.wav")


async def test_a_new_key_is_for_new_recordings_and_old_ones_stay_readable(desk: Desk) -> None:
    old = await desk.kept()
    async with transaction(desk.archive.database) as connection:
        made = await new_key(connection, MASTER, desk.owner, desk.clock.now())
    new = await desk.kept()
    assert (old.key_version, new.key_version, made.version) == (1, 2, 2)
    assert await desk.heard(old) == await desk.heard(new)


async def test_under_a_new_master_key_everything_stays_readable(desk: Desk) -> None:
    kept, others = await desk.kept(), await desk.kept(desk.other)
    fresh = MasterKey(b"f" * 32)
    async with transaction(desk.archive.database) as connection:
        assert await wrap_anew(connection, MASTER, fresh) == 2
    for each in (kept, others):
        with pytest.raises(Invalid, match="DARI_RECORDING_KEY"):
            await desk.heard(each, each.account_id)
    desk.archive = desk.with_master(fresh)
    assert await desk.heard(kept) == await desk.heard(others, desk.other)
    async with transaction(desk.archive.database) as connection:
        assert await wrap_anew(connection, MASTER, fresh) == 0


async def test_a_destroyed_key_takes_the_recordings_with_it_and_new_ones_get_a_new_key(desk: Desk) -> None:
    kept = await desk.kept()
    async with transaction(desk.archive.database) as connection:
        assert await destroy_keys(connection, desk.owner, desk.clock.now()) == 1
    with pytest.raises(GaveUp, match="key was destroyed"):
        await desk.heard(kept)
    again = await desk.kept()
    assert again.key_version == 2
    assert await desk.heard(again)


async def test_each_owner_has_a_key_of_its_own_and_none_lies_in_the_open(desk: Desk) -> None:
    await desk.kept()
    await desk.kept(desk.other)
    async with transaction(desk.archive.database) as connection:
        rows = (await connection.execute(text("SELECT account_id, wrapped, master FROM recording_keys"))).all()
    secrets: dict[UUID, bytes] = {row.account_id: MASTER.unwrap(row.account_id, 1, row.wrapped).secret for row in rows}
    assert set(secrets) == {desk.owner, desk.other}
    assert secrets[desk.owner] != secrets[desk.other]
    assert not any(secret in row.wrapped for row in rows for secret in secrets.values())
    assert {row.master for row in rows} == {MASTER.name}


async def test_recordings_are_listed_by_owner(desk: Desk) -> None:
    kept, others = await desk.kept(), await desk.kept(desk.other)
    assert await playback.listing(desk.archive, desk.owner) == [kept]
    assert {each.call_id for each in await playback.listing(desk.archive)} == {kept.call_id, others.call_id}

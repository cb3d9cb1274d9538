"""Rows and files compared (I5): what is safe is put right, what is not is told."""

from __future__ import annotations

import shutil
from uuid import uuid4

import msgspec
import pytest
from sqlalchemy import text

from engine.cdr.drain import KEEP_RECORDING, KEEP_VOICEMAIL
from engine.cdr.model import Result
from engine.foundation.database import transaction
from engine.recordings.check import Comparison, Trouble, compare
from engine.recordings.finished import keep_recording
from tests.integration.recordings.conftest import Desk
from tests.sounds_left import age, leave, leave_wav, talk, voice

HOUR = 3600.0


def told(found: Comparison) -> list[tuple[Trouble, str, bool]]:
    return sorted(((each.trouble, each.file, bool(each.mended)) for each in found.findings), key=str)


async def test_when_all_is_right_nothing_is_told(desk: Desk) -> None:
    await desk.kept()
    await desk.kept_voicemail()
    counted: list[int] = []
    assert await compare(desk.archive, deep=True, told=counted.append) == Comparison(2, ())
    assert counted[-1] == 2


async def test_a_recording_whose_file_is_gone_is_told(desk: Desk) -> None:
    kept, _ = await desk.kept(), await desk.kept()
    (desk.archive.folder / kept.file).unlink()
    found = await compare(desk.archive)
    assert (found.recordings, told(found)) == (2, [(Trouble.MISSING, kept.file, False)])
    assert len(found.open) == 1


async def test_a_file_that_is_not_the_kept_one_is_told(desk: Desk) -> None:
    shorter, changed, swapped, good = [await desk.kept() for _ in range(4)]
    path = {each.call_id: desk.archive.folder / each.file for each in (shorter, changed, swapped, good)}
    path[shorter.call_id].write_bytes(path[shorter.call_id].read_bytes()[:-1])
    content = bytearray(path[changed.call_id].read_bytes())
    content[500] ^= 1
    path[changed.call_id].write_bytes(bytes(content))
    shutil.copy(path[good.call_id], path[swapped.call_id])
    assert told(await compare(desk.archive)) == [(Trouble.DAMAGED, shorter.file, False)]
    deep = await compare(desk.archive, deep=True)
    assert {each.file for each in deep.open} == {shorter.file, changed.file, swapped.file}
    assert {each.trouble for each in deep.open} == {Trouble.DAMAGED}


async def test_a_file_without_a_row_gets_one_when_it_is_its_calls(desk: Desk) -> None:
    kept = await desk.kept()
    async with transaction(desk.archive.database) as connection:
        await connection.execute(text("DELETE FROM recordings"))
    assert told(await compare(desk.archive)) == [], "it may be on its way"
    age(desk.archive.folder / kept.file, HOUR + 1)
    assert told(await compare(desk.archive, mend=False)) == [(Trouble.UNKNOWN, kept.file, False)]
    assert await desk.row(kept.call_id) is None
    assert told(await compare(desk.archive)) == [(Trouble.UNKNOWN, kept.file, True)]
    assert await desk.row(kept.call_id) == kept
    assert (await compare(desk.archive, deep=True)).findings == ()


async def test_files_that_are_nobodys_are_told_and_stay(desk: Desk) -> None:
    kept = await desk.kept()
    strange = ["2026/11/02/notes.txt", f"2026/11/02/{uuid4()}.wav.enc"]
    for name in strange:
        leave(desk.archive.folder / name, b"something", quiet=HOUR + 1)
    found = await compare(desk.archive)
    assert told(found) == [(Trouble.UNKNOWN, name, False) for name in sorted(strange, reverse=True)] or {
        each.file for each in found.open
    } == set(strange)
    assert desk.files() == sorted([*strange, kept.file])


async def test_what_a_power_cut_left_half_written_goes(desk: Desk) -> None:
    kept = await desk.kept()
    folder = (desk.archive.folder / kept.file).parent
    leave(folder / ".old.wav.enc.1.part", b"half", quiet=HOUR + 1)
    leave(folder / ".new.wav.enc.1.part", b"half", quiet=1.0)
    (finding,) = (await compare(desk.archive)).findings
    assert finding.trouble is Trouble.UNFINISHED
    assert finding.mended
    assert sorted(path.name for path in folder.iterdir()) == [".new.wav.enc.1.part", f"{kept.call_id}.wav.enc"]


async def test_a_deleted_recordings_file_that_came_back_goes(desk: Desk) -> None:
    kept = await desk.kept()
    path = desk.archive.folder / kept.file
    content = path.read_bytes()
    desk.clock.advance((kept.delete_after - desk.clock.now()) * 2)
    async with transaction(desk.archive.database) as connection:
        await connection.execute(text("UPDATE recordings SET deleted_at = now(), removed_at = now()"))
    leave(path, content, quiet=HOUR + 1)
    assert told(await compare(desk.archive)) == [(Trouble.UNKNOWN, kept.file, True)]
    assert desk.files() == []


async def test_a_deletion_that_was_cut_off_is_finished(desk: Desk) -> None:
    await desk.kept()
    async with transaction(desk.archive.database) as connection:
        await connection.execute(text("UPDATE recordings SET deleted_at = now()"))
    assert (await compare(desk.archive)).findings == ()
    assert desk.files() == []


async def test_what_lies_in_asterisks_spool_is_kept_by_its_job(desk: Desk) -> None:
    wanted = await desk.call()
    lost = await desk.call(recording=None, result=Result.LOST)
    message = await desk.call(recording=None, voicemail="expected")
    for call in (wanted, lost):
        leave(desk.raw(call), talk(3.0), quiet=HOUR + 1)
    leave_wav(desk.message(message), voice(2.0), quiet=HOUR + 1)
    found = await compare(desk.archive)
    assert [each.trouble for each in found.findings] == [Trouble.LEFT_BEHIND] * 3
    assert found.open == ()
    assert sorted(await desk.jobs()) == sorted(
        [
            (KEEP_RECORDING, str(wanted.call_id)),
            (KEEP_RECORDING, str(lost.call_id)),
            (KEEP_VOICEMAIL, str(message.call_id)),
        ]
    )
    await keep_recording(desk.archive, lost.call_id)
    assert (await desk.record(lost.call_id)).recording is not None
    await compare(desk.archive)
    assert len(await desk.jobs()) == 3, "a job that waits is not put in twice"


async def test_a_sound_that_was_not_to_be_recorded_goes(desk: Desk) -> None:
    call = await desk.call(recording=None, recording_reason="the caller did not hear the whole recording notice")
    leave(desk.raw(call), talk(3.0), quiet=HOUR + 1)
    (finding,) = (await compare(desk.archive)).findings
    assert finding.mended
    assert desk.left() == []
    assert await desk.jobs() == []


async def test_a_sound_of_a_call_without_record_is_told_and_stays(desk: Desk) -> None:
    call = await desk.call()
    nobodys = msgspec.structs.replace(call, call_id=uuid4())
    leave(desk.raw(nobodys), talk(1.0), quiet=HOUR + 1)
    leave(desk.archive.spool / "monitor" / "elsewhere.raw", b"x", quiet=HOUR + 1)
    (finding,) = (await compare(desk.archive)).open
    assert finding.detail == "there is no record of its call"
    assert len(desk.left()) == 2


async def test_a_sound_of_a_call_without_an_engine_that_asterisk_died_in_is_told_and_stays(desk: Desk) -> None:
    monitor = desk.archive.spool / "monitor"
    leave(monitor / "1795310074.12.raw", talk(1.0), quiet=HOUR + 1)
    leave(monitor / "pbx-1795310074.13.raw", talk(1.0))
    (finding,) = (await compare(desk.archive)).open
    assert (finding.trouble, finding.file) == (Trouble.LEFT_BEHIND, "1795310074.12.raw")
    assert len(desk.left()) == 2


@pytest.mark.parametrize("mend", [True, False])
async def test_looking_alone_changes_nothing(desk: Desk, mend: bool) -> None:
    kept = await desk.kept()
    part = desk.archive.folder / "2026" / ".a.part"
    leave(part, b"half", quiet=HOUR + 1)
    found = await compare(desk.archive, mend=mend)
    assert bool(found.open) is not mend
    assert part.exists() is not mend
    assert await desk.heard(kept)

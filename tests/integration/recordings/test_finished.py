"""From Asterisk's spool into the archive: kept once, whole, sealed, whatever goes wrong on the way."""

from __future__ import annotations

import asyncio
import hashlib
from collections.abc import Callable
from datetime import timedelta
from pathlib import Path
from typing import Any

import msgspec
import pytest
from sqlalchemy import text

from engine.cdr.drain import CALL_ENDED, KEEP_RECORDING, KEEP_VOICEMAIL, Drain
from engine.cdr.model import Side, Step, StepKind
from engine.cdr.spool import Spool
from engine.foundation.clock import SystemClock
from engine.foundation.database import transaction
from engine.foundation.errors import DariError, TryLater
from engine.recordings import finished
from engine.recordings.archive import remove_file
from engine.recordings.check import compare
from engine.recordings.finished import expected_seconds, keep_recording, keep_voicemail
from engine.recordings.keep import write_sealed
from engine.recordings.keys import MasterKey
from engine.recordings.sound import wav_header
from tests.call_records import MORNING, record
from tests.eventually import eventually
from tests.integration.recordings.conftest import TALK, VOICEMAIL, Desk
from tests.sounds_left import leave, leave_wav, talk, voice, with_silent_right


def wav(samples: bytes, channels: int = 2) -> bytes:
    return wav_header(channels, len(samples) // (2 * channels)) + samples


async def test_a_talk_is_kept_sealed_and_nothing_plain_stays(desk: Desk) -> None:
    call = await desk.call(seconds=3.0)
    sound = leave(desk.raw(call), talk(3.2))
    await keep_recording(desk.archive, call.call_id)
    kept = await desk.row(call.call_id)
    assert kept is not None
    assert kept.file == f"{call.arrived_at:%Y/%m/%d}/{call.call_id}.wav.enc"
    assert (kept.account_id, kept.kind, kept.seconds, kept.key_version) == (desk.owner, TALK, 3.2, 1)
    assert kept.sha256 == hashlib.sha256(wav(sound)).digest()
    assert kept.delete_after - call.ended_at == timedelta(days=365)
    assert desk.files() == [kept.file]
    assert desk.left() == []
    content = (desk.archive.folder / kept.file).read_bytes()
    assert len(content) == kept.size
    assert not any(sound[begin : begin + 32] in content for begin in range(1000, 9000, 500))
    assert await desk.heard(kept) == wav(sound)
    noted = await desk.record(call.call_id)
    assert (noted.recording, noted.recording_reason) == (kept.file, "")


async def test_it_is_told_once_that_a_talk_can_be_heard(desk: Desk) -> None:
    call = await desk.call(seconds=3.0)
    leave(desk.raw(call), talk(3.2))
    for _ in range(2):
        await keep_recording(desk.archive, call.call_id)
    async with transaction(desk.archive.database) as connection:
        statement = text("SELECT account_id, kind, call_id, body FROM events WHERE call_id IS NOT NULL")
        told = (await connection.execute(statement)).all()
    body = {"number": call.number, "recording": "talk", "seconds": 3.2}
    assert [tuple(row) for row in told] == [(desk.owner, "recording.ready", call.call_id, body)]


async def test_a_talk_of_another_length_is_kept_with_the_reason(desk: Desk) -> None:
    call = await desk.call(seconds=10.0)
    leave(desk.raw(call), talk(3.0))
    await keep_recording(desk.archive, call.call_id)
    noted = await desk.record(call.call_id)
    assert noted.recording_reason == "3.0 s were recorded, 10.0 s were expected"
    assert noted.recording is not None


async def test_without_a_file_the_record_says_so(desk: Desk) -> None:
    call = await desk.call()
    await keep_recording(desk.archive, call.call_id)
    noted = await desk.record(call.call_id)
    assert (noted.recording, noted.recording_reason) == (None, "Asterisk left no recording")
    assert await desk.row(call.call_id) is None


async def test_a_file_without_sound_is_told_and_removed(desk: Desk) -> None:
    call = await desk.call()
    leave(desk.raw(call), b"")
    await keep_recording(desk.archive, call.call_id)
    noted = await desk.record(call.call_id)
    assert (noted.recording, noted.recording_reason) == (None, "Asterisk recorded no sound")
    assert desk.left() == desk.files() == []


async def test_what_is_still_written_waits(desk: Desk) -> None:
    call = await desk.call()
    leave(desk.raw(call), talk(3.0), quiet=0.0)
    with pytest.raises(TryLater, match="still being recorded"):
        await keep_recording(desk.archive, call.call_id)
    assert desk.left() == [desk.raw(call).name]


async def test_a_call_to_nobodys_number_is_never_kept(desk: Desk) -> None:
    call = await desk.call(account_id=None)
    leave(desk.raw(call), talk(3.0))
    await keep_recording(desk.archive, call.call_id)
    assert (await desk.record(call.call_id)).recording is None
    assert desk.left() == desk.files() == []


@pytest.mark.parametrize("form", ["wav", "raw"])
async def test_a_voicemail_is_kept_with_its_call(desk: Desk, form: str) -> None:
    call = await desk.call(seconds=0, recording=None, voicemail="expected")
    if form == "wav":
        leave_wav(desk.message(call), voice(2.0))
    else:
        leave(desk.raw(call).with_suffix(".voicemail.raw"), with_silent_right(voice(2.0)))
    await keep_voicemail(desk.archive, call.call_id)
    kept = await desk.row(call.call_id, VOICEMAIL)
    assert kept is not None
    assert kept.file == f"{call.arrived_at:%Y/%m/%d}/{call.call_id}.voicemail.wav.enc"
    assert await desk.heard(kept) == wav(voice(2.0), 1)
    noted = await desk.record(call.call_id)
    assert (noted.voicemail, noted.recording, noted.recording_reason) == (kept.file, None, "")
    assert desk.left() == []


async def test_an_empty_voicemail_is_dropped_with_the_reason(desk: Desk) -> None:
    call = await desk.call(seconds=0, recording=None, voicemail="expected")
    leave_wav(desk.message(call), voice(4.0, loud=0.0))
    await keep_voicemail(desk.archive, call.call_id)
    noted = await desk.record(call.call_id)
    assert noted.voicemail is None
    assert noted.recording_reason == "the caller left no message: only silence was recorded"
    assert desk.left() == desk.files() == []
    await keep_voicemail(desk.archive, call.call_id)
    assert await desk.record(call.call_id) == noted


async def test_a_recording_from_before_there_was_encryption_is_sealed(desk: Desk) -> None:
    call = await desk.call(seconds=3.0)
    plain = desk.archive.folder / f"{call.arrived_at:%Y/%m/%d}/{call.call_id}.wav"
    leave(plain, wav(talk(3.0)), quiet=7200.0)
    (finding,) = (await compare(desk.archive)).findings
    assert finding.mended
    assert await desk.jobs() == [(KEEP_RECORDING, str(call.call_id))]
    await keep_recording(desk.archive, call.call_id)
    kept = await desk.row(call.call_id)
    assert kept is not None
    assert desk.files() == [kept.file]
    assert await desk.heard(kept) == wav(talk(3.0))


@pytest.mark.parametrize(
    ("recording", "voicemail", "jobs"),
    [
        (None, None, [CALL_ENDED]),
        ("a", None, [CALL_ENDED, KEEP_RECORDING]),
        (None, "b", [CALL_ENDED, KEEP_VOICEMAIL]),
    ],
)
async def test_a_closed_call_brings_the_jobs_for_what_was_recorded(
    desk: Desk, tmp_path: Path, recording: str | None, voicemail: str | None, jobs: list[str]
) -> None:
    spool = Spool.open(tmp_path / "calls", "n1", SystemClock())
    ended = msgspec.structs.replace(record(), recording=recording, voicemail=voicemail)
    draining = asyncio.ensure_future(Drain(spool, desk.archive.database, tmp_path / "refused.jsonl").run())
    spool.closed(ended)
    await eventually(lambda: spool.waiting == 0)
    draining.cancel()
    await asyncio.gather(draining, return_exceptions=True)
    await spool.close()
    assert sorted(await desk.jobs()) == sorted((name, str(ended.call_id)) for name in jobs)


class PowerCut(Exception):  # noqa: N818 - not an error of ours
    """The power goes."""


def _cut(*_: object) -> Any:
    raise PowerCut


def _cut_after(function: Callable[..., Any]) -> Callable[..., Any]:
    def done_and_cut(*arguments: object) -> Any:
        function(*arguments)
        raise PowerCut

    return done_and_cut


async def _cut_after_note(*arguments: Any) -> Any:
    raise PowerCut


STEPS: dict[str, tuple[str, Any]] = {
    "before the key": ("current_key", _cut_after_note),
    "before sealing": ("write_sealed", _cut),
    "after sealing, before the row": ("write_sealed", _cut_after(write_sealed)),
    "between row and record": ("_tell", _cut_after_note),
    "before Asterisk's file goes": ("remove_file", _cut),
    "after Asterisk's file went": ("remove_file", _cut_after(remove_file)),
}


@pytest.mark.parametrize("step", STEPS)
async def test_a_run_that_is_cut_off_anywhere_is_made_good(
    desk: Desk, step: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    call = await desk.call(seconds=3.0)
    sound = leave(desk.raw(call), talk(3.0))
    with monkeypatch.context() as broken:
        broken.setattr(finished, *STEPS[step])
        with pytest.raises(PowerCut):
            await keep_recording(desk.archive, call.call_id)
    assert desk.left() or await desk.row(call.call_id), "the only copy is gone"
    await keep_recording(desk.archive, call.call_id)
    kept = await desk.row(call.call_id)
    assert kept is not None
    assert await desk.heard(kept) == wav(sound)
    assert desk.files() == [kept.file]
    assert desk.left() == []
    assert (await desk.record(call.call_id)).recording == kept.file


async def test_a_sealed_file_whose_row_was_lost_is_taken_as_it_is(desk: Desk, monkeypatch: pytest.MonkeyPatch) -> None:
    """As after a database that was restored from yesterday's copy."""
    call = await desk.call(seconds=3.0)
    sound = leave(desk.raw(call), talk(3.0))
    with monkeypatch.context() as broken:
        broken.setattr(finished, "_note", _cut_after_note)
        with pytest.raises(PowerCut):
            await keep_recording(desk.archive, call.call_id)
    desk.raw(call).unlink()
    await keep_recording(desk.archive, call.call_id)
    kept = await desk.row(call.call_id)
    assert kept is not None
    assert (kept.seconds, await desk.heard(kept)) == (3.0, wav(sound))


async def test_a_kept_file_that_went_is_made_again_while_asterisks_is_there(desk: Desk) -> None:
    kept = await desk.kept()
    (desk.archive.folder / kept.file).unlink()
    leave(desk.archive.spool / "monitor" / f"{kept.call_id}.raw", talk(3.0))
    await keep_recording(desk.archive, kept.call_id)
    again = await desk.row(kept.call_id)
    assert again is not None
    assert await desk.heard(again) == wav(talk(3.0))


async def test_keeping_again_changes_nothing(desk: Desk) -> None:
    kept = await desk.kept()
    content = (desk.archive.folder / kept.file).read_bytes()
    await keep_recording(desk.archive, kept.call_id)
    assert await desk.row(kept.call_id) == kept
    assert (desk.archive.folder / kept.file).read_bytes() == content


async def test_the_same_job_many_times_at_once_keeps_it_once(desk: Desk) -> None:
    call = await desk.call(seconds=20.0)
    sound = leave(desk.raw(call), talk(20.0))

    async def run() -> int:
        tries = 0
        while True:
            tries += 1
            try:
                await keep_recording(desk.archive, call.call_id)
                return tries
            except TryLater:
                await asyncio.sleep(0.01)

    tries = await asyncio.gather(*(run() for _ in range(6)))
    assert sum(tries) > 6, "they did not meet"
    kept = await desk.row(call.call_id)
    assert kept is not None
    assert await desk.heard(kept) == wav(sound)
    assert desk.files() == [kept.file]
    assert desk.left() == []


async def test_a_wrong_master_key_makes_recordings_wait_and_loses_none(desk: Desk) -> None:
    await desk.kept()
    call = await desk.call(seconds=3.0)
    leave(desk.raw(call), talk(3.0))
    with pytest.raises(TryLater, match="DARI_RECORDING_KEY does not open"):
        await keep_recording(desk.with_master(MasterKey(b"w" * 32)), call.call_id)
    assert desk.left() == [desk.raw(call).name]
    await keep_recording(desk.archive, call.call_id)
    assert await desk.row(call.call_id)


async def test_a_folder_that_takes_nothing_is_named_and_asterisks_file_stays(desk: Desk) -> None:
    call = await desk.call()
    leave(desk.raw(call), talk(3.0))
    desk.archive.folder.write_text("a file in its place")
    with pytest.raises(TryLater, match=str(desk.archive.folder)):
        await keep_recording(desk.archive, call.call_id)
    assert desk.left() == [desk.raw(call).name]


async def test_another_calls_file_in_its_place_is_not_taken(desk: Desk) -> None:
    first, call = await desk.kept(), await desk.call(seconds=3.0)
    place: Path = desk.archive.folder / f"{call.arrived_at:%Y/%m/%d}/{call.call_id}.wav.enc"
    place.parent.mkdir(parents=True, exist_ok=True)
    place.write_bytes((desk.archive.folder / first.file).read_bytes())
    with pytest.raises(DariError, match="another recording"):
        await keep_recording(desk.archive, call.call_id)
    assert await desk.row(call.call_id) is None


def test_only_what_was_to_be_recorded_is_expected() -> None:
    def step(kind: StepKind, begin: float, end: float) -> Step:
        return Step(
            kind=kind,
            to=(Side.CALLER,),
            started_at=MORNING + timedelta(seconds=begin),
            ended_at=MORNING + timedelta(seconds=end),
        )

    call = record(talk_seconds=60.0)
    assert expected_seconds(call) == 60.0
    on_key = msgspec.structs.replace(
        call, steps=(step(StepKind.RECORDING, 20, 60), step(StepKind.PAUSE, 30, 40), step(StepKind.CONNECT, 0, 60))
    )
    assert expected_seconds(on_key) == 40.0

"""What came of the six calls: what the telephones heard, held against what Dari wrote down."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Iterable
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path

from sqlalchemy.ext.asyncio import AsyncEngine

from engine.cdr.model import CallRecord, Result
from engine.cdr.search import recent
from engine.demo.six_calls import CALLERS_VOICE, SHOPS_VOICE, Placed
from engine.foundation.database import transaction
from engine.foundation.errors import GaveUp
from engine.messages.model import Message, Status
from engine.messages.search import messages
from engine.recordings.archive import Archive
from engine.recordings.model import Reader
from engine.recordings.playback import export, recordings_of
from engine.sandbox import ear
from engine.sandbox.ear import Heard
from engine.sandbox.leg import Leg

SOUNDS = {
    "ringback": "demo/ringback",
    "whisper": "demo/whisper",
    "short whisper": "demo/whisper-short",
    "recording notice": "ko/recording-notice",
    "recording notice to the shop": "ko/recording-notice-target",
    "not in service": "ko/not-in-service",
    "no engine": "ko/no-engine",
}
"""By the words of the table: the sounds that somebody could hear."""

_PATIENCE = 15.0
_LOOK_EVERY = 0.1
_TALK_TOLERANCE = 0.5  # seconds between the telephones' talk time and the record's
_OVER = (Status.DELIVERED, Status.FAILED, Status.HELD)


@dataclass(frozen=True, slots=True)
class Finding:
    """One call: facts from the telephones, facts from Dari, and what is wrong with them."""

    placed: Placed
    record: CallRecord
    message: Message | None
    heard: list[Heard]
    target_heard: list[Heard]
    recording: Path | None
    wrong: list[str]


async def recorded_call(database: AsyncEngine, placed: Placed) -> CallRecord:
    """Dari's record of a call, by its SIP Call-ID, when it is there. Raises GaveUp."""
    async with _patience(f"the record of {placed.script.title!r} did not come"):
        while True:
            async with transaction(database) as connection:
                for record in await recent(connection, limit=50):
                    if record.sip_call_id == placed.caller.call_id:
                        return record
            await asyncio.sleep(_LOOK_EVERY)


async def decided_message(database: AsyncEngine, record: CallRecord) -> Message | None:
    """The message about a call when nothing more will happen to it; None for a number that sends none."""
    if record.account_id is None:
        return None
    async with _patience(f"the message about call {record.call_id} did not come to an end"):
        while True:
            found = await messages(database, call_id=record.call_id)
            if found and found[0].status in _OVER:
                return found[0]
            await asyncio.sleep(_LOOK_EVERY)


async def find_out(archive: Archive, placed: Placed, sounds: Path, exported: Path) -> Finding:
    """Waits until everything about the call is written, listens to its telephones, and judges.

    Its recording, if it has one, is written to `exported`.
    """
    record = await recorded_call(archive.database, placed)
    message = await decided_message(archive.database, record)
    recording = await _exported(archive, record, exported) if record.recording else None
    heard = await asyncio.to_thread(listen, placed.caller, sounds)
    target_heard = await asyncio.to_thread(listen, placed.target, sounds) if placed.target else []
    wrong = list(_wrong(placed, record, message, heard, target_heard, recording))
    return Finding(placed, record, message, heard, target_heard, recording, wrong)


async def _exported(archive: Archive, record: CallRecord, file: Path) -> Path:
    """The recording of a call as a WAV file, when it is kept. Raises GaveUp."""
    async with _patience(f"the recording of call {record.call_id} did not come"):
        while not (kept := await recordings_of(archive, record.call_id)):  # noqa: ASYNC110 - another process makes it
            await asyncio.sleep(_LOOK_EVERY)
    reader = Reader(who="demo", account_id=kept[0].account_id, reason="the demo shows its own call")
    await export(archive, reader, record.call_id, kept[0].kind, file)
    return file


def listen(leg: Leg, sounds: Path) -> list[Heard]:
    """What was heard at a telephone, in order: known sounds by their shape, voices by their tone."""
    known = {name: ear.read(sounds / f"{file}.wav") for name, file in SOUNDS.items()}
    recording = leg.recording
    voices = {f"{SHOPS_VOICE} Hz": "shop", f"{CALLERS_VOICE} Hz": "caller"}
    heard = [Heard(one.what.removeprefix("short "), one.start, one.end) for one in ear.sounds(recording, known)] + [
        Heard(voices[one.what], one.start, one.end) for one in ear.tones(recording, [SHOPS_VOICE, CALLERS_VOICE])
    ]
    return sorted(heard, key=lambda one: one.start)


def _wrong(
    placed: Placed,
    record: CallRecord,
    message: Message | None,
    heard: list[Heard],
    target_heard: list[Heard],
    recording: Path | None,
) -> Iterable[str]:
    script, caller, target = placed.script, placed.caller, placed.target
    if record.result is not script.result:
        yield f"the result is {record.result.value}, not {script.result.value}"
    if caller.final_code != script.sip_answer:
        yield f"the caller's SIP answer is {caller.final_code}, not {script.sip_answer}"
    if _names(heard) != list(script.heard):
        yield f"the caller heard {ear.describe(heard)}, not {', '.join(script.heard) or 'nothing'}"
    if _names(target_heard) != list(script.target_heard):
        yield f"the shop heard {ear.describe(target_heard)}, not {', '.join(script.target_heard) or 'nothing'}"
    if caller.answered_at and not (target and target.answered_at and target.answered_at < caller.answered_at):
        yield "the caller was answered before the shop"
    if abs(record.talk_seconds - caller.talk_seconds) > _TALK_TOLERANCE:
        yield f"the record says {record.talk_seconds:.1f} s of talk, the telephone {caller.talk_seconds:.1f} s"
    if bool(recording) is not script.recorded:
        yield "it was recorded" if recording else f"it was not recorded: {record.recording_reason}"
    sent = message is not None and message.status is Status.DELIVERED
    if sent is not script.message_sent:
        yield "a message was sent" if sent else f"no message: {message.reason if message else 'none was decided'}"
    if record.result is Result.ANSWERED and record.ended_by.value != "caller":
        yield f"it was ended by {record.ended_by.value}, not by the caller"


def _names(heard: list[Heard]) -> list[str]:
    """Without repetitions: a sound that went on is one."""
    names: list[str] = []
    for one in heard:
        if not names or names[-1] != one.what:
            names.append(one.what)
    return names


@asynccontextmanager
async def _patience(complaint: str) -> AsyncIterator[None]:
    """Raises GaveUp with the complaint when the block takes too long."""
    try:
        async with asyncio.timeout(_PATIENCE):
            yield
    except TimeoutError:
        raise GaveUp(f"{complaint} within {_PATIENCE:.0f} s; see the logs in DARI_HOME/log") from None

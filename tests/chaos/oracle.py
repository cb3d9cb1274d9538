"""What must hold when a fault is over and all is at rest, judged by what does not depend on Dari's own records.

What counts is told by the telephones (final answers by Call-ID, talk times, every packet of sound), by the journal of
the message gateway, by Asterisk (channels, bridges, live recordings) and by the files. Dari's tables are compared with
it:

- end, alone, dropped, sound: each call is over; nobody was left without an answer or a refusal; no talk was ended by
  neither telephone; no gap over 200 ms in what both sides of a talk heard
- I1 one record, and one `call.ended` in the table of events, per final answer
- I2 one acceptance per message due, none that nobody ordered, no job and no message left on its way
- I4 no channel, bridge, live recording, live call or waiting record left
- I5 each recording has its file and the reverse, readable and as long as the talk; Asterisk keeps none
- I6 results, parties and talk times of records
- I8 the fault happened

- I7 the chain of the audit is whole
- events: a receiver by webhook got the end of each call once, and no place of the stream is missing or out of order

I3 (debits) is not judged: nothing of these calls is billed. What is found wrong is collected, not raised at the first:
one table tells all.
"""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field
from http import HTTPStatus

import aiohttp

from engine.app.opened import archive_of
from engine.audit.verify import verify
from engine.calls.own_ids import voicemail_of
from engine.cdr.model import CallRecord, Result, StepKind
from engine.foundation.clock import SystemClock
from engine.foundation.database import transaction
from engine.messages.model import Purpose
from engine.recordings import playback
from engine.recordings.check import compare
from engine.recordings.model import RecordingKind
from engine.sandbox.leg import Leg
from tests.call_oracle import Watched, seconds_of, wrong_with
from tests.chaos.field import Field
from tests.chaos.figures import Figures
from tests.chaos.hearing import Gap, gaps_in, longest_silence
from tests.chaos.proof import Proof, landed
from tests.chaos.quiet import until_quiet
from tests.chaos.receiver import wrong_with_the_told
from tests.chaos.scene import MIN_TALK, Caller, Placed, Scene, tone_said_by
from tests.chaos.written import (
    EVERYTHING,
    accepted_by_gateway,
    ends_told,
    messages_of,
    needs_record,
    records_of,
    sip_call_id_of,
)

CLOSE = 1.0
"""Seconds by which talk times and recordings may differ from what the telephones saw, on a machine with time for us."""
LONG_SILENCE = 10.0
"""Seconds of silence that no caller should meet."""


@dataclass(slots=True)
class Verdict:
    """What was found wrong with the calls of one fault, each with its invariant, and the figures."""

    figures: Figures
    seed: int
    close: float
    """Seconds by which talk times and recordings may differ from what the telephones saw."""
    wrong: list[str] = field(default_factory=list)
    records: dict[str, CallRecord] = field(default_factory=dict)
    """By SIP Call-ID of the caller; where there were several, the last."""
    stories: dict[str, str] = field(default_factory=dict)
    """What each caller's telephones saw, by the caller's number."""

    def holds(self, condition: bool, invariant: str, what: str) -> None:
        if not condition:
            self.wrong.append(f"{invariant}: {what}")

    def told(self) -> str:
        """Everything that was found, and what the telephones of those calls saw; empty when nothing was."""
        stories = [story for caller, story in self.stories.items() if any(caller in wrong for wrong in self.wrong)]
        head = f"with DARI_TEST_SEED={self.seed}, {len(self.wrong)} wrong:"
        return "\n  ".join([head, *self.wrong, *stories]) if self.wrong else ""


def must_be_clean(verdicts: Sequence[Verdict]) -> None:
    """Raises AssertionError with everything that was found in any of them."""
    told = [verdict.told() for verdict in verdicts if verdict.wrong]
    assert not told, "\n".join(told)


async def at_rest(scene: Scene, proofs: Sequence[Proof], figures: Figures, fault_at: float) -> Verdict:
    """Has all callers end their calls, waits until nothing moves any more, then judges everything.

    Raises FaultMissed when the fault did not happen; everything else is in the verdict.
    """
    landed(*proofs)
    await scene.over()
    field, calls = scene.system, scene.placed
    verdict = Verdict(figures, scene.seed, CLOSE + field.worst_stand_still)
    for call in calls:
        verdict.holds(call.is_over, "end", f"{named(call)} is not over")
        verdict.stories[call.caller] = call.story(fault_at)
    await quiet(field, calls, verdict)
    await _judge_telephones(field, calls, verdict, fault_at)
    await _judge_records(field, calls, verdict)
    await judge_messages(field, calls, verdict)
    await judge_asterisk(field, verdict)
    await judge_recordings(field, calls, verdict)
    await judge_the_told(field, verdict)
    figures.add("faults", 1)
    return verdict


async def quiet(field: Field, calls: Sequence[Placed], verdict: Verdict) -> None:
    """Waits until nothing of this moves any more; what goes on all the same is wrong."""
    took, moves = await until_quiet(field, calls)
    verdict.figures.add("until all was at rest s", took)
    verdict.wrong += moves


async def _judge_telephones(field: Field, calls: Sequence[Placed], verdict: Verdict, fault_at: float) -> None:
    """Nobody was dropped, nobody was left alone, sound never stopped."""
    figures = verdict.figures
    for call in calls:
        figures.add("calls", 1)
        verdict.holds(not call.left_alone, "alone", f"{named(call)}: nobody answered or refused the caller")
        figures.add("answered", float(call.leg is not None and call.leg.answered_at is not None))
        connected = call.talked_at(fault_at)
        figures.add("connected at the fault", float(connected))
        dropped = call.was_dropped()
        figures.add("connected calls dropped", float(connected and dropped))
        verdict.holds(not dropped, "dropped", f"{named(call)}: ended by neither telephone; connected: {connected}")
        gaps = _gaps(field, call)
        figures.add("gaps in talk", len(gaps))
        for gap in gaps:
            verdict.wrong.append(
                f"sound: {named(call)}: {gap.seconds:.2f} s missing {gap.begin - fault_at:+.2f} s from the fault"
            )
        silence = _worst_silence(field, call)
        figures.add("longest silence of a caller s", silence.seconds)
        figures.add("longest silence of a called party s", _silence_of_targets(field, call))
        figures.add(f"callers in silence for over {LONG_SILENCE:g} seconds", float(silence.seconds > LONG_SILENCE))


def _gaps(field: Field, call: Placed) -> list[Gap]:
    """Where either side of a talk did not hear the other, though the telephones spoke."""
    talk, span = call.talk(), call.heard_together()
    if talk is None or span is None:
        return []
    caller, target = talk
    return [
        *gaps_in(caller.recording, tone_said_by(target), span, field.stood_still),
        *gaps_in(target.recording, call.tone, span, field.stood_still),
    ]


def _worst_silence(field: Field, call: Placed) -> Gap:
    """Of a caller who waits or talks; who leaves a message or answers an offer hears nothing meanwhile."""
    leg = call.leg
    if leg is None:
        return Gap(0.0, 0.0)
    end = leg.ended_at or time.monotonic()
    if call.phase.caller in (Caller.SPEAKS, Caller.STAYS):
        end = leg.answered_at or end
    return longest_silence(leg.recording, (leg.started_at, end), field.stood_still)


def _silence_of_targets(field: Field, call: Placed) -> float:
    """Seconds, at most, in which a telephone that had answered heard nothing; who is asked to press 1 has pauses."""
    return max(
        (
            longest_silence(
                leg.recording, (leg.answered_at, leg.ended_at or time.monotonic()), field.stood_still
            ).seconds
            for leg in call.targets
            if leg.answered_at is not None
        ),
        default=0.0,
    )


async def _judge_records(field: Field, calls: Sequence[Placed], verdict: Verdict) -> None:
    """I1 and I6."""
    ours = {call.leg.call_id: call for call in calls if call.leg is not None}
    records = [record for record in await records_of(field) if sip_call_id_of(record, calls) in ours]
    told = await ends_told(field)
    verdict.records = {sip_call_id_of(record, calls): record for record in records}
    counted = Counter(sip_call_id_of(record, calls) for record in records)
    for call_id, call in ours.items():
        count, needed = counted[call_id], needs_record(call)
        verdict.figures.add("records lost", float(needed and not count))
        verdict.figures.add("records doubled", float(max(count - 1, 0)))
        verdict.holds(not needed or count >= 1, "I1", f"{named(call)}: no record")
        verdict.holds(count <= 1, "I1", f"{named(call)}: {count} records")
        if record := verdict.records.get(call_id):
            ends = told[record.call_id]
            verdict.holds(ends == 1, "I1", f"{named(call)}: the stream has {ends} ends of {record.call_id}")
            _judge_record(call, record, verdict)


def _judge_record(call: Placed, record: CallRecord, verdict: Verdict) -> None:
    assert call.leg is not None
    watched = Watched(call.leg, tuple(call.targets))
    for what in wrong_with(record, watched, verdict.close):
        verdict.wrong.append(f"I6: {named(call)}: the {record.result.value!r} record {record.call_id} says {what}")
    verdict.figures.add("error of talk time s", abs(record.talk_seconds - call.talk_seconds))
    verdict.figures.add("ended otherwise than planned", float(record.result not in call.phase.results))
    verdict.figures.add("records without an end that anybody saw", float(record.result is Result.LOST))
    if call.talk_seconds > CLOSE:
        verdict.holds(record.result is Result.ANSWERED, "I6", f"{named(call)}: talked, and is {record.result.value!r}")


async def judge_messages(field: Field, calls: Sequence[Placed], verdict: Verdict) -> None:
    """I2: by what the gateway itself wrote down when it accepted a message."""
    accepted = Counter(kept.order.recipient for kept in accepted_by_gateway(field))
    told = {message.recipient: message for message in await messages_of(field) if message.purpose is Purpose.CALLBACK}
    for call in calls:
        count, talk = accepted[call.caller], call.talk_seconds  # type: ignore[index]
        due = call.phase.message and talk > MIN_TALK + verdict.close
        verdict.figures.add("messages due", float(due))
        verdict.figures.add("messages lost", float(due and not count))
        verdict.figures.add("messages doubled", float(max(count - 1, 0)))
        message = told.get(call.caller)  # type: ignore[call-overload]
        why = f" ({message.status.value}: {message.reason})" if message else ""
        verdict.holds(not due or count > 0, "I2", f"{named(call)}: the message that is due was never accepted{why}")
        verdict.holds(count <= 1, "I2", f"{named(call)}: {count} messages were accepted")
        undue = count and not call.phase.message and call.phase.caller is not Caller.STAYS
        verdict.holds(not undue, "I2", f"{named(call)}: a message that nobody ordered")
        if record := verdict.records.get(call.leg.call_id if call.leg else ""):
            verdict.holds(
                record.consent is None or count == 1, "I2", f"{named(call)}: the message asked for was not sent"
            )


async def judge_asterisk(field: Field, verdict: Verdict) -> None:
    """I4; music on hold ends with its channel. A killed engine's probe goes with the next one."""
    channels = await field.ari.channels()
    bridges = [bridge for bridge in await field.ari.bridges() if not bridge.id.startswith("probe-")]
    verdict.figures.add("channels and bridges left", len(channels) + len(bridges))
    verdict.holds(not channels, "I4", f"channels left: {[channel.name for channel in channels]}")
    verdict.holds(not bridges, "I4", f"bridges left: {[bridge.id for bridge in bridges]}")
    settings = field.settings
    login = {"Authorization": aiohttp.encode_basic_auth(settings.ari_user, settings.ari_password)}
    async with aiohttp.ClientSession(settings.ari_url, headers=login) as session:
        for record in verdict.records.values():
            if not record.voicemail:
                continue
            name = voicemail_of(record.call_id)
            async with session.get(f"/ari/recordings/live/{name}") as answer:
                verdict.holds(answer.status == HTTPStatus.NOT_FOUND, "I4", f"{name} is still being recorded")


async def judge_recordings(field: Field, calls: Sequence[Placed], verdict: Verdict) -> None:
    """I5: each row has its file, each file its row, and they are as long as the telephones talked."""
    archive = archive_of(field.settings, field.database, SystemClock())
    rows = await playback.listing(archive, limit=EVERYTHING)
    files = {str(path.relative_to(archive.folder)) for path in archive.folder.rglob("*.enc")}
    listed = {row.file for row in rows}
    verdict.holds(not listed - files, "I5", f"recordings without a file: {sorted(listed - files)}")
    verdict.holds(not files - listed, "I5", f"files without a recording: {sorted(files - listed)}")
    found = await compare(archive, deep=True, mend=False)
    for finding in found.findings:
        if not _is_empty(field, finding.file):
            verdict.wrong.append(f"I5: {finding.file}: {finding.detail}")
    by_call = {record.call_id: call_id for call_id, record in verdict.records.items()}
    by_id = {call.leg.call_id: call for call in calls if call.leg is not None}
    for row in rows:
        call = by_id.get(by_call.get(row.call_id, ""))
        if call is None:
            continue
        verdict.figures.add("recordings", 1)
        if row.kind is RecordingKind.TALK and call.leg is not None:
            unsaid = call.leg.unsaid
            verdict.figures.add("left out by the telephones s", unsaid)
            verdict.holds(
                -verdict.close - unsaid <= row.seconds - call.talk_seconds <= verdict.close,
                "I5",
                f"{named(call)}: {row.seconds:.1f} s recorded of {call.talk_seconds:.1f} s of talk,"
                f" {unsaid:.1f} s of it unsaid",
            )
    kept = {row.call_id for row in rows if row.kind is RecordingKind.TALK}
    for record in verdict.records.values():
        recorded = seconds_of(record, StepKind.RECORDING) > CLOSE
        verdict.holds(
            not recorded or record.call_id in kept, "I5", f"{record.call_id}: recorded, and no recording was kept"
        )


async def judge_the_told(field: Field, verdict: Verdict) -> None:
    """What a receiver of events was told; and I7, the audit."""
    records = list(verdict.records.values())
    verdict.figures.add("events received", len(field.sink.taken))
    verdict.figures.add("events received again", len(field.sink.received) - len(field.sink.taken))
    verdict.wrong += [f"events: {what}" for what in wrong_with_the_told(field.sink, records)]
    async with transaction(field.database) as connection:
        audit = await verify(connection)
    verdict.holds(audit.whole, "I7", f"the audit: {audit.findings[:3]}")


def _is_empty(field: Field, file: str) -> bool:
    """Whether the finding is about an empty file in Asterisk's spool."""
    path = field.settings.paths.asterisk_spool / file
    return path.exists() and not path.stat().st_size


def named(call: Placed) -> str:
    leg: Leg | None = call.leg
    return f"a call in {call.phase.name!r} ({call.caller}, {leg.call_id if leg else 'never placed'})"

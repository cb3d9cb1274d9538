"""What must hold when calls are over, told by what does not depend on Dari's own records.

Each test asks the SIP side (its own telephones), Asterisk's CSV of calls, its channels, bridges and recordings, and the
files that it left. Names as in the trade: I1 one record per call, I4 nothing left, I5 recordings, I6 talk time.
"""

from __future__ import annotations

import asyncio
import time
from collections import Counter
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from http import HTTPStatus

from engine.calls.own_ids import voicemail_of
from engine.calls.without_engine import how_without_engine
from engine.cdr.model import CallRecord, Result, Side, StepKind
from engine.foundation.tasks import Tasks
from engine.sandbox.caller import CallerLeg
from engine.sandbox.leg import Leg
from tests.engine_rig import Rig, left_over, lines_of
from tests.eventually import eventually
from tests.real_asterisk import RunningAsterisk

TAKEN = frozenset({"SUCCESS", "DIRECT"})
"""Asterisk's words for a call that an engine took, or had the dialplan dial."""
LEFT_BEFORE = {("TIMEOUT", "127"), ("", "127"), ("", "")}
"""Asterisk's words, and its causes, for a caller who left before an engine took the call, or before any was asked."""
CLOSE = 1.0
"""Seconds by which talk times and recordings may differ from what the telephones saw, on a machine with time for us."""
_LOOKS_EVERY = 0.05
_FRAME = 4
"""Bytes of a recording's sample: 16 bits for each side."""


@dataclass(frozen=True, slots=True)
class Watched:
    """A call at the telephones' side: the leg that it began with, and those that it rang."""

    leg: Leg
    targets: tuple[Leg, ...]

    @property
    def talk_seconds(self) -> float:
        """How long both sides were answered together."""
        return sum(_together(self.leg, target) for target in self.targets)


@dataclass(slots=True)
class Oracle:
    """Looks at one Asterisk and one engine; the calls go on inside `watching`."""

    rig: Rig
    asterisk: RunningAsterisk
    found: Counter[str] = field(default_factory=Counter)
    not_the_engines: tuple[str, ...] = ("carrier:", "oracle:")
    """How names of tasks begin that are not its own."""
    stood_still: float = 0.0
    """Seconds, at most, in which this process, engine and telephones alike, got no turn."""
    _tasks: frozenset[str] = frozenset()
    _files: frozenset[str] = frozenset()
    _records: int = 0

    @asynccontextmanager
    async def watching(self) -> AsyncIterator[None]:
        """What there is on entering was there before the calls."""
        self._tasks, self._files, self._records = (
            self._task_names(),
            frozenset(self._recordings()),
            len(self.rig.records),
        )
        watch = Tasks("oracle")
        watch.start("stand-stills", self._watch_time())
        try:
            yield
        finally:
            await watch.close()

    async def _watch_time(self) -> None:
        while True:
            began = time.monotonic()
            await asyncio.sleep(_LOOKS_EVERY)
            self.stood_still = max(self.stood_still, time.monotonic() - began - _LOOKS_EVERY)

    @property
    def close(self) -> float:
        """Seconds by which talk times and recordings may differ from what the telephones saw.

        Telephones go by the instants at which the kernel had a message, the engine by those at which it got its turn.
        """
        return CLOSE + self.stood_still

    async def verdict(self, calls: Sequence[Watched]) -> Mapping[str, CallRecord]:
        """Everything that must hold once all of these calls, and no others, are over; their records by SIP Call-ID.

        Calls that no engine took have none, or one of a caller who gave up.
        """
        for call in calls:
            await call.leg.ended()
            for target in call.targets:
                await target.ended()
        await eventually(lambda: not self.rig.reception.live_calls)
        taken = await self._taken(calls)
        await eventually(lambda: len(self.rig.records) - self._records >= len(taken))
        records = self.rig.records[self._records :]
        written = Counter(map(call_id_of, records))
        assert Counter(taken) <= written, "not one record for each call"
        assert set(written.values()) <= {1}, "more than one record for a call"
        # Asterisk does not take what an engine tells it in the very instant in which a caller leaves.
        too_late = {record.result for record in records if call_id_of(record) not in taken}
        assert too_late <= {Result.CALLER_GAVE_UP}, "a record of a call that nobody took"
        by_call = {call_id_of(record): record for record in records}
        await self.nothing_left(records)
        for call in calls:
            if call.leg.call_id in by_call:
                check_record(by_call[call.leg.call_id], call, self.close)
        await self._recordings_fit(records)
        self.found["calls"] += len(calls)
        self.found["records"] += len(records)
        return by_call

    async def _taken(self, calls: Sequence[Watched]) -> list[str]:
        """The calls that an engine took, as Asterisk's CSV says; a call that Dari placed was taken by being placed."""
        came_in = [call.leg.call_id for call in calls if isinstance(call.leg, CallerLeg)]
        lines = await lines_of(self.asterisk, self.rig, frozenset(came_in))
        untaken = [line for line in lines.values() if line.engine not in TAKEN]
        assert {(line.engine, line.cause) for line in untaken} <= LEFT_BEFORE, untaken
        self.found["left before an engine took the call"] += len(untaken)
        placed = [call.leg.call_id for call in calls if not isinstance(call.leg, CallerLeg)]
        return placed + [call_id for call_id, line in lines.items() if line.engine in TAKEN]

    async def nothing_left(self, records: Sequence[CallRecord]) -> None:
        """No channel, bridge, live recording, task, place on a trunk or on a number (I4)."""

        async def cleared() -> bool:
            return await left_over(self.asterisk) == ([], [])

        _, bridges = await left_over(self.asterisk)
        assert bridges == [], "only the engine's sweep, or nothing, will remove these"
        await eventually(cleared)
        async with self.asterisk.ari() as ari:
            for record in records:
                name = voicemail_of(record.call_id)
                async with ari.get(f"/ari/recordings/live/{name}") as answer:
                    assert answer.status == HTTPStatus.NOT_FOUND, f"{name} is still being recorded"
        await eventually(lambda: self._task_names() <= self._tasks)
        assert self.rig.trunks.load.counts() == {}, "a trunk still counts a call"
        assert self.rig.planner.live.total() == 0, "a number still counts a call"

    async def _recordings_fit(self, records: Sequence[CallRecord]) -> None:
        """Each recording that a record tells of has its file, as long as it should be, and the reverse (I5).

        An empty file of a talk that never began is no recording; the daily comparison removes it.
        """
        recorded = [record for record in records if record.recording]
        talks = {f"{record.call_id}.raw": seconds_of(record, StepKind.RECORDING) for record in recorded}
        voicemails = {f"{voicemail_of(record.call_id)}.wav" for record in records if record.voicemail}

        def fits() -> bool:
            there = self._new_recordings()
            told = talks.keys() | voicemails
            return {name for name, size in there.items() if size or name in told} == told and all(
                abs(there[name] / _FRAME / 8000 - seconds) <= self.close for name, seconds in talks.items()
            )

        try:
            await eventually(fits)
        except TimeoutError:
            there, told = self._new_recordings(), talks | dict.fromkeys(voicemails, 0.0)
            wrong = {name: (there.get(name), told.get(name)) for name in there.keys() | told}
            raise AssertionError(f"files' bytes are not the seconds that records tell: {wrong}") from None
        self.found["recordings"] += len(talks)
        self.found["voicemails"] += len(voicemails)
        self.found["empty files"] += len(self._new_recordings()) - len(talks) - len(voicemails)

    def _task_names(self) -> frozenset[str]:
        names = {task.get_name() for task in asyncio.all_tasks()}
        return frozenset(name for name in names if not name.startswith(self.not_the_engines))

    def _new_recordings(self) -> dict[str, int]:
        return {name: size for name, size in self._recordings().items() if name not in self._files}

    def _recordings(self) -> dict[str, int]:
        """Files of talks and of voicemails, with their bytes."""
        folders = (self.rig.monitor, self.rig.monitor.parent / "recording")
        return {path.name: path.stat().st_size for folder in folders for path in folder.glob("*.*")}


def check_record(record: CallRecord, call: Watched, close: float = CLOSE) -> None:
    """The record says what the telephones saw; talk times within `close` seconds."""
    wrong = wrong_with(record, call, close)
    assert not wrong, (wrong, record)


def wrong_with(record: CallRecord, call: Watched, close: float = CLOSE) -> list[str]:
    """Where the record says something else than the telephones saw; talk times may differ by `close` seconds.

    Each telephone that rang has a leg, by its SIP Call-ID unless an engine died before it knew that. Of a call that
    went without any engine nobody knows such things.
    """
    leg = call.leg
    dialled = [dialled.sip_call_id for dialled in record.legs[1:]]
    rang = {target.call_id for target in call.targets}
    answered = leg.answered_at is not None
    engine = not how_without_engine(record.node)
    gave_up = record.result is Result.CALLER_GAVE_UP
    holds = {
        # A 200 may cross with the caller's CANCEL.
        f"answered {record.answered_at}, the caller was {'' if answered else 'not '}answered": (
            not isinstance(leg, CallerLeg) or bool(record.answered_at) == answered or leg.final_code == 487
        ),
        f"{record.talk_seconds:.2f} s of talk, the telephones talked for {call.talk_seconds:.2f} s": (
            abs(record.talk_seconds - call.talk_seconds) <= close
        ),
        "it ended before it came": record.arrived_at <= record.ended_at,
        "a step without an end, or with one before its beginning": not engine
        or all(step.ended_at is not None and step.started_at <= step.ended_at for step in record.steps),
        "a leg without an end": all(leg.ended_at is not None for leg in record.legs),
        f"dialled were {dialled}, and rang {rang}": not engine or len(rang - set(dialled)) <= dialled.count(None),
        "the caller gave up, and somebody else ended it or there was talk": not gave_up
        or (record.ended_by, record.talk_seconds) == (Side.CALLER, 0),
        f"talk, and {record.result.value}": not record.talk_seconds or record.result is Result.ANSWERED,
    }
    return [what for what, condition in holds.items() if not condition]


def call_id_of(record: CallRecord) -> str:
    """The SIP Call-ID of the party that the call began with."""
    return record.legs[0].sip_call_id or ""


def seconds_of(record: CallRecord, kind: StepKind) -> float:
    """How long steps of that kind lasted together."""
    spans = [(step.ended_at, step.started_at) for step in record.steps if step.kind is kind]
    return sum((end - begin).total_seconds() for end, begin in spans if end is not None)


def _together(one: Leg, other: Leg) -> float:
    if one.answered_at is None or other.answered_at is None or one.ended_at is None or other.ended_at is None:
        return 0.0
    return max(0.0, min(one.ended_at, other.ended_at) - max(one.answered_at, other.answered_at))

"""Asterisk is killed, alone or together with the engine, while there are calls in every phase: all of them are over."""

from __future__ import annotations

import asyncio
import time
from collections import Counter
from collections.abc import AsyncIterator, Callable, Sequence
from datetime import UTC, datetime, timedelta

import pytest

from engine.calls.notes import Moment
from engine.cdr.model import CallRecord, Result, Side
from engine.foundation.errors import DariError
from tests.call_oracle import Watched, wrong_with
from tests.chaos import oracle
from tests.chaos.field import Field, field_at
from tests.chaos.figures import Figures
from tests.chaos.oracle import Verdict
from tests.chaos.processes import STRIKING, Hand, back, killed, vacuous
from tests.chaos.proof import landed
from tests.chaos.scene import PLAIN, Placed, Scene, install_telephones, number_of, numbers
from tests.chaos.size import CALLS, INSTANTS, seeds
from tests.chaos.written import needs_record, records_of, sip_call_id_of
from tests.eventually import eventually
from tests.real_asterisk import loopback

DARI, CARRIER = (loopback(35, host) for host in (1, 2))
END_ERROR = 5.0
"""Seconds by which the end of a call may be told wrong."""
UNWRITTEN = 1.0
"""Seconds of a recording that die with Asterisk: it writes so much at once."""
_GOODBYE = 0.2
"""Seconds in which one is read, and written down."""
_UNTOLD = frozenset({Result.LOST, Result.CLOSED, Result.BUSY})
"""How a call is written down that was not answered: not at all, or as what its caller was being told."""


@pytest.fixture(scope="module")
async def running() -> AsyncIterator[Field]:
    async with field_at(DARI, CARRIER) as field:
        install_telephones(field.carrier)
        await field.put_into_service(numbers())
        yield field


async def test_every_call_is_closed_when_asterisk_dies(running: Field, figures_of: Callable[[str], Figures]) -> None:
    figures = figures_of("Asterisk is killed with calls in every phase, every other time with the engine")
    await vacuous(lambda hand: killed_under_calls(running, figures, seed=1, calls=0, hand=hand))
    oracle.must_be_clean(
        [await killed_under_calls(running, figures, seed=seed, calls=CALLS) for seed in seeds(INSTANTS)]
    )


async def killed_under_calls(
    field: Field, figures: Figures, *, seed: int, calls: int, hand: Hand = STRIKING
) -> Verdict:
    """`kill -9` at one instant: each call is written down once, with its end, and others come again."""
    parts = ("asterisk", "engine") if seed % 2 else ("asterisk",)
    async with Scene(field, seed, calls) as scene:
        former = field.home.parts()
        died = Moment(datetime.now(UTC), time.monotonic())
        proofs = await asyncio.gather(*(killed(former[part], hand) for part in parts))
        landed(*proofs)
        cut = [call for call in scene.placed if not call.is_over]
        for call in cut:  # nobody tells the telephones
            for leg in filter(None, (call.leg, *call.targets)):
                leg.abandon()
        landed(*[await back(field.home, part, former[part]) for part in parts])
        await eventually(lambda: _goes_through(field))
        figures.add("calls go again s", time.monotonic() - died.tick)
        await scene.over()
        doubt = END_ERROR if "engine" in parts else UNWRITTEN
        verdict = Verdict(figures, seed, oracle.CLOSE + doubt + field.worst_stand_still)
        await _judge(scene, cut, died, verdict)
    return verdict


async def _goes_through(field: Field) -> bool:
    """Whether a call is answered now; one that is not counts for nothing."""
    caller = await field.carrier.call(number_of(PLAIN), from_number="01099999999", tone=None)
    try:
        await caller.answered(1.0)  # an INVITE that nobody hears is said again ever more slowly
        await caller.hang_up()
    except DariError:
        caller.abandon()
        return False
    return True


async def _judge(scene: Scene, cut: Sequence[Placed], died: Moment, verdict: Verdict) -> None:
    """`cut` are the calls that lived then."""
    field, calls, figures = scene.system, scene.placed, verdict.figures
    figures.add("faults", 1)
    figures.add("calls", len(calls))
    figures.add("live at the fault", len(cut))
    await oracle.quiet(field, calls, verdict)
    records = await records_of(field)
    counted = Counter(sip_call_id_of(record, calls) for record in records)
    verdict.records = {sip_call_id_of(record, calls): record for record in records}
    for call in calls:
        leg = call.leg
        assert leg is not None
        count, needed = counted[leg.call_id], needs_record(call) or leg.rang_at is not None
        figures.add("records lost", float(needed and not count))
        figures.add("records doubled", float(max(count - 1, 0)))
        verdict.holds(not needed or count > 0, "I1", f"{oracle.named(call)}: no record")
        verdict.holds(count <= 1, "I1", f"{oracle.named(call)}: {count} records")
        if record := verdict.records.get(leg.call_id):
            watched = Watched(leg, tuple(call.targets))
            if call in cut:
                wrong = _wrong_with_cut(record, call, died, figures)
            else:
                wrong = wrong_with(record, watched, verdict.close)
            verdict.wrong += [f"I6: {oracle.named(call)}: the {record.result.value!r} record: {what}" for what in wrong]
        verdict.stories[call.caller] = call.story(died.tick)
    await oracle.judge_messages(field, calls, verdict)
    await oracle.judge_asterisk(field, verdict)
    await oracle.judge_recordings(field, calls, verdict)
    await oracle.judge_the_told(field, verdict)


def _wrong_with_cut(record: CallRecord, call: Placed, died: Moment, figures: Figures) -> list[str]:
    """Of a call that Asterisk's death ended: it ended then, by nobody's will."""
    error = abs(record.ended_at - died.at) / timedelta(seconds=1)
    talk = abs(record.talk_seconds - call.talk_seconds)
    figures.add("error of a call's end s", error)
    figures.add("error of talk time s", talk)
    answered = call.leg is not None and call.leg.answered_at is not None
    holds = {
        f"it ends {error:.1f} s beside the instant": error <= END_ERROR,
        f"{record.talk_seconds:.1f} s of talk, and there were {call.talk_seconds:.1f} s": talk <= END_ERROR,
        f"it was ended by {record.ended_by.value}": record.ended_by in _who_may_have_ended(call, died.tick),
        f"answered {record.answered_at}, the telephone {answered}": (record.answered_at is not None) == answered,
        "nobody knows how it went": answered or record.result in _UNTOLD,
    }
    return [what for what, is_so in holds.items() if not is_so]


def _who_may_have_ended(call: Placed, fault_at: float) -> set[Side]:
    """Whose doing the end may be; the goodbye of a shop that left in the last moment may never have been read."""
    left = [target.ended_at for target in call.targets if target.answered_at and target.hung_up_here]
    if not left or left[0] is None:
        return {Side.DARI}
    return {Side.TARGET} if left[0] < fault_at - _GOODBYE else {Side.TARGET, Side.DARI}

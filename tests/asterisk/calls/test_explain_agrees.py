"""`dari explain` agrees with live calls: random rules, callers and telephones, each call placed and then explained.

What happened is told by the telephones: who rang in which order, what both sides heard, how the caller was refused; and
by the record. What follows upon what is read out of the explanation alone. DARI_TEST_CALLS says how many calls.
"""

from __future__ import annotations

import asyncio
import os
import random
from collections import Counter
from collections.abc import AsyncIterator
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

import pytest

from engine.cdr.model import CallRecord, Result, StepKind
from engine.foundation.phone_number import PhoneNumber
from engine.numbers.treatment import Failure, RecordMode
from engine.routing.plan import plan
from engine.sandbox.caller import CallerLeg
from engine.sandbox.carrier import Carrier
from engine.sandbox.ear import tones
from engine.sandbox.leg import Leg
from engine.sandbox.phone import TargetLeg
from engine.whatif.explanation import Asking, Explanation, Forwarding, StageKind, StageTold, explain
from engine.whatif.heard import ringbacks
from tests.call_oracle import Oracle, Watched
from tests.engine_rig import TONES, Rig, make_sounds
from tests.random_calls import SHOP_TONES, RandomCall, random_call
from tests.real_asterisk import RunningAsterisk

CALLS = int(os.environ.get("DARI_TEST_CALLS", "60"))
AT_ONCE = 10
SHORT = 0.5
"""Seconds that each sound lasts here."""
RING_SECONDS = 3
"""The system's ring time here."""
ENOUGH = 30
"""Packets by which one hears who talks: 0.6 s."""
LONGEST_CALL = 180.0
MANY = 5
"""Ways in which so many random calls end at least."""

CALLER_TONE = 500
NAMES = {CALLER_TONE: "caller", **{hz: f"shop {place}" for place, hz in enumerate(SHOP_TONES)}}
NAMES |= {hz: name for name, hz in TONES.items()}
SIP_CODES = {1: 404, 17: 486, 19: 480, 21: 403, 27: 502, 34: 503, 38: 500}
"""What an unanswered caller gets, by the Q.850 cause."""
NEAREST_FIRST = (Failure.NOT_ACCEPTED, Failure.NO_ANSWER, Failure.BUSY, Failure.REJECTED, Failure.UNREACHABLE)
"""Of several that rang together, this is what happened."""


@dataclass(frozen=True, slots=True)
class Happened:
    """A call that is over: what was asked for, and what the telephones saw."""

    wanted: RandomCall
    caller: CallerLeg
    rung: dict[PhoneNumber, list[TargetLeg]]
    """Legs by the telephone's number, in their order."""


@pytest.fixture(scope="module", autouse=True)
async def short_sounds(call_asterisk: RunningAsterisk) -> AsyncIterator[None]:
    """Every sound is short here; those of other tests come back."""
    make_sounds(call_asterisk.settings.sounds, SHORT)
    yield
    make_sounds(call_asterisk.settings.sounds)


async def test_explanations_agree_with_live_calls(rig: Rig, carrier: Carrier, call_asterisk: RunningAsterisk) -> None:
    seed = random.randrange(10**6)
    print(f"seed {seed}")
    chosen, room = random.Random(seed), asyncio.Semaphore(AT_ONCE)
    rig.planner.ring_seconds = RING_SECONDS
    oracle = Oracle(rig, call_asterisk)

    async def one(place: int) -> Happened:
        async with room:
            wanted = random_call(chosen, place, datetime.now(UTC))
            set_up(rig, wanted)
            return await live(rig, carrier, wanted)

    async with oracle.watching():
        happened = await asyncio.gather(*(one(place) for place in range(CALLS)))
    records = await oracle.verdict([Watched(each.caller, tuple(_legs(each))) for each in happened])

    agreed: Counter[str] = Counter()
    disagreements: list[str] = []
    for each in happened:
        record = records[each.caller.call_id]
        told = explained(rig, each.wanted, record)
        differs = differences(rig, each, record, told)
        disagreements += [f"{each.wanted.dialled}: {why}" for why in differs]
        agreed[record.result.value] += not differs
    print(", ".join(f"{count} {result}" for result, count in agreed.most_common()))
    assert disagreements == []
    assert agreed[Result.ANSWERED.value]
    assert len(+agreed) >= MANY, "the calls went hardly any different ways"


def set_up(rig: Rig, wanted: RandomCall) -> None:
    planner = rig.planner
    if wanted.number is not None:
        rig.numbers[wanted.dialled] = wanted.number
    planner.rules[wanted.dialled] = wanted.rules
    planner.accounts[wanted.account.account_id] = wanted.account
    planner.closed_days[wanted.dialled] = wanted.closed_days
    planner.histories[wanted.dialled] = wanted.history


async def live(rig: Rig, carrier: Carrier, wanted: RandomCall) -> Happened:
    """Places the call. The caller hangs up when the talk has been heard, or the message is being recorded."""
    shops = {number: carrier.shop(number, behaviour) for number, behaviour in wanted.telephones.items()}
    caller = await carrier.call(wanted.dialled, wanted.caller, tone=CALLER_TONE, privacy=wanted.withheld)
    async with asyncio.timeout(LONGEST_CALL):
        while caller.answered_at is None and not caller.is_over:
            await asyncio.sleep(0.05)
        if not caller.is_over:
            talking = [leg for shop in shops.values() for leg in shop.calls if leg.answered_at and not leg.is_over]
            if talking:
                await hears_more(caller)
                await hears_more(talking[-1])
            else:
                await rig.until_step(caller, StepKind.VOICEMAIL)
                caller.press("#")
                await caller.ended()
            await caller.hang_up()
    return Happened(wanted, caller, {number: shop.calls for number, shop in shops.items() if shop.calls})


async def hears_more(leg: Leg) -> None:
    """Waits for ENOUGH packets of what a party hears from now on, or its end."""
    heard = len(leg.party.arrivals)
    while len(leg.party.arrivals) < heard + ENOUGH and not leg.is_over:
        await asyncio.sleep(0.05)


def explained(rig: Rig, wanted: RandomCall, record: CallRecord) -> Explanation:
    """What `dari explain` says of the call, at its instant, with what was known of the past then."""
    line = rig.planner.line(wanted.dialled)
    history = rig.planner.history(line, wanted.known_caller)
    asking = Asking(wanted.dialled, wanted.known_caller, record.arrived_at)
    made = plan(line, wanted.known_caller, record.arrived_at, history, RING_SECONDS)
    return explain(asking, line, history, made, None, source="the test", talk_seconds=60.0)


def differences(rig: Rig, each: Happened, record: CallRecord, told: Explanation) -> list[str]:
    """Where the explanation and what happened do not agree."""
    deciding = tuple(rule.rule for rule in told.rules if rule.settings)
    found = [_unequal("rules", deciding, record.rules)]
    if told.announcement is not None:
        announcement = told.announcement
        found += [
            _unequal("rung", set(), set(each.rung)),
            _unequal("result", announcement.result, record.result),
            _unequal("heard", [announcement.sound], hear(each.caller)),
            _unequal("refusal", SIP_CODES[announcement.cause], each.caller.final_code),
        ]
    elif told.forwarding is not None:
        found += Walk(rig, each, record, told.forwarding).differences()
    else:
        found.append("neither an announcement nor a forwarding")
    return [each for each in found if each]


class Walk:
    """Goes through the stages of an explanation with the telephones as they behaved, and compares."""

    def __init__(self, rig: Rig, each: Happened, record: CallRecord, told: Forwarding) -> None:
        self.rig, self.each, self.record, self.told = rig, each, record, told
        self.failure = Failure.OVER_LIMIT if told.over_limit else None
        self.failures: list[Failure] = []
        self.gone: list[int] = []
        self.found: list[str] = []
        self.winner: PhoneNumber | None = None
        self.last: StageTold | None = None
        self.legs = {number: list(legs) for number, legs in each.rung.items()}
        self.began = 0.0

    def differences(self) -> list[str]:
        for place, stage in enumerate(self.told.stages):
            if not self._comes(place, stage):
                continue
            self.gone.append(place)
            if stage.kind is not StageKind.RING:
                self.last = stage
                break
            self._ring(stage)
            if self.winner is not None:
                break
        left = sorted(number for number, legs in self.legs.items() if legs)
        self.found.append(_unequal("rung beside those explained", [], left))
        if self.winner is not None:
            self._talk(self.winner)
        else:
            self._nobody()
        self._waited()
        return self.found

    def _comes(self, place: int, stage: StageTold) -> bool:
        follows = stage.follows and bool(self.gone) and self.gone[-1] == place - 1
        return stage.after is None or follows or self.failure in stage.after

    def _ring(self, stage: StageTold) -> None:
        legs = {one.number: self._next_leg(one.number) for one in stage.telephones}
        outcomes = {number: self._outcome(number, leg) for number, leg in legs.items() if leg is not None}
        took = [number for number, outcome in outcomes.items() if outcome is None]
        if took:
            self.winner = self.record.target if self.record.target in took else took[0]
        elif len(outcomes) < len(legs):
            self.found.append(f"not rung: {sorted(legs.keys() - outcomes.keys())}")
            self.failure = Failure.UNREACHABLE
        else:
            self.failure = next(failure for failure in NEAREST_FIRST if failure in outcomes.values())
            self.failures.append(self.failure)
        begins = [leg.started_at for leg in legs.values() if leg is not None]
        if begins and min(begins) < self.began:
            self.found.append(f"{sorted(legs)} rang before those that come before them")
        self.began = max([self.began, *begins])
        self._shown([leg for leg in legs.values() if leg is not None])

    def _next_leg(self, number: PhoneNumber) -> TargetLeg | None:
        legs = self.legs.get(number)
        return legs.pop(0) if legs else None

    def _outcome(self, number: PhoneNumber, leg: TargetLeg) -> Failure | None:
        """How the telephone failed, as it saw it itself; None: it took the call."""
        if leg.answered_at is not None:
            return None if not self.told.press_1 or self.each.wanted.presses_1(number) else Failure.NOT_ACCEPTED
        if leg.cancelled or leg.final_code == 480:
            return Failure.NO_ANSWER if leg.rang_at is not None else Failure.UNREACHABLE
        return {486: Failure.BUSY, 603: Failure.REJECTED}.get(leg.final_code or 0, Failure.UNREACHABLE)

    def _shown(self, legs: list[TargetLeg]) -> None:
        sees = self.told.target_sees or "anonymous"
        self.found += [_unequal("number shown", sees, leg.shown_number.lower()) for leg in legs]

    def _talk(self, winner: PhoneNumber) -> None:
        """The target was told what the explanation says, then both heard each other; recorded or not."""
        told, record = self.told, self.record
        place = list(self.each.wanted.telephones).index(winner)
        heard = hear(self.each.caller)
        self.found += [
            _unequal("result", Result.ANSWERED, record.result),
            _unequal("who talked", f"shop {place}", heard[-1] if heard else None),
            _unequal("recorded", told.recording is RecordMode.ALWAYS, record.recording is not None),
        ]
        at_target = hear(self.each.rung[winner][-1])
        before = [sound for sound in at_target if sound not in ("caller", "ko/connecting")]
        whisper = told.whisper_text or told.whisper_sound
        expected = [sound for sound in (whisper, told.recording_notice_to_target) if sound]
        if told.press_1:
            self.found.append(_unequal("pressed 1 after", "ko/press-1-to-accept", before[-1] if before else None))
            before = [sound for sound in before if sound != "ko/press-1-to-accept"]
        self.found += [
            _unequal("told to the target", expected, before),
            _unequal("heard by the target at last", "caller", at_target[-1] if at_target else None),
        ]

    def _nobody(self) -> None:
        last, failure = self.last, self.failure or Failure.UNREACHABLE
        is_voicemail = last is not None and last.kind is StageKind.VOICEMAIL
        result = Result.VOICEMAIL if is_voicemail else Result(failure.value)
        told = next((one for one in self.told.if_nobody if set(self.failures) <= {one.failure}), None)
        uniform = told is not None and bool(self.failures or self.told.over_limit)
        self.found += [
            _unequal("result", result, self.record.result),
            _unequal("promised text", last.text if last else None, self.record.text_only),
            _unequal("voicemail", is_voicemail, self.record.voicemail is not None),
        ]
        if told is not None and uniform:
            self.found += [
                _unequal("stages told for that", told.stages, tuple(place + 1 for place in self.gone)),
                _unequal("result told for that", told.result, self.record.result),
            ]
            if not is_voicemail:
                self.found.append(_unequal("refusal", SIP_CODES[told.cause], self.each.caller.final_code))

    def _waited(self) -> None:
        """What the caller heard: the notices, ringback, and the end, in this order and nothing else."""
        end = list(self.last.sounds) if self.last else []
        if self.winner is not None:
            end = [f"shop {list(self.each.wanted.telephones).index(self.winner)}"]
        elif self.last is not None and self.last.kind is StageKind.VOICEMAIL:
            end += ["ko/beep", "ko/voicemail-thanks"]
        heard = hear(self.each.caller)
        split = len(heard) - len(end)
        self.found.append(_unequal("heard at the end", end, heard[max(split, 0) :]))
        waited = heard[: max(split, 0)]
        rings = {sound for sounds in self._ringbacks() for sound in sounds}
        notices = [notice.sound for notice in self.told.notices]
        notices_heard = [sound for sound in waited if sound in notices]
        strange = [sound for sound in waited if sound not in rings and sound not in notices]
        self.found.append(_unequal("neither a notice nor the ringback", [], strange))
        must = [notice.sound for notice in self.told.notices if notice.whole] if self.winner is not None else []
        self.found.append(_unequal("notices", must, [sound for sound in notices_heard if sound in must]))
        self.found.append(_unequal("order of the notices", notices[: len(notices_heard)], notices_heard))
        ringing = [step for step in self.record.steps if step.kind is StepKind.RINGBACK]
        if ringing:
            self.found.append(_unequal("ringback", ", ".join(self.told.ringback), ringing[0].sound))

    def _ringbacks(self) -> list[tuple[str, ...]]:
        """The ringback, and what rules made of it while the call went on."""
        wanted, arrived = self.each.wanted, self.record.arrived_at
        line = self.rig.planner.line(wanted.dialled)

        def plan_at(instant: datetime) -> object:
            history = self.rig.planner.history(line, wanted.known_caller)
            return plan(line, wanted.known_caller, instant, history, RING_SECONDS)

        changes = ringbacks(plan_at(arrived), arrived, plan_at)  # type: ignore[arg-type]
        lasted = self.record.ended_at - arrived
        return [self.told.ringback, *(sounds for after, sounds in changes if timedelta(seconds=after) <= lasted)]


def hear(leg: Leg) -> list[str]:
    """What a party heard, in order, in names; what is shorter than a syllable is left out."""
    found = [one for one in tones(leg.recording, list(NAMES)) if one.seconds > 0.15]
    names = [NAMES[int(one.what.removesuffix(" Hz"))] for one in found]
    return [name for place, name in enumerate(names) if place == 0 or names[place - 1] != name]


def _legs(each: Happened) -> list[Leg]:
    return [leg for legs in each.rung.values() for leg in legs]


def _unequal(what: str, explained: object, happened: object) -> str:
    return "" if explained == happened else f"{what}: explained {explained}, happened {happened}"

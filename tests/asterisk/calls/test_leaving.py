"""Callers who leave at random instants of every step, on the real Asterisk: nothing stays, and one right record each.

DARI_TEST_INSTANTS says how many callers leave in each step; `make chaos` takes 200.
"""

from __future__ import annotations

import asyncio
import os
import random
import time
from collections import Counter
from collections.abc import AsyncIterator, Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

import msgspec
import numpy as np
import pytest
from structlog.testing import capture_logs

from engine.calls.arrival import Order
from engine.cdr.model import CallRecord, Result, StepKind
from engine.foundation.phone_number import PhoneNumber
from engine.numbers.model import ServiceNumber
from engine.numbers.treatment import ConsentOffer, Fallback, RecordMode, Target, TargetOrder, Then, Treatment, Whisper
from engine.sandbox.carrier import Carrier
from engine.sandbox.leg import Leg
from engine.sandbox.phone import Answers, Behaviour, Busy, NeverAnswers
from tests.asterisk.calls.conftest import ACCOUNT
from tests.call_oracle import Oracle, Watched
from tests.engine_rig import Rig, make_sounds, number_set
from tests.real_asterisk import RunningAsterisk

INSTANTS = int(os.environ.get("DARI_TEST_INSTANTS", "6"))
AT_ONCE = 12
"""Callers together: what two busy cores carry with room to spare."""
SHORT = 0.5
"""Seconds that each sound lasts here, so that calls are short."""
MOST_OUTSIDE = 0.4
"""Part of the callers who may have left outside the step that they were to leave in, on a machine that is busy."""
MANY = 50
"""Callers of whom that can be said; of fewer, one must have left in it."""

NUMBER = PhoneNumber("050712345678")
SHOP, OTHER = PhoneNumber("0212345678"), PhoneNumber("0312345678")
SOON, LATER = Answers(after_seconds=0.1), Answers(after_seconds=0.6)


@dataclass(frozen=True, slots=True)
class Step:
    """A call that goes through one step, and when its callers leave."""

    settings: dict[str, Any]
    begins: StepKind | None
    """What the call has come to when the step begins; None: its first message is out."""
    inside: frozenset[StepKind]
    """What the call was in last when its caller left, if that was inside the step."""
    lasts: float
    """Seconds from then on in which callers leave."""
    results: frozenset[Result] = frozenset({Result.CALLER_GAVE_UP, Result.ANSWERED})
    shop: Behaviour = SOON
    other: Behaviour = SOON
    shop_keys: str = ""
    """Pressed by the shop when the two talk."""
    caller_keys: tuple[float, str] = (0.0, "")
    """Seconds into the step, and keys."""


def both(seconds: int) -> tuple[Target, ...]:
    return tuple(Target(number=number, ring_seconds=seconds) for number in (SHOP, OTHER))


def kinds(*names: StepKind) -> frozenset[StepKind]:
    return frozenset(names)


GAVE_UP = frozenset({Result.CALLER_GAVE_UP})
NEVER = NeverAnswers()
ANNOUNCED = kinds(StepKind.ANNOUNCEMENT)
NOTICES = kinds(StepKind.STORE_NOTICE, StepKind.FEE_NOTICE, StepKind.NOTICE)
TOLD = kinds(StepKind.RECORDING_NOTICE, StepKind.CONNECTING)
RECORDED = kinds(StepKind.RECORDING, StepKind.PAUSE)
OFFER = ConsentOffer(text="약도", before=True)

STEPS: dict[str, Step] = {
    "arriving": Step({}, None, frozenset(StepKind), 0.15, shop=NEVER, results=GAVE_UP),
    "notices": Step(
        {"store_notice": True, "fee_notice": True, "notice": "test/notice"},
        StepKind.STORE_NOTICE, NOTICES, 3 * SHORT, shop=NEVER, results=GAVE_UP,
    ),
    "connecting": Step(
        {"store_notice": True, "fee_notice": True},
        StepKind.CONNECTING, NOTICES | TOLD, 1.5 * SHORT,
    ),
    "ringback": Step({}, StepKind.RINGBACK, kinds(StepKind.RINGBACK), 1.0, shop=NEVER, results=GAVE_UP),
    "all at once": Step(
        {"targets": both(20), "order": TargetOrder.ALL_AT_ONCE}, StepKind.RINGBACK,
        kinds(StepKind.RINGBACK, StepKind.CONNECT), 1.2, shop=LATER, other=LATER,
    ),
    "in turn": Step(
        {"targets": both(1), "fallbacks": (Fallback(then=Then.ANNOUNCE, sounds=("test/busy",)),)},
        StepKind.RINGBACK, kinds(StepKind.RINGBACK) | ANNOUNCED, 2.4, shop=NEVER, other=NEVER,
        results=frozenset({Result.CALLER_GAVE_UP, Result.NO_ANSWER}),
    ),
    "whisper": Step({"whisper": Whisper(sound="test/whisper")}, StepKind.WHISPER, kinds(StepKind.WHISPER), SHORT),
    "press 1": Step(
        {"accept": True, "whisper": Whisper(sound="test/whisper")}, StepKind.WHISPER,
        kinds(StepKind.WHISPER, StepKind.ACCEPT, StepKind.CONNECT), 1.6,
        shop=Answers(after_seconds=0.1, dtmf="1", dtmf_after=1.2),
    ),
    "recording notices": Step(
        {"recording": RecordMode.ALWAYS}, StepKind.RECORDING_NOTICE, TOLD | RECORDED, 1.5 * SHORT,
    ),
    "recording": Step({"recording": RecordMode.ALWAYS}, StepKind.RECORDING, RECORDED, 1.2),
    "recording on key": Step(
        {"recording": RecordMode.ON_KEY}, StepKind.RECORDING, RECORDED, 1.6, shop_keys="*1*2*1*2",
    ),
    "talk": Step({}, StepKind.CONNECT, kinds(StepKind.CONNECT), 1.0),
    "consent before": Step(
        {"consent": OFFER}, StepKind.CONSENT, kinds(StepKind.CONSENT, StepKind.RINGBACK), 1.5, shop=NEVER,
        caller_keys=(0.6, "1"), results=GAVE_UP,
    ),
    "consent after": Step(
        {"consent": ConsentOffer(text="약도")}, StepKind.CONSENT, kinds(StepKind.CONSENT), 1.8, caller_keys=(0.8, "1"),
        shop=Answers(after_seconds=0.1, talk_seconds=0.6), results=frozenset({Result.ANSWERED}),
    ),
    "busy sounds": Step(
        {"busy": ("test/busy", "test/notice")}, StepKind.ANNOUNCEMENT, ANNOUNCED, 2 * SHORT,
        shop=Busy(), results=frozenset({Result.BUSY}),
    ),
    "announcement": Step(
        {"announcement": "ko/closed"}, StepKind.ANNOUNCEMENT, ANNOUNCED, SHORT, results=frozenset({Result.CLOSED}),
    ),
    "voicemail": Step(
        {"fallbacks": (Fallback(then=Then.VOICEMAIL),)}, StepKind.ANNOUNCEMENT,
        ANNOUNCED | {StepKind.VOICEMAIL}, 2.4, shop=Busy(), results=frozenset({Result.VOICEMAIL}),
    ),
    "text only": Step(
        {"fallbacks": (Fallback(then=Then.TEXT, text="곧 전화드립니다"),)}, StepKind.ANNOUNCEMENT, ANNOUNCED, SHORT,
        shop=Busy(), results=frozenset({Result.BUSY}),
    ),
}  # fmt: skip


@dataclass(frozen=True, slots=True)
class Gone:
    """A caller who left, or was refused before."""

    watched: Watched
    at: float
    """Monotonic."""
    instant: datetime
    stayed: bool
    """The call went on until the caller left."""


@pytest.fixture
def numbers() -> list[ServiceNumber]:
    return [number_set(ACCOUNT, ring_seconds=20)]


@pytest.fixture(scope="module", autouse=True)
async def short_sounds(call_asterisk: RunningAsterisk) -> AsyncIterator[None]:
    """Every sound is short here; those of other tests come back."""
    make_sounds(call_asterisk.settings.sounds, SHORT)
    yield
    make_sounds(call_asterisk.settings.sounds)


@pytest.fixture(scope="module", autouse=True)
def figures() -> Iterator[Counter[str]]:
    """What was found in all steps together, told at the end."""
    found: Counter[str] = Counter()
    RELEASED.clear()
    began = time.monotonic()
    yield found
    p50, p99 = np.percentile(RELEASED or [0.0], [50, 99])
    told = ", ".join(f"{count} {what}" for what, count in found.items())
    print(f"\n{told}; {time.monotonic() - began:.0f} s")
    longest = max(RELEASED, default=0.0)
    print(f"called legs released: {len(RELEASED)}, p50 {p50:.3f} s, p99 {p99:.3f} s, longest {longest:.3f} s")


RELEASED: list[float] = []
"""Seconds from a caller's leaving until each leg that still was up was released."""


@pytest.mark.parametrize("name", STEPS)
async def test_callers_leave_at_random_instants_of_a_step(
    rig: Rig, carrier: Carrier, call_asterisk: RunningAsterisk, figures: Counter[str], name: str
) -> None:
    step, instants = STEPS[name], seeded()
    set_number(rig, step)
    carrier.shop(SHOP, step.shop)
    carrier.shop(OTHER, step.other)

    async def one(caller: PhoneNumber) -> Gone:
        return await leave_in_step(rig, carrier, step, caller, instants.uniform(0.0, step.lasts))

    await leave_and_judge(Oracle(rig, call_asterisk, found=figures), one_each(one), step)


@pytest.mark.parametrize("answers", [False, True], ids=["while it rings", "while the second rings"])
async def test_first_party_of_a_call_that_we_place_leaves(
    rig: Rig, carrier: Carrier, call_asterisk: RunningAsterisk, figures: Counter[str], answers: bool
) -> None:
    results = GAVE_UP if answers else frozenset({Result.NO_ANSWER, Result.UNREACHABLE})
    ringback = kinds(StepKind.RINGBACK)
    step = Step({}, None, ringback if answers else frozenset(), 1.0, shop=NEVER, results=results)
    instants = seeded()
    set_number(rig, step)
    carrier.shop(SHOP, step.shop)

    async def one(first: PhoneNumber) -> Gone:
        telephone = carrier.shop(first, SOON if answers else NEVER)
        call_id = rig.reception.place(Order(number=NUMBER, first=first, second=SHOP))
        leg = await telephone.next_call(within=30.0)
        if answers:
            await rig.until_step(leg, StepKind.RINGBACK, call_id)
        await asyncio.sleep(instants.uniform(0.0, step.lasts))
        return await leave(carrier, leg, first)

    await leave_and_judge(Oracle(rig, call_asterisk, found=figures), one_each(one), step)


def seeded() -> random.Random:
    seed = random.randrange(10**6)
    print(f"seed {seed}")
    return random.Random(seed)


def set_number(rig: Rig, step: Step) -> None:
    plain = Treatment(ringback=("test/ringback",), recording=RecordMode.NEVER)
    treatment = msgspec.structs.replace(plain, **step.settings)
    rig.numbers[NUMBER] = msgspec.structs.replace(rig.numbers[NUMBER], treatment=treatment)
    rig.trunks.trunks = [msgspec.structs.replace(rig.trunks.trunks[0], early_dtmf=True)]


async def one_each(one: Any) -> list[Gone]:
    """INSTANTS callers, AT_ONCE of them together."""
    room = asyncio.Semaphore(AT_ONCE)

    async def with_room(place: int) -> Gone:
        async with room:
            gone: Gone = await one(PhoneNumber(f"010{place:08d}"))
            return gone

    return await asyncio.gather(*(with_room(place) for place in range(INSTANTS)))


async def leave_in_step(rig: Rig, carrier: Carrier, step: Step, caller: PhoneNumber, after: float) -> Gone:
    leg = await carrier.call(NUMBER, from_number=caller)
    leg.party.speaking = "consent" in step.settings  # this carrier opens the way forward before the answer
    if step.shop_keys:
        await rig.until_step(leg, StepKind.CONNECT)
        [target] = rung_by(carrier, caller)
        target.press(step.shop_keys)
    if step.begins is not None:
        await rig.until_step(leg, step.begins)
    keys_after, keys = step.caller_keys
    if keys and keys_after < after:
        await asyncio.sleep(keys_after)
        leg.press(keys)
        await asyncio.sleep(after - keys_after)
    else:
        await asyncio.sleep(after)
    return await leave(carrier, leg, caller)


async def leave(carrier: Carrier, leg: Leg, caller: str) -> Gone:
    at, instant, stayed = time.monotonic(), datetime.now(UTC), not leg.is_over
    await leg.hang_up()
    return Gone(Watched(leg, tuple(rung_by(carrier, caller))), at, instant, stayed)


def rung_by(carrier: Carrier, caller: str) -> list[Leg]:
    """The telephones that were rung for a caller: they show the caller's number."""
    return [target for target in carrier.targets if target.shown_number == caller]


async def leave_and_judge(oracle: Oracle, leaving: Any, step: Step) -> None:
    with capture_logs() as logs:
        async with oracle.watching():
            gone: list[Gone] = await leaving
        records = await oracle.verdict([each.watched for each in gone])
    complaints = [line for line in logs if line["log_level"] in ("error", "critical") or "exc_info" in line]
    assert complaints == []
    for record in records.values():
        assert record.result in step.results, record.result
    landed = sum(is_inside(each, records.get(each.watched.leg.call_id), step) for each in gone)
    oracle.found["left inside the step"] += landed
    oracle.found.update(f"warnings “{line['event']}”" for line in logs if line["log_level"] == "warning")
    RELEASED.extend(
        target.ended_at - each.at
        for each in gone
        for target in each.watched.targets
        if target.ended_at is not None and target.ended_at > each.at
    )
    enough = len(gone) * (1 - MOST_OUTSIDE) if len(gone) >= MANY else 0
    assert landed > enough, f"only {landed} of {len(gone)} left inside the step"


def is_inside(gone: Gone, record: CallRecord | None, step: Step) -> bool:
    """Whether the caller left inside the step: what the call was in last, when that happened."""
    if record is None or not gone.stayed:
        return False
    been = [each.kind for each in record.steps if each.started_at <= gone.instant]
    return been[-1] in step.inside if been else not step.begins

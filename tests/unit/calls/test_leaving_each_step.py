"""Callers who leave at 200 instants of every step: nothing of the call stays, and there is one right record."""

from __future__ import annotations

import asyncio
import random
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

import msgspec
import pytest

from engine.cdr.model import CallRecord, Result, Side, StepKind
from engine.foundation.phone_number import PhoneNumber
from engine.numbers.model import ServiceNumber
from engine.numbers.treatment import ConsentOffer, Fallback, RecordMode, Target, TargetOrder, Then, Whisper
from tests.call_desk import CARRIER, SHOP, Desk, desk_at, service_number
from tests.fake_parties import FakeCaller, FakePhone
from tests.virtual_time import run_virtual

SEED = 20261121
INSTANTS = 200
OTHER = "0312345678"


@dataclass(frozen=True, slots=True)
class Step:
    """A call that goes through one step, and for how long it does."""

    settings: dict[str, object]
    answers_after: float | None = 1.0
    sip_code: int | None = None
    hangs_up_after: float | None = None
    presses: tuple[tuple[float, str], ...] = ()
    """Keys of the shop, by seconds since the call came."""
    caller_presses: tuple[tuple[float, str], ...] = ()
    begins: float = 0.0
    """Seconds into the call at which the step begins."""
    lasts: float = 3.0
    reaches: StepKind | None = None
    """What every call's record must tell whose caller left after the step began."""
    results: frozenset[Result] = field(default_factory=lambda: frozenset({Result.CALLER_GAVE_UP, Result.ANSWERED}))


def both(seconds: int = 20) -> tuple[Target, ...]:
    return tuple(Target(number=PhoneNumber(number), ring_seconds=seconds) for number in (SHOP, OTHER))


PLAIN: dict[str, object] = {"record": False, "whisper": None}
OFFER = ConsentOffer(text="약도", before=True)

STEPS: dict[str, Step] = {
    "notices": Step(
        {**PLAIN, "store_notice": True, "fee_notice": True, "notice": "own/notice"},
        answers_after=20.0,
        reaches=StepKind.STORE_NOTICE,
    ),
    "connecting": Step(
        {"record": False, "store_notice": True, "fee_notice": True}, answers_after=0.1, begins=1.2,
        reaches=StepKind.CONNECTING, lasts=1.5,
    ),
    "ringback": Step(PLAIN, answers_after=20.0, reaches=StepKind.RINGBACK),
    "all at once": Step({**PLAIN, "targets": both(), "order": TargetOrder.ALL_AT_ONCE}, begins=0.5, lasts=1.5),
    "in turn": Step({**PLAIN, "targets": both(2)}, answers_after=None, begins=1.5, lasts=1.0),
    "whisper": Step({"record": False, "whisper": Whisper(text="{label} 전화")}, begins=1.0, lasts=1.5),
    "accept": Step(
        {"record": False, "accept": True}, begins=1.0, lasts=4.0, presses=((4.0, "1"),), reaches=StepKind.WHISPER
    ),
    "recording": Step({"record": True}, begins=2.5, lasts=3.0, presses=((5.0, "*2"),)),
    "recording on key": Step(
        {"recording": RecordMode.ON_KEY}, begins=3.5, lasts=3.0, presses=((4.5, "*1"), (5.5, "*2"))
    ),
    "talk": Step(PLAIN, begins=1.1, reaches=StepKind.CONNECT),
    "consent before": Step({**PLAIN, "consent": OFFER}, answers_after=20.0, caller_presses=((1.5, "1"),)),
    "consent after": Step(
        {**PLAIN, "consent": OFFER}, answers_after=0.5, hangs_up_after=2.0, begins=2.6, lasts=4.0,
        caller_presses=((5.0, "1"),), reaches=StepKind.CONSENT,
    ),
    "busy ringback": Step(
        {**PLAIN, "busy": ("own/busy",)}, answers_after=0.5, sip_code=486, begins=0.6, lasts=1.0,
        reaches=StepKind.ANNOUNCEMENT, results=frozenset({Result.BUSY}),
    ),
    "announcement": Step(
        {**PLAIN, "announcement": "ko/closed"}, lasts=1.0, begins=0.1,
        reaches=StepKind.ANNOUNCEMENT, results=frozenset({Result.CLOSED}),
    ),
    "voicemail": Step(
        {**PLAIN, "fallbacks": (Fallback(then=Then.VOICEMAIL, sounds=("own/greeting",)),)},
        answers_after=0.5, sip_code=486, begins=0.6, lasts=5.0, results=frozenset({Result.VOICEMAIL}),
    ),
    "text only": Step(
        {**PLAIN, "fallbacks": (Fallback(then=Then.TEXT, sounds=("ko/text-only",), text="곧 전화드립니다"),)},
        answers_after=0.5, sip_code=486, begins=0.6, lasts=1.0, results=frozenset({Result.BUSY}),
    ),
}  # fmt: skip


@pytest.mark.parametrize("name", STEPS)
def test_caller_who_leaves_at_any_instant_of_a_step(tmp_path: Path, name: str) -> None:
    step = STEPS[name]
    chosen = random.Random(SEED)

    async def run() -> None:
        async with desk_at(tmp_path, _number(step)) as desk:
            desk.trunks.trunks = [msgspec.structs.replace(CARRIER, early_dtmf=True)]
            reached = 0
            for _ in range(INSTANTS):
                instant = step.begins + chosen.uniform(0.0, step.lasts)
                record, phones = await _leave(desk, step, instant)
                _check(desk, record, phones, step)
                reached += step.reaches is None or step.reaches in {each.kind for each in record.steps}
            assert reached > INSTANTS * 0.6, "the callers left before the step began"

    run_virtual(run())


def _number(step: Step) -> ServiceNumber:
    return service_number(**step.settings)


async def _leave(desk: Desk, step: Step, instant: float) -> tuple[CallRecord, list[FakePhone]]:
    phones = [
        desk.asterisk.phone(
            number,
            rings_after=0.1,
            answers_after=step.answers_after,
            sip_code=step.sip_code,
            hangs_up_after=step.hangs_up_after,
        )
        for number in (SHOP, OTHER)
    ]
    caller = desk.call()
    loop = asyncio.get_running_loop()
    for after, digits in step.presses:
        loop.call_later(after, _shop_presses(desk, phones[0], digits))
    for after, digits in step.caller_presses:
        loop.call_later(after, _caller_presses(desk, caller, digits))
    await asyncio.sleep(instant)
    caller.hang_up()
    record = await desk.one_call(caller)
    assert record is not None
    return record, phones


def _shop_presses(desk: Desk, phone: FakePhone, digits: str) -> Callable[[], None]:
    return lambda: desk.asterisk.press(phone.legs[-1], digits) if phone.legs and not phone.legs[-1].gone else None


def _caller_presses(desk: Desk, caller: FakeCaller, digits: str) -> Callable[[], None]:
    return lambda: None if caller.leg.gone else desk.asterisk.press(caller.leg, digits)


def _check(desk: Desk, record: CallRecord, phones: list[FakePhone], step: Step) -> None:
    assert record.result in step.results
    assert all(leg.gone for phone in phones for leg in phone.legs)
    assert all(recording.ended is not None for recording in desk.asterisk.recordings)
    assert desk.trunks.load.counts() == {}, "a trunk still counts the call"
    assert desk.planner.live.total() == 0, "its number still counts the call"
    if record.result is Result.ANSWERED:
        assert record.answered_at is not None
    if record.result is Result.CALLER_GAVE_UP:
        assert record.ended_by is Side.CALLER
        assert record.talk_seconds == 0

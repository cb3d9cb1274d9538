"""An engine dies at any instant of any call, and another life of it goes on: the same plan, and one record."""

from __future__ import annotations

import asyncio
import random
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from engine.calls.arrival import Order
from engine.cdr.model import CallRecord, Direction, Result
from engine.foundation.phone_number import PhoneNumber
from engine.numbers.treatment import ConsentOffer, Fallback, Target, TargetOrder, Then
from tests.call_desk import NUMBER, SHOP, Desk, desk_at, service_number
from tests.chaos import size
from tests.fake_parties import FakeCaller, Leg
from tests.virtual_time import run_virtual

SEED = 20261122
INSTANTS = 8 * size.INSTANTS
_PROVEN_EVERY = 4.3
"""Seconds by which a talk that nobody saw end may be written down too short, beside those without an engine."""
OTHER, CUSTOMER = "0312345678", "01099998888"


@dataclass(frozen=True, slots=True)
class Story:
    """A call, and what it comes to whenever the engine dies."""

    settings: dict[str, object]
    shop: Mapping[str, object] = field(default_factory=dict)
    other: Mapping[str, object] = field(default_factory=dict)
    shop_presses: bool = False
    lasts: float = 12.0
    results: frozenset[Result] = frozenset({Result.ANSWERED})
    heard: tuple[str, ...] = ()
    """What the caller must have heard whole before the end."""
    once: tuple[str, ...] = ()
    """What the caller never hears whole twice, but for a sound at whose end nobody was there to see it."""
    silence: float = 1.0
    """Seconds for which the caller hears nothing at most, once an engine is there again."""
    target_heard: tuple[str, ...] = ()
    """What the target that talked must have heard whole before the talk, on the leg on which it talked."""
    presses: tuple[tuple[float, str], ...] = ()
    placed: bool = False
    check: Callable[[CallRecord], None] = lambda _record: None


def both(seconds: int = 20) -> tuple[Target, ...]:
    return tuple(Target(number=PhoneNumber(number), ring_seconds=seconds) for number in (SHOP, OTHER))


def recorded(record: CallRecord) -> None:
    assert record.recording, record.recording_reason


def kept_message(record: CallRecord) -> None:
    assert record.voicemail


RUNG_AGAIN_TOO_SHORT = {Result.NO_ANSWER, Result.UNREACHABLE}
"""What a call may come to whose target answered while nobody stood in for the engine: it rings for the rest only."""
PLAIN: dict[str, object] = {"record": False, "whisper": None}
TALKS = {"answers_after": 4.0, "hangs_up_after": 6.0}
VOICEMAIL = (Fallback(then=Then.VOICEMAIL),)
TEXT = (Fallback(then=Then.TEXT, text="곧 연락드립니다"),)
SPOKEN = (Fallback(then=Then.ANNOUNCE, sounds=("test/one", "test/two")),)

STORIES: dict[str, Story] = {
    "ringback": Story(PLAIN, {"answers_after": 8.0, "hangs_up_after": 4.0}),
    "notices": Story(
        {**PLAIN, "store_notice": True, "fee_notice": True},
        TALKS,
        heard=("ko/store-info-notice", "ko/fee-notice"),
        once=("ko/store-info-notice", "ko/fee-notice"),
    ),
    "connecting": Story(
        {**PLAIN, "store_notice": True, "fee_notice": True},
        {"answers_after": 0.5, "hangs_up_after": 14.0},
        heard=("ko/store-info-notice", "ko/fee-notice"),
    ),
    "whisper and recording": Story(
        {"record": True},
        {"answers_after": 2.0, "hangs_up_after": 9.0},
        heard=("ko/recording-notice",),
        once=("ko/recording-notice",),
        target_heard=("test/whisper", "ko/recording-notice-target"),
        check=recorded,
    ),
    "accept": Story(
        {"record": False, "accept": True},
        {"answers_after": 1.0, "hangs_up_after": 20.0},
        shop_presses=True,
        target_heard=(),
        lasts=16.0,
    ),
    "several at once": Story(
        {**PLAIN, "targets": both(), "order": TargetOrder.ALL_AT_ONCE},
        {"answers_after": 5.0, "hangs_up_after": 5.0},
        {"answers_after": 7.0, "hangs_up_after": 5.0},
    ),
    "one after the other": Story(
        {**PLAIN, "targets": both(4)},
        {"answers_after": None},
        {"answers_after": 3.0, "hangs_up_after": 4.0},
        lasts=14.0,
    ),
    "busy, then the other": Story(
        {**PLAIN, "targets": both()},
        {"rings_after": 0.5, "answers_after": 3.0, "sip_code": 486},
        {"answers_after": 3.0, "hangs_up_after": 4.0},
    ),
    "voicemail": Story(
        {**PLAIN, "fallbacks": VOICEMAIL, "ring_seconds": 3},
        {"answers_after": None},
        results=frozenset({Result.VOICEMAIL}),
        heard=("ko/voicemail-greeting", "ko/beep"),
        silence=125.0,
        lasts=12.0,
    ),
    "text": Story(
        {**PLAIN, "fallbacks": TEXT, "ring_seconds": 3},
        {"answers_after": None},
        results=frozenset({Result.NO_ANSWER}),
        heard=("ko/text-only",),
        lasts=5.0,
    ),
    "announcements": Story(
        {**PLAIN, "fallbacks": SPOKEN, "ring_seconds": 3},
        {"answers_after": None},
        results=frozenset({Result.NO_ANSWER}),
        heard=("test/one", "test/two"),
        once=("test/one",),
        lasts=7.0,
    ),
    "closed": Story(
        {**PLAIN, "announcement": "ko/closed"},
        results=frozenset({Result.CLOSED}),
        heard=("ko/closed",),
        lasts=2.0,
    ),
    "consent after the talk": Story(
        {**PLAIN, "consent": ConsentOffer(text="약도")},
        {"answers_after": 1.0, "hangs_up_after": 2.0},
        heard=("ko/consent-offer",),
        silence=6.5,
        lasts=12.0,
    ),
    "placed": Story(
        {"record": True},
        {"answers_after": 2.0, "hangs_up_after": 12.0},
        lasts=12.0,
        placed=True,
        target_heard=("ko/recording-notice-target",),
    ),
}


def instants(story: str, lasts: float) -> list[float]:
    chosen = random.Random(f"{SEED} {story}")
    return [round(chosen.uniform(0.15, lasts), 3) for _ in range(INSTANTS)]


async def nothing() -> None:
    """A dead one's spool is not closed again."""


async def die(desk: Desk) -> None:
    """As by kill -9: what it held in memory is gone, Asterisk stays as it is."""
    await desk.reception.close(grace=0)
    await desk.spool.close()
    desk.spool.close = nothing  # type: ignore[method-assign]


def whole(leg: Leg, sound: str) -> int:
    return sum(1 for heard in leg.heard if heard.whole and heard.what.endswith(f"/{sound}"))


async def keeps_pressing(desk: Desk, number: str, digits: str) -> None:
    """Somebody who presses a key two seconds after the telephone was answered, and again, until it is over."""
    while True:
        await asyncio.sleep(2.0)
        for leg in [leg for leg in desk.asterisk._phones[number].legs if leg.state == "Up" and not leg.gone]:
            if leg.bridge is None:
                desk.asterisk.press(leg, digits)


async def live_through(tmp_path: Path, story: Story, dies_at: float, gap: float, *, stood_in_for: bool) -> None:
    in_service = service_number(**story.settings)
    async with desk_at(tmp_path, in_service) as first:
        asterisk = first.asterisk
        if not stood_in_for:
            asterisk.stand_in_for_nobody()
        shop = asterisk.phone(SHOP, **story.shop)  # type: ignore[arg-type]
        other = asterisk.phone(OTHER, **story.other)  # type: ignore[arg-type]
        customer = asterisk.phone(CUSTOMER, answers_after=2.0)
        presser = asyncio.ensure_future(keeps_pressing(first, SHOP, "1")) if story.shop_presses else None
        caller: FakeCaller | None = None
        if story.placed:
            first.reception.place(
                Order(number=PhoneNumber(NUMBER), first=PhoneNumber(SHOP), second=PhoneNumber(CUSTOMER))
            )
        else:
            caller = first.call()
        await asyncio.sleep(dies_at)
        over = not first.reception.live_calls and not asterisk.left_over()
        if over:
            if presser:
                presser.cancel()
            return
        await die(first)
        await asyncio.sleep(gap)
        async with desk_at(tmp_path, in_service, asterisk=asterisk) as second:
            back_at = asterisk.now
            assert second.spool.damaged == []
            async with asyncio.timeout(200):
                while second.reception.live_calls or asterisk.left_over() or second.spool.left_open:
                    second.spool.left_open = []
                    await asyncio.sleep(0.05)
            if presser:
                presser.cancel()
            record = await second.record()
            results = story.results if stood_in_for else story.results | RUNG_AGAIN_TOO_SHORT
            assert record.result in results, (record.result, record.steps)
            if record.result in story.results:
                story.check(record)
            assert second.trunks.load.counts() == {}
            assert second.planner.live.total() == 0
        if caller is not None:
            check_caller(caller, story, dies_at)
            check_never_alone(caller.leg, back_at, story.silence)
            assert record.sip_call_id == caller.leg.sip_call_id
        talked = [leg for phone in (shop, other, customer) for leg in phone.legs]
        check_talk(record, talked, story, gap)


def check_never_alone(leg: Leg, since: float, silence: float) -> None:
    """From `since` on the caller hears something, but for so long at most."""
    until = leg.answers[-1][0] if leg.state != "Up" else max(heard.ended or 0.0 for heard in leg.heard)
    heard_until = since
    for heard in sorted(leg.heard, key=lambda one: one.began):
        assert min(heard.began, until) - heard_until <= silence, f"heard nothing from {heard_until} on: {leg.heard}"
        heard_until = max(heard_until, heard.ended or until)
    assert until - heard_until <= silence, f"heard nothing from {heard_until} on: {leg.heard}"


def check_caller(caller: FakeCaller, story: Story, dies_at: float) -> None:
    for sound in story.heard:
        assert whole(caller.leg, sound) >= 1, f"never heard {sound}: {caller.heard}"
    for sound in story.once:
        unseen = [heard for heard in caller.heard if heard.began <= dies_at + 0.11 <= (heard.ended or dies_at)]
        again = whole(caller.leg, sound) - sum(one.whole and one.what.endswith(f"/{sound}") for one in unseen)
        assert again <= 1, f"heard {sound} more than once: {caller.heard}"


def check_talk(record: CallRecord, legs: list[Leg], story: Story, gap: float) -> None:
    talked = [leg for leg in legs if any(heard.what.startswith("bridge:") for heard in leg.heard)]
    if record.result is not Result.ANSWERED:
        assert not talked
        return
    true = sum((heard.ended or 0.0) - heard.began for heard in talked[0].heard if heard.what.startswith("bridge:"))
    assert -_PROVEN_EVERY - gap <= record.talk_seconds - true <= 0.3
    listed = {leg.channel for leg in record.legs}
    for leg in talked:
        assert leg.id in listed
        began = next(heard.began for heard in leg.heard if heard.what.startswith("bridge:"))
        for sound in story.target_heard:
            if record.direction is Direction.INCOMING or leg.id.split(".")[1].startswith("t"):
                told = [one for one in leg.heard if one.whole and one.what.endswith(f"/{sound}")]
                assert any(one.began < began for one in told), f"{sound} was not heard before the talk: {leg.heard}"


@pytest.mark.parametrize("name", STORIES)
def test_engine_dies_at_any_instant_and_the_call_goes_on(tmp_path: Path, name: str) -> None:
    story = STORIES[name]
    chosen = random.Random(f"{SEED} gap {name}")
    for turn, dies_at in enumerate(instants(name, story.lasts)):
        gap = chosen.choice((0.1, 1.0, 2.5))
        try:
            run_virtual(live_through(tmp_path / str(turn), story, dies_at, gap, stood_in_for=turn % 2 == 0))
        except BaseException as error:
            error.add_note(f"{name}: the engine died at {dies_at} s and came back after {gap} s (turn {turn})")
            raise

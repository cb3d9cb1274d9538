"""What a call to a number goes through: the documented order of decisions, by example and for every line."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime, timedelta

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from engine.cdr.model import Result
from engine.foundation.phone_number import PhoneNumber
from engine.numbers.treatment import (
    CallerShown,
    ConsentOffer,
    Failure,
    Fallback,
    Limits,
    RecordMode,
    Target,
    TargetOrder,
    Then,
    Treatment,
    Whisper,
)
from engine.routing.call_plan import (
    Announce,
    Asked,
    CallPlan,
    Forward,
    LeftOut,
    Notice,
    NoticeKind,
    Ring,
    Ringing,
    Say,
    SendText,
    Stage,
    Voicemail,
    WhisperPlan,
    next_stage,
)
from engine.routing.model import Condition, History, Line, Load, PastCall, Rule
from engine.routing.plan import (
    BLOCKED_SOUND,
    FEE_NOTICE,
    NOT_IN_SERVICE,
    RECORDING_NOTICE_TO_CALLER,
    STANDARD_RINGBACK,
    STORE_INFO_NOTICE,
    plan,
)
from engine.routing.stages import OVER_LIMIT_SOUND, TEXT_FOLLOWS, VOICEMAIL_GREETING
from tests.routing_lines import (
    ACCOUNT,
    BAD,
    CALLER,
    NOTHING,
    NUMBER,
    SECOND,
    SHOP,
    THIRD,
    VIP,
    WEDNESDAY,
    ZONES,
    callers,
    closed_days,
    conditions,
    histories,
    holidays,
    instants,
    line,
    rule,
    span,
    sweep,
)

RING_SECONDS = 30
BUSY, OVER = frozenset({Failure.BUSY}), frozenset({Failure.OVER_LIMIT})
TOLD_OVER = Say((OVER_LIMIT_SOUND,), OVER)
THREE = (Target(number=SHOP, share=50), Target(number=SECOND, share=30, ring_seconds=9), Target(number=THIRD, share=20))


def planned(
    served: Line | None,
    caller: PhoneNumber | None = CALLER,
    instant: datetime = WEDNESDAY,
    history: History = NOTHING,
) -> CallPlan:
    return plan(served, caller, instant, history, RING_SECONDS)


def forwarded(
    served: Line, caller: PhoneNumber | None = CALLER, instant: datetime = WEDNESDAY, history: History = NOTHING
) -> Forward:
    found = planned(served, caller, instant, history)
    assert isinstance(found, Forward)
    return found


def ring(number: PhoneNumber, seconds: int = RING_SECONDS, on: frozenset[Failure] | None = None, **more: bool) -> Ring:
    return Ring((Ringing(number, seconds),), on, **more)


def order_of(found: Forward) -> list[PhoneNumber]:
    return [target.number for stage in found.stages if isinstance(stage, Ring) for target in stage.targets]


def test_a_number_that_nobody_has_is_announced() -> None:
    assert planned(None) == Announce(NOT_IN_SERVICE, Result.NOT_IN_SERVICE)


def test_what_nobody_says_is_the_system_s() -> None:
    assert planned(line()) == Forward(
        account_id=ACCOUNT,
        stages=(ring(SHOP), TOLD_OVER),
        failed_before=None,
        notices=(),
        ringback=(STANDARD_RINGBACK,),
        ringback_until=None,
        whisper=None,
        accept=False,
        shown=CallerShown.CALLER,
        recording=RecordMode.NEVER,
        consent=None,
        callback=None,
    )


def test_the_standing_treatment_is_what_the_call_goes_through() -> None:
    offer = ConsentOffer(text="약도입니다")
    said = Treatment(
        ring_seconds=7,
        ringback=("own/a", "own/b"),
        whisper=Whisper(sound="own/w"),
        accept=True,
        shown=CallerShown.NUMBER,
        recording=RecordMode.ON_KEY,
        consent=offer,
        callback="고맙습니다",
    )
    found = forwarded(line(treatment=said))
    assert found.stages == (ring(SHOP, 7), TOLD_OVER)
    assert (found.ringback, found.whisper, found.accept) == (("own/a", "own/b"), WhisperPlan(sound="own/w"), True)
    assert (found.shown, found.recording, found.consent) == (CallerShown.NUMBER, RecordMode.ON_KEY, offer)
    assert found.callback == "고맙습니다"


def test_a_blocked_caller_is_turned_away_before_any_rule_is_asked() -> None:
    served = line(rule("vip", treatment=Treatment(announcement="own/a")), limits=Limits(at_once=0))
    assert planned(served, BAD) == Announce(BLOCKED_SOUND, Result.BLOCKED, ACCOUNT)
    assert planned(served, None) != planned(served, BAD)


def test_for_each_setting_the_first_rule_decides_that_holds_and_says_it() -> None:
    served = line(
        rule("off", treatment=Treatment(ring_seconds=3, accept=True), enabled=False),
        rule("tuesday", Condition(weekdays=(2,)), Treatment(ring_seconds=4)),
        rule("vip", Condition(callers=("vip",)), Treatment(ring_seconds=5, ringback=())),
        rule("afternoon", Condition(times=(span("12:00-18:00"),)), Treatment(ringback=("own/a",), ring_seconds=6)),
        rule("always", treatment=Treatment(notice="own/n", ring_seconds=7)),
        treatment=Treatment(ring_seconds=8, ringback=("own/standing",), notice="own/standing", accept=False),
    )
    found = forwarded(served, VIP)
    assert found.stages[0] == ring(SHOP, 5)
    assert (found.ringback, found.accept) == ((STANDARD_RINGBACK,), False)
    assert found.notices == (Notice(NoticeKind.OWN, "own/n"),)
    assert found.asked == (
        Asked("off", False, "it is switched off"),
        Asked("tuesday", False, "Wednesday 2026-11-18 is not a Tuesday"),
        Asked("vip", True, "the caller is in vip", ("ring_seconds", "ringback")),
        Asked("afternoon", True, "Wednesday 14:05 is within 12:00-18:00"),
        Asked("always", True, "it has no condition", ("notice",)),
    )
    assert found.rules == ("vip", "always")
    assert forwarded(served).rules == ("afternoon", "always")


def test_an_announcement_is_heard_instead_of_ringing_and_its_rule_alone_decides() -> None:
    served = line(
        rule("tune", treatment=Treatment(ringback=("own/a",))),
        rule("closed", treatment=Treatment(announcement="own/closed", recording=RecordMode.ALWAYS)),
        limits=Limits(at_once=0),
    )
    found = planned(served)
    assert isinstance(found, Announce)
    assert (found.sound, found.result, found.account_id) == ("own/closed", Result.CLOSED, ACCOUNT)
    assert found.rules == ("closed",)
    assert [rule.settings for rule in found.asked] == [(), ("announcement",)]
    assert planned(line(treatment=Treatment(announcement="own/closed"))) == Announce(
        "own/closed", Result.CLOSED, ACCOUNT
    )


def test_a_rule_can_take_an_announcement_back() -> None:
    served = line(
        rule("vip", Condition(callers=("vip",)), Treatment(announcement="")),
        rule("closed", treatment=Treatment(announcement="own/closed")),
    )
    assert forwarded(served, VIP).rules == ("vip",)
    assert isinstance(planned(served), Announce)


@pytest.mark.parametrize(
    ("limits", "load", "over"),
    [
        (Limits(at_once=2), Load(at_once=1), False),
        (Limits(at_once=2), Load(at_once=2), True),
        (Limits(per_hour=5), Load(last_hour=4, last_day=9), False),
        (Limits(per_hour=5), Load(last_hour=5), True),
        (Limits(per_day=5), Load(last_hour=5, last_day=5), True),
        (Limits(), Load(at_once=999, last_hour=999, last_day=999), False),
        (Limits(at_once=0), Load(), True),
    ],
)
def test_over_a_limit_the_targets_are_left_out(limits: Limits, load: Load, over: bool) -> None:
    for served, history in (
        (line(limits=limits), History(number=load)),
        (line(account_limits=limits), History(account=load)),
    ):
        found = forwarded(served, history=history)
        assert found.stages == ((TOLD_OVER,) if over else (ring(SHOP), TOLD_OVER))
        assert found.failed_before is (Failure.OVER_LIMIT if over else None)


def test_over_a_limit_the_next_target_can_ring() -> None:
    chain = (Fallback(then=Then.RING, on=(Failure.OVER_LIMIT,), targets=(Target(number=SECOND),)),)
    served = line(treatment=Treatment(fallbacks=chain, store_notice=True), limits=Limits(at_once=1))
    found = forwarded(served, history=History(number=Load(at_once=1)))
    assert found.stages == (ring(SECOND, on=OVER), TOLD_OVER)
    assert found.notices
    assert next_stage(found.stages, None, found.failed_before) == 0


@pytest.mark.parametrize("target", ["0014155550123", "060123456", "112", "119", "050812345678", "1234", "7", "abc"])
def test_forbidden_target_is_not_forwarded(target: str) -> None:
    refused = Announce(NOT_IN_SERVICE, Result.NOT_FORWARDABLE, ACCOUNT)
    assert planned(line(target=PhoneNumber(target))) == refused
    both = (Target(number=PhoneNumber(target)), Target(number=SECOND))
    assert order_of(forwarded(line(treatment=Treatment(targets=both)))) == [SECOND]
    chain = (Fallback(then=Then.RING, targets=both),)
    assert order_of(forwarded(line(treatment=Treatment(fallbacks=chain)))) == [SHOP, SECOND]


def test_a_number_never_rings_itself() -> None:
    assert planned(line(number=SHOP, target=SHOP)) == Announce(NOT_IN_SERVICE, Result.NOT_FORWARDABLE, ACCOUNT)


def test_the_rule_that_names_only_forbidden_targets_is_named() -> None:
    emergency = Treatment(targets=(Target(number=PhoneNumber("112")),), ring_seconds=5)
    found = planned(line(rule("wrong", treatment=emergency)))
    assert isinstance(found, Announce)
    assert found.asked == (Asked("wrong", True, "it has no condition", ("targets",)),)


@pytest.mark.parametrize(
    ("order", "stages"),
    [
        (None, (ring(SHOP), ring(SECOND, 9), ring(THIRD))),
        (TargetOrder.IN_TURN, (ring(SHOP), ring(SECOND, 9), ring(THIRD))),
        (
            TargetOrder.ALL_AT_ONCE,
            (Ring((Ringing(SHOP, RING_SECONDS), Ringing(SECOND, 9), Ringing(THIRD, RING_SECONDS))),),
        ),
        (TargetOrder.LAST_TALKED, (ring(SHOP), ring(SECOND, 9), ring(THIRD))),
    ],
)
def test_targets_ring_in_their_order(order: TargetOrder | None, stages: tuple[Stage, ...]) -> None:
    assert forwarded(line(treatment=Treatment(targets=THREE, order=order))).stages == (*stages, TOLD_OVER)


def talked(*targets: PhoneNumber | None, known: bool = True) -> History:
    past = [
        PastCall(WEDNESDAY - timedelta(days=n), Result.ANSWERED, target, 60.0) for n, target in enumerate(targets, 1)
    ]
    missed = PastCall(WEDNESDAY - timedelta(hours=1), Result.NO_ANSWER, SHOP, 0.0)
    return History(known=known, calls=(missed, *past))


@pytest.mark.parametrize(
    ("history", "rung"),
    [
        (talked(THIRD, SECOND), [THIRD, SHOP, SECOND]),
        (talked(None, PhoneNumber("0299999999"), SECOND), [SECOND, SHOP, THIRD]),
        (talked(THIRD, known=False), [SHOP, SECOND, THIRD]),
        (talked(), [SHOP, SECOND, THIRD]),
    ],
)
def test_who_talked_to_the_caller_last_rings_first(history: History, rung: list[PhoneNumber]) -> None:
    served = line(treatment=Treatment(targets=THREE, order=TargetOrder.LAST_TALKED))
    assert order_of(forwarded(served, history=history)) == rung


def first_of_many(targets: tuple[Target, ...], calls: int = 3000) -> dict[PhoneNumber, float]:
    served = line(treatment=Treatment(targets=targets, order=TargetOrder.BY_SHARE))
    first = [order_of(forwarded(served, instant=WEDNESDAY + timedelta(milliseconds=n)))[0] for n in range(calls)]
    return {target.number: first.count(target.number) / calls for target in targets}


def test_shares_are_kept_over_many_calls_and_need_not_make_100() -> None:
    shares = first_of_many((Target(number=SHOP, share=6), Target(number=SECOND), Target(number=THIRD, share=2)))
    assert shares[SECOND] == 0
    assert shares[SHOP] == pytest.approx(0.75, abs=0.03)
    assert first_of_many((Target(number=SHOP), Target(number=SECOND)))[SHOP] == pytest.approx(0.5, abs=0.03)


def test_the_same_call_draws_the_same_lot_again_whatever_zone_its_instant_is_written_in() -> None:
    served = line(treatment=Treatment(targets=THREE, order=TargetOrder.BY_SHARE))
    for n in range(50):
        instant = WEDNESDAY + timedelta(seconds=n)
        assert planned(served, instant=instant) == planned(served, instant=instant.astimezone(UTC))
    assert len({tuple(order_of(forwarded(served, PhoneNumber(f"010{n:08d}")))) for n in range(50)}) == 3


CHAIN = (
    Fallback(then=Then.RING, on=(Failure.BUSY,), targets=(Target(number=SECOND, ring_seconds=9), Target(number=THIRD))),
    Fallback(then=Then.ANNOUNCE, on=(Failure.REJECTED,), sounds=("own/a", "own/b")),
    Fallback(then=Then.TEXT, on=(Failure.NO_ANSWER,), text="전화 못 받아 죄송합니다"),
    Fallback(then=Then.VOICEMAIL, on=(Failure.UNREACHABLE, Failure.BUSY)),
)


def test_the_chain_follows_the_targets() -> None:
    found = forwarded(line(treatment=Treatment(fallbacks=CHAIN, busy=("own/busy",))))
    assert found.stages == (
        ring(SHOP),
        ring(SECOND, 9, BUSY),
        ring(THIRD, on=BUSY, follows=True),
        Say(("own/a", "own/b"), frozenset({Failure.REJECTED})),
        SendText(TEXT_FOLLOWS, "전화 못 받아 죄송합니다", frozenset({Failure.NO_ANSWER})),
        Voicemail(VOICEMAIL_GREETING, frozenset({Failure.UNREACHABLE, Failure.BUSY})),
        TOLD_OVER,
    )


@pytest.mark.parametrize(
    ("failures", "walked"),
    [
        ((Failure.BUSY, Failure.NO_ANSWER, Failure.REJECTED), [0, 1, 2, 3]),
        ((Failure.BUSY, Failure.BUSY, Failure.BUSY), [0, 1, 2, 5]),
        ((Failure.NO_ANSWER,), [0, 4]),
        ((Failure.NOT_ACCEPTED,), [0]),
    ],
)
def test_stages_are_walked_by_how_the_last_attempt_failed(failures: tuple[Failure, ...], walked: list[int]) -> None:
    stages = forwarded(line(treatment=Treatment(fallbacks=CHAIN))).stages
    at, places, left = next_stage(stages, None, None), [], list(failures)
    while at is not None:
        places.append(at)
        at = next_stage(stages, at, left.pop(0) if left else None)
    assert places == walked


def test_busy_sounds_come_last_for_a_caller_left_busy() -> None:
    ring_next = Fallback(then=Then.RING, targets=(Target(number=SECOND),))
    found = forwarded(line(treatment=Treatment(busy=("own/busy",), fallbacks=(ring_next,))))
    assert found.stages == (ring(SHOP), ring(SECOND), Say(("own/busy",), BUSY), TOLD_OVER)
    everything = Fallback(then=Then.ANNOUNCE, sounds=("own/sorry",))
    found = forwarded(line(treatment=Treatment(busy=("own/busy",), fallbacks=(everything,))))
    assert found.stages == (ring(SHOP), Say(("own/sorry",)))
    assert forwarded(line(treatment=Treatment(busy=()))).stages == (ring(SHOP), TOLD_OVER)


def test_notices_come_in_their_order() -> None:
    said = Treatment(notice="own/n", fee_notice=True, store_notice=True, recording=RecordMode.ALWAYS)
    found = forwarded(line(treatment=said))
    assert [notice.kind for notice in found.notices] == list(NoticeKind)
    assert [notice.sound for notice in found.notices] == [
        STORE_INFO_NOTICE, RECORDING_NOTICE_TO_CALLER, FEE_NOTICE, "own/n",
    ]  # fmt: skip
    none = Treatment(notice="", fee_notice=False, recording=RecordMode.NEVER)
    told = forwarded(line(rule("none", treatment=none), treatment=said)).notices
    assert [notice.kind for notice in told] == [NoticeKind.STORE_INFO]


def test_only_the_number_switches_the_store_notice_off() -> None:
    off = rule("off", treatment=Treatment(store_notice=False, fee_notice=True))
    found = forwarded(line(off, treatment=Treatment(store_notice=True)))
    assert [notice.kind for notice in found.notices] == [NoticeKind.STORE_INFO, NoticeKind.FEE]
    assert found.asked[0].settings == ("fee_notice",)
    on = rule("on", treatment=Treatment(store_notice=True))
    assert [notice.kind for notice in forwarded(line(off, on)).notices] == [NoticeKind.STORE_INFO, NoticeKind.FEE]
    assert forwarded(line(treatment=Treatment(store_notice=False))).notices == ()


def test_no_notice_is_heard_when_nobody_is_rung() -> None:
    served = line(treatment=Treatment(store_notice=True, recording=RecordMode.ALWAYS), limits=Limits(at_once=0))
    assert forwarded(served).notices == ()


def test_a_consent_offer_without_a_text_is_none() -> None:
    offered = Treatment(consent=ConsentOffer(text="약도입니다"))
    assert forwarded(line(treatment=offered)).consent
    assert (
        forwarded(line(rule("no", treatment=Treatment(consent=ConsentOffer(text=""))), treatment=offered)).consent
        is None
    )


@pytest.mark.parametrize("caller", [None, SHOP, PhoneNumber("07012345678"), PhoneNumber("15881588")])
def test_no_message_is_promised_to_a_caller_who_can_get_none(caller: PhoneNumber | None) -> None:
    said = Treatment(consent=ConsentOffer(text="약도입니다"), fallbacks=CHAIN)
    served = line(treatment=said, target=SECOND)
    mobile, other = forwarded(served), forwarded(served, caller)
    assert (mobile.consent, mobile.left_out) == (said.consent, ())
    assert (other.consent, other.left_out) == (None, (LeftOut.OFFER, LeftOut.TEXT))
    assert other.stages == tuple(stage for stage in mobile.stages if not isinstance(stage, SendText))
    assert forwarded(line(), caller).left_out == ()


def test_where_no_text_is_promised_the_next_link_follows_or_the_bare_answer() -> None:
    text = Fallback(then=Then.TEXT, text="문자")
    assert forwarded(line(treatment=Treatment(fallbacks=(text,), busy=("own/busy",))), None).stages == (
        ring(SHOP),
        Say(("own/busy",), BUSY),
        TOLD_OVER,
    )
    then = Fallback(then=Then.VOICEMAIL)
    assert forwarded(line(treatment=Treatment(fallbacks=(text, then))), None).stages == (
        ring(SHOP),
        Voicemail(VOICEMAIL_GREETING),
    )


SOUND = st.sampled_from(["", "own/a", "own/b"])
TARGETS = st.lists(
    st.builds(
        Target,
        number=st.sampled_from([SHOP, SECOND, THIRD, PhoneNumber("112"), NUMBER]),
        ring_seconds=st.sampled_from([None, 5]),
        share=st.integers(0, 100),
    ),
    max_size=3,
).map(tuple)
SOUNDS = st.lists(st.sampled_from(["own/a", "own/b"]), max_size=2).map(tuple)
FALLBACK = st.builds(
    Fallback,
    then=st.sampled_from(Then),
    on=st.lists(st.sampled_from(Failure), max_size=2, unique=True).map(tuple),
    targets=TARGETS,
    sounds=SOUNDS,
    text=st.sampled_from([None, "문자"]),
)
treatments: st.SearchStrategy[Treatment] = st.fixed_dictionaries(
    {},
    optional={
        "targets": TARGETS,
        "order": st.sampled_from(TargetOrder),
        "ring_seconds": st.sampled_from([3, 60]),
        "notice": SOUND,
        "fee_notice": st.booleans(),
        "store_notice": st.booleans(),
        "ringback": SOUNDS,
        "whisper": st.sampled_from([Whisper(), Whisper(sound="own/a"), Whisper(text="{label}, {count_this_week}")]),
        "accept": st.booleans(),
        "shown": st.sampled_from(CallerShown),
        "recording": st.sampled_from(RecordMode),
        "announcement": SOUND,
        "busy": SOUNDS,
        "fallbacks": st.lists(FALLBACK, max_size=2).map(tuple),
        "callback": st.sampled_from(["", "문자"]),
        "label": st.sampled_from(["", "배달앱"]),
    },
).map(lambda said: Treatment(**said))
rule_lists: st.SearchStrategy[tuple[Rule, ...]] = st.lists(
    st.builds(rule, st.just(""), conditions, treatments, enabled=st.booleans()), max_size=4
).map(lambda rules: tuple(msgspec.structs.replace(rule, name=f"rule {at}") for at, rule in enumerate(rules)))


@st.composite
def anything(draw: st.DrawFn) -> tuple[Line, PhoneNumber | None, datetime, History]:
    instant = draw(instants)
    served = line(
        *draw(rule_lists),
        treatment=draw(treatments),
        zone=draw(st.sampled_from(ZONES)),
        closed_days=draw(closed_days),
        holidays=draw(holidays),
    )
    return served, draw(callers), instant, draw(histories(instant))


@settings(deadline=None, max_examples=120)
@given(anything())
def test_every_call_gets_a_plan_that_says_what_the_first_rules_say(
    call: tuple[Line, PhoneNumber | None, datetime, History],
) -> None:
    served, caller, first, history = call
    for instant in sweep(first, 10):
        found = planned(served, caller, instant, history)
        if caller == BAD:
            assert found == Announce(BLOCKED_SOUND, Result.BLOCKED, ACCOUNT)
        else:
            check_says_what_the_first_rules_say(served, found)


def check_says_what_the_first_rules_say(served: Line, found: CallPlan) -> None:
    holding = [rule for rule, asked in zip(served.rules, found.asked, strict=True) if asked.holds]
    assert all(rule.enabled for rule in holding)

    def decided(setting: str) -> object:
        layers = [*(rule.treatment for rule in holding), served.number.treatment]
        return next((value for layer in layers if (value := getattr(layer, setting)) is not None), None)

    if isinstance(found, Announce):
        closed = bool(decided("announcement"))
        assert found.sound == (decided("announcement") if closed else NOT_IN_SERVICE)
        assert found.result is (Result.CLOSED if closed else Result.NOT_FORWARDABLE)
        return
    assert not decided("announcement")
    assert found.ringback == (decided("ringback") or (STANDARD_RINGBACK,))
    assert found.recording is (decided("recording") or RecordMode.NEVER)
    assert found.callback == decided("callback")
    for asked, its_rule in zip(found.asked, served.rules, strict=True):
        for setting in asked.settings:
            assert decided(setting) is getattr(its_rule.treatment, setting)


@settings(deadline=None, max_examples=60)
@given(anything())
def test_a_rule_that_is_switched_off_might_as_well_not_be_there(
    call: tuple[Line, PhoneNumber | None, datetime, History],
) -> None:
    served, caller, first, history = call
    without = replace(served, rules=tuple(rule for rule in served.rules if rule.enabled))
    for instant in sweep(first, 10):
        found, other = planned(served, caller, instant, history), planned(without, caller, instant, history)
        assert unexplained(found) == unexplained(other)
        assert found.rules == other.rules


def unexplained(found: CallPlan) -> dict[str, object]:
    return {name: getattr(found, name) for name in found.__struct_fields__ if name != "asked"}

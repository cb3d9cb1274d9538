"""What is left of calls when functions are switched off for their account, with an engine and without."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from engine.accounts.model import Module
from engine.calls.causes import CAUSE_TOWARDS_CALLER
from engine.cdr.model import Result
from engine.foundation.errors import NotAllowed
from engine.foundation.phone_number import NumberClass, PhoneNumber, classify
from engine.numbers.treatment import (
    ConsentOffer,
    Failure,
    Fallback,
    RecordMode,
    Target,
    TargetOrder,
    Then,
    Treatment,
)
from engine.routing.agi_door import decision_of
from engine.routing.alone import entries
from engine.routing.alone_text import Sounds, route_text
from engine.routing.call_plan import (
    Announce,
    CallPlan,
    Forward,
    NoticeKind,
    Ring,
    SendText,
    plan_from_paper,
    plan_on_paper,
)
from engine.routing.model import Line
from engine.routing.placed import check_calls_on, placed
from engine.routing.plan import NOT_IN_SERVICE, STANDARD_RINGBACK, plan
from tests.routing_lines import (
    ACCOUNT,
    BAD,
    CALLER,
    NOTHING,
    SECOND,
    SHOP,
    THIRD,
    WEDNESDAY,
    line,
    rule,
)

RING_SECONDS = 30
SOUNDS = Sounds(lambda _sounds: "list-1", lambda _text: None, CAUSE_TOWARDS_CALLER.__getitem__)
RECORDED = Treatment(recording=RecordMode.ALWAYS)
TEXT = Fallback(then=Then.TEXT, text="다시 걸겠습니다")
PROMISES = Treatment(consent=ConsentOffer(text="약도"), fallbacks=(TEXT,), callback="고맙습니다")
EVERYTHING = Treatment(
    targets=(Target(number=SECOND), Target(number=SHOP)),
    recording=RecordMode.ALWAYS,
    store_notice=True,
    consent=ConsentOffer(text="약도"),
    fallbacks=(Fallback(then=Then.RING, targets=(Target(number=THIRD),)), TEXT),
)


def without(of: Line, off: Iterable[Module]) -> Line:
    return replace(of, account=msgspec.structs.replace(of.account, off=frozenset(off)))


def planned(of: Line, *off: Module, caller: PhoneNumber = CALLER) -> CallPlan:
    return plan(without(of, off), caller, WEDNESDAY, NOTHING, RING_SECONDS)


def forwarded(of: Line, *off: Module) -> Forward:
    made = planned(of, *off)
    assert isinstance(made, Forward)
    return made


def rung(made: CallPlan) -> list[PhoneNumber]:
    stages = made.stages if isinstance(made, Forward) else ()
    return [one.number for stage in stages if isinstance(stage, Ring) for one in stage.targets]


def alone(of: Line, *off: Module) -> str:
    [only] = entries(without(of, off), frozenset(), WEDNESDAY, RING_SECONDS)
    return route_text(only, SOUNDS)


def test_without_calls_every_number_is_as_one_that_is_not_in_service_and_says_why() -> None:
    refused = Announce(NOT_IN_SERVICE, Result.SWITCHED_OFF, ACCOUNT, switched_off=(Module.CALLS,))
    for of in (line(), line(rule("r", treatment=Treatment(announcement="ko/closed"))), line(target=SECOND)):
        assert planned(of, Module.CALLS) == refused
        assert alone(of, Module.CALLS) == f"a|{NOT_IN_SERVICE}|switched off|1"
    with pytest.raises(NotAllowed, match="calls are switched off"):
        check_calls_on(without(line(), [Module.CALLS]))
    check_calls_on(without(line(), set(Module) - {Module.CALLS}))


def test_who_is_blocked_is_so_whatever_is_on_as_without_an_engine() -> None:
    made = planned(line(), Module.CALLS, caller=BAD)
    assert isinstance(made, Announce)
    assert made.result is Result.BLOCKED


@pytest.mark.parametrize("mode", [RecordMode.ALWAYS, RecordMode.ON_KEY])
@pytest.mark.parametrize("ruled", [False, True])
def test_without_recording_nobody_is_told_of_one_and_none_is_made(mode: RecordMode, ruled: bool) -> None:
    said = Treatment(recording=mode)
    of = line(rule("r", treatment=said)) if ruled else line(treatment=said)
    made = forwarded(of, Module.RECORDING)
    assert (made.recording, made.notices, made.recording_notice_to_target) == (RecordMode.NEVER, (), None)
    assert made.switched_off == (Module.RECORDING,)
    assert forwarded(of).recording is mode
    assert alone(of, Module.RECORDING) == alone(line())
    assert (placed(without(of, [Module.RECORDING]), SECOND, 30).recording) is RecordMode.NEVER


def test_a_call_that_we_place_is_not_recorded_either_and_says_why() -> None:
    made = placed(without(line(treatment=RECORDED), [Module.RECORDING]), SECOND, RING_SECONDS)
    assert (made.recording, made.notices, made.switched_off) == (RecordMode.NEVER, (), (Module.RECORDING,))
    assert placed(line(treatment=RECORDED), SECOND, RING_SECONDS).switched_off == ()
    assert made.ringback == (STANDARD_RINGBACK,)


def test_without_messages_none_is_offered_or_promised() -> None:
    made = forwarded(line(treatment=PROMISES), Module.CALLBACK)
    assert made.consent is None
    assert not any(isinstance(stage, SendText) for stage in made.stages)
    assert made.switched_off == (Module.CALLBACK,)
    assert (made.left_out, made.callback) == ((), "고맙습니다"), "who decides on the message says why it is held"
    kept = forwarded(line(treatment=PROMISES))
    assert kept.consent is not None
    assert any(isinstance(stage, SendText) for stage in kept.stages)


def test_without_the_store_message_its_notice_is_not_heard() -> None:
    of = line(treatment=Treatment(store_notice=True, fee_notice=True))
    assert [notice.kind for notice in forwarded(of, Module.STORE_MESSAGE).notices] == [NoticeKind.FEE]
    assert [notice.kind for notice in forwarded(of).notices] == [NoticeKind.STORE_INFO, NoticeKind.FEE]
    assert "store-info" not in alone(of, Module.STORE_MESSAGE)
    assert "store-info" in alone(of)


def test_without_mobile_targets_mobiles_are_passed_over() -> None:
    chain = (Fallback(then=Then.RING, on=(Failure.BUSY,), targets=(Target(number=THIRD), Target(number=SHOP))),)
    of = line(treatment=Treatment(targets=(Target(number=SECOND), Target(number=SHOP)), fallbacks=chain))
    made = forwarded(of, Module.MOBILE_TARGETS)
    assert rung(made) == [SHOP, SHOP]
    assert made.switched_off == (Module.MOBILE_TARGETS,)
    assert rung(forwarded(of)) == [SECOND, SHOP, THIRD, SHOP]
    assert SECOND not in alone(of, Module.MOBILE_TARGETS)
    shares = Treatment(
        targets=(Target(number=SECOND, share=50), Target(number=SHOP, share=50)), order=TargetOrder.BY_SHARE
    )
    assert rung(forwarded(line(treatment=shares), Module.MOBILE_TARGETS)) == [SHOP]
    assert alone(line(treatment=shares), Module.MOBILE_TARGETS).split("|")[8] == "", "nothing is drawn of one"


@pytest.mark.parametrize("said", [Treatment(), Treatment(targets=(Target(number=SECOND), Target(number=THIRD)))])
def test_a_number_of_which_only_mobiles_ring_has_no_target_then(said: Treatment) -> None:
    of = line(treatment=said, target=SECOND)
    made = planned(of, Module.MOBILE_TARGETS)
    assert made == Announce(NOT_IN_SERVICE, Result.NOT_FORWARDABLE, ACCOUNT, switched_off=(Module.MOBILE_TARGETS,))
    assert alone(of, Module.MOBILE_TARGETS) == f"a|{NOT_IN_SERVICE}|not forwardable|1"


def test_what_is_off_and_not_asked_for_is_not_told() -> None:
    assert forwarded(line(), *(set(Module) - {Module.CALLS})).switched_off == ()


@given(off=st.sets(st.sampled_from(Module)))
def test_a_plan_keeps_to_what_is_on_and_names_all_else_and_is_read_back_as_it_was(off: set[Module]) -> None:
    made = planned(line(treatment=EVERYTHING), *off)
    again = plan_from_paper(plan_on_paper(made))
    assert again is not None
    assert again.switched_off == made.switched_off
    if Module.CALLS in off:
        assert isinstance(made, Announce)
        return
    assert isinstance(made, Forward)
    asked_for = {Module.RECORDING, Module.STORE_MESSAGE, Module.CALLBACK, Module.MOBILE_TARGETS}
    assert set(made.switched_off) == off & asked_for
    assert (made.recording is RecordMode.NEVER) == (Module.RECORDING in off)
    assert (NoticeKind.STORE_INFO in {notice.kind for notice in made.notices}) == (Module.STORE_MESSAGE not in off)
    assert (made.consent is None) == (Module.CALLBACK in off)
    assert any(classify(number) is NumberClass.MOBILE for number in rung(made)) == (Module.MOBILE_TARGETS not in off)


def test_a_dialplan_that_asks_is_told_what_is_off() -> None:
    assert decision_of(planned(line(), Module.CALLS)) == {
        "DARI_WHY": "no rule held - switched off: calls",
        "DARI_DECISION": "announce",
        "DARI_RESULT": "switched off",
    }
    assert decision_of(planned(line(treatment=RECORDED), Module.RECORDING))["DARI_WHY"].endswith(
        "switched off: recording"
    )

"""The record that is made from Asterisk's own row of a call."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta
from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from engine.accounts.model import Module
from engine.calls.without_engine import ALONE, UNKNOWN, how_without_engine, id_of, record_of
from engine.cdr.call_row import Row, parse
from engine.cdr.model import CallRecord, Result, Side, StepKind
from engine.foundation.ids import instant_of
from engine.numbers.treatment import RecordMode, Treatment
from engine.routing.model import Condition, Line, Rule
from engine.routing.switched import NOT_RECORDED
from tests.call_records import MORNING
from tests.call_rows import written_row
from tests.hand_made_line import ACCOUNT, CALLER, line_of, plan_of


def _row(**changes: Any) -> Row:
    row = parse(written_row(**({"account": str(ACCOUNT)} | changes)))
    assert row is not None
    return row


def _record(row: Row, line: Line | None = None) -> CallRecord:
    return record_of(row, line, plan_of(line) if line else None)


def test_the_id_is_the_same_whoever_reads_and_another_for_each_call() -> None:
    one, again, other = _row(channel="1.1"), _row(channel="1.1", result="busy"), _row(channel="1.2")
    assert id_of(one) == id_of(again) != id_of(other)
    assert (id_of(one).version, instant_of(id_of(one))) == (7, MORNING)


@pytest.mark.parametrize(
    ("changes", "result", "node", "ended_by"),
    [
        ({"answered": 1.0, "result": "answered"}, Result.ANSWERED, ALONE, Side.CALLER),
        ({"answered": 1.0, "result": "busy"}, Result.ANSWERED, ALONE, Side.CALLER),
        ({"result": "busy"}, Result.BUSY, ALONE, Side.TARGET),
        ({"result": "closed"}, Result.CLOSED, ALONE, Side.DARI),
        ({}, Result.CALLER_GAVE_UP, ALONE, Side.CALLER),
        ({"cause": "34"}, Result.FAILED, ALONE, Side.DARI),
        ({"alone": "full", "cause": "42"}, Result.OVER_LIMIT, ALONE, Side.DARI),
        ({"alone": "", "offer": ""}, Result.CALLER_GAVE_UP, ALONE, Side.CALLER),
        ({"alone": "", "offer": "TIMEOUT"}, Result.CALLER_GAVE_UP, ALONE, Side.CALLER),
        ({"alone": "", "offer": "SUCCESS"}, Result.LOST, UNKNOWN, Side.DARI),
        ({"alone": "", "offer": "SUCCESS", "answered": 1.0}, Result.ANSWERED, UNKNOWN, Side.CALLER),
        ({"alone": "", "offer": "FAILED"}, Result.LOST, UNKNOWN, Side.DARI),
        ({"alone": "", "offer": "DIRECT|CALLER"}, Result.CALLER_GAVE_UP, UNKNOWN, Side.CALLER),
        ({"alone": "", "offer": "DIRECT|PJSIP/x-1"}, Result.CALLER_GAVE_UP, UNKNOWN, Side.CALLER),
        ({"alone": "", "offer": "DIRECT|CALLER", "answered": 1.0}, Result.ANSWERED, UNKNOWN, Side.CALLER),
        ({"alone": "", "offer": "DIRECT|PJSIP/x-1", "answered": 1.0}, Result.ANSWERED, UNKNOWN, Side.TARGET),
        ({"offer": "DIRECT|PJSIP/x-1", "result": "busy"}, Result.BUSY, ALONE, Side.TARGET),
    ],
)
def test_how_it_ended(changes: dict[str, Any], result: Result, node: str, ended_by: Side) -> None:
    made = _record(_row(**changes))
    assert (made.result, made.node, made.ended_by) == (result, node, ended_by)
    assert how_without_engine(made.node)
    assert (made.talk_seconds > 0) == (result is Result.ANSWERED)


@pytest.mark.parametrize(("told", "cause"), [("127", 16), ("0", 16), ("31", 31)])
def test_a_cause_that_asterisk_does_not_know_is_that_of_the_result(told: str, cause: int) -> None:
    made = _record(_row(cause=told))
    assert (made.result, made.cause) == (Result.CALLER_GAVE_UP, cause)


def test_rules_and_text_are_those_of_the_plan_of_then() -> None:
    rule = Rule(name="낮", condition=Condition(), treatment=Treatment(callback="낮에 전화 주셔서 고맙습니다."))
    made = _record(_row(answered=1.0), line_of(rules=[rule]))
    assert (made.rules, made.callback) == (("낮",), "낮에 전화 주셔서 고맙습니다.")


def test_of_a_number_of_another_account_nothing_is_taken() -> None:
    rule = Rule(name="낮", condition=Condition(), treatment=Treatment(callback="고맙습니다."))
    other = "0190a8a0-0000-7000-8000-00000000000f"
    made = _record(_row(answered=1.0, account=other), line_of(rules=[rule]))
    assert (made.rules, made.callback, made.number_kind, str(made.account_id)) == ((), None, None, other)


def test_the_account_is_the_numbers_when_the_row_tells_none() -> None:
    assert _record(_row(account=""), line_of()).account_id == ACCOUNT
    assert _record(_row(account="")).account_id is None


def test_what_the_caller_was_told_is_kept_and_a_recording_only_with_its_notice() -> None:
    line = line_of(Treatment(recording=RecordMode.ALWAYS, fee_notice=True))
    told = _row(answered=2.0, recording="yes", notices="/sounds/ko/recording-notice&ko/fee-notice")
    made = _record(told, line)
    assert [step.kind for step in made.steps] == [
        StepKind.RECORDING_NOTICE,
        StepKind.FEE_NOTICE,
        StepKind.RECORDING_NOTICE,
        StepKind.CONNECT,
        StepKind.RECORDING,
    ]
    assert (made.steps[2].to, made.steps[2].sound) == ((Side.TARGET,), "ko/recording-notice-target")
    assert made.recording == f"2026/11/02/{made.call_id}.wav"
    untold = _record(_row(answered=2.0, recording="yes", notices="ko/fee-notice"), line)
    assert (untold.recording, untold.recording_reason) == (None, "the caller did not hear the whole recording notice")
    unrecorded = _record(_row(answered=2.0), line)
    assert unrecorded.recording_reason == "the call went without an engine and was not recorded"
    assert _record(_row(recording="yes", notices="ko/recording-notice"), line).recording is None


def test_a_talk_of_an_account_without_recording_says_why_it_was_not_recorded() -> None:
    line = line_of(Treatment(recording=RecordMode.ALWAYS))
    off = replace(line, account=msgspec.structs.replace(line.account, off=frozenset({Module.RECORDING})))
    made = _record(_row(answered=2.0), off)
    assert (made.recording, made.recording_reason) == (None, NOT_RECORDED)


def test_a_call_that_the_dialplan_refused_without_calls_says_so() -> None:
    made = _record(_row(result="switched off", cause="1"), line_of())
    assert (made.result, made.ended_by, made.cause) == (Result.SWITCHED_OFF, Side.DARI, 1)


@pytest.mark.parametrize("presentation", ["prohib", "prohib_passed_screen", ""])
def test_a_number_that_may_be_withheld_goes_no_further(presentation: str) -> None:
    made = _record(_row(presentation=presentation))
    assert (made.caller, made.caller_sent, made.legs[0].number) == (None, "withheld", None)
    assert CALLER not in str(msgspec.to_builtins(made))


@given(st.text(max_size=80), st.text(max_size=80), st.text(max_size=80))
def test_whatever_was_sent_the_record_is_printable_and_whole(caller: str, number: str, notices: str) -> None:
    row = _row(caller=caller.encode(errors="replace").decode(), number=number.encode(errors="replace").decode())
    made = _record(replace(row, notices=(notices,)))
    assert made.caller_sent.isprintable() or not made.caller_sent
    assert len(made.number_sent) <= 64
    assert all(step.sound is None or step.sound.isascii() for step in made.steps)
    assert made.ended_at >= made.arrived_at >= MORNING - timedelta(seconds=1)

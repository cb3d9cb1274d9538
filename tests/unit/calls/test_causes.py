"""Why a leg ended, and what the caller is told."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from engine.calls.causes import CAUSE_TOWARDS_CALLER, result_of
from engine.cdr.model import Result
from tests.fake_parties import SIP_CODE_OF_CAUSE


@pytest.mark.parametrize(
    ("sip_code", "result"),
    [
        (400, Result.UNREACHABLE),
        (401, Result.UNREACHABLE),
        (403, Result.REJECTED),
        (404, Result.UNREACHABLE),
        (407, Result.UNREACHABLE),
        (410, Result.UNREACHABLE),
        (433, Result.REJECTED),
        (484, Result.UNREACHABLE),
        (486, Result.BUSY),
        (487, Result.UNREACHABLE),
        (488, Result.UNREACHABLE),
        (500, Result.CONGESTION),
        (502, Result.UNREACHABLE),
        (503, Result.CONGESTION),
        (504, Result.CONGESTION),
        (600, Result.BUSY),
        (603, Result.REJECTED),
        (604, Result.UNREACHABLE),
        (606, Result.REJECTED),
        (607, Result.REJECTED),
        (608, Result.REJECTED),
    ],
)
@pytest.mark.parametrize("rang", [False, True])
def test_sip_code_decides(sip_code: int, result: Result, rang: bool) -> None:
    assert result_of(0, sip_code, rang=rang) is result
    assert result_of(17, sip_code, rang=rang) is result, "a cause outweighs the SIP code"


@pytest.mark.parametrize("sip_code", [408, 480])
def test_no_answer_is_only_of_a_telephone_that_rang(sip_code: int) -> None:
    assert result_of(19, sip_code, rang=True) is Result.NO_ANSWER
    assert result_of(19, sip_code, rang=False) is Result.UNREACHABLE


@pytest.mark.parametrize(
    ("cause", "result"),
    [
        (17, Result.BUSY),
        (18, Result.NO_ANSWER),
        (19, Result.NO_ANSWER),
        (21, Result.REJECTED),
        (34, Result.CONGESTION),
        (38, Result.CONGESTION),
        (42, Result.CONGESTION),
        (1, Result.UNREACHABLE),
        (0, Result.UNREACHABLE),
        (127, Result.UNREACHABLE),
    ],
)
def test_without_sip_code_the_cause_decides(cause: int, result: Result) -> None:
    assert result_of(cause, 0, rang=True) is result


@given(st.integers(0, 200), st.integers(0, 999), st.booleans())
def test_every_ending_of_a_target_has_a_result_that_a_caller_can_be_told(cause: int, code: int, rang: bool) -> None:
    result = result_of(cause, code, rang=rang)
    assert result in {Result.BUSY, Result.NO_ANSWER, Result.UNREACHABLE, Result.REJECTED, Result.CONGESTION}


def test_every_result_has_a_cause() -> None:
    assert set(CAUSE_TOWARDS_CALLER) == set(Result)


@pytest.mark.parametrize(
    ("result", "sip_code"),
    [
        (Result.BUSY, 486),
        (Result.NO_ANSWER, 480),
        (Result.UNREACHABLE, 502),
        (Result.REJECTED, 403),
        (Result.CONGESTION, 503),
        (Result.NOT_IN_SERVICE, 404),
        (Result.NOT_FORWARDABLE, 404),
        (Result.FAILED, 500),
        (Result.LOST, 500),
    ],
)
def test_each_failure_becomes_its_own_sip_answer(result: Result, sip_code: int) -> None:
    assert SIP_CODE_OF_CAUSE[CAUSE_TOWARDS_CALLER[result]] == sip_code

"""When a call goes on to the next trunk, and when it must not."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from engine.trunks.failover import FailedLeg, goes_on

LEGS = st.builds(
    FailedLeg,
    provisional=st.booleans(),
    sip_code=st.sampled_from([0, *range(400, 700)]),
    cause=st.integers(0, 127),
    timed_out=st.booleans(),
    refused=st.booleans(),
)


@given(LEGS)
def test_never_once_the_number_was_reached(leg: FailedLeg) -> None:
    assert not (leg.provisional and goes_on(leg))


@given(st.sampled_from([400, 401, 403, 404, 407, 410, 480, 484, 486, 487, 488, 600, 603]), st.integers(0, 127))
def test_never_on_what_every_trunk_would_say(code: int, cause: int) -> None:
    assert not goes_on(FailedLeg(provisional=False, sip_code=code, cause=cause))


@given(st.sampled_from([408, 500, 502, 503, 504]), st.integers(0, 127))
def test_when_the_carrier_failed(code: int, cause: int) -> None:
    assert goes_on(FailedLeg(provisional=False, sip_code=code, cause=cause))


def test_when_the_carrier_says_nothing_or_asterisk_cannot_place_it() -> None:
    assert goes_on(FailedLeg(provisional=False, timed_out=True))
    assert goes_on(FailedLeg(provisional=False, refused=True))


@pytest.mark.parametrize(("cause", "next_trunk"), [(34, True), (38, True), (0, False), (16, False), (17, False)])
def test_a_cause_counts_where_there_is_no_code(cause: int, next_trunk: bool) -> None:
    assert goes_on(FailedLeg(provisional=False, cause=cause)) is next_trunk

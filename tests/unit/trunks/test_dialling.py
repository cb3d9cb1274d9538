"""How a number is dialled on a trunk."""

from __future__ import annotations

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from engine.foundation.phone_number import PhoneNumber, national
from engine.trunks.dialling import caller_on_trunk, counted_on, diverted_on, endpoint, on_trunk
from engine.trunks.model import NumberFormat
from tests.call_desk import CARRIER


@pytest.mark.parametrize(
    ("number", "format_", "dialled"),
    [
        ("0212345678", NumberFormat.NATIONAL, "0212345678"),
        ("0212345678", NumberFormat.E164, "+82212345678"),
        ("0212345678", NumberFormat.INTERNATIONAL, "82212345678"),
        ("01012345678", NumberFormat.E164, "+821012345678"),
        ("15881234", NumberFormat.NATIONAL, "15881234"),
        ("15881234", NumberFormat.E164, "+8215881234"),
    ],
)
def test_number_is_written_as_the_trunk_wants_it(number: str, format_: NumberFormat, dialled: str) -> None:
    trunk = msgspec.structs.replace(CARRIER, number_format=format_)
    assert endpoint(trunk, PhoneNumber(number)) == f"PJSIP/{dialled}@carrier"


def test_the_callers_number_may_have_a_way_of_its_own() -> None:
    number = PhoneNumber("01012345678")
    same = msgspec.structs.replace(CARRIER, number_format=NumberFormat.E164)
    assert caller_on_trunk(same, number) == "+821012345678"
    own = msgspec.structs.replace(same, caller_format=NumberFormat.NATIONAL)
    assert (caller_on_trunk(own, number), on_trunk(own, number)) == ("01012345678", "+821012345678")


def test_a_prefix_is_dialled_before_every_number_and_shown_before_none() -> None:
    trunk = msgspec.structs.replace(CARRIER, prefix="9*")
    assert endpoint(trunk, PhoneNumber("0212345678")) == "PJSIP/9*0212345678@carrier"
    assert caller_on_trunk(trunk, PhoneNumber("0212345678")) == "0212345678"


def test_a_leg_that_we_place_is_counted_in_asterisk() -> None:
    assert counted_on(CARRIER) == {"GROUP(dari_trunk)": "carrier"}


@pytest.mark.parametrize(
    ("changes", "diversion"),
    [
        ({}, "050712345678"),
        ({"number_format": NumberFormat.E164}, "+8250712345678"),
        ({"number_format": NumberFormat.E164, "caller_format": NumberFormat.INTERNATIONAL}, "8250712345678"),
        ({"prefix": "9*"}, "050712345678"),
    ],
)
def test_number_that_sends_a_call_on_is_written_as_a_callers_is(changes: dict[str, object], diversion: str) -> None:
    trunk = msgspec.structs.replace(CARRIER, **changes)
    named = diverted_on(trunk, PhoneNumber("050712345678"))
    assert named["REDIRECTING(from-num,i)"] == diversion
    assert named["REDIRECTING(count,i)"] == "1", "without it Asterisk sends no Diversion"


_WRITTEN = st.from_regex(r"0[2-6][0-9]{7,9}|010[0-9]{8}|0[578]0[0-9]{8,9}|1[568][0-9]{6}", fullmatch=True)


@given(_WRITTEN, st.sampled_from(NumberFormat))
def test_what_is_written_for_a_trunk_reads_back_as_the_same_number(number: str, format_: NumberFormat) -> None:
    trunk = msgspec.structs.replace(CARRIER, number_format=format_)
    assert national(on_trunk(trunk, PhoneNumber(number))) == number


@pytest.mark.parametrize(
    ("caller_format", "written"),
    [(NumberFormat.E164, "+81312345678"), (NumberFormat.INTERNATIONAL, "81312345678")],
)
def test_caller_from_abroad_keeps_the_own_country(caller_format: NumberFormat, written: str) -> None:
    trunk = msgspec.structs.replace(CARRIER, caller_format=caller_format)
    assert caller_on_trunk(trunk, PhoneNumber("0081312345678")) == written

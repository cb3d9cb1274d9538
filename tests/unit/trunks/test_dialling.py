"""How a number is dialled on a trunk."""

from __future__ import annotations

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from engine.foundation.phone_number import PhoneNumber, national
from engine.trunks.dialling import endpoint, on_trunk
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


_WRITTEN = st.from_regex(r"0[2-6][0-9]{7,9}|010[0-9]{8}|0[578]0[0-9]{8,9}|1[568][0-9]{6}", fullmatch=True)


@given(_WRITTEN, st.sampled_from(NumberFormat))
def test_what_is_written_for_a_trunk_reads_back_as_the_same_number(number: str, format_: NumberFormat) -> None:
    trunk = msgspec.structs.replace(CARRIER, number_format=format_)
    assert national(on_trunk(trunk, PhoneNumber(number))) == number

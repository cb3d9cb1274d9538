"""What is read from a caller's channel, whatever the caller sent."""

from __future__ import annotations

from datetime import UTC, datetime
from uuid import UUID

import pytest
from hypothesis import given
from hypothesis import strategies as st

from engine.asterisk.events import Channel, DialplanPlace, Party, StasisStart
from engine.calls.arrival import read_arrival, read_caller, read_number, trunk_of
from engine.cdr.model import Arrival
from tests.call_desk import ACCOUNT, service_number

CALL = UUID("01900000-0000-7000-8000-00000000ca11")
AT = datetime(2026, 1, 1, tzinfo=UTC)

digit_like = st.text(st.sampled_from("+0123456789٣²"), max_size=30)
anything = st.one_of(st.text(max_size=100), digit_like)


def arrival_of(exten: str, caller: str, presentation: str = "allowed_not_screened", known: bool = False) -> Arrival:
    channel = Channel(
        id="1767225600.1",
        name="PJSIP/my-carrier-0000000a",
        state="Ring",
        protocol_id="abc@carrier",
        caller=Party("any name", caller),
        dialplan=DialplanPlace(exten=exten),
    )
    start = StasisStart(application="dari-n1", channel=channel, args=(presentation,) if presentation else ())
    return read_arrival(CALL, "n1", start, service_number() if known else None, AT)


@given(anything, anything, anything)
def test_any_text_from_a_caller_gives_only_digits_or_none(exten: str, caller: str, presentation: str) -> None:
    arrival = arrival_of(exten, caller, presentation)
    for number in (arrival.number, arrival.caller):
        assert number is None or (number.isascii() and number.isdigit())
    assert arrival.caller is None or 3 <= len(arrival.caller) <= 15
    for sent in (arrival.number_sent, arrival.caller_sent):
        assert len(sent) <= 64
        assert sent.isascii()
        assert sent == "" or sent.isprintable()


@pytest.mark.parametrize("sent", ["050712345678", "+8250712345678", "8250712345678", "+82050712345678"])
def test_number_is_understood_however_the_trunk_writes_it(sent: str) -> None:
    assert read_number(sent) == "050712345678"


@pytest.mark.parametrize("sent", ["", "anonymous", "010&PJSIP/0601@carrier", "${SHELL(id)}", "0" * 21, "+", "٣٣٣"])
def test_what_is_no_number_is_none(sent: str) -> None:
    assert read_number(sent) is None
    assert read_caller(sent, "allowed") is None


@pytest.mark.parametrize(("sent", "caller"), [("12", None), ("114", "114"), ("0" * 15, "0" * 15), ("0" * 16, None)])
def test_caller_has_three_to_fifteen_digits(sent: str, caller: str | None) -> None:
    assert read_caller(sent, "allowed") == caller


@pytest.mark.parametrize("presentation", ["prohib", "prohib_not_screened", "prohib_passed_screen"])
def test_withheld_number_goes_no_further(presentation: str) -> None:
    arrival = arrival_of("050712345678", "01012345678", presentation)
    assert (arrival.caller, arrival.caller_sent) == (None, "withheld")


def test_arrival_has_owner_and_kind_of_a_number_in_service() -> None:
    arrival = arrival_of("+8250712345678", "+821012345678", known=True)
    assert (arrival.number, arrival.number_sent) == ("050712345678", "+8250712345678")
    assert (arrival.caller, arrival.caller_sent) == ("01012345678", "+821012345678")
    assert (arrival.account_id, arrival.trunk, arrival.sip_call_id) == (ACCOUNT, "my-carrier", "abc@carrier")


def test_arrival_at_a_number_that_nobody_has_has_no_owner() -> None:
    arrival = arrival_of("050799999999", "01012345678", presentation="")
    assert (arrival.account_id, arrival.number_kind, arrival.number) == (None, None, "050799999999")


@pytest.mark.parametrize(
    ("channel", "trunk"),
    [("PJSIP/carrier-00000001", "carrier"), ("PJSIP/a-b-c-00000001", "a-b-c"), ("strange", ""), ("", "")],
)
def test_trunk_is_the_endpoint_in_the_channel_name(channel: str, trunk: str) -> None:
    assert trunk_of(channel) == trunk

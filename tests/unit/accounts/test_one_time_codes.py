"""One-time codes as RFC 6238 has them."""

from __future__ import annotations

import base64
from datetime import UTC, datetime, timedelta
from urllib.parse import parse_qs, urlsplit

import pytest

from engine.accounts.totp import STEP_SECONDS, address_of, new_secret, step_of

# RFC 6238, appendix B (SHA-1); the last six of its eight digits.
RFC_SECRET = base64.b32encode(b"12345678901234567890").decode()
RFC = [
    (59, "287082"),
    (1111111109, "081804"),
    (1111111111, "050471"),
    (1234567890, "005924"),
    (2000000000, "279037"),
    (20000000000, "353130"),
]


@pytest.mark.parametrize(("second", "code"), RFC)
def test_codes_of_the_rfc_are_taken(second: int, code: str) -> None:
    at = datetime.fromtimestamp(second, UTC)
    assert step_of(RFC_SECRET, code, at, 0) == second // STEP_SECONDS
    assert step_of(RFC_SECRET, f" {code[:3]} {code[3:]} ", at, 0) == second // STEP_SECONDS


@pytest.mark.parametrize(("off", "taken"), [(-61, False), (-30, True), (0, True), (30, True), (61, False)])
def test_a_clock_may_be_half_a_minute_off(off: int, taken: bool) -> None:
    second, code = RFC[3]
    at = datetime.fromtimestamp(second, UTC) + timedelta(seconds=off)
    assert (step_of(RFC_SECRET, code, at, 0) is not None) is taken


def test_a_code_is_not_taken_after_its_step_was() -> None:
    second, code = RFC[3]
    at = datetime.fromtimestamp(second, UTC)
    step = step_of(RFC_SECRET, code, at, 0)
    assert step is not None
    assert step_of(RFC_SECRET, code, at, step) is None
    assert step_of(RFC_SECRET, code, at, step - 1) == step


@pytest.mark.parametrize("code", ["", "28708", "2870820", "28708a", "٢٨٧٠٨٢", "000000", "287082\n287082"])
def test_anything_else_is_not(code: str) -> None:
    assert step_of(RFC_SECRET, code, datetime.fromtimestamp(59, UTC), 0) is None


def test_an_authenticator_is_told_the_secret_and_whose_it_is() -> None:
    secret = new_secret()
    assert len(base64.b32decode(secret)) == 20
    assert secret != new_secret()
    address = urlsplit(address_of(secret, "kim@example.com"))
    assert (address.scheme, address.netloc) == ("otpauth", "totp")
    assert address.path == "/Dari:kim%40example.com"
    assert parse_qs(address.query)["secret"] == [secret]

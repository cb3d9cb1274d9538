"""Which numbers messages may come from."""

from __future__ import annotations

import pytest

from engine.accounts.book import check_sender
from engine.foundation.errors import DariError, Invalid, NotAllowed
from engine.foundation.phone_number import PhoneNumber


@pytest.mark.parametrize("number", ["0212345678", "01012345678", "15881234", "07012345678", "0801234567", "021234567"])
def test_a_number_of_8_to_11_digits_that_is_not_050_may_send(number: str) -> None:
    check_sender(PhoneNumber(number))


@pytest.mark.parametrize("number", ["05012345678", "050712345678"])
def test_a_forwarding_number_may_never_send(number: str) -> None:
    with pytest.raises(NotAllowed, match="050"):
        check_sender(PhoneNumber(number))


@pytest.mark.parametrize("number", ["112", "1234567", "0601234567", "0015551234", "", "021234567８", "0212345678\n"])
def test_what_carriers_do_not_take_as_a_sender_is_refused(number: str) -> None:
    with pytest.raises(DariError) as told:
        check_sender(PhoneNumber(number))
    assert isinstance(told.value, Invalid)

"""Signatures: against the example that the standard publishes, and against what receivers must refuse."""

from __future__ import annotations

import base64

import pytest

from engine.foundation.errors import Invalid
from engine.webhooks import signature

# https://github.com/standard-webhooks/standard-webhooks, spec, "Verifying webhook authenticity".
SECRET = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw"
ID, STAMP, BODY = "msg_p5jXN8AQM9LWM0D4loKWxJek", 1614265330, b'{"test": 2432232314}'
SIGNATURE = "v1,g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE="


def test_the_published_example() -> None:
    made = signature.headers([signature.read_secret(SECRET)], ID, STAMP, BODY)
    assert made == {"webhook-id": ID, "webhook-timestamp": str(STAMP), "webhook-signature": SIGNATURE}


def test_while_a_secret_is_changed_both_sign_the_newest_first() -> None:
    new, old = signature.new_secret(), signature.read_secret(SECRET)
    both = signature.headers([new, old], ID, STAMP, BODY)["webhook-signature"].split(" ")
    assert both == [signature.headers([new], ID, STAMP, BODY)["webhook-signature"], SIGNATURE]


def test_a_new_secret_is_read_as_it_was_written_and_no_two_are_equal() -> None:
    one, other = signature.new_secret(), signature.new_secret()
    assert one != other
    assert len(one) == 32
    assert signature.read_secret(signature.written(one)) == one


@pytest.mark.parametrize(
    "text",
    ["", "whsec_", "hunter2", "whsec_====", "whsec_" + base64.b64encode(b"x" * 23).decode(), SECRET[6:], "whsec_é"],
)
def test_what_is_no_secret_is_refused_without_being_repeated(text: str) -> None:
    with pytest.raises(Invalid, match="24 to 64 random bytes") as refused:
        signature.read_secret(text)
    assert not text or text == "whsec_" or text not in str(refused.value)

"""The carrier's front desk: passwords, registrations, OPTIONS."""

from __future__ import annotations

import hashlib

import pytest

from engine.foundation.errors import Invalid
from engine.sandbox.digest import Account, challenge, is_right
from engine.sandbox.front_desk import FrontDesk
from engine.sandbox.sip import Request, parse

ACCOUNT = Account("bob", "zanzibar", "biloxi.com")
SOURCE = ("192.0.2.9", 5060)


def credentials(method: str, nonce: str, account: Account = ACCOUNT, **changes: str) -> str:
    """As a client that knows the password makes them, by RFC 2617 section 3.2.2."""

    def md5(text: str) -> str:
        return hashlib.md5(text.encode(), usedforsecurity=False).hexdigest()

    who = md5(f"{account.user}:{account.realm}:{account.password}")
    response = md5(f"{who}:{nonce}:00000001:0a4f113b:auth:{md5(f'{method}:sip:biloxi.com')}")
    said = {"username": account.user, "realm": account.realm, "nonce": nonce, "response": response} | changes
    quoted = ", ".join(f'{name}="{value}"' for name, value in said.items())
    return f'Digest {quoted}, uri="sip:biloxi.com", nc=00000001, cnonce="0a4f113b", qop=auth, algorithm=MD5'


def request(method: str, *headers: str) -> Request:
    lines = [
        f"{method} sip:biloxi.com SIP/2.0",
        "Via: SIP/2.0/UDP 192.0.2.9:5060;branch=z9hG4bK1;rport",
        "From: <sip:bob@biloxi.com>;tag=1",
        "To: <sip:bob@biloxi.com>",
        "Call-ID: 1@192.0.2.9",
        f"CSeq: 1 {method}",
        *headers,
    ]
    message = parse("\r\n".join([*lines, "", ""]).encode())
    assert isinstance(message, Request)
    return message


CONTACT = "Contact: <sip:bob@192.0.2.9:5060>;expires=300"


def test_the_password_is_proven_for_this_method_and_this_nonce_only() -> None:
    assert is_right(ACCOUNT, "n1", "REGISTER", credentials("REGISTER", "n1"))
    assert not is_right(ACCOUNT, "n1", "INVITE", credentials("REGISTER", "n1"))
    assert not is_right(ACCOUNT, "n2", "REGISTER", credentials("REGISTER", "n1"))
    assert not is_right(ACCOUNT, "n1", "REGISTER", credentials("REGISTER", "n1", Account("bob", "wrong", "biloxi.com")))
    assert not is_right(ACCOUNT, "n1", "REGISTER", credentials("REGISTER", "n1", username="alice"))
    assert not is_right(ACCOUNT, "n1", "REGISTER", credentials("REGISTER", "n1", realm="elsewhere"))
    assert not is_right(ACCOUNT, "n1", "REGISTER", credentials("REGISTER", "n1", response=""))
    assert not is_right(ACCOUNT, "n1", "REGISTER", "Basic Ym9iOnphbnppYmFy")


def test_a_registration_is_asked_for_a_password_kept_and_ended() -> None:
    desk = FrontDesk(account=ACCOUNT)
    asked = desk.answer(request("REGISTER", CONTACT), SOURCE)
    assert asked is not None
    assert (asked.code, asked.get("WWW-Authenticate")) == (401, challenge(ACCOUNT, desk.nonce))
    proof = f"Authorization: {credentials('REGISTER', desk.nonce)}"
    granted = desk.answer(request("REGISTER", CONTACT, proof), SOURCE)
    assert granted is not None
    assert (granted.code, granted.get("Expires")) == (200, "300")
    assert desk.registration is not None
    assert (str(desk.registration.contact), desk.registration.seconds) == ("sip:bob@192.0.2.9:5060", 300)
    desk.answer(request("REGISTER", "Contact: <sip:bob@192.0.2.9:5060>", "Expires: 0", proof), SOURCE)
    assert desk.registration is None
    assert (desk.registered, desk.refused) == (2, 0)


def test_a_wrong_password_registers_nobody() -> None:
    desk = FrontDesk(account=ACCOUNT)
    proof = f"Authorization: {credentials('REGISTER', 'stale')}"
    answer = desk.answer(request("REGISTER", CONTACT, proof), SOURCE)
    assert answer is not None
    assert (answer.code, desk.refused, desk.registration) == (401, 1, None)


def test_a_desk_that_is_told_to_refuse_does_so() -> None:
    desk = FrontDesk(register_code=403)
    answer = desk.answer(request("REGISTER", CONTACT), SOURCE)
    assert answer is not None
    assert (answer.code, desk.registration) == (403, None)
    with pytest.raises(Invalid, match="Contact"):
        desk.answer(request("REGISTER"), SOURCE)


def test_options_are_answered_as_told_or_not_at_all() -> None:
    desk = FrontDesk()
    for code in (200, 503):
        desk.options_code = code
        answer = desk.answer(request("OPTIONS"), SOURCE)
        assert answer is not None
        assert answer.code == code
    desk.options_code = None
    assert desk.answer(request("OPTIONS"), SOURCE) is None
    assert desk.asked == 3


def test_a_call_goes_through_once_it_has_proven_who_it_is() -> None:
    desk = FrontDesk()
    assert desk.hold_up(request("INVITE"), SOURCE) is None
    desk.account = ACCOUNT
    held_up = desk.hold_up(request("INVITE"), SOURCE)
    assert held_up is not None
    assert held_up.code == 407
    assert desk.challenged == {"1@192.0.2.9"}
    proof = f"Proxy-Authorization: {credentials('INVITE', desk.nonce)}"
    assert desk.hold_up(request("INVITE", proof), SOURCE) is None

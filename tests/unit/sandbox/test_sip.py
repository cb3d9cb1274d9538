"""SIP messages are read strictly and written so that they can be read again."""

from __future__ import annotations

import pytest

from engine.foundation.errors import Invalid
from engine.sandbox import sip
from engine.sandbox.sip import Request, Response
from engine.sandbox.sip_values import NameAddress, Reason, Uri

INVITE = (
    b"INVITE sip:05071234567@192.0.2.1:5060 SIP/2.0\r\n"
    b"Via: SIP/2.0/UDP 192.0.2.2:5070;branch=z9hG4bK1;rport\r\n"
    b'From: "Kim, \\"A\\" <x>" <sip:01012345678@192.0.2.2>;tag=a1\r\n'
    b"To: <sip:05071234567@192.0.2.1>\r\n"
    b"Call-ID: c1\r\n"
    b"CSeq: 7 INVITE\r\n"
    b"Contact: <sip:carrier@192.0.2.2:5070>\r\n"
    b"Content-Length: 4\r\n"
    b"\r\nv=0\n"
)


def request(data: bytes) -> Request:
    message = sip.parse(data)
    assert isinstance(message, Request)
    return message


def test_a_request_survives_reading_and_writing() -> None:
    message = request(INVITE)
    assert message.method == "INVITE"
    assert message.uri == "sip:05071234567@192.0.2.1:5060"
    assert (message.cseq, message.from_tag, message.to_tag, message.call_id) == ((7, "INVITE"), "a1", "", "c1")
    assert message.body == b"v=0\n"
    again = request(message.build())
    assert (again.uri, again.body) == (message.uri, message.body)
    assert again.get("From") == message.get("From")
    assert again.build() == message.build()


def test_compact_folded_and_oddly_cased_headers_are_the_same_headers() -> None:
    message = request(
        b"OPTIONS sip:a@192.0.2.1 SIP/2.0\r\n"
        b"v: SIP / 2.0 / UDP\r\n  192.0.2.9 : 5080 ;branch=z9hG4bK9 , SIP/2.0/UDP 192.0.2.8;branch=z9hG4bK8\r\n"
        b"VIA: SIP/2.0/UDP 192.0.2.7\r\nf : sip:b@192.0.2.9;tag=t\r\nTO:<sip:a@192.0.2.1>\r\n"
        b"i:x\r\ncSEQ: 1   OPTIONS\r\nl: 0\r\n\r\n"
    )
    assert (message.via.host, message.via.port, message.via.branch) == ("192.0.2.9", 5080, "z9hG4bK9")
    assert len(message.listed("Via")) == 3
    assert message.from_tag == "t"
    assert message.cseq == (1, "OPTIONS")


def test_bytes_after_the_stated_length_are_not_body() -> None:
    assert request(INVITE + b"rubbish").body == b"v=0\n"


def test_quotes_and_brackets_hide_commas_and_semicolons() -> None:
    message = request(INVITE.replace(b"<sip:carrier@192.0.2.2:5070>", b'"a,b" <sip:u,v@h;x=1>,<sip:w@i>'))
    assert message.listed("Contact") == ['"a,b" <sip:u,v@h;x=1>', "<sip:w@i>"]
    address = NameAddress.parse(message.listed("Contact")[0])
    assert (address.uri.user, address.uri.host, address.uri.parameters) == ("u,v", "h", ";x=1")
    assert NameAddress.parse(message.get("From")).display == 'Kim, "A" <x>'


@pytest.mark.parametrize(
    ("user", "text"),
    [
        ("a&b", "sip:a&b@192.0.2.2"),
        ("a@b", "sip:a@b@192.0.2.2"),
        ("7" * 200, f"sip:{'7' * 200}@192.0.2.2"),
        ("+82;phone-context=x", "sip:+82;phone-context=x@192.0.2.2"),
        ("", "sip:192.0.2.2"),
    ],
)
def test_a_user_part_stays_as_it_was_sent(user: str, text: str) -> None:
    uri = Uri.parse(text)
    assert (uri.user, uri.host) == (user, "192.0.2.2")
    assert str(uri) == text


@pytest.mark.parametrize(
    "text", ["tel:+8210", "sip:", "sip:a@", "sip:a@h:port", "sip:a@h:0", "sip:a@h:65536", "http://h", ""]
)
def test_what_is_no_sip_uri_is_refused(text: str) -> None:
    with pytest.raises(Invalid):
        Uri.parse(text)


@pytest.mark.parametrize(
    ("before", "after"),
    [
        (b"\r\n\r\n", b""),
        (b"SIP/2.0\r\nVia", b"SIP/3.0\r\nVia"),
        (b"INVITE sip", b"INV ITE sip"),
        (b"Call-ID: c1\r\n", b""),
        (b"Call-ID: c1\r\n", b"Call-ID:\r\n"),
        (b"Call-ID: c1\r\n", b"Call-ID: c1\r\nCall-ID: c2\r\n"),
        (b"CSeq: 7 INVITE", b"CSeq: 7 BYE"),
        (b"CSeq: 7 INVITE", b"CSeq: INVITE"),
        (b"CSeq: 7 INVITE", b"CSeq: 99999999999 INVITE"),
        (b"Content-Length: 4", b"Content-Length: 5"),
        (b"Content-Length: 4", b"Content-Length: -1"),
        (b"UDP 192.0.2.2:5070", b"UDP 192.0.2.2:99999"),
        (b"SIP/2.0/UDP", b"SIP/2.0/TCP"),
        (b"<sip:05071234567@192.0.2.1>", b"<tel:05071234567>"),
        (b"Contact: <sip:carrier@192.0.2.2:5070>", b"no colon here"),
        (b"Contact", b"Con tact"),
        (b"Kim", b"\xff\xfe"),
    ],
)
def test_a_broken_message_is_refused(before: bytes, after: bytes) -> None:
    assert before in INVITE
    with pytest.raises(Invalid):
        sip.parse(INVITE.replace(before, after, 1))


def test_no_datagram_makes_the_reader_fail_otherwise() -> None:
    for length in range(len(INVITE)):
        for data in (INVITE[:length], INVITE[length:], INVITE[:length] + b"\0" + INVITE[length:]):
            try:
                sip.parse(data)
            except Invalid:
                continue


def test_an_answer_carries_what_belongs_to_the_request() -> None:
    invite = request(INVITE).with_header("Record-Route", "<sip:192.0.2.7;lr>")
    answer = sip.response_to(invite, 180, ("192.0.2.99", 6000), tag="b2")
    back = sip.parse(answer.build())
    assert isinstance(back, Response)
    assert (back.code, back.phrase) == (180, "Ringing")
    assert back.via.parameters == {"branch": "z9hG4bK1", "received": "192.0.2.99", "rport": "6000"}
    assert (back.call_id, back.cseq, back.from_tag, back.to_tag) == ("c1", (7, "INVITE"), "a1", "b2")
    assert back.listed("Record-Route") == ["<sip:192.0.2.7;lr>"]


def test_reasons_are_read() -> None:
    message = request(INVITE).with_header("Reason", 'Q.850;cause=17;text="busy; really, busy", SIP;cause=486')
    assert message.reasons == (Reason("Q.850", 17, "busy; really, busy"), Reason("SIP", 486))
    assert request(INVITE).reasons == ()

"""Session descriptions: what we offer can be read, and an answer holds only what both sides can."""

from __future__ import annotations

import pytest

from engine.foundation.errors import Invalid
from engine.sandbox import sdp
from engine.sandbox.sdp import Codec, Media

OURS = Media("192.0.2.2", 4000, (Codec.PCMA, Codec.PCMU))

FOREIGN = (
    b"v=0\r\no=- 1 2 IN IP4 192.0.2.9\r\ns=x\r\nc=IN IP4 192.0.2.8\r\nt=0 0\r\n"
    b"m=video 9 RTP/AVP 99\r\nm=audio 16002 RTP/AVP 18 0 8 96\r\nc=IN IP4 192.0.2.10\r\n"
    b"a=rtpmap:96 telephone-event/8000\r\na=sendonly\r\n"
)


@pytest.mark.parametrize(
    "media", [OURS, Media("192.0.2.2", 4000, (Codec.PCMU,), None), Media("192.0.2.2", 0, (Codec.PCMA,), 96, False)]
)
def test_a_description_survives_writing_and_reading(media: Media) -> None:
    assert sdp.parse(sdp.build(media)) == media


def test_the_audio_stream_is_found_among_others_with_its_own_address() -> None:
    theirs = sdp.parse(FOREIGN)
    assert theirs.address == ("192.0.2.10", 16002)
    assert theirs.codecs == (Codec.PCMU, Codec.PCMA)
    assert theirs.telephone_event == 96
    assert theirs.sends


def test_an_answer_takes_the_offerers_first_codec_that_we_have_and_its_dtmf_type() -> None:
    assert sdp.answer(sdp.parse(FOREIGN), OURS) == Media("192.0.2.2", 4000, (Codec.PCMU,), 96)


def test_an_offer_without_g711_cannot_be_answered() -> None:
    with pytest.raises(Invalid, match="PCMA or PCMU"):
        sdp.answer(sdp.parse(FOREIGN.replace(b"18 0 8 96", b"18 96")), OURS)


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"\xff\xfe",
        b"v=1\r\n",
        b"v=0\r\nc=IN IP4 192.0.2.1\r\n",
        b"v=0\r\nm=audio 4000 RTP/AVP 8\r\n",
        b"v=0\r\nc=IN IP6 ::1\r\nm=audio 4000 RTP/AVP 8\r\n",
        b"v=0\r\nc=IN IP4 192.0.2.1\r\nm=audio 4000 RTP/SAVP 8\r\n",
        b"v=0\r\nc=IN IP4 192.0.2.1\r\nm=audio 65536 RTP/AVP 8\r\n",
    ],
)
def test_what_nobody_could_talk_to_is_refused(body: bytes) -> None:
    with pytest.raises(Invalid):
        sdp.parse(body)

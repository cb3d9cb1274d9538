"""Polly, CLOVA Voice and Google: what goes over the wire, and what each of their answers means."""

from __future__ import annotations

from collections.abc import AsyncIterator
from datetime import UTC, datetime
from typing import Any

import aiohttp
import pytest
from aiohttp import web

from engine.foundation.errors import DariError, Invalid, NotAllowed, TryLater
from engine.prompts.speech.clova import Clova
from engine.prompts.speech.google import Google
from engine.prompts.speech.polly import Polly
from engine.prompts.speech.provider import SpeechProvider
from engine.prompts.speech.signature import AwsKey, signed_headers
from engine.prompts.telephone_sound import WIDE_RATE, decoded_bytes, pcm
from tests.fake_speech import SOUND, FakeSpeech, speaking
from tests.hand_clock import HandClock

CLOCK = HandClock()
SECRET = "wJalrXUtnFEMI/K7MDENG+bPxRfiCYEXAMPLEKEY"
AWS = AwsKey(id="AKIDEXAMPLE", secret=SECRET, region="ap-northeast-2", service="polly")
TEXT = "세 번째 전화 & 약도 100% + 더"
NAMES = ("polly", "clova", "google")


@pytest.fixture
async def fake() -> AsyncIterator[FakeSpeech]:
    async with speaking(FakeSpeech(AWS, CLOCK.now())) as served:
        yield served


@pytest.fixture
async def session() -> AsyncIterator[aiohttp.ClientSession]:
    async with aiohttp.ClientSession() as opened:
        yield opened


def provider(
    name: str, session: aiohttp.ClientSession, url: str, *, wrong_key: bool = False, timeout: float = 30.0
) -> SpeechProvider:
    if name == "polly":
        key = AwsKey(id=AWS.id, secret="wrong", region=AWS.region, service=AWS.service) if wrong_key else AWS
        return Polly(session, key, CLOCK, timeout, url)
    key_text = "wrong" if wrong_key else "key"
    if name == "clova":
        return Clova(session, "id", key_text, timeout, url)
    return Google(session, key_text, timeout, url)


@pytest.mark.parametrize("name", NAMES)
async def test_a_text_comes_back_as_an_audio_file(name: str, session: aiohttp.ClientSession, fake: FakeSpeech) -> None:
    speaker = provider(name, session, fake.url)
    audio = await speaker.speak(TEXT, speaker.voices[0])
    assert pcm(decoded_bytes(audio, 5, WIDE_RATE)) == SOUND


async def test_polly_is_asked_as_its_interface_says(session: aiohttp.ClientSession, fake: FakeSpeech) -> None:
    await provider("polly", session, fake.url).speak(TEXT, "Jihye")
    assert fake.asked == [
        {
            "Engine": "neural",
            "LanguageCode": "ko-KR",
            "OutputFormat": "pcm",
            "SampleRate": "16000",
            "Text": TEXT,
            "TextType": "text",
            "VoiceId": "Jihye",
        }
    ]


async def test_clova_is_asked_as_its_interface_says(session: aiohttp.ClientSession, fake: FakeSpeech) -> None:
    await provider("clova", session, fake.url).speak(TEXT, "nara")
    (asked,) = fake.asked
    assert asked == {
        "speaker": "nara",
        "text": TEXT,
        "volume": "0",
        "speed": "0",
        "pitch": "0",
        "format": "wav",
        "sampling-rate": "16000",
    }


async def test_google_is_asked_as_its_interface_says(session: aiohttp.ClientSession, fake: FakeSpeech) -> None:
    await provider("google", session, fake.url).speak(TEXT, "ko-KR-Neural2-B")
    assert fake.asked == [
        {
            "input": {"text": TEXT},
            "voice": {"languageCode": "ko-KR", "name": "ko-KR-Neural2-B"},
            "audioConfig": {"audioEncoding": "LINEAR16", "sampleRateHertz": 16000},
        }
    ]


@pytest.mark.parametrize("name", NAMES)
async def test_a_wrong_key_is_not_allowed(name: str, session: aiohttp.ClientSession, fake: FakeSpeech) -> None:
    speaker = provider(name, session, fake.url, wrong_key=True)
    with pytest.raises(NotAllowed, match=f"speech by {name}: it refuses our key"):
        await speaker.speak(TEXT, speaker.voices[0])
    assert fake.asked == []


def polly_error(code: str, status: int = 400, *, in_body: bool = False) -> dict[str, Any]:
    if in_body:
        return {"data": {"__type": f"com.amazonaws.polly#{code}", "message": TEXT}, "status": status}
    return {"data": {"message": TEXT}, "status": status, "headers": {"x-amzn-ErrorType": f"{code}:http://x/"}}


def google_error(status: int, word: str) -> dict[str, Any]:
    return {"data": {"error": {"code": status, "message": TEXT, "status": word}}, "status": status}


def clova_error(status: int, code: str, *, wrapped: bool) -> dict[str, Any]:
    told = {"errorCode": code, "message": TEXT}
    return {"data": {"error": told} if wrapped else told, "status": status}


ERRORS: list[tuple[str, dict[str, Any], type[DariError], str]] = [
    ("polly", polly_error("TextLengthExceededException"), Invalid, "400 TextLengthExceededException"),
    ("polly", polly_error("ValidationException", in_body=True), Invalid, "ValidationException"),
    ("polly", polly_error("ThrottlingException"), TryLater, "ThrottlingException"),
    ("polly", polly_error("ServiceFailureException", 500), TryLater, "500"),
    ("polly", polly_error("AccessDeniedException"), NotAllowed, "AccessDeniedException"),
    ("polly", polly_error("UnrecognizedClientException", 403, in_body=True), NotAllowed, "Unrecognized"),
    ("polly", {"data": [], "status": 403}, NotAllowed, "403"),
    ("clova", clova_error(400, "VS06", wrapped=False), Invalid, "400 VS06"),
    ("clova", clova_error(400, "100", wrapped=True), Invalid, "400 100"),
    ("clova", clova_error(401, "210", wrapped=True), NotAllowed, "401 210"),
    ("clova", clova_error(429, "400", wrapped=True), TryLater, "429"),
    ("clova", clova_error(504, "510", wrapped=True), TryLater, "504"),
    ("google", google_error(400, "INVALID_ARGUMENT"), Invalid, "INVALID_ARGUMENT"),
    ("google", google_error(403, "PERMISSION_DENIED"), NotAllowed, "PERMISSION_DENIED"),
    ("google", google_error(429, "RESOURCE_EXHAUSTED"), TryLater, "RESOURCE_EXHAUSTED"),
    ("google", google_error(503, "UNAVAILABLE"), TryLater, "UNAVAILABLE"),
    ("google", {"data": {"audioContent": "%%%"}, "status": 200}, TryLater, "cannot be read"),
    ("google", {"data": {"spoken": ""}, "status": 200}, TryLater, "cannot be read"),
    *((name, {"data": "x", "status": 302, "headers": {"Location": "/x"}}, TryLater, "302") for name in NAMES),
    *((name, {"data": {"x": 1}, "status": 418}, Invalid, "418") for name in NAMES),
]


@pytest.mark.parametrize(("name", "answer", "kind", "told"), ERRORS)
async def test_each_error_has_its_meaning_and_says_nothing_of_the_text(
    name: str,
    answer: dict[str, Any],
    kind: type[DariError],
    told: str,
    session: aiohttp.ClientSession,
    fake: FakeSpeech,
) -> None:
    fake.fails_with = web.json_response(**answer)
    speaker = provider(name, session, fake.url)
    with pytest.raises(kind) as refused:
        await speaker.speak(TEXT, speaker.voices[0])
    assert type(refused.value) is kind
    assert told in str(refused.value)
    assert str(refused.value).startswith(f"speech by {name}: ")
    assert TEXT not in str(refused.value)
    assert "\n" not in str(refused.value)


@pytest.mark.parametrize("code", ["비밀", "x" * 99, "a\nb", "01012345678"])
async def test_a_code_that_could_be_anything_is_not_repeated(
    code: str, session: aiohttp.ClientSession, fake: FakeSpeech
) -> None:
    fake.fails_with = web.json_response(**clova_error(400, code, wrapped=True))
    with pytest.raises(Invalid) as refused:
        await provider("clova", session, fake.url).speak(TEXT, "nara")
    assert code not in str(refused.value)


@pytest.mark.parametrize("name", NAMES)
async def test_no_answer_or_nobody_there_is_try_later(
    name: str, session: aiohttp.ClientSession, fake: FakeSpeech
) -> None:
    fake.never_answers = True
    speaker = provider(name, session, fake.url, timeout=0.2)
    with pytest.raises(TryLater, match=r"no answer within 0\.2 s"):
        await speaker.speak(TEXT, speaker.voices[0])
    gone = provider(name, session, "http://127.0.0.1:1")
    with pytest.raises(TryLater, match="cannot be reached"):
        await gone.speak(TEXT, gone.voices[0])


async def test_an_endless_answer_is_cut_off(session: aiohttp.ClientSession, fake: FakeSpeech) -> None:
    fake.too_large = True
    with pytest.raises(TryLater, match="too large"):
        await provider("clova", session, fake.url).speak(TEXT, "nara")


@pytest.mark.parametrize(("name", "longest"), [("polly", 3000), ("clova", 2000), ("google", 1666)])
async def test_a_text_that_is_too_long_is_refused_before_it_is_sent(
    name: str, longest: int, session: aiohttp.ClientSession, fake: FakeSpeech
) -> None:
    speaker = provider(name, session, fake.url)
    await speaker.speak("가" * longest, speaker.voices[0])
    with pytest.raises(Invalid, match="shorten it"):
        await speaker.speak("가" * (longest + 1), speaker.voices[0])
    assert len(fake.asked) == 1


# AWS's own signature test suite (aws-sig-v4-test-suite): 30 August 2015, region us-east-1, service "service".
SUITE_KEY = AwsKey(id="AKIDEXAMPLE", secret=SECRET, region="us-east-1", service="service")
SUITE_NOW = datetime(2015, 8, 30, 12, 36, tzinfo=UTC)
HOST = {"Host": "example.amazonaws.com"}
FORM = {"Content-Type": "application/x-www-form-urlencoded"}


@pytest.mark.parametrize(
    ("method", "headers", "body", "names", "signature"),
    [
        # get-vanilla
        ("GET", {}, b"", "host", "5fa00fa31553b73ebf1942676e86291e8372ff2a2260956d9b8aae1d763fbf31"),
        # post-vanilla
        ("POST", {}, b"", "host", "5da7c1a2acd57cee7505fc6676e4e544621c30862966e37dddb68e92efbe5d6b"),
        # post-x-www-form-urlencoded
        (
            "POST",
            FORM,
            b"Param1=value1",
            "content-type;host",
            "ff11897932ad3f4e8b18135d722051e5ac45fc38421b1da7b9d196a0fe09473a",
        ),
        # get-header-value-trim
        (
            "GET",
            {"My-Header1": " value1", "My-Header2": ' "a   b   c"'},
            b"",
            "host;my-header1;my-header2",
            "acc3ed3afb60bb290fc8d2dd0098b9911fcaa05412b367055dee359757a9c736",
        ),
    ],
)
def test_signatures_are_those_of_the_published_test_suite(
    method: str, headers: dict[str, str], body: bytes, names: str, signature: str
) -> None:
    signed = signed_headers(SUITE_KEY, SUITE_NOW, method, "/", HOST | headers, body)
    assert signed["X-Amz-Date"] == "20150830T123600Z"
    assert signed["Authorization"] == (
        "AWS4-HMAC-SHA256 Credential=AKIDEXAMPLE/20150830/us-east-1/service/aws4_request, "
        f"SignedHeaders={names};x-amz-date, Signature={signature}"
    )


def test_a_key_does_not_show_its_secret() -> None:
    assert AWS.secret not in repr(AWS)

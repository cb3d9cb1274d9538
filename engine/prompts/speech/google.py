"""Google Cloud Text-to-Speech: text:synthesize over REST with an API key."""

from __future__ import annotations

import base64
import binascii

import aiohttp
import msgspec

from engine.foundation.errors import Invalid, NotAllowed, TryLater
from engine.prompts.speech.provider import post, refusal
from engine.prompts.telephone_sound import WIDE_RATE

_URL = "https://texttospeech.googleapis.com"
_PATH = "/v1/text:synthesize"
_LONGEST_TEXT = 5000
"""Bytes of UTF-8: a Korean syllable is three."""


class _Spoken(msgspec.Struct, frozen=True, rename="camel"):
    audio_content: str


class _Detail(msgspec.Struct, frozen=True):
    reason: str = ""


class _Told(msgspec.Struct, frozen=True):
    status: str = ""
    details: tuple[_Detail, ...] = ()


class _Error(msgspec.Struct, frozen=True):
    error: _Told = _Told()


class Google:
    """A `SpeechProvider`. The session belongs to whoever made it."""

    name = "google"
    voices = ("ko-KR-Neural2-A", "ko-KR-Neural2-B", "ko-KR-Neural2-C", "ko-KR-Wavenet-A", "ko-KR-Standard-A")

    def __init__(self, session: aiohttp.ClientSession, key: str, timeout: float = 10.0, url: str = _URL) -> None:
        self._session = session
        self._headers = {"X-Goog-Api-Key": key, "Content-Type": "application/json; charset=utf-8"}
        self._timeout = timeout
        self._url = url.rstrip("/")

    async def speak(self, text: str, voice: str) -> bytes:
        if len(text.encode()) > _LONGEST_TEXT:
            raise Invalid(f"text: google speaks at most {_LONGEST_TEXT} bytes of UTF-8 at once; shorten it")
        body = msgspec.json.encode(
            {
                "input": {"text": text},
                "voice": {"languageCode": "ko-KR", "name": voice},
                "audioConfig": {"audioEncoding": "LINEAR16", "sampleRateHertz": WIDE_RATE},
            }
        )
        answer = await post(self._session, self.name, self._url + _PATH, body, self._headers, self._timeout)
        if answer.status != 200:
            told = _told(answer.body)
            if any(detail.reason.startswith("API_KEY") for detail in told.details):  # told with status 400
                raise NotAllowed(f"speech by google: it refuses our key ({answer.status}); check its settings")
            raise refusal(self.name, answer.status, told.status)
        try:
            return base64.b64decode(msgspec.json.decode(answer.body, type=_Spoken).audio_content, validate=True)
        except (msgspec.DecodeError, UnicodeDecodeError, binascii.Error):
            raise TryLater("speech by google: its answer cannot be read; try again") from None


def _told(body: bytes) -> _Told:
    try:
        return msgspec.json.decode(body, type=_Error).error
    except (msgspec.DecodeError, UnicodeDecodeError):
        return _Told()

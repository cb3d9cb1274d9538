"""Naver CLOVA Voice (TTS Premium) over REST."""

from __future__ import annotations

from urllib.parse import urlencode

import aiohttp
import msgspec

from engine.prompts.speech.provider import check_length, post, refusal
from engine.prompts.telephone_sound import WIDE_RATE

_URL = "https://naveropenapi.apigw.ntruss.com"
_PATH = "/tts-premium/v1/tts"
_LONGEST_TEXT = 2000


class _Told(msgspec.Struct, frozen=True, rename="camel"):
    error_code: str = ""


class _Error(msgspec.Struct, frozen=True, rename="camel"):
    """The gateway wraps its errors, the service does not."""

    error: _Told = _Told()
    error_code: str = ""


class Clova:
    """A `SpeechProvider`. The session belongs to whoever made it."""

    name = "clova"
    voices = ("nara_call", "nara", "nminyoung", "nyejin", "njiyun", "nminsang", "nsinu", "njihun")

    def __init__(
        self, session: aiohttp.ClientSession, key_id: str, key: str, timeout: float = 10.0, url: str = _URL
    ) -> None:
        """`key_id` and `key` are the Client ID and Client Secret of an application in Naver Cloud's console."""
        self._session = session
        self._headers = {
            "X-NCP-APIGW-API-KEY-ID": key_id,
            "X-NCP-APIGW-API-KEY": key,
            "Content-Type": "application/x-www-form-urlencoded",
        }
        self._timeout = timeout
        self._url = url.rstrip("/")

    async def speak(self, text: str, voice: str) -> bytes:
        check_length(self.name, text, _LONGEST_TEXT)
        form = {
            "speaker": voice,
            "text": text,
            "volume": 0,
            "speed": 0,
            "pitch": 0,
            "format": "wav",
            "sampling-rate": WIDE_RATE,
        }
        body = urlencode(form).encode()
        answer = await post(self._session, self.name, self._url + _PATH, body, self._headers, self._timeout)
        if answer.status != 200:
            raise refusal(self.name, answer.status, _code(answer.body))
        return answer.body


def _code(body: bytes) -> str:
    try:
        told = msgspec.json.decode(body, type=_Error)
    except (msgspec.DecodeError, UnicodeDecodeError):
        return ""
    return told.error.error_code or told.error_code

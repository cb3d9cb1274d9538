"""Amazon Polly: SynthesizeSpeech over REST, signed by ourselves."""

from __future__ import annotations

from urllib.parse import urlsplit

import aiohttp
import msgspec

from engine.foundation.clock import Clock
from engine.foundation.errors import DariError, NotAllowed, TryLater
from engine.prompts.speech.provider import Answer, check_length, post, refusal
from engine.prompts.speech.signature import AwsKey, signed_headers
from engine.prompts.telephone_sound import WIDE_RATE, wav

_PATH = "/v1/speech"
_LONGEST_TEXT = 3000
"""Billed characters in one request."""

# AWS answers 400 for much that is not the text's fault.
_NOT_ALLOWED = frozenset(
    {
        "AccessDeniedException",
        "ExpiredTokenException",
        "IncompleteSignature",
        "IncompleteSignatureException",
        "InvalidClientTokenId",
        "InvalidSignatureException",
        "MissingAuthenticationToken",
        "MissingAuthenticationTokenException",
        "NotAuthorized",
        "OptInRequired",
        "UnrecognizedClientException",
    }
)
_BUSY = frozenset({"RequestExpired", "ServiceFailureException", "Throttling", "ThrottlingException"})


class _Error(msgspec.Struct, frozen=True):
    type: str = msgspec.field(name="__type", default="")


class Polly:
    """A `SpeechProvider`. The session belongs to whoever made it."""

    name = "polly"
    voices = ("Seoyeon", "Jihye")

    def __init__(
        self, session: aiohttp.ClientSession, key: AwsKey, clock: Clock, timeout: float = 10.0, url: str = ""
    ) -> None:
        """`key` for the service "polly"; `url` is its region's own unless named."""
        self._session = session
        self._key = key
        self._clock = clock
        self._timeout = timeout
        self._url = (url or f"https://polly.{key.region}.amazonaws.com").rstrip("/")

    async def speak(self, text: str, voice: str) -> bytes:
        check_length(self.name, text, _LONGEST_TEXT)
        body = msgspec.json.encode(
            {
                "Engine": "neural",
                "LanguageCode": "ko-KR",
                "OutputFormat": "pcm",
                "SampleRate": str(WIDE_RATE),
                "Text": text,
                "TextType": "text",
                "VoiceId": voice,
            }
        )
        headers = {"Host": urlsplit(self._url).netloc, "Content-Type": "application/json"}
        signed = signed_headers(self._key, self._clock.now(), "POST", _PATH, headers, body)
        answer = await post(self._session, self.name, self._url + _PATH, body, signed, self._timeout)
        if answer.status != 200:
            raise _refused(answer)
        return wav(answer.body, WIDE_RATE)


def _refused(answer: Answer) -> DariError:
    """The error's name is in a header, or in the body, each maybe with an address around it."""
    named = answer.headers.get("x-amzn-errortype", "")
    if not named:
        try:
            named = msgspec.json.decode(answer.body, type=_Error).type
        except (msgspec.DecodeError, UnicodeDecodeError):
            named = ""
    code = named.partition(":")[0].rpartition("#")[2]
    if code in _NOT_ALLOWED:
        return NotAllowed(f"speech by polly: it refuses our key ({answer.status} {code}); check its settings")
    if code in _BUSY:
        return TryLater(f"speech by polly: it is away or busy ({answer.status} {code}); try again", after=5.0)
    return refusal("polly", answer.status, code)

"""What a provider of speech is, and how those on the net are asked."""

from __future__ import annotations

import re
from collections.abc import Mapping
from http import HTTPStatus
from typing import NamedTuple, Protocol

import aiohttp

from engine.foundation.errors import DariError, Invalid, NotAllowed, TryLater

_LARGEST_ANSWER = 30_000_000
"""Bytes: five minutes of 16 kHz sound, twice over, in base64."""
_CODE = re.compile(r"[A-Za-z][A-Za-z0-9_.-]{0,63}|[0-9]{1,5}")


class SpeechProvider(Protocol):
    """Speaks texts. Its errors never hold the text."""

    @property
    def name(self) -> str:
        """In lower case, without a slash."""
        ...

    @property
    def voices(self) -> tuple[str, ...]:
        """Those known to speak Korean; the first is taken when none is named. Providers may have more."""
        ...

    async def speak(self, text: str, voice: str) -> bytes:
        """The text as an audio file of a usual kind.

        Raises Invalid for a text or voice that it does not take, NotAllowed when it refuses us, TryLater when it is
        away or busy.
        """
        ...


class Answer(NamedTuple):
    """What came back over HTTP; the header names are in lower case."""

    status: int
    headers: Mapping[str, str]
    body: bytes


async def post(
    session: aiohttp.ClientSession, name: str, url: str, body: bytes, headers: Mapping[str, str], timeout: float
) -> Answer:
    """One request and its whole answer. Raises TryLater naming the provider when there is none."""
    try:
        async with session.post(
            url,
            data=body,
            headers=headers,
            timeout=aiohttp.ClientTimeout(total=timeout),
            allow_redirects=False,
        ) as response:
            answer = b""
            async for piece in response.content.iter_chunked(65_536):
                answer += piece
                if len(answer) > _LARGEST_ANSWER:
                    raise TryLater(f"speech by {name}: its answer is too large; try again")
            return Answer(response.status, {key.lower(): value for key, value in response.headers.items()}, answer)
    except aiohttp.InvalidURL:
        raise Invalid(f"speech by {name}: its address cannot be used; check its settings") from None
    except TimeoutError:
        raise TryLater(f"speech by {name}: no answer within {timeout:g} s; try again") from None
    except (aiohttp.ClientError, OSError):
        raise TryLater(f"speech by {name}: it cannot be reached; try again") from None


def refusal(name: str, status: int, code: str) -> DariError:
    """What an answer that is not a sound means, by its HTTP status. `code` is the provider's own."""
    told = f"{status} {code}" if _CODE.fullmatch(code) else str(status)
    if status in (HTTPStatus.UNAUTHORIZED, HTTPStatus.FORBIDDEN):
        return NotAllowed(f"speech by {name}: it refuses our key ({told}); check its settings")
    if status in (HTTPStatus.REQUEST_TIMEOUT, HTTPStatus.TOO_MANY_REQUESTS) or status >= 500 or status < 400:
        return TryLater(f"speech by {name}: it is away or busy ({told}); try again", after=5.0)
    return Invalid(f"speech by {name}: it does not take the text or the voice ({told}); change them")


def check_length(name: str, text: str, longest: int) -> None:
    """Raises Invalid for a text of more characters than the provider takes at once."""
    if len(text) > longest:
        raise Invalid(f"text: {name} speaks at most {longest} characters at once, this has {len(text)}; shorten it")

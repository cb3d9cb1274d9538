"""The values inside SIP headers (RFC 3261 section 20): addresses, Via, Reason. No I/O."""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from typing import Self

from engine.foundation.errors import Invalid

_BRACKETED = re.compile(r'(?:"(?P<quoted>(?:[^"\\]|\\.)*)"|(?P<plain>[^<"]*))\s*<(?P<uri>[^>]*)>(?P<rest>.*)')


def split_outside_quotes(text: str, separator: str) -> list[str]:
    """`text` cut at `separator`, except inside "…" and <…>; parts are stripped."""
    parts, start, quoted, angled, escaped = [], 0, False, False, False
    for position, character in enumerate(text):
        if escaped:
            escaped = False
        elif quoted:
            escaped = character == "\\"
            quoted = character != '"'
        elif character == '"':
            quoted = True
        elif character in "<>":
            angled = character == "<"
        elif character == separator and not angled:
            parts.append(text[start:position].strip())
            start = position + 1
    return [*parts, text[start:].strip()]


def _parameters(parts: list[str]) -> dict[str, str]:
    pairs = (part.partition("=") for part in parts if part)
    return {name.strip().lower(): value.strip().strip('"') for name, _, value in pairs}


def _is_port(text: str) -> bool:
    return text.isascii() and text.isdigit() and 1 <= int(text) <= 65535


@dataclass(frozen=True, slots=True)
class Uri:
    """`sip:user@host:port;name=value`. The user part is kept raw, whatever it holds."""

    user: str
    host: str
    port: int | None = None
    parameters: str = ""  # with their leading semicolon

    @classmethod
    def parse(cls, text: str) -> Self:
        """Raises Invalid when it is no sip: URI."""
        scheme, _, rest = text.partition(":")
        user, _, place = rest.rpartition("@")
        host_port, semicolon, parameters = place.partition(";")
        host, _, port = host_port.partition(":")
        if scheme.lower() not in ("sip", "sips") or not host or (port and not _is_port(port)):
            raise Invalid(f"SIP URI {text!r} cannot be read; it must be like sip:user@host:port")
        return cls(user, host, int(port) if port else None, semicolon + parameters)

    def __str__(self) -> str:
        user = f"{self.user}@" if self.user else ""
        port = f":{self.port}" if self.port else ""
        return f"sip:{user}{self.host}{port}{self.parameters}"


@dataclass(frozen=True, slots=True)
class NameAddress:
    """The value of From, To, Contact, Route …: `"name" <uri>;tag=…`."""

    uri: Uri
    display: str = ""
    parameters: dict[str, str] = field(default_factory=dict)

    @classmethod
    def parse(cls, text: str) -> Self:
        """Raises Invalid when there is no sip: URI in it."""
        if match := _BRACKETED.fullmatch(text.strip()):
            display = re.sub(r"\\(.)", r"\1", match["quoted"]) if match["quoted"] else match["plain"] or ""
            return cls(Uri.parse(match["uri"]), display.strip(), _parameters(match["rest"].split(";")))
        # Without brackets all parameters belong to the header, not to the URI (RFC 3261 section 20).
        uri, *parts = text.strip().split(";")
        return cls(Uri.parse(uri), "", _parameters(parts))


@dataclass(frozen=True, slots=True)
class Via:
    """The topmost Via of a message: where answers to it go, and which transaction it belongs to."""

    host: str
    port: int
    parameters: dict[str, str]

    @classmethod
    def parse(cls, text: str) -> Self:
        """Raises Invalid when it is no SIP/2.0 Via over UDP."""
        match = re.match(r"SIP\s*/\s*2\.0\s*/\s*UDP\s+([^\s:;]+)\s*(?::\s*(\d+))?\s*(;.*)?$", text, re.IGNORECASE)
        if not match or not _is_port(match[2] or "5060"):
            raise Invalid(f"Via {text!r} cannot be read; it must be like SIP/2.0/UDP host:port;branch=z9hG4bK…")
        return cls(match[1], int(match[2] or 5060), _parameters((match[3] or "").split(";")))

    @property
    def branch(self) -> str:
        return self.parameters.get("branch", "")


@dataclass(frozen=True, slots=True)
class Reason:
    """Why a call ended, in the sender's words (RFC 3326), for example Q.850 cause 17."""

    protocol: str
    cause: int | None
    text: str = ""

    @classmethod
    def parse(cls, text: str) -> Self:
        protocol, *rest = split_outside_quotes(text, ";")
        given = _parameters(rest)
        cause = given.get("cause", "")
        return cls(protocol, int(cause) if cause.isdigit() else None, given.get("text", ""))

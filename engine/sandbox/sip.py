"""SIP messages (RFC 3261) as a carrier's edge needs them: read strictly, written plainly. No I/O.

A message keeps its headers in order and as they were spelled; names are compared without regard to case, and the
compact forms (`v`, `f`, `i` …) are the same names.
"""

from __future__ import annotations

import re
import secrets
from dataclasses import dataclass, replace
from typing import Self

from engine.foundation.errors import Invalid
from engine.sandbox.sip_values import NameAddress, Reason, Via, split_outside_quotes

Headers = tuple[tuple[str, str], ...]

_COMPACT = {
    "c": "content-type",
    "e": "content-encoding",
    "f": "from",
    "i": "call-id",
    "k": "supported",
    "l": "content-length",
    "m": "contact",
    "s": "subject",
    "t": "to",
    "v": "via",
}
_REQUIRED = ("via", "from", "to", "call-id", "cseq")
_TOKEN = re.compile(r"[A-Za-z0-9.!%*_+`'~-]+")
_STATUS_LINE = re.compile(r"SIP/2\.0 ([1-6]\d\d) ?(.*)")
_REQUEST_LINE = re.compile(r"([A-Z]+) (\S(?:.*\S)?) SIP/2\.0")

PHRASES = {
    100: "Trying",
    180: "Ringing",
    183: "Session Progress",
    200: "OK",
    400: "Bad Request",
    401: "Unauthorized",
    403: "Forbidden",
    404: "Not Found",
    405: "Method Not Allowed",
    407: "Proxy Authentication Required",
    408: "Request Timeout",
    420: "Bad Extension",
    480: "Temporarily Unavailable",
    481: "Call/Transaction Does Not Exist",
    484: "Address Incomplete",
    486: "Busy Here",
    487: "Request Terminated",
    488: "Not Acceptable Here",
    500: "Server Internal Error",
    502: "Bad Gateway",
    503: "Service Unavailable",
    504: "Server Time-out",
    600: "Busy Everywhere",
    603: "Decline",
}


@dataclass(frozen=True, slots=True)
class Message:
    """What requests and responses share."""

    headers: Headers
    body: bytes = b""

    def get(self, name: str) -> str:
        """The first header of that name; empty when there is none."""
        return next(iter(self.every(name)), "")

    def every(self, name: str) -> list[str]:
        """All headers of that name, each as it was written."""
        wanted = _long(name)
        return [value for given, value in self.headers if _long(given) == wanted]

    def listed(self, name: str) -> list[str]:
        """All values of a header that may hold several by comma, topmost first."""
        return [part for value in self.every(name) for part in split_outside_quotes(value, ",") if part]

    @property
    def call_id(self) -> str:
        return self.get("Call-ID")

    @property
    def via(self) -> Via:
        return Via.parse(self.listed("Via")[0])

    @property
    def cseq(self) -> tuple[int, str]:
        """Number and method."""
        number, _, method = self.get("CSeq").partition(" ")
        return int(number), method.strip()

    @property
    def from_tag(self) -> str:
        return NameAddress.parse(self.get("From")).parameters.get("tag", "")

    @property
    def to_tag(self) -> str:
        return NameAddress.parse(self.get("To")).parameters.get("tag", "")

    @property
    def reasons(self) -> tuple[Reason, ...]:
        return tuple(Reason.parse(value) for value in self.listed("Reason"))

    def with_header(self, name: str, value: str) -> Self:
        """The same message with this header put in place of those of its name."""
        kept = tuple(pair for pair in self.headers if _long(pair[0]) != _long(name))
        return replace(self, headers=(*kept, (name, value)))

    def _written(self, first_line: str) -> bytes:
        lines = [first_line]
        lines += [f"{name}: {value}" for name, value in self.headers if _long(name) != "content-length"]
        lines += [f"Content-Length: {len(self.body)}", "", ""]
        return "\r\n".join(lines).encode() + self.body


@dataclass(frozen=True, slots=True, kw_only=True)
class Request(Message):
    """INVITE, ACK, BYE …"""

    method: str
    uri: str

    def build(self) -> bytes:
        """As it goes over the wire; Content-Length is always that of the body."""
        return self._written(f"{self.method} {self.uri} SIP/2.0")


@dataclass(frozen=True, slots=True, kw_only=True)
class Response(Message):
    """A status code and its phrase."""

    code: int
    phrase: str

    def build(self) -> bytes:
        """As it goes over the wire; Content-Length is always that of the body."""
        return self._written(f"SIP/2.0 {self.code} {self.phrase}")


def parse(datagram: bytes) -> Request | Response:
    """A SIP message out of one UDP datagram. Raises Invalid, naming what is wrong with it."""
    head, blank, body = datagram.partition(b"\r\n\r\n")
    if not blank:
        raise Invalid("SIP message without the empty line after its headers; it was cut off or is not SIP")
    try:
        text = head.decode()
    except UnicodeDecodeError:
        raise Invalid("SIP headers that are not UTF-8; only UTF-8 is allowed") from None
    first_line, *lines = re.sub(r"\r\n[ \t]+", " ", text.lstrip("\r\n")).split("\r\n")
    headers = tuple(_header(line) for line in lines)
    body = _body_of_stated_length(headers, body)
    message: Request | Response
    if status := _STATUS_LINE.fullmatch(first_line):
        message = Response(headers=headers, body=body, code=int(status[1]), phrase=status[2])
    elif request := _REQUEST_LINE.fullmatch(first_line):
        message = Request(headers=headers, body=body, method=request[1], uri=request[2])
    else:
        raise Invalid(f"SIP first line {first_line[:80]!r} is neither a request nor a status line of SIP/2.0")
    _check(message)
    return message


def response_to(request: Request, code: int, source: tuple[str, int], tag: str = "") -> Response:
    """The answer to a request that came from `source`, with our tag in To when it has none yet."""
    top, *rest = request.listed("Via")
    to = request.get("To")
    if tag and not request.to_tag:
        to += f";tag={tag}"
    headers = [("Via", _seen_from(top, source)), *(("Via", via) for via in rest)]
    headers += [("Record-Route", value) for value in request.every("Record-Route")]
    headers += [("From", request.get("From")), ("To", to)]
    headers += [("Call-ID", request.call_id), ("CSeq", request.get("CSeq"))]
    return Response(headers=tuple(headers), code=code, phrase=PHRASES.get(code, "Other"))


def options(sender: tuple[str, int], receiver: tuple[str, int]) -> Request:
    """Asks whether anybody is there, outside any dialogue."""
    (own_host, own_port), (host, port) = sender, receiver
    headers = (
        ("Via", f"SIP/2.0/UDP {own_host}:{own_port};rport;branch={new_branch()}"),
        ("Max-Forwards", "70"),
        ("From", f"<sip:carrier@{own_host}>;tag={new_tag()}"),
        ("To", f"<sip:{host}:{port}>"),
        ("Call-ID", f"{secrets.token_hex(12)}@{own_host}"),
        ("CSeq", "1 OPTIONS"),
        ("Contact", f"<sip:carrier@{own_host}:{own_port}>"),
    )
    return Request(headers=headers, method="OPTIONS", uri=f"sip:{host}:{port}")


def new_branch() -> str:
    return "z9hG4bK" + secrets.token_hex(8)


def new_tag() -> str:
    return secrets.token_hex(6)


def _long(name: str) -> str:
    lower = name.lower()
    return _COMPACT.get(lower, lower)


def _header(line: str) -> tuple[str, str]:
    name, colon, value = line.partition(":")
    if not colon or not _TOKEN.fullmatch(name.rstrip()):
        raise Invalid(f"SIP header line {line[:80]!r} has no name and colon")
    return name.rstrip(), value.strip()


def _body_of_stated_length(headers: Headers, body: bytes) -> bytes:
    stated = [value for name, value in headers if _long(name) == "content-length"]
    if not stated:
        return body
    if not stated[0].isdigit() or int(stated[0]) > len(body):
        raise Invalid(f"SIP Content-Length {stated[0][:20]!r} does not fit a body of {len(body)} bytes")
    return body[: int(stated[0])]


def _check(message: Request | Response) -> None:
    for name in _REQUIRED:
        if len(message.every(name)) < 1 or not message.get(name):
            raise Invalid(f"SIP message without {name.title()}; RFC 3261 wants it in every message")
        if name != "via" and len(message.every(name)) > 1:
            raise Invalid(f"SIP message with more than one {name.title()}")
    if not re.fullmatch(r"\d{1,10}\s+[A-Z]+", message.get("CSeq")):
        raise Invalid(f"SIP CSeq {message.get('CSeq')[:40]!r} is not a number and a method")
    if isinstance(message, Request) and message.cseq[1] != message.method:
        raise Invalid(f"SIP CSeq names {message.cseq[1]} in a request that is {message.method}")
    _ = message.via, message.from_tag, message.to_tag  # each raises Invalid when it cannot be read


def _seen_from(via: str, source: tuple[str, int]) -> str:
    """A Via with what RFC 3581 adds: the address it really came from."""
    parts = [part for part in via.split(";") if not part.strip().lower().startswith(("rport", "received"))]
    asked = "rport" in Via.parse(via).parameters
    port = [f"rport={source[1]}"] if asked else []
    return ";".join([*parts, f"received={source[0]}", *port])

"""What a request carries is read strictly: its size, its kind, its encoding, each key once, nothing that is unknown."""

from __future__ import annotations

import asyncio
import json
from collections import Counter
from collections.abc import Collection, Iterator
from email.message import Message
from typing import Any, NoReturn

from fastapi import Request

from engine.api.problems import Code, FieldError, Refused, shown_value

LARGEST_BODY = 1_048_576
"""Bytes of a JSON body at most."""

_BODY_WITHIN = 30.0
_DISCARDED = 33_554_432
"""Bytes beyond the limit that are read and thrown away, so that whoever still sends hears the answer."""
_DEEPEST = 50
_UNSPEAKABLE = "it must not hold NUL or half of a surrogate pair"


async def read_body(request: Request, largest: int) -> bytes:
    """The whole body. Raises Refused when it is too large or comes too slowly."""
    body, sent = bytearray(), 0
    try:
        async with asyncio.timeout(_BODY_WITHIN):
            async for chunk in request.stream():
                sent += len(chunk)
                if sent <= largest:
                    body += chunk
                elif sent > largest + _DISCARDED:
                    break
    except TimeoutError:
        raise Refused(
            Code.TOO_SLOW, f"the body did not come within {_BODY_WITHIN:.0f} seconds; send it again"
        ) from None
    if sent > largest:
        # What goes on for ever is not read to its end: the connection ends with the answer.
        raise Refused(
            Code.TOO_LARGE, f"the body is larger than {largest} bytes; send less", headers={"Connection": "close"}
        )
    return bytes(body)


def check_media_type(sent: str | None, taken: Collection[str]) -> None:
    """Raises Refused unless the body is of a kind that is taken here, and text is UTF-8."""
    message = Message()
    message["content-type"] = sent or ""
    charset = message.get_param("charset", "utf-8")
    if sent is None or message.get_content_type() not in taken:
        raise Refused(Code.WRONG_MEDIA_TYPE, f"Content-Type: {sent or 'none'} is not taken here; send {_listed(taken)}")
    if not isinstance(charset, str) or charset.lower() not in ("utf-8", "utf8"):
        raise Refused(Code.WRONG_MEDIA_TYPE, f"Content-Type: the charset {charset!s:.40} is not taken; send UTF-8")


def check_content_encoding(sent: str | None) -> None:
    """Raises Refused for a body that is packed."""
    if sent is not None and sent.strip().lower() not in ("", "identity"):
        raise Refused(
            Code.WRONG_MEDIA_TYPE, f"Content-Encoding: {sent[:40]} is not taken; send the body as it is, not packed"
        )


def check_json(body: bytes) -> object:
    """The JSON value of a body. Raises Refused for what is not UTF-8, not JSON, or JSON in which a key comes twice."""
    try:
        value: object = json.loads(body.decode(), object_pairs_hook=_each_key_once, parse_constant=_no_constant)
    except UnicodeDecodeError as error:
        raise _malformed(f"byte {error.start} is not UTF-8") from None
    except json.JSONDecodeError as error:
        raise _malformed(f"line {error.lineno}, column {error.colno}: {error.msg}") from None
    except RecursionError:
        raise _malformed(f"it is nested deeper than {_DEEPEST} levels") from None
    except ValueError as error:  # a number of thousands of digits
        raise _malformed(str(error).partition(":")[0]) from None
    _check_within(value)
    return value


def check_text(field: str, text: str) -> None:
    """Raises Refused for text that no database keeps."""
    if _unspeakable(text):
        raise _unusable([FieldError(field=field, value=shown_value(field, text), rule=_UNSPEAKABLE)])


def check_query(request: Request, known: Collection[str], lists: Collection[str] = ()) -> None:
    """Raises Refused for a parameter that the route does not have, or one that comes twice and is no list.

    A misspelt filter would otherwise answer with everything.
    """
    sent = request.query_params.multi_items()
    for name, value in sent:
        check_text("query", name)
        check_text(f"query.{name}", value)
    rule = f"there is no such parameter; there are {_listed(known)}" if known else "this route has no parameters"
    errors = [
        FieldError(field=f"query.{name}", value=shown_value(name, value), rule=rule)
        for name, value in sent
        if name not in known
    ]
    errors += [
        FieldError(field=f"query.{name}", value=None, rule="it must come once")
        for name, times in Counter(name for name, _ in sent).items()
        if times > 1 and name in known and name not in lists
    ]
    if errors:
        raise _unusable(errors)


def _unusable(errors: list[FieldError]) -> Refused:
    first = errors[0]
    return Refused(Code.INVALID, f"{first.field}: {first.rule}", errors=errors)


def _malformed(why: str) -> Refused:
    return Refused(Code.MALFORMED, f"the body is not the JSON that is wanted here: {why}")


def _each_key_once(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) < len(pairs):
        name = next(name for name, times in Counter(name for name, _ in pairs).items() if times > 1)
        shown = str(shown_value("", name))
        raise Refused(
            Code.DUPLICATE_KEY,
            f"body: the key {shown!r} comes twice in one object; send it once",
            errors=[FieldError(field=f"body.{shown}", value=None, rule="it must come once")],
        )
    return found


def _no_constant(name: str) -> NoReturn:
    raise _malformed(f"{name} is not JSON")


def _check_within(value: object) -> None:
    """Raises Refused for text that cannot be kept, and for nesting that later readers would not survive."""
    for field, text in _texts(value):
        if _unspeakable(text):
            raise _unusable([FieldError(field=field, value=shown_value(field, text), rule=_UNSPEAKABLE)])


def _texts(value: object) -> Iterator[tuple[str, str]]:
    """Every text in a JSON value, keys too, and where it stands. Raises Refused for what is nested too deep."""
    waiting: list[tuple[str, int, object]] = [("body", 0, value)]
    while waiting:
        field, depth, one = waiting.pop()
        if isinstance(one, dict | list) and depth >= _DEEPEST:
            raise _malformed(f"it is nested deeper than {_DEEPEST} levels")
        if isinstance(one, str):
            yield field, one
        elif isinstance(one, dict):
            for key, held in one.items():
                yield field, key
                waiting.append((f"{field}.{key}", depth + 1, held))
        elif isinstance(one, list):
            waiting += [(f"{field}.{place}", depth + 1, held) for place, held in enumerate(one)]


def _unspeakable(text: str) -> bool:
    return "\0" in text or any("\ud800" <= sign <= "\udfff" for sign in text)


def _listed(names: Collection[str]) -> str:
    return ", ".join(sorted(names))

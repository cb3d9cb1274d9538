"""What a route takes; a request that carries anything else is refused before its handler."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from fastapi import Request
from fastapi.dependencies.utils import get_flat_params
from fastapi.params import Body, Query
from fastapi.routing import APIRoute
from pydantic.fields import FieldInfo
from starlette.types import Message

from engine.api.bodies import (
    LARGEST_BODY,
    check_content_encoding,
    check_json,
    check_media_type,
    check_query,
    check_text,
    read_body,
)
from engine.api.problems import Code, Refused

LARGEST = "x-largest-body"
JSON = "application/json"


@dataclass(frozen=True, slots=True)
class Takes:
    """What a route takes; anything else is refused."""

    query: frozenset[str]
    lists: frozenset[str]
    """Those that may come several times."""
    media: frozenset[str]
    """Of its body; empty: it has none."""
    largest: int
    """Bytes of its body."""


def takes_of(route: APIRoute) -> Takes:
    fields = [field for field in get_flat_params(route.dependant) if isinstance(field.field_info, Query)]
    lists = frozenset(field.alias for field in fields if _is_list(field.field_info))
    extra = route.openapi_extra or {}
    media = frozenset(extra.get("requestBody", {}).get("content", {}))
    if route.body_field is not None:
        info = route.body_field.field_info
        media = frozenset({info.media_type if isinstance(info, Body) else JSON})
    return Takes(
        query=frozenset(field.alias for field in fields),
        lists=lists,
        media=media,
        largest=int(extra.get(LARGEST, LARGEST_BODY)),
    )


def _is_list(info: FieldInfo) -> bool:
    return any(kind in str(info.annotation) for kind in ("list[", "tuple[", "set["))


def problems_of(route: APIRoute, *, for_strangers: bool) -> set[int]:
    """The statuses with which the door or a deed may turn a request of this route away."""
    found = {400, 403, 404, 422, 429, 500, 503}
    if not for_strangers:
        found.add(401)
    if takes_of(route).media:
        found |= {408, 413, 415}
    if (route.methods or set()) & {"POST", "PUT", "PATCH", "DELETE"}:
        found.add(409)
    if any(field.alias == "if-match" for field in get_flat_params(route.dependant)):
        found |= {412, 428}
    return found


async def with_body(request: Request, takes: Takes) -> tuple[Request, bytes]:
    """The request with its body, read and found to be what the route takes."""
    body = await read_body(request, takes.largest)
    if body.strip() not in (b"", b"{}") and not takes.media:
        raise Refused(Code.BAD_REQUEST, "body: this route takes none; send none")
    if body and takes.media:
        check_content_encoding(request.headers.get("content-encoding"))
        check_media_type(request.headers.get("content-type"), takes.media)
    if body and JSON in takes.media:
        check_json(body)
    return _replayed(request, body), body


def _replayed(request: Request, body: bytes) -> Request:
    """The same request, whose body was read, for those who read it again."""
    waiting = [body]

    async def receive() -> Message:
        if waiting:
            return {"type": "http.request", "body": waiting.pop(), "more_body": False}
        return await request.receive()

    return Request(request.scope, receive)


def told_by(request: Request, body: bytes) -> bytes:
    """What makes two requests the same."""
    target = f"{request.method} {request.url.path}?{request.url.query}\n{request.headers.get('if-match', '')}\n"
    return target.encode() + body


def takes_file(*media: str, largest: int) -> dict[str, Any]:
    """For a route's `openapi_extra`: its body is the file itself, read with `FileBody`."""
    content = {one: {"schema": {"type": "string", "format": "binary"}} for one in media}
    return {"requestBody": {"required": True, "content": content}, LARGEST: largest}


def check_address(request: Request, takes: Takes) -> None:
    """Raises Refused for a path or query that the route does not have."""
    check_query(request, takes.query, takes.lists)
    for name, value in request.path_params.items():
        check_text(f"path.{name}", str(value))

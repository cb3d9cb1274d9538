"""The OpenAPI 3.1 description of /api/v1, out of the routes themselves; clients are made from nothing else."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Iterable, Iterator
from typing import Any, get_args

from fastapi import APIRouter, FastAPI, Response
from fastapi.openapi.utils import get_openapi
from fastapi.routing import iter_route_contexts
from pydantic import BaseModel

from engine.api.door import BASE, REASON, DoorRoute, OpenRoute, door_router
from engine.api.problems import MEDIA_TYPE, STATUS, Code, Problem

PATH = f"{BASE}/openapi.json"
_VERSION = "1.0.0"
_OWN = ("x-problems", "x-largest-body", "x-keeps-answers")

_ABOUT = f"""Everything that Dari does, for programs.

**Who.** `Authorization: Bearer` with an API key (`dari_…`) or the token of a session. Each sees its own account and
what is below it; anything else looks as if it did not exist. Auditors say why they look in `{REASON}` (percent-encoded
UTF-8).

**Errors** are problems (RFC 9457, `{MEDIA_TYPE}`): go by `code`, which never changes; `errors` names each field that
cannot be used, with its value and the rule.

**Lists** come in pages of `limit`; send `next` as `cursor` for what follows.

**Twice is once.** A POST with an `Idempotency-Key` (send a UUID) is done once within 24 hours, however often it is
sent; the answer says `Idempotency-Replayed: true` when it came out of keeping. Signing in is the exception.

**Edits** name what they change: read the thing, send its `ETag` as `If-Match`.

**Instants** are UTC in ISO 8601; requests may name another zone. **Phone numbers** are taken in national digits, as
people write them, or in E.164, and answered in both.

**How often.** `RateLimit-Limit`, `-Remaining` and `-Reset` (seconds) are in every answer; after a 429 or 503 wait for
`Retry-After` seconds."""

_KEY = {
    "name": "Idempotency-Key",
    "in": "header",
    "required": False,
    "description": "The same for each try of one request; a UUID is best.",
    "schema": {"type": "string", "minLength": 1, "maxLength": 255, "pattern": "^[ -~]+$"},
    "example": "7f1c2f0e-1f0b-4a63-9f6c-3a0a4e1f5d11",
}

_WHY = {
    "name": REASON,
    "in": "header",
    "required": False,
    "description": "Why one looks, percent-encoded UTF-8: auditors have to say it, others may.",
    "schema": {"type": "string", "maxLength": 500, "pattern": "^[ -~]*$"},
    "example": "%EC%A0%90%EA%B2%80",
}


def describe(app: FastAPI) -> dict[str, Any]:
    """The description of every route of `app` under /api/v1."""
    routes = [route for route in iter_route_contexts(app.routes) if isinstance(route.original_route, DoorRoute)]
    doors = [route.original_route for route in routes if isinstance(route.original_route, DoorRoute)]
    document = get_openapi(
        title="Dari",
        version=_VERSION,
        openapi_version="3.1.0",
        description=_ABOUT,
        routes=routes,
        servers=[{"url": "/"}],
    )
    components = document.setdefault("components", {})
    schemas = components.setdefault("schemas", {})
    schemas.pop("HTTPValidationError", None)
    schemas.pop("ValidationError", None)
    _make_examples_whole(schemas, doors)
    problem = Problem.model_json_schema(ref_template="#/components/schemas/{model}")
    schemas |= problem.pop("$defs") | {"Problem": problem}
    components["responses"] = {f"Problem{status}": _problem(status) for status in sorted({*STATUS.values()})}
    components["securitySchemes"] = {
        "bearer": {"type": "http", "scheme": "bearer", "description": "An API key, or the token of a session."}
    }
    for _, method, operation in operations(document):
        _finish(operation, keyed=method == "post")
    return document


def openapi_router(app: FastAPI) -> APIRouter:
    """GET /api/v1/openapi.json: the description of `app`, for everybody."""
    router = door_router("description", OpenRoute)
    made: list[bytes] = []

    @router.get("/openapi.json", include_in_schema=False)
    async def openapi() -> Response:
        if not made:
            made.append(await asyncio.to_thread(_written, app))  # takes a second, in which others are answered
        return Response(made[0], media_type="application/json")

    return router


def _written(app: FastAPI) -> bytes:
    return json.dumps(describe(app), ensure_ascii=False).encode()


def operations(document: dict[str, Any]) -> Iterator[tuple[str, str, dict[str, Any]]]:
    """Each operation of a description: its path, its method, itself."""
    for path, item in document["paths"].items():
        for method, operation in item.items():
            if method in ("get", "post", "put", "patch", "delete"):
                yield path, method, operation


def _make_examples_whole(schemas: dict[str, Any], routes: Iterable[DoorRoute]) -> None:
    """Puts back the nulls of examples, which FastAPI leaves out: there they are fields that have to be there."""
    whole: dict[tuple[str, str], Any] = {}
    seen: set[type[BaseModel]] = set()
    for route in routes:
        body = route.body_field.field_info.annotation if route.body_field else None
        for model in (*_models(route.response_model, seen), *_models(body, seen)):
            extra = model.model_config.get("json_schema_extra")
            if isinstance(extra, dict) and "examples" in extra:
                whole[model.__name__, _without_nulls(extra["examples"])] = extra["examples"]
    for schema in schemas.values():
        if "examples" in schema:
            key = schema.get("title", ""), _without_nulls(schema["examples"])
            schema["examples"] = whole.get(key, schema["examples"])


def _models(shape: object, seen: set[type[BaseModel]]) -> Iterator[type[BaseModel]]:
    """The models that a type is made of, those not `seen` yet."""
    if isinstance(shape, type) and issubclass(shape, BaseModel) and shape not in seen:
        seen.add(shape)
        yield shape
        for field in shape.model_fields.values():
            yield from _models(field.annotation, seen)
    for part in get_args(shape):
        yield from _models(part, seen)


def _without_nulls(example: object) -> str:
    def cut(value: object) -> object:
        if isinstance(value, dict):
            return {key: cut(part) for key, part in value.items() if part is not None}
        return [cut(part) for part in value] if isinstance(value, list) else value

    return json.dumps(cut(example), sort_keys=True)


def _finish(operation: dict[str, Any], *, keyed: bool) -> None:
    """Gives an operation its problems, and a POST the Idempotency-Key where that is heeded."""
    responses = {status: answer for status, answer in operation.get("responses", {}).items() if status[0] in "23"}
    for status in operation.get("x-problems", ()):
        responses[str(status)] = {"$ref": f"#/components/responses/Problem{status}"}
    operation["responses"] = responses
    if "security" in operation:
        operation.setdefault("parameters", []).append(_WHY)
    if keyed and operation.get("x-keeps-answers"):
        operation.setdefault("parameters", []).append(_KEY)
    for name in _OWN:
        operation.pop(name, None)


_SENTENCES = {
    Code.MALFORMED: "the body is not the JSON that is wanted here: line 1, column 2: Expecting property name",
    Code.DUPLICATE_KEY: "body: the key 'name' comes twice in one object; send it once",
    Code.NOT_SIGNED_IN: "Authorization: send `Bearer` and an API key, or the token of a session",
    Code.TOKEN_EXPIRED: "session: it has ended; sign in again",
    Code.NOT_FOUND: "account 018f…: there is none that you may see",
    Code.NOT_ALLOWED: "change users: not for a branch here; ask the manager of an account above yours",
    Code.CHANGED_MEANWHILE: "If-Match: somebody has changed it meanwhile; read it again and make the change on that",
    Code.KEY_REUSED: "Idempotency-Key: another request came with this key; send a new key with each new request",
    Code.TRY_LATER: "the database is away or busy; try again",
}


def _problem(status: int) -> dict[str, Any]:
    codes = [code for code, its in STATUS.items() if its == status]
    return {
        "description": " or ".join(f"`{code.value}`" for code in codes),
        "content": {
            MEDIA_TYPE: {
                "schema": {"$ref": "#/components/schemas/Problem"},
                "examples": {c.value: _example(c) for c in codes},
            }
        },
    }


def _example(code: Code) -> dict[str, Any]:
    status = STATUS[code]
    return {
        "value": Problem(
            type="about:blank",
            title=status.phrase,
            status=status.value,
            code=code,
            detail=_SENTENCES.get(code, "one sentence that says what is wrong, and the mend"),
            errors=[],
        ).model_dump(mode="json")
    }

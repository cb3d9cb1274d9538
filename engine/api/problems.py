"""Errors as HTTP: every error answer is a problem (RFC 9457), and only here an error gets its status and its code."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from enum import Enum
from http import HTTPStatus
from math import ceil
from typing import Any

from fastapi import FastAPI, Request
from fastapi.exceptions import RequestValidationError
from fastapi.responses import JSONResponse
from pydantic import BaseModel, ConfigDict, Field, JsonValue
from starlette.exceptions import HTTPException

from engine.accounts.attempts import TooOften
from engine.api.mends import at_this_door
from engine.foundation.errors import Conflict, DariError, GaveUp, Invalid, NotAllowed, NotFound, TryLater

MEDIA_TYPE = "application/problem+json"


class Code(Enum):
    """What went wrong, in words that never change: programs go by them."""

    MALFORMED = "malformed_body"
    DUPLICATE_KEY = "duplicate_key"
    BAD_REQUEST = "bad_request"
    NOT_SIGNED_IN = "not_signed_in"
    WRONG_TOKEN = "wrong_token"  # noqa: S105 - a word, no password
    TOKEN_EXPIRED = "token_expired"  # noqa: S105
    WRONG_SIGN_IN = "wrong_sign_in"
    CODE_NEEDED = "code_needed"
    NOT_ALLOWED = "not_allowed"
    NOT_FOUND = "not_found"
    WRONG_METHOD = "wrong_method"
    TOO_SLOW = "body_too_slow"
    CONFLICT = "conflict"
    CHANGED_MEANWHILE = "changed_meanwhile"
    TOO_LARGE = "too_large"
    WRONG_MEDIA_TYPE = "wrong_media_type"
    RANGE_UNKNOWN = "range_not_satisfiable"
    INVALID = "invalid"
    KEY_REUSED = "idempotency_key_reused"
    IF_MATCH_MISSING = "if_match_missing"
    TOO_MANY_REQUESTS = "too_many_requests"
    UNFORESEEN = "unforeseen"
    GAVE_UP = "gave_up"
    TRY_LATER = "try_later"


STATUS: Mapping[Code, HTTPStatus] = {
    Code.MALFORMED: HTTPStatus.BAD_REQUEST,
    Code.DUPLICATE_KEY: HTTPStatus.BAD_REQUEST,
    Code.BAD_REQUEST: HTTPStatus.BAD_REQUEST,
    Code.NOT_SIGNED_IN: HTTPStatus.UNAUTHORIZED,
    Code.WRONG_TOKEN: HTTPStatus.UNAUTHORIZED,
    Code.TOKEN_EXPIRED: HTTPStatus.UNAUTHORIZED,
    Code.WRONG_SIGN_IN: HTTPStatus.UNAUTHORIZED,
    Code.CODE_NEEDED: HTTPStatus.UNAUTHORIZED,
    Code.NOT_ALLOWED: HTTPStatus.FORBIDDEN,
    Code.NOT_FOUND: HTTPStatus.NOT_FOUND,
    Code.WRONG_METHOD: HTTPStatus.METHOD_NOT_ALLOWED,
    Code.TOO_SLOW: HTTPStatus.REQUEST_TIMEOUT,
    Code.CONFLICT: HTTPStatus.CONFLICT,
    Code.CHANGED_MEANWHILE: HTTPStatus.PRECONDITION_FAILED,
    Code.TOO_LARGE: HTTPStatus.REQUEST_ENTITY_TOO_LARGE,
    Code.WRONG_MEDIA_TYPE: HTTPStatus.UNSUPPORTED_MEDIA_TYPE,
    Code.RANGE_UNKNOWN: HTTPStatus.REQUESTED_RANGE_NOT_SATISFIABLE,
    Code.INVALID: HTTPStatus.UNPROCESSABLE_ENTITY,
    Code.KEY_REUSED: HTTPStatus.UNPROCESSABLE_ENTITY,
    Code.IF_MATCH_MISSING: HTTPStatus.PRECONDITION_REQUIRED,
    Code.TOO_MANY_REQUESTS: HTTPStatus.TOO_MANY_REQUESTS,
    Code.UNFORESEEN: HTTPStatus.INTERNAL_SERVER_ERROR,
    Code.GAVE_UP: HTTPStatus.INTERNAL_SERVER_ERROR,
    Code.TRY_LATER: HTTPStatus.SERVICE_UNAVAILABLE,
}
"""The status of each code."""

_CODE_OF: Mapping[type[DariError], Code] = {
    NotFound: Code.NOT_FOUND,
    NotAllowed: Code.NOT_ALLOWED,
    Invalid: Code.INVALID,
    Conflict: Code.CONFLICT,
    TooOften: Code.TOO_MANY_REQUESTS,
    TryLater: Code.TRY_LATER,
    GaveUp: Code.GAVE_UP,
}

# Of several codes with one status the first is the general one, unless it is named here.
_USUAL: Mapping[HTTPStatus, Code] = {
    **{status: code for code, status in reversed(list(STATUS.items()))},
    HTTPStatus.BAD_REQUEST: Code.BAD_REQUEST,
    HTTPStatus.INTERNAL_SERVER_ERROR: Code.UNFORESEEN,
}

_LONGEST_VALUE = 100
_SECRET = re.compile(r"password|secret|token|authorization|(^|\.)(code|key)$", re.IGNORECASE)
_NAMED_FIELD = re.compile(r"([a-z][a-z0-9_.]*): (.+)", re.DOTALL)


class FieldError(BaseModel):
    """One field that cannot be used."""

    field: str = Field(description="Where it stands: body.name, query.limit, path.account.")
    value: JsonValue = Field(description="What was sent, shortened; null for what is missing or secret.")
    rule: str = Field(description="What it has to be.")


class Problem(BaseModel):
    """An error answer, application/problem+json (RFC 9457)."""

    model_config = ConfigDict(
        json_schema_extra={
            "examples": [
                {
                    "type": "about:blank",
                    "title": "Unprocessable Entity",
                    "status": 422,
                    "code": "invalid",
                    "detail": "query.limit: '0' cannot be used: Input should be greater than or equal to 1",
                    "errors": [
                        {"field": "query.limit", "value": "0", "rule": "Input should be greater than or equal to 1"}
                    ],
                }
            ]
        }
    )

    type: str = Field(description="Always about:blank: the code says which problem it is.")
    title: str = Field(description="The status in words.")
    status: int
    code: Code = Field(description="Which problem it is; stable.")
    detail: str = Field(description="One sentence for people: what is wrong, and the mend.")
    errors: list[FieldError] = Field(description="Each field that cannot be used; empty when it is not about a field.")


class Refused(DariError):  # noqa: N818 - as its siblings
    """A request that the API itself turns away, before or beside any deed."""

    def __init__(
        self,
        code: Code,
        detail: str,
        *,
        headers: Mapping[str, str] | None = None,
        errors: Sequence[FieldError] = (),
    ) -> None:
        super().__init__(detail)
        self.code = code
        self.headers = headers
        self.errors = errors


def problem(
    status: HTTPStatus,
    detail: str,
    headers: Mapping[str, str] | None = None,
    *,
    code: Code | None = None,
    errors: Sequence[FieldError] = (),
) -> JSONResponse:
    """An application/problem+json answer; `detail` is the one sentence that people read, and names no command."""
    return JSONResponse(
        {
            "type": "about:blank",
            "title": status.phrase,
            "status": status.value,
            "code": (code or _USUAL.get(status, Code.BAD_REQUEST)).value,
            "detail": at_this_door(detail),
            "errors": [error.model_dump() | {"rule": at_this_door(error.rule)} for error in errors],
        },
        status_code=status.value,
        headers=dict(headers or {}),
        media_type=MEDIA_TYPE,
    )


def problem_of(error: DariError | RequestValidationError | HTTPException) -> JSONResponse:
    """The problem that tells of this error."""
    if isinstance(error, RequestValidationError):
        return _invalid_fields(error)
    if isinstance(error, HTTPException):
        return problem(HTTPStatus(error.status_code), str(error.detail), error.headers)
    if isinstance(error, Refused):
        return problem(STATUS[error.code], str(error), error.headers, code=error.code, errors=error.errors)
    code = next((code for kind, code in _CODE_OF.items() if isinstance(error, kind)), Code.UNFORESEEN)
    headers = {"Retry-After": str(ceil(error.after))} if isinstance(error, TryLater) else None
    errors = [_named_field(str(error))] if isinstance(error, Invalid) else []
    return problem(STATUS[code], str(error), headers, code=code, errors=[error for error in errors if error])


def add_problems(app: FastAPI) -> None:
    """Makes `app` answer every error as a problem. What nobody foresaw stays in the log: its answer tells nothing."""

    @app.exception_handler(DariError)
    async def dari_error(_request: Request, error: DariError) -> JSONResponse:
        return problem_of(error)

    @app.exception_handler(RequestValidationError)
    async def invalid_request(_request: Request, error: RequestValidationError) -> JSONResponse:
        return problem_of(error)

    @app.exception_handler(HTTPException)
    async def http_error(_request: Request, error: HTTPException) -> JSONResponse:
        return problem_of(error)

    @app.exception_handler(HTTPStatus.INTERNAL_SERVER_ERROR)
    async def unforeseen(_request: Request, _error: Exception) -> JSONResponse:
        return problem(HTTPStatus.INTERNAL_SERVER_ERROR, "something failed here; the log says what")


def shown_value(field: str, value: object) -> JsonValue:
    """What was sent, as a problem tells it: nothing secret, nothing long, nothing that JSON cannot say."""
    if value is None or _SECRET.search(field):
        return None
    if isinstance(value, bool | int) and abs(value) < 1 << 53:
        return value
    text = value if isinstance(value, str) else repr(value)
    text = text.encode(errors="replace").decode()
    return text if len(text) <= _LONGEST_VALUE else text[:_LONGEST_VALUE] + "…"


def _invalid_fields(error: RequestValidationError) -> JSONResponse:
    fields = [_field_error(found) for found in error.errors()]
    first = fields[0]
    sent = "it is missing" if first.value is None else f"{first.value!r} cannot be used"
    return problem(
        HTTPStatus.UNPROCESSABLE_ENTITY, f"{first.field}: {sent}: {first.rule}", code=Code.INVALID, errors=fields
    )


def _field_error(found: Mapping[str, Any]) -> FieldError:
    field = ".".join(str(part) for part in found["loc"])
    missing = found["type"] == "missing"
    return FieldError(
        field=field,
        value=None if missing else shown_value(field, found.get("input")),
        rule=_rule(found),
    )


def _rule(found: Mapping[str, Any]) -> str:
    """What the field has to be, in the words of whoever sends it rather than of Python."""
    match found["type"]:
        case "extra_forbidden":
            return "there is no such field here; look for its right name, or leave it out"
        case "timezone_aware":
            return "it must say its zone, like 2026-11-22T00:00:00Z"
        case "too_short":
            return f"it must have at least {found['ctx']['min_length']} items"
        case "too_long":
            return f"it must have at most {found['ctx']['max_length']} items"
        case _:
            return str(found["msg"]).removeprefix("Value error, ")


def _named_field(sentence: str) -> FieldError | None:
    """The field that our sentences name first: "number: '0' is not …"."""
    named = _NAMED_FIELD.fullmatch(sentence)
    if named is None:
        return None
    quoted = re.match(r"'([^']*)' ", named[2])
    return FieldError(field=named[1], value=shown_value(named[1], quoted[1] if quoted else None), rule=named[2])

"""Errors as HTTP: every error answer is a problem (RFC 9457), and only here an error gets its status."""

from __future__ import annotations

from collections.abc import Mapping
from http import HTTPStatus
from math import ceil

from fastapi import FastAPI, Request
from fastapi.exceptions import RequestValidationError
from fastapi.responses import JSONResponse
from starlette.exceptions import HTTPException

from engine.foundation.errors import Conflict, DariError, Invalid, NotAllowed, NotFound, TryLater

_STATUS: Mapping[type[DariError], HTTPStatus] = {
    NotFound: HTTPStatus.NOT_FOUND,
    NotAllowed: HTTPStatus.FORBIDDEN,
    Invalid: HTTPStatus.UNPROCESSABLE_ENTITY,
    Conflict: HTTPStatus.CONFLICT,
    TryLater: HTTPStatus.SERVICE_UNAVAILABLE,
}


def problem(status: HTTPStatus, detail: str, headers: Mapping[str, str] | None = None) -> JSONResponse:
    """An application/problem+json answer; `detail` is the one sentence that people read."""
    return JSONResponse(
        {"type": "about:blank", "title": status.phrase, "status": status.value, "detail": detail},
        status_code=status.value,
        headers=dict(headers or {}),
        media_type="application/problem+json",
    )


def add_problems(app: FastAPI) -> None:
    """Makes `app` answer every error as a problem. What nobody foresaw stays in the log: its answer tells nothing."""

    @app.exception_handler(DariError)
    async def dari_error(_request: Request, error: DariError) -> JSONResponse:
        status = next(
            (status for kind, status in _STATUS.items() if isinstance(error, kind)),
            HTTPStatus.INTERNAL_SERVER_ERROR,
        )
        headers = {"Retry-After": str(ceil(error.after))} if isinstance(error, TryLater) else None
        return problem(status, str(error), headers)

    @app.exception_handler(RequestValidationError)
    async def invalid_request(_request: Request, error: RequestValidationError) -> JSONResponse:
        first = error.errors()[0]
        where = ".".join(str(part) for part in first["loc"])
        return problem(HTTPStatus.UNPROCESSABLE_ENTITY, f"{where}: {first['msg']}")

    @app.exception_handler(HTTPException)
    async def http_error(_request: Request, error: HTTPException) -> JSONResponse:
        status = HTTPStatus(error.status_code)
        return problem(status, str(error.detail), error.headers)

    @app.exception_handler(HTTPStatus.INTERNAL_SERVER_ERROR)
    async def unforeseen(_request: Request, _error: Exception) -> JSONResponse:
        return problem(HTTPStatus.INTERNAL_SERVER_ERROR, "something failed here; the log says what")

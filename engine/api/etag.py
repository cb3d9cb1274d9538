"""Nobody overwrites what another changed meanwhile: each thing has a tag, and an edit names the one it was made on."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from hashlib import sha256
from typing import Annotated, TypeVar

from fastapi import Depends, Header, Response
from pydantic import BaseModel
from sqlalchemy.ext.asyncio import AsyncConnection

from engine.api import store
from engine.api.problems import Code, Refused

Shown = TypeVar("Shown", bound=BaseModel)


def tag_of(shown: BaseModel) -> str:
    """The strong entity tag of a thing as it is answered, with its quotation marks."""
    return f'"{sha256(shown.model_dump_json().encode()).hexdigest()[:32]}"'


def tagged(response: Response, shown: Shown) -> Shown:
    """The answer, whose tag goes into the response's ETag."""
    response.headers["ETag"] = tag_of(shown)
    return shown


async def _if_match(
    if_match: Annotated[
        str | None,
        Header(description="The ETag of what is changed, as it was read; * changes it whatever it is now."),
    ] = None,
) -> str:
    if if_match is None or not if_match.strip():
        raise Refused(
            Code.IF_MATCH_MISSING,
            "If-Match: send the ETag of what you change, as you read it, so that nobody's change is overwritten",
        )
    return if_match


IfMatch = Annotated[str, Depends(_if_match)]
"""The If-Match header of an edit; without it the request is refused."""


def same(tag: str, named: str) -> bool:
    """Whether a tag is among those that If-Match or If-None-Match names; weak ones count as theirs."""
    return named.strip() == "*" or tag in (one.strip().removeprefix("W/") for one in named.split(","))


async def unchanged(
    connection: AsyncConnection,
    kind: str,
    identifier: object,
    if_match: str,
    read: Callable[[], Awaitable[Shown]],
    *,
    owner: object = "",
) -> Shown:
    """What is changed, as it is now; no other edit, by whichever door, gets between this and the transaction's end.

    `kind` is one of `store.KINDS`; `owner`: whose it is, where `identifier` alone does not tell one from another.
    Raises Refused (412) when it is not what If-Match names any more.
    """
    await store.hold(connection, kind, str(identifier), str(owner))
    shown = await read()
    if not same(tag_of(shown), if_match):
        raise Refused(
            Code.CHANGED_MEANWHILE,
            "If-Match: somebody has changed it meanwhile; read it again and make the change on what it is now",
            headers={"ETag": tag_of(shown)},
        )
    return shown

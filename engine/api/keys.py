"""API keys: made with scopes, shown once, revoked at any time."""

from __future__ import annotations

from datetime import datetime
from http import HTTPStatus
from typing import Annotated
from uuid import UUID

from annotated_types import Len
from fastapi import APIRouter, Path, Query
from pydantic import ConfigDict, Field
from pydantic.config import JsonDict

from engine.accounts import keys
from engine.accounts.model import Deed
from engine.accounts.user import ApiKey
from engine.api.door import ActorDep, Now, Rows, door_router
from engine.api.pages import Instant, Page, PageOf
from engine.api.users import in_order
from engine.api.wire import Shape

KeyInPath = Annotated[UUID, Path(description="A key's id.")]

_EXAMPLE: JsonDict = {
    "id": "019abf5e-0c00-7000-8000-000000000004",
    "account": "019abf5e-0c00-7000-8000-000000000001",
    "name": "예약 프로그램",
    "prefix": "Ab3dE6gH",
    "scopes": ["see calls"],
    "created_at": "2026-11-22T00:00:00Z",
    "created_by": "user:019abf5e-0c00-7000-8000-000000000002",
    "expires_at": None,
    "used_at": None,
    "revoked_at": None,
}


class KeyShown(Shape):
    """A key, without its secret."""

    model_config = ConfigDict(json_schema_extra={"examples": [_EXAMPLE]})

    id: UUID
    account: UUID
    name: str
    prefix: str
    """The part that is shown: `dari_PREFIX_…`."""
    scopes: list[Deed]
    """All that may be done with it."""
    created_at: datetime
    created_by: str
    expires_at: datetime | None
    used_at: datetime | None
    """The last time, to the minute."""
    revoked_at: datetime | None


class KeyWanted(Shape):
    """A key to make."""

    model_config = ConfigDict(
        json_schema_extra={
            "examples": [
                {
                    "account": "019abf5e-0c00-7000-8000-000000000001",
                    "name": "예약 프로그램",
                    "scopes": ["see calls", "read events"],
                    "expires_at": "2027-11-22T00:00:00Z",
                }
            ]
        }
    )

    account: UUID
    name: Annotated[str, Field(min_length=1, max_length=100)]
    scopes: Annotated[list[Deed], Len(1, len(Deed))]
    """None beyond what you may do yourself."""
    expires_at: Instant | None = None
    """Left away: never."""


class KeyMade(Shape):
    """A new key."""

    key: KeyShown
    secret: str
    """For `Authorization: Bearer`. Nobody can be shown it again."""


def keys_router() -> APIRouter:
    """/keys."""
    router = door_router("keys")

    @router.get("/keys")
    async def list_keys(
        actor: ActorDep,
        rows: Rows,
        page: PageOf,
        account: Annotated[UUID | None, Query(description="Of this account only.")] = None,
        revoked: Annotated[bool, Query(description="Revoked ones too.")] = False,
    ) -> Page[KeyShown]:
        """The keys that you may see, by id."""
        found = await keys.listing(
            rows, actor, account=account, revoked=revoked, after=page.behind(UUID), limit=page.rows
        )
        return page.page(found, _shown, lambda key: (key.id,))

    @router.post("/keys", status_code=HTTPStatus.CREATED)
    async def make_key(wanted: KeyWanted, actor: ActorDep, rows: Rows, now: Now) -> KeyMade:
        """Makes a key of an account. Its secret is in this answer only."""
        key, secret = await keys.make(
            rows, actor, wanted.account, wanted.name, frozenset(wanted.scopes), now, expires_at=wanted.expires_at
        )
        return KeyMade(key=_shown(key), secret=secret)

    @router.get("/keys/{key}")
    async def read_key(key: KeyInPath, actor: ActorDep, rows: Rows) -> KeyShown:
        """One key."""
        return _shown(await keys.find(rows, actor, key))

    @router.post("/keys/{key}/revoke")
    async def revoke_key(key: KeyInPath, actor: ActorDep, rows: Rows, now: Now) -> KeyShown:
        """Ends a key for good, from the next request on."""
        return _shown(await keys.revoke(rows, actor, key, now))

    return router


def _shown(key: ApiKey) -> KeyShown:
    return KeyShown(
        id=key.id,
        account=key.place.account,
        name=key.name,
        prefix=key.prefix,
        scopes=in_order(key.scopes),
        created_at=key.created_at,
        created_by=key.created_by,
        expires_at=key.expires_at,
        used_at=key.used_at,
        revoked_at=key.revoked_at,
    )

"""Users: who belongs to an account, and what they may."""

from __future__ import annotations

from collections.abc import Collection
from datetime import datetime
from http import HTTPStatus
from typing import Annotated
from uuid import UUID

from annotated_types import MaxLen
from fastapi import APIRouter, Path, Query, Response
from pydantic import ConfigDict, Field
from pydantic.config import JsonDict

from engine.accounts import one_time_codes, users
from engine.accounts.model import Deed, Role
from engine.accounts.user import NewUser, Token, TokenKind, User, UserChange, UserStatus
from engine.api.door import ActorDep, Now, Rows, door_router
from engine.api.etag import IfMatch, tagged, unchanged
from engine.api.pages import Page, PageOf
from engine.api.wire import Shape

UserInPath = Annotated[UUID, Path(description="A user's id.")]
Name = Annotated[str, Field(min_length=1, max_length=100, examples=["김사장"])]
Deeds = Annotated[list[Deed], MaxLen(len(Deed))]

_EXAMPLE: JsonDict = {
    "id": "019abf5e-0c00-7000-8000-000000000002",
    "account": "019abf5e-0c00-7000-8000-000000000001",
    "login": "kim@example.com",
    "name": "김사장",
    "role": "staff",
    "allowed": ["change rules"],
    "status": "active",
    "one_time_codes": False,
    "created_at": "2026-11-22T00:00:00Z",
    "signed_in_at": None,
}


class UserShown(Shape):
    """Somebody who signs in."""

    model_config = ConfigDict(json_schema_extra={"examples": [_EXAMPLE]})

    id: UUID
    account: UUID
    login: str
    """E-mail address."""
    name: str
    role: Role
    allowed: list[Deed]
    """What a staff user may do beyond looking."""
    status: UserStatus
    one_time_codes: bool
    """Whether a code is asked for beside the password."""
    created_at: datetime
    signed_in_at: datetime | None


class UserWanted(Shape):
    """Whom to invite."""

    model_config = ConfigDict(
        json_schema_extra={
            "examples": [
                {
                    "account": "019abf5e-0c00-7000-8000-000000000001",
                    "login": "kim@example.com",
                    "name": "김사장",
                    "role": "shop owner",
                }
            ]
        }
    )

    account: UUID
    login: Annotated[str, Field(min_length=3, max_length=254)]
    name: Name
    role: Role
    allowed: Deeds = Field(default_factory=list)
    """For staff only."""


class UserChanged(Shape):
    """What is to be different; what is left away stays."""

    model_config = ConfigDict(json_schema_extra={"examples": [{"role": "staff", "allowed": ["change rules"]}]})

    name: Name | None = None
    role: Role | None = None
    allowed: Deeds | None = None


class TokenShown(Shape):
    """With it the user sets a password, once, at POST /password. Shown once; hand it to them."""

    secret: str
    kind: TokenKind
    until: datetime


class Invited(Shape):
    """A new user, and the token with which they set their password."""

    user: UserShown
    token: TokenShown


def users_router() -> APIRouter:
    """/users."""
    router = door_router("users")

    @router.get("/users")
    async def list_users(
        actor: ActorDep,
        rows: Rows,
        page: PageOf,
        account: Annotated[UUID | None, Query(description="Of this account only.")] = None,
        removed: Annotated[bool, Query(description="Removed ones too.")] = False,
    ) -> Page[UserShown]:
        """The users whom you may see, by id."""
        found = await users.listing(
            rows, actor, account=account, removed=removed, after=page.behind(UUID), limit=page.rows
        )
        return page.page(found, user_shown, lambda user: (user.id,))

    @router.post("/users", status_code=HTTPStatus.CREATED)
    async def invite_user(wanted: UserWanted, actor: ActorDep, rows: Rows, now: Now, response: Response) -> Invited:
        """Invites somebody to an account."""
        newcomer = NewUser(login=wanted.login, name=wanted.name, role=wanted.role, allowed=frozenset(wanted.allowed))
        user, token = await users.add(rows, actor, wanted.account, newcomer, now)
        return Invited(user=tagged(response, user_shown(user)), token=_token(token))

    @router.get("/users/{user}")
    async def read_user(user: UserInPath, actor: ActorDep, rows: Rows, response: Response) -> UserShown:
        """One user."""
        return tagged(response, user_shown(await users.find(rows, actor, user)))

    @router.patch("/users/{user}")
    async def change_user(
        user: UserInPath,
        change: UserChanged,
        if_match: IfMatch,
        actor: ActorDep,
        rows: Rows,
        now: Now,
        response: Response,
    ) -> UserShown:
        """Changes name, role or what is allowed."""

        async def read() -> UserShown:
            return user_shown(await users.find(rows, actor, user))

        await unchanged(rows, "user", user, if_match, read)
        allowed = None if change.allowed is None else frozenset(change.allowed)
        wanted = UserChange(name=change.name, role=change.role, allowed=allowed)
        return tagged(response, user_shown(await users.change(rows, actor, user, wanted, now)))

    @router.delete("/users/{user}", status_code=HTTPStatus.NO_CONTENT)
    async def remove_user(user: UserInPath, actor: ActorDep, rows: Rows, now: Now) -> None:
        """Takes somebody away for good; what they did stays written down."""
        await users.remove(rows, actor, user, now)

    return router


def user_access_router() -> APIRouter:
    """How users get in: locked or not, with which password and codes."""
    router = door_router("users")

    @router.post("/users/{user}/lock")
    async def lock_user(user: UserInPath, actor: ActorDep, rows: Rows, now: Now, response: Response) -> UserShown:
        """Keeps somebody out until they are unlocked, and ends their sessions."""
        return tagged(response, user_shown(await users.lock(rows, actor, user, now)))

    @router.post("/users/{user}/unlock")
    async def unlock_user(user: UserInPath, actor: ActorDep, rows: Rows, now: Now, response: Response) -> UserShown:
        """Lets somebody in again."""
        return tagged(response, user_shown(await users.unlock(rows, actor, user, now)))

    @router.delete("/users/{user}/one-time-codes", status_code=HTTPStatus.NO_CONTENT)
    async def take_codes_off(user: UserInPath, actor: ActorDep, rows: Rows, now: Now) -> None:
        """For a user who has lost their authenticator."""
        await one_time_codes.take_off(rows, actor, user, now)

    @router.post("/users/{user}/reset", status_code=HTTPStatus.CREATED)
    async def reset_user(user: UserInPath, actor: ActorDep, rows: Rows, now: Now) -> TokenShown:
        """A token with which the user sets a new password."""
        return _token(await users.reset(rows, actor, user, now))

    return router


def user_shown(user: User) -> UserShown:
    """The user as answers have it."""
    return UserShown(
        id=user.id,
        account=user.place.account,
        login=user.login,
        name=user.name,
        role=user.role,
        allowed=in_order(user.allowed),
        status=user.status,
        one_time_codes=user.one_time_codes,
        created_at=user.created_at,
        signed_in_at=user.signed_in_at,
    )


def in_order(deeds: Collection[Deed]) -> list[Deed]:
    """Deeds as answers have them: the same ones are always in the same order."""
    return sorted(deeds, key=lambda deed: deed.value)


def _token(token: Token) -> TokenShown:
    return TokenShown(secret=token.secret, kind=token.kind, until=token.until)

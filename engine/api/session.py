"""Signing in and out, who one is, one's own sessions and password."""

from __future__ import annotations

from datetime import datetime
from http import HTTPStatus
from typing import Annotated
from uuid import UUID

import msgspec
from fastapi import APIRouter, Path
from pydantic import ConfigDict, Field
from sqlalchemy.ext.asyncio import AsyncConnection

from engine.accounts import one_time_codes, sessions
from engine.accounts.model import Actor, Deed, Role
from engine.accounts.new_password import change_password, set_password
from engine.accounts.permissions import may
from engine.accounts.sessions import CodeNeeded, SignedIn
from engine.accounts.user import Session
from engine.accounts.users import user_id_of
from engine.api.door import (
    ActorDep,
    Database,
    Now,
    OpenRoute,
    Peer,
    Rows,
    TermsDep,
    TokenDep,
    answers_also,
    door_router,
    never_kept,
)
from engine.api.problems import Code, Refused
from engine.api.users import UserInPath
from engine.api.wire import Shape
from engine.foundation.errors import NotAllowed

Login = Annotated[str, Field(min_length=1, max_length=254, examples=["kim@example.com"])]
Password = Annotated[str, Field(min_length=1, max_length=1000, examples=["말은 나면 제주도로"])]
OneTimeCode = Annotated[str, Field(min_length=1, max_length=12, examples=["492039"])]


class SignIn(Shape):
    """Who signs in."""

    model_config = ConfigDict(
        json_schema_extra={"examples": [{"login": "kim@example.com", "password": "말은 나면 제주도로"}]}
    )

    login: Login
    password: Password
    code: OneTimeCode | None = None
    """Of the authenticator, for those who have one."""


class NewSession(Shape):
    """Somebody has signed in."""

    token: str
    """For `Authorization: Bearer`; shown once."""
    session: UUID
    user: UUID
    until: datetime
    """The longest that it lasts; it ends earlier when it is not used."""


class Self(Shape):
    """Who asks, and what they may do in their own account."""

    who: str
    """`user:ID` or `key:ID`."""
    account: UUID
    role: Role
    may: list[Deed]
    """Of what the own account has; below it other things may be allowed."""
    read_only: bool


class SessionShown(Shape):
    """An open session."""

    id: UUID
    user: UUID
    peer: str
    """The address from which somebody signed in."""
    created_at: datetime
    used_at: datetime
    """To the minute."""
    until: datetime


class Sessions(Shape):
    """The open sessions of a user, the newest first."""

    items: list[SessionShown]


class Ended(Shape):
    """How many sessions were ended."""

    ended: int


class PasswordChange(Shape):
    """One's own password."""

    model_config = ConfigDict(
        json_schema_extra={"examples": [{"old": "말은 나면 제주도로", "new": "사람은 나면 서울로"}]}
    )

    old: Password
    new: Password


class Enrolment(Shape):
    """What an authenticator is told; shown once."""

    secret: str
    """In base32, for typing."""
    address: str
    """otpauth://…, for a QR code."""


class CodeTyped(Shape):
    """A one-time code."""

    model_config = ConfigDict(json_schema_extra={"examples": [{"code": "492039"}]})

    code: OneTimeCode


class PasswordSet(Shape):
    """A password, set with the token of an invitation or a reset."""

    model_config = ConfigDict(
        json_schema_extra={
            "examples": [{"token": "0aZ9bY8cX7dW6eV5fU4gT3hS2iR1jQ0kP9lO8mN7nM6", "password": "사람은 나면 서울로"}]
        }
    )

    token: Annotated[str, Field(min_length=1, max_length=200)]
    password: Password


def sign_in_router() -> APIRouter:
    """What those do who are not signed in yet."""
    router = door_router("session", OpenRoute)

    @router.post("/session", status_code=HTTPStatus.CREATED, openapi_extra=answers_also(401))
    @never_kept
    async def sign_in(wanted: SignIn, database: Database, terms: TermsDep, peer: Peer, now: Now) -> NewSession:
        """Signs in. After failures it has to wait; `code_needed` asks for the one-time code too."""
        try:
            return _new(
                await sessions.sign_in(
                    database, wanted.login, wanted.password, wanted.code, peer=peer, now=now, terms=terms
                )
            )
        except CodeNeeded as error:
            raise Refused(Code.CODE_NEEDED, str(error)) from None
        except NotAllowed as error:
            raise Refused(Code.WRONG_SIGN_IN, str(error)) from None

    @router.post("/password", status_code=HTTPStatus.NO_CONTENT)
    @never_kept
    async def choose_password(wanted: PasswordSet, rows: Rows, peer: Peer, now: Now) -> None:
        """Sets a password with the token of an invitation or a reset; it works once, and ends all sessions."""
        await set_password(rows, wanted.token, wanted.password, now, peer=peer)

    return router


def session_router() -> APIRouter:
    """Who asks, and signing out."""
    router = door_router("session")

    @router.get("/session")
    async def read_self(actor: ActorDep) -> Self:
        """Who you are, and what you may do."""
        reasonable = msgspec.structs.replace(actor, reason=actor.reason or "asked")
        return Self(
            who=actor.who,
            account=actor.place.account,
            role=actor.role,
            may=[deed for deed in Deed if may(reasonable, deed, actor.place)],
            read_only=actor.read_only,
        )

    @router.delete("/session", status_code=HTTPStatus.NO_CONTENT)
    async def sign_out(actor: ActorDep, token: TokenDep, rows: Rows, now: Now) -> None:
        """Ends the session whose token you send."""
        user_id_of(actor)
        await sessions.sign_out(rows, token, now, peer=actor.peer)

    return router


def own_sign_in_router() -> APIRouter:
    """One's own password and one-time codes."""
    router = door_router("session")

    @router.post("/session/password", status_code=HTTPStatus.NO_CONTENT)
    @never_kept
    async def change_own_password(
        wanted: PasswordChange, actor: ActorDep, token: TokenDep, database: Database, now: Now
    ) -> None:
        """Sets your password; your other sessions end."""
        await change_password(database, actor, wanted.old, wanted.new, now, session_token=token)

    @router.post("/session/one-time-codes", status_code=HTTPStatus.CREATED)
    @never_kept
    async def begin_codes(actor: ActorDep, rows: Rows, terms: TermsDep) -> Enrolment:
        """A secret for your authenticator; nothing is asked for until you confirm it with a code."""
        begun = await one_time_codes.begin(rows, actor, terms.key)
        return Enrolment(secret=begun.secret, address=begun.address)

    @router.post("/session/one-time-codes/confirm", status_code=HTTPStatus.NO_CONTENT)
    async def confirm_codes(typed: CodeTyped, actor: ActorDep, rows: Rows, terms: TermsDep, now: Now) -> None:
        """Asks you for one-time codes from now on."""
        await one_time_codes.confirm(rows, actor, typed.code, terms.key, now)

    @router.post("/session/one-time-codes/off", status_code=HTTPStatus.NO_CONTENT)
    @never_kept
    async def turn_codes_off(typed: CodeTyped, actor: ActorDep, database: Database, terms: TermsDep, now: Now) -> None:
        """Asks you for no more codes; it takes one."""
        await one_time_codes.turn_off(database, actor, typed.code, terms.key, now)

    return router


def sessions_router() -> APIRouter:
    """Open sessions, one's own and those of users whom one may see."""
    router = door_router("session")

    @router.get("/sessions")
    async def list_own_sessions(actor: ActorDep, rows: Rows, now: Now) -> Sessions:
        """Your open sessions."""
        return await _sessions(rows, actor, user_id_of(actor), now)

    @router.delete("/sessions")
    async def end_own_sessions(actor: ActorDep, token: TokenDep, rows: Rows, now: Now) -> Ended:
        """Ends your sessions except the one that asks."""
        return Ended(ended=await sessions.end_all(rows, actor, user_id_of(actor), now, but=token))

    @router.delete("/sessions/{session}", status_code=HTTPStatus.NO_CONTENT)
    async def end_session(
        session: Annotated[UUID, Path(description="A session's id.")], actor: ActorDep, rows: Rows, now: Now
    ) -> None:
        """Ends one session, your own or that of a user whom you may change."""
        await sessions.end(rows, actor, session, now)

    @router.get("/users/{user}/sessions")
    async def list_sessions(user: UserInPath, actor: ActorDep, rows: Rows, now: Now) -> Sessions:
        """The open sessions of a user."""
        return await _sessions(rows, actor, user, now)

    @router.delete("/users/{user}/sessions")
    async def end_sessions(user: UserInPath, actor: ActorDep, token: TokenDep, rows: Rows, now: Now) -> Ended:
        """Ends all sessions of a user; among your own the one that asks goes on."""
        return Ended(ended=await sessions.end_all(rows, actor, user, now, but=token))

    return router


async def _sessions(rows: AsyncConnection, actor: Actor, user: UUID, now: datetime) -> Sessions:
    return Sessions(items=[_shown(one) for one in await sessions.sessions_of(rows, actor, user, now)])


def _new(signed_in: SignedIn) -> NewSession:
    return NewSession(
        token=signed_in.token, session=signed_in.session.id, user=signed_in.user.id, until=signed_in.until
    )


def _shown(session: Session) -> SessionShown:
    return SessionShown(
        id=session.id,
        user=session.user_id,
        peer=session.peer,
        created_at=session.created_at,
        used_at=session.used_at,
        until=session.until,
    )

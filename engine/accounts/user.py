"""Users, what their passwords are set with, their sessions, and the keys of programs. Values only."""

from __future__ import annotations

import re
from datetime import datetime
from enum import Enum
from uuid import UUID

import msgspec

from engine.accounts.model import Actor, Deed, Place, Role

_LONGEST_LOGIN = 254
_LOGIN = re.compile(r"[a-z0-9.!#$%&'*+/=?^_`{|}~-]{1,64}@[a-z0-9-]+(\.[a-z0-9-]+)+")


class UserStatus(Enum):
    """Whether somebody may sign in."""

    INVITED = "invited"
    """Has not set a password yet."""
    ACTIVE = "active"
    LOCKED = "locked"
    """Until somebody who may unlocks them."""
    REMOVED = "removed"
    """For good; the login is free again."""


class User(msgspec.Struct, frozen=True, kw_only=True):
    """Somebody who signs in. Nothing secret."""

    id: UUID
    place: Place
    """Of the account that they belong to."""
    login: str
    """An e-mail address in small letters; no two users have the same."""
    name: str
    role: Role
    allowed: frozenset[Deed]
    """What a staff user may do beyond looking."""
    status: UserStatus
    one_time_codes: bool
    """Whether a code is asked for beside the password."""
    created_at: datetime
    signed_in_at: datetime | None
    """The last time."""

    @property
    def who(self) -> str:
        """As `Actor.who`."""
        return f"user:{self.id}"

    def actor(self, peer: str = "") -> Actor:
        """Who they are when they do something."""
        return Actor(who=self.who, place=self.place, role=self.role, allowed=self.allowed, peer=peer)


class NewUser(msgspec.Struct, frozen=True, kw_only=True):
    """Whom to invite."""

    login: str
    name: str
    role: Role
    allowed: frozenset[Deed] = frozenset()


class UserChange(msgspec.Struct, frozen=True, kw_only=True):
    """What is to be different; None: as it is."""

    name: str | None = None
    role: Role | None = None
    allowed: frozenset[Deed] | None = None


class TokenKind(Enum):
    """What a password is set with."""

    INVITE = "invite"
    RESET = "reset"


class Token(msgspec.Struct, frozen=True, kw_only=True):
    """To be handed to the user by whoever asked for it: with it a password is set, once."""

    secret: str
    """Shown once; only its hash is kept."""
    kind: TokenKind
    until: datetime

    def __repr__(self) -> str:
        return f"Token({self.kind.value}, until {self.until:%Y-%m-%d %H:%M})"


class Session(msgspec.Struct, frozen=True, kw_only=True):
    """Somebody is signed in somewhere."""

    id: UUID
    user_id: UUID
    peer: str
    created_at: datetime
    used_at: datetime
    """To the minute."""
    until: datetime
    """Whatever happens."""


class ApiKey(msgspec.Struct, frozen=True, kw_only=True):
    """What a program of an account comes with. Nothing secret."""

    id: UUID
    place: Place
    """Of the account whose key it is."""
    name: str
    prefix: str
    """The part of the key that is shown: `dari_PREFIX_…`."""
    scopes: frozenset[Deed]
    """All that may be done with it."""
    created_at: datetime
    created_by: str
    """`Actor.who`."""
    expires_at: datetime | None
    used_at: datetime | None
    """The last time, to the minute."""
    revoked_at: datetime | None

    @property
    def who(self) -> str:
        """As `Actor.who`."""
        return f"key:{self.id}"


def is_login(text: str) -> bool:
    """Whether it has the shape of one, in small letters."""
    return len(text) <= _LONGEST_LOGIN and _LOGIN.fullmatch(text) is not None

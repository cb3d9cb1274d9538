"""The SQL of users and of the tokens that set a password. Every function works in the caller's transaction."""

from __future__ import annotations

from datetime import datetime
from typing import Any, NamedTuple
from uuid import UUID

import msgspec
from sqlalchemy import Row, text
from sqlalchemy.ext.asyncio import AsyncConnection

from engine.accounts.model import AccountKind, Deed, Place, Role
from engine.accounts.user import TokenKind, User, UserStatus

_FIELDS = """
    u.id, u.account_id, u.login, u.name, u.role, u.allowed::text AS allowed, u.status,
    u.totp_since IS NOT NULL AS one_time_codes, u.created_at, u.signed_in_at, a.path, a.kind
"""
_FROM = "users u JOIN accounts a ON a.id = u.account_id"
# The names below are our own field names; values are always parameters.
_INSERT = text("""
    INSERT INTO users (id, account_id, login, name, role, allowed, status, created_at)
    VALUES (:id, :account, :login, :name, :role, CAST(CAST(:allowed AS text) AS jsonb), 'invited', :now)
    ON CONFLICT (login) WHERE status <> 'removed' DO NOTHING
    RETURNING id
""")
_BY_ID = text(f"SELECT {_FIELDS} FROM {_FROM} WHERE u.id = :id")  # noqa: S608
_BY_ID_LOCKED = text(f"SELECT {_FIELDS} FROM {_FROM} WHERE u.id = :id FOR NO KEY UPDATE OF u")  # noqa: S608
_BY_LOGIN = text(f"SELECT {_FIELDS} FROM {_FROM} WHERE u.login = :login AND u.status <> 'removed'")  # noqa: S608
_LIST = text(f"""
    SELECT {_FIELDS} FROM {_FROM}
    WHERE (CAST(:within AS uuid) IS NULL OR a.path @> ARRAY[CAST(:within AS uuid)])
      AND (CAST(:account AS uuid) IS NULL OR u.account_id = :account)
      AND (:removed OR u.status <> 'removed') AND (CAST(:after AS uuid) IS NULL OR u.id > :after)
    ORDER BY u.id LIMIT :limit
""")  # noqa: S608
_EVER_USED = text("SELECT EXISTS (SELECT FROM users WHERE account_id = :account AND password_at IS NOT NULL)")
_ANYBODY = text("""
    SELECT EXISTS (SELECT FROM users WHERE account_id = :account AND status <> 'removed'
                   AND (CAST(:but AS uuid) IS NULL OR id <> :but))
""")
_MANAGES = text("""
    SELECT EXISTS (SELECT FROM users WHERE account_id = :account AND status = 'active' AND role = :role AND id <> :but)
""")
_CHANGE = text("""
    UPDATE users SET name = :name, role = :role, allowed = CAST(CAST(:allowed AS text) AS jsonb) WHERE id = :id
""")
_MOVE = text("UPDATE users SET status = :to WHERE id = :id AND status = ANY(:expected) RETURNING id")
_UNLOCK = text("""
    UPDATE users SET status = CASE WHEN password_hash IS NULL THEN 'invited' ELSE 'active' END
    WHERE id = :id AND status = 'locked' RETURNING id
""")
_CREDENTIALS = text(f"""
    SELECT {_FIELDS}, u.password_hash, u.totp, u.totp_since, u.totp_used, a.status AS account_status
    FROM {_FROM} WHERE u.id = :id
""")  # noqa: S608
_CREDENTIALS_BY_LOGIN = text(f"""
    SELECT {_FIELDS}, u.password_hash, u.totp, u.totp_since, u.totp_used, a.status AS account_status
    FROM {_FROM} WHERE u.login = :login AND u.status <> 'removed'
""")  # noqa: S608
_SET_PASSWORD = text("""
    UPDATE users SET password_hash = :hash, password_at = :now,
        status = CASE status WHEN 'invited' THEN 'active' ELSE status END
    WHERE id = :id AND status <> 'removed' RETURNING id
""")
_REPLACE_PASSWORD = text("""
    UPDATE users SET password_hash = :new, password_at = :now
    WHERE id = :id AND password_hash = :old AND status = 'active' RETURNING id
""")
_REHASH = text("UPDATE users SET password_hash = :new WHERE id = :id AND password_hash = :old")
_SIGNED_IN = text("""
    UPDATE users SET signed_in_at = :now
    WHERE id = :id AND status = 'active' AND password_hash = :hash RETURNING id
""")
_PUT_TOKEN = text("""
    INSERT INTO user_tokens (hash, user_id, kind, expires_at) VALUES (:hash, :user, :kind, :until)
    ON CONFLICT (user_id) DO UPDATE SET hash = excluded.hash, kind = excluded.kind, expires_at = excluded.expires_at
""")
_TOKEN = text("SELECT user_id, kind, expires_at FROM user_tokens WHERE hash = :hash")
_USE_TOKEN = text("DELETE FROM user_tokens WHERE hash = :hash AND expires_at > :now RETURNING user_id")
_DROP_TOKENS = text("DELETE FROM user_tokens WHERE user_id = :user")
_DROP_OLD_TOKENS = text("DELETE FROM user_tokens WHERE expires_at <= :before")
_BEGIN_CODES = text("""
    UPDATE users SET totp = :sealed, totp_used = 0 WHERE id = :id AND totp_since IS NULL AND status = 'active'
    RETURNING id
""")
_CONFIRM_CODES = text("""
    UPDATE users SET totp_since = :now, totp_used = :step
    WHERE id = :id AND totp = :sealed AND totp_since IS NULL RETURNING id
""")
_USE_CODE = text("""
    UPDATE users SET totp_used = :step WHERE id = :id AND totp = :sealed AND totp_used < :step RETURNING id
""")
_DROP_CODES = text("""
    UPDATE users SET totp = NULL, totp_since = NULL, totp_used = 0 WHERE id = :id AND totp_since IS NOT NULL
    RETURNING id
""")


class Credentials(NamedTuple):
    """What a sign-in is compared with."""

    user: User
    password_hash: str | None
    totp: bytes | None
    """Sealed; confirmed or not."""
    totp_used: int
    account_closed: bool


class KnownToken(NamedTuple):
    """A token that is there, used by nobody yet."""

    user_id: UUID
    kind: TokenKind
    until: datetime


async def insert(connection: AsyncConnection, user: User) -> bool:
    """False, and nothing is changed, when the login is taken."""
    values = {
        "id": user.id,
        "account": user.place.account,
        "login": user.login,
        "name": user.name,
        "role": user.role.value,
        "allowed": _written(user.allowed),
        "now": user.created_at,
    }
    return (await connection.execute(_INSERT, values)).one_or_none() is not None


async def find(connection: AsyncConnection, user: UUID, *, lock: bool = False) -> User | None:
    """With `lock` nobody else changes it until the transaction ends."""
    return _user_if_any(await connection.execute(_BY_ID_LOCKED if lock else _BY_ID, {"id": user}))


async def by_login(connection: AsyncConnection, login: str) -> User | None:
    return _user_if_any(await connection.execute(_BY_LOGIN, {"login": login}))


async def listing(
    connection: AsyncConnection,
    *,
    within: UUID | None,
    account: UUID | None,
    removed: bool,
    after: UUID | None,
    limit: int,
) -> list[User]:
    values = {"within": within, "account": account, "removed": removed, "after": after, "limit": limit}
    return [_user(row) for row in await connection.execute(_LIST, values)]


async def ever_used(connection: AsyncConnection, account: UUID) -> bool:
    """Whether any user of the account ever set a password."""
    return bool(await connection.scalar(_EVER_USED, {"account": account}))


async def anybody(connection: AsyncConnection, account: UUID, *, but: UUID | None) -> bool:
    """Whether the account has users, invited ones too, beside `but`."""
    return bool(await connection.scalar(_ANYBODY, {"account": account, "but": but}))


async def managed(connection: AsyncConnection, account: UUID, role: Role, *, but: UUID) -> bool:
    """Whether somebody beside `but` signs in with that role in the account."""
    return bool(await connection.scalar(_MANAGES, {"account": account, "role": role.value, "but": but}))


async def change(connection: AsyncConnection, user: User) -> None:
    values = {"id": user.id, "name": user.name, "role": user.role.value, "allowed": _written(user.allowed)}
    await connection.execute(_CHANGE, values)


async def move(connection: AsyncConnection, user: UUID, expected: tuple[UserStatus, ...], to: UserStatus) -> bool:
    """Whether it was in one of the statuses expected."""
    values = {"id": user, "expected": [status.value for status in expected], "to": to.value}
    return (await connection.execute(_MOVE, values)).one_or_none() is not None


async def unlock(connection: AsyncConnection, user: UUID) -> bool:
    """Back to what it was; False: it was not locked."""
    return (await connection.execute(_UNLOCK, {"id": user})).one_or_none() is not None


async def credentials(connection: AsyncConnection, user: UUID) -> Credentials | None:
    return _credentials_if_any(await connection.execute(_CREDENTIALS, {"id": user}))


async def credentials_by_login(connection: AsyncConnection, login: str) -> Credentials | None:
    return _credentials_if_any(await connection.execute(_CREDENTIALS_BY_LOGIN, {"login": login}))


async def set_password(connection: AsyncConnection, user: UUID, kept: str, now: datetime) -> bool:
    """Makes an invited user active; a locked one stays locked. False: there is none any more."""
    values = {"id": user, "hash": kept, "now": now}
    return (await connection.execute(_SET_PASSWORD, values)).one_or_none() is not None


async def replace_password(connection: AsyncConnection, user: UUID, old: str, new: str, now: datetime) -> bool:
    """False: it is not the old one any more."""
    values = {"id": user, "old": old, "new": new, "now": now}
    return (await connection.execute(_REPLACE_PASSWORD, values)).one_or_none() is not None


async def rehash(connection: AsyncConnection, user: UUID, old: str, new: str) -> None:
    """The same password, kept with more work."""
    await connection.execute(_REHASH, {"id": user, "old": old, "new": new})


async def signed_in(connection: AsyncConnection, user: UUID, kept: str, now: datetime) -> bool:
    """False: locked meanwhile, or the password is another now."""
    values = {"id": user, "hash": kept, "now": now}
    return (await connection.execute(_SIGNED_IN, values)).one_or_none() is not None


async def put_token(connection: AsyncConnection, user: UUID, token: bytes, kind: TokenKind, until: datetime) -> None:
    """Instead of one that the user had."""
    await connection.execute(_PUT_TOKEN, {"user": user, "hash": token, "kind": kind.value, "until": until})


async def token(connection: AsyncConnection, token: bytes) -> KnownToken | None:
    row = (await connection.execute(_TOKEN, {"hash": token})).one_or_none()
    return KnownToken(row.user_id, TokenKind(row.kind), row.expires_at) if row else None


async def use_token(connection: AsyncConnection, token: bytes, now: datetime) -> bool:
    """False: used, replaced or too old."""
    return (await connection.execute(_USE_TOKEN, {"hash": token, "now": now})).one_or_none() is not None


async def drop_tokens(connection: AsyncConnection, user: UUID) -> None:
    await connection.execute(_DROP_TOKENS, {"user": user})


async def drop_old_tokens(connection: AsyncConnection, before: datetime) -> int:
    return (await connection.execute(_DROP_OLD_TOKENS, {"before": before})).rowcount


async def begin_codes(connection: AsyncConnection, user: UUID, sealed: bytes) -> bool:
    """Keeps a secret that is not asked for yet. False: codes are asked for already."""
    return (await connection.execute(_BEGIN_CODES, {"id": user, "sealed": sealed})).one_or_none() is not None


async def confirm_codes(connection: AsyncConnection, user: UUID, sealed: bytes, step: int, now: datetime) -> bool:
    values = {"id": user, "sealed": sealed, "step": step, "now": now}
    return (await connection.execute(_CONFIRM_CODES, values)).one_or_none() is not None


async def use_code(connection: AsyncConnection, user: UUID, sealed: bytes, step: int) -> bool:
    """False: that code or a later one was taken before."""
    return (await connection.execute(_USE_CODE, {"id": user, "sealed": sealed, "step": step})).one_or_none() is not None


async def drop_codes(connection: AsyncConnection, user: UUID) -> bool:
    """False: none were asked for."""
    return (await connection.execute(_DROP_CODES, {"id": user})).one_or_none() is not None


def place_of(row: Row[Any]) -> Place:
    """Of a row with account_id, path and kind."""
    return Place(account=row.account_id, path=tuple(row.path), kind=AccountKind(row.kind))


def deeds_of(written: str) -> frozenset[Deed]:
    """From JSON. One that this version does not know is nothing that may be done."""
    known = {deed.value: deed for deed in Deed}
    return frozenset(known[name] for name in msgspec.json.decode(written, type=list[str]) if name in known)


def _written(deeds: frozenset[Deed]) -> str:
    return msgspec.json.encode(sorted(deed.value for deed in deeds)).decode()


def _user(row: Row[Any]) -> User:
    return User(
        id=row.id,
        place=place_of(row),
        login=row.login,
        name=row.name,
        role=Role(row.role),
        allowed=deeds_of(row.allowed),
        status=UserStatus(row.status),
        one_time_codes=row.one_time_codes,
        created_at=row.created_at,
        signed_in_at=row.signed_in_at,
    )


def _user_if_any(rows: Any) -> User | None:
    row = rows.one_or_none()
    return _user(row) if row else None


def _credentials_if_any(rows: Any) -> Credentials | None:
    row = rows.one_or_none()
    if row is None:
        return None
    return Credentials(_user(row), row.password_hash, row.totp, row.totp_used, row.account_status == "closed")

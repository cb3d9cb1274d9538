"""The SQL of sessions and of counted sign-in attempts. Every function works in the caller's transaction."""

from __future__ import annotations

from datetime import datetime, timedelta
from typing import Any, NamedTuple
from uuid import UUID

from sqlalchemy import Row, text
from sqlalchemy.ext.asyncio import AsyncConnection

from engine.accounts.lockout import Attempts
from engine.accounts.model import Actor, Role
from engine.accounts.store_users import deeds_of, place_of
from engine.accounts.user import Session

_INSERT = text("""
    INSERT INTO sessions (id, hash, user_id, peer, created_at, used_at, idle_seconds, expires_at)
    VALUES (:id, :hash, :user, :peer, :now, :now, :idle, :until)
""")
_OPEN = "ended_at IS NULL AND expires_at > :now AND used_at + make_interval(secs => idle_seconds) > :now"
# The names below are our own field names; values are always parameters.
_KNOWN = """
    SELECT s.id, s.user_id, s.used_at, s.idle_seconds, s.expires_at, s.ended_at, u.status AS user_status,
           u.account_id, u.role, u.allowed::text AS allowed, a.path, a.kind, a.status AS account_status
    FROM sessions s JOIN users u ON u.id = s.user_id JOIN accounts a ON a.id = u.account_id
"""
_BY_HASH = text(f"{_KNOWN} WHERE s.hash = :hash")
_BY_ID = text(f"{_KNOWN} WHERE s.id = :id")
_TOUCH = text("""
    UPDATE sessions SET used_at = :now
    WHERE id = (SELECT id FROM sessions WHERE id = :id AND used_at < :stale FOR UPDATE SKIP LOCKED)
""")
_OF_USER = text(f"""
    SELECT id, user_id, peer, created_at, used_at, expires_at AS until FROM sessions
    WHERE user_id = :user AND {_OPEN} ORDER BY id DESC
""")  # noqa: S608
_USER_OF = text("SELECT user_id FROM sessions WHERE id = :id AND ended_at IS NULL")
_END = text("UPDATE sessions SET ended_at = :now WHERE id = :id AND ended_at IS NULL RETURNING user_id")
_END_BY_HASH = text("""
    UPDATE sessions SET ended_at = :now WHERE hash = :hash AND ended_at IS NULL RETURNING id, user_id
""")
_END_ALL = text("""
    UPDATE sessions SET ended_at = :now
    WHERE user_id = :user AND ended_at IS NULL AND (CAST(:but AS bytea) IS NULL OR hash <> :but)
    RETURNING id
""")
_DROP_OLD = text("DELETE FROM sessions WHERE least(expires_at, ended_at) <= :before")
_PEERS_OF = text("""
    SELECT DISTINCT s.peer FROM sessions s JOIN users u ON u.id = s.user_id
    WHERE u.login = :login AND u.status <> 'removed' AND s.created_at > :since AND s.peer <> ''
""")
_LOCK_ATTEMPTS = text("""
    INSERT INTO sign_in_attempts (subject, failures, last_at) VALUES (:subject, 0, :now)
    ON CONFLICT (subject) DO UPDATE SET subject = excluded.subject
    RETURNING failures, last_at
""")
_COUNT = text("UPDATE sign_in_attempts SET failures = :failures, last_at = :now WHERE subject = :subject")
_GIVE_BACK = text("UPDATE sign_in_attempts SET failures = greatest(failures - 1, 0) WHERE subject = :subject")
_FORGET = text("DELETE FROM sign_in_attempts WHERE subject = :subject")
_DROP_OLD_ATTEMPTS = text("DELETE FROM sign_in_attempts WHERE last_at <= :before")


class KnownSession(NamedTuple):
    """What a token stands for, open or not."""

    id: UUID
    user_id: UUID
    used_at: datetime
    idle: timedelta
    until: datetime
    ended: bool
    user_active: bool
    account_closed: bool
    actor: Actor


async def insert(connection: AsyncConnection, session: Session, token: bytes, idle: timedelta) -> None:
    values = {
        "id": session.id,
        "hash": token,
        "user": session.user_id,
        "peer": session.peer,
        "now": session.created_at,
        "idle": max(round(idle.total_seconds()), 1),
        "until": session.until,
    }
    await connection.execute(_INSERT, values)


async def by_hash(connection: AsyncConnection, token: bytes) -> KnownSession | None:
    row = (await connection.execute(_BY_HASH, {"hash": token})).one_or_none()
    return _known(row) if row else None


async def by_id(connection: AsyncConnection, session: UUID) -> KnownSession | None:
    row = (await connection.execute(_BY_ID, {"id": session})).one_or_none()
    return _known(row) if row else None


async def touch(connection: AsyncConnection, session: UUID, now: datetime, stale: datetime) -> None:
    """Notes that it was used, unless that was noted since `stale` or somebody is just doing so."""
    await connection.execute(_TOUCH, {"id": session, "now": now, "stale": stale})


async def of_user(connection: AsyncConnection, user: UUID, now: datetime) -> list[Session]:
    """Those that are open, the newest first."""
    rows = await connection.execute(_OF_USER, {"user": user, "now": now})
    return [Session(**row) for row in rows.mappings()]


async def user_of(connection: AsyncConnection, session: UUID) -> UUID | None:
    """Whose it is; None: there is none that was not ended."""
    found: UUID | None = await connection.scalar(_USER_OF, {"id": session})
    return found


async def end(connection: AsyncConnection, session: UUID, now: datetime) -> bool:
    """False: it was ended before."""
    return (await connection.execute(_END, {"id": session, "now": now})).one_or_none() is not None


async def end_by_hash(connection: AsyncConnection, token: bytes, now: datetime) -> tuple[UUID, UUID] | None:
    """Its id and its user's; None: it was ended before."""
    row = (await connection.execute(_END_BY_HASH, {"hash": token, "now": now})).one_or_none()
    return (row.id, row.user_id) if row else None


async def end_all(connection: AsyncConnection, user: UUID, now: datetime, but: bytes | None = None) -> int:
    """All of a user, but the one with that hash. How many."""
    values = {"user": user, "now": now, "but": but}
    return len((await connection.execute(_END_ALL, values)).all())


async def drop_old(connection: AsyncConnection, before: datetime) -> int:
    """Those that were over before then."""
    return (await connection.execute(_DROP_OLD, {"before": before})).rowcount


async def peers_of(connection: AsyncConnection, login: str, since: datetime) -> list[str]:
    """From where the user of that login has signed in since then."""
    return list(await connection.scalars(_PEERS_OF, {"login": login, "since": since}))


async def lock_attempts(connection: AsyncConnection, subject: bytes, now: datetime) -> Attempts:
    """What is known of a login or address; nobody else counts it until the transaction ends."""
    row = (await connection.execute(_LOCK_ATTEMPTS, {"subject": subject, "now": now})).one()
    return Attempts(row.failures, row.last_at)


async def count(connection: AsyncConnection, subject: bytes, failures: int, now: datetime) -> None:
    await connection.execute(_COUNT, {"subject": subject, "failures": failures, "now": now})


async def give_back(connection: AsyncConnection, subject: bytes) -> None:
    """One that was counted was no failure."""
    await connection.execute(_GIVE_BACK, {"subject": subject})


async def forget(connection: AsyncConnection, subject: bytes) -> None:
    await connection.execute(_FORGET, {"subject": subject})


async def drop_old_attempts(connection: AsyncConnection, before: datetime) -> int:
    return (await connection.execute(_DROP_OLD_ATTEMPTS, {"before": before})).rowcount


def _known(row: Row[Any]) -> KnownSession:
    actor = Actor(
        who=f"user:{row.user_id}",
        place=place_of(row),
        role=Role(row.role),
        allowed=deeds_of(row.allowed),
        session=row.id,
    )
    return KnownSession(
        id=row.id,
        user_id=row.user_id,
        used_at=row.used_at,
        idle=timedelta(seconds=row.idle_seconds),
        until=row.expires_at,
        ended=row.ended_at is not None,
        user_active=row.user_status == "active",
        account_closed=row.account_status == "closed",
        actor=actor,
    )

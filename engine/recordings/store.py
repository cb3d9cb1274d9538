"""The SQL of recordings, their keys, terms and access log. Every function works in the caller's transaction."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from typing import Any, NamedTuple
from uuid import UUID

import msgspec
from sqlalchemy import Row, text
from sqlalchemy.ext.asyncio import AsyncConnection

from engine.recordings.model import Access, Recording, RecordingKind, RecordingPlace, Wanted

_FIELDS = ", ".join(Recording.__struct_fields__)
_VALUES = ", ".join(f":{name}" for name in Recording.__struct_fields__)
_ACCESS_FIELDS = ", ".join(Access.__struct_fields__)
_ACCESS_VALUES = ", ".join(f":{name}" for name in Access.__struct_fields__)
_LIVING = "deleted_at IS NULL"
# The names below are our own field names; values are always parameters.
_INSERT = text(f"INSERT INTO recordings ({_FIELDS}) VALUES ({_VALUES}) ON CONFLICT DO NOTHING")  # noqa: S608
_REPLACE = text("""
    UPDATE recordings SET key_version = :key_version, seconds = :seconds, size = :size, sha256 = :sha256
    WHERE call_id = :call_id AND kind = :kind AND account_id = :account_id AND deleted_at IS NULL
""")
_FIND = text(f"SELECT {_FIELDS} FROM recordings WHERE call_id = :call_id AND kind = :kind")  # noqa: S608
_FIND_LOCKED = text(f"""
    SELECT {_FIELDS} FROM recordings WHERE call_id = :call_id AND kind = :kind AND {_LIVING} FOR UPDATE
""")  # noqa: S608
_OF_CALL = text(f"SELECT {_FIELDS} FROM recordings WHERE call_id = :call_id ORDER BY kind")  # noqa: S608
_LIST = text(f"""
    SELECT {_FIELDS} FROM recordings
    WHERE (CAST(:account AS uuid) IS NULL OR account_id = :account) AND (:deleted OR {_LIVING})
    ORDER BY made_at DESC, call_id DESC LIMIT :limit
""")  # noqa: S608
_NEWEST = text(f"""
    SELECT {_FIELDS} FROM recordings
    WHERE {_LIVING}
      AND (CAST(:under AS uuid) IS NULL OR EXISTS (
            SELECT FROM accounts a WHERE a.id = recordings.account_id AND a.path @> ARRAY[CAST(:under AS uuid)]))
      AND (CAST(:account AS uuid) IS NULL OR account_id = :account)
      AND (CAST(:since AS timestamptz) IS NULL OR made_at >= :since)
      AND (CAST(:until AS timestamptz) IS NULL OR made_at < :until)
      AND (CAST(:made_at AS timestamptz) IS NULL
           OR (made_at, call_id, kind) < (:made_at, CAST(:call_id AS uuid), CAST(:kind AS text)))
    ORDER BY made_at DESC, call_id DESC, kind DESC LIMIT :limit
""")  # noqa: S608
_PAGE = text(f"""
    SELECT {_FIELDS} FROM recordings WHERE removed_at IS NULL AND file > :after ORDER BY file LIMIT :limit
""")  # noqa: S608
_EXPIRE = text(f"""
    UPDATE recordings SET deleted_at = :now
    WHERE (call_id, kind) IN (
        SELECT call_id, kind FROM recordings WHERE {_LIVING} AND held IS NULL AND delete_after <= :now
        ORDER BY delete_after LIMIT :limit FOR UPDATE SKIP LOCKED)
    RETURNING {_FIELDS}
""")  # noqa: S608
_EXPIRE_ACCOUNT = text(f"""
    UPDATE recordings SET deleted_at = :now WHERE account_id = :account AND {_LIVING} AND held IS NULL
    RETURNING {_FIELDS}
""")  # noqa: S608
_LEAVING = text(f"""
    SELECT {_FIELDS} FROM recordings WHERE deleted_at IS NOT NULL AND removed_at IS NULL
    ORDER BY deleted_at LIMIT :limit
""")  # noqa: S608
_REMOVED = text("UPDATE recordings SET removed_at = :now WHERE file = ANY(:files) AND deleted_at IS NOT NULL")
_HOLD = text("UPDATE recordings SET held = :reason WHERE call_id = :call_id AND kind = :kind")
_HELD = text(f"SELECT count(*) FROM recordings WHERE account_id = :account AND held IS NOT NULL AND {_LIVING}")  # noqa: S608
_DAYS = text("SELECT days FROM recording_terms WHERE account_id = :account")
_SET_DAYS = text("""
    INSERT INTO recording_terms (account_id, days) VALUES (:account, :days)
    ON CONFLICT (account_id) DO UPDATE SET days = excluded.days
""")
_NO_DAYS = text("DELETE FROM recording_terms WHERE account_id = :account")
_RETERM = text(f"""
    UPDATE recordings SET delete_after = made_at + make_interval(days => :days)
    WHERE account_id = :account AND {_LIVING}
""")  # noqa: S608
_LOG = text(f"INSERT INTO recording_access ({_ACCESS_FIELDS}) VALUES ({_ACCESS_VALUES})")  # noqa: S608
_LOGGED = text(f"""
    SELECT {_ACCESS_FIELDS} FROM recording_access
    WHERE (CAST(:call_id AS uuid) IS NULL OR call_id = :call_id) ORDER BY id DESC LIMIT :limit
""")  # noqa: S608
_FORGET_LOG = text("""
    DELETE FROM recording_access AS old WHERE at < :before AND NOT EXISTS (
        SELECT FROM recordings WHERE recordings.call_id = old.call_id AND held IS NOT NULL)
""")
_KEY_FIELDS = "account_id, version, master, wrapped"
_NEWEST_KEY = text(f"""
    SELECT {_KEY_FIELDS} FROM recording_keys WHERE account_id = :account ORDER BY version DESC LIMIT 1
""")  # noqa: S608
_KEY = text(f"SELECT {_KEY_FIELDS} FROM recording_keys WHERE account_id = :account AND version = :version")  # noqa: S608
_LIVING_KEYS = text(f"""
    SELECT {_KEY_FIELDS} FROM recording_keys WHERE wrapped IS NOT NULL ORDER BY account_id, version FOR UPDATE
""")  # noqa: S608
_KEPT_KEYS = text(f"SELECT {_KEY_FIELDS} FROM recording_keys WHERE wrapped IS NOT NULL")  # noqa: S608
_INSERT_KEY = text("""
    INSERT INTO recording_keys (account_id, version, master, wrapped, created_at)
    VALUES (:account_id, :version, :master, :wrapped, :now) ON CONFLICT DO NOTHING
""")
_DESTROY_KEYS = text("""
    UPDATE recording_keys SET wrapped = NULL, destroyed_at = :now WHERE account_id = :account AND wrapped IS NOT NULL
""")
_REPLACE_WRAPPING = text("""
    UPDATE recording_keys SET master = :master, wrapped = :wrapped WHERE account_id = :account AND version = :version
""")


class WrappedKey(NamedTuple):
    """An owner's key as it is kept; `wrapped` is None when it was destroyed."""

    account_id: UUID
    version: int
    master: str
    wrapped: bytes | None


async def insert(connection: AsyncConnection, recording: Recording) -> bool:
    """Whether it is new; a row that is there stays."""
    return bool((await connection.execute(_INSERT, _row(recording))).rowcount)


async def replace(connection: AsyncConnection, recording: Recording) -> bool:
    """Notes another file of the same recording; False when it was deleted meanwhile."""
    return bool((await connection.execute(_REPLACE, _row(recording))).rowcount)


async def find(connection: AsyncConnection, call_id: UUID, kind: RecordingKind) -> Recording | None:
    row = (await connection.execute(_FIND, {"call_id": call_id, "kind": kind.value})).one_or_none()
    return _recording(row) if row else None


async def find_locked(connection: AsyncConnection, call_id: UUID, kind: RecordingKind) -> Recording | None:
    """One that is not deleted; nobody else changes it before the transaction ends."""
    row = (await connection.execute(_FIND_LOCKED, {"call_id": call_id, "kind": kind.value})).one_or_none()
    return _recording(row) if row else None


async def of_call(connection: AsyncConnection, call_id: UUID) -> list[Recording]:
    return [_recording(row) for row in await connection.execute(_OF_CALL, {"call_id": call_id})]


async def listing(
    connection: AsyncConnection, account_id: UUID | None, *, deleted: bool, limit: int
) -> list[Recording]:
    """The newest first; with `deleted` those that were deleted too."""
    rows = await connection.execute(_LIST, {"account": account_id, "deleted": deleted, "limit": limit})
    return [_recording(row) for row in rows]


async def newest(
    connection: AsyncConnection, wanted: Wanted, before: RecordingPlace | None, limit: int
) -> list[Recording]:
    """Those that are not deleted, the newest first."""
    place = before._asdict() | {"kind": before.kind.value} if before else dict.fromkeys(RecordingPlace._fields)
    found = {"under": wanted.under, "account": wanted.account, "since": wanted.since, "until": wanted.until}
    return [_recording(row) for row in await connection.execute(_NEWEST, place | found | {"limit": limit})]


async def page(connection: AsyncConnection, after: str, limit: int) -> list[Recording]:
    """Those whose file is not known to be gone, by file name, from behind `after`."""
    return [_recording(row) for row in await connection.execute(_PAGE, {"after": after, "limit": limit})]


async def expire(connection: AsyncConnection, now: datetime, limit: int) -> list[Recording]:
    """Marks up to `limit` recordings as deleted whose time is over and that nobody holds."""
    return [_recording(row) for row in await connection.execute(_EXPIRE, {"now": now, "limit": limit})]


async def expire_account(connection: AsyncConnection, account_id: UUID, now: datetime) -> list[Recording]:
    """Marks all recordings of an owner as deleted that nobody holds."""
    return [_recording(row) for row in await connection.execute(_EXPIRE_ACCOUNT, {"now": now, "account": account_id})]


async def leaving(connection: AsyncConnection, limit: int) -> list[Recording]:
    """Deleted ones whose file is not known to be gone."""
    return [_recording(row) for row in await connection.execute(_LEAVING, {"limit": limit})]


async def note_removed(connection: AsyncConnection, files: Sequence[str], now: datetime) -> None:
    await connection.execute(_REMOVED, {"files": list(files), "now": now})


async def set_held(connection: AsyncConnection, call_id: UUID, kind: RecordingKind, reason: str | None) -> None:
    """Why it is held; None: it is not."""
    await connection.execute(_HOLD, {"call_id": call_id, "kind": kind.value, "reason": reason})


async def count_held(connection: AsyncConnection, account_id: UUID) -> int:
    return int(await connection.scalar(_HELD, {"account": account_id}) or 0)


async def days(connection: AsyncConnection, account_id: UUID) -> int | None:
    """The owner's own term; None: the setting's."""
    found: int | None = await connection.scalar(_DAYS, {"account": account_id})
    return found


async def set_days(connection: AsyncConnection, account_id: UUID, days: int | None) -> None:
    if days is None:
        await connection.execute(_NO_DAYS, {"account": account_id})
    else:
        await connection.execute(_SET_DAYS, {"account": account_id, "days": days})


async def reterm(connection: AsyncConnection, account_id: UUID, days: int) -> None:
    """Gives what the owner has now that many days, counted from when each was made."""
    await connection.execute(_RETERM, {"account": account_id, "days": days})


async def log(connection: AsyncConnection, access: Access) -> None:
    await connection.execute(_LOG, msgspec.to_builtins(access, builtin_types=(datetime, UUID)))


async def logged(connection: AsyncConnection, call_id: UUID | None, limit: int) -> list[Access]:
    """The newest first."""
    rows = await connection.execute(_LOGGED, {"call_id": call_id, "limit": limit})
    return [msgspec.convert(dict(row._mapping), Access) for row in rows]  # noqa: SLF001 - SQLAlchemy's public name


async def forget_log(connection: AsyncConnection, before: datetime) -> int:
    """Removes older lines, but for those about recordings on legal hold."""
    return (await connection.execute(_FORGET_LOG, {"before": before})).rowcount


async def newest_key(connection: AsyncConnection, account_id: UUID) -> WrappedKey | None:
    row = (await connection.execute(_NEWEST_KEY, {"account": account_id})).one_or_none()
    return WrappedKey(*row) if row else None


async def key(connection: AsyncConnection, account_id: UUID, version: int) -> WrappedKey | None:
    row = (await connection.execute(_KEY, {"account": account_id, "version": version})).one_or_none()
    return WrappedKey(*row) if row else None


async def living_keys(connection: AsyncConnection) -> list[WrappedKey]:
    """All that were not destroyed, locked until the transaction ends."""
    return [WrappedKey(*row) for row in await connection.execute(_LIVING_KEYS)]


async def kept_keys(connection: AsyncConnection) -> list[WrappedKey]:
    """As `living_keys`, without a lock."""
    return [WrappedKey(*row) for row in await connection.execute(_KEPT_KEYS)]


async def insert_key(connection: AsyncConnection, made: WrappedKey, now: datetime) -> None:
    """Leaves the version that is there as it is, even one that another transaction is making."""
    await connection.execute(_INSERT_KEY, made._asdict() | {"now": now})


async def destroy_keys(connection: AsyncConnection, account_id: UUID, now: datetime) -> int:
    return (await connection.execute(_DESTROY_KEYS, {"account": account_id, "now": now})).rowcount


async def replace_wrapping(
    connection: AsyncConnection, account_id: UUID, version: int, master: str, wrapped: bytes
) -> None:
    values = {"account": account_id, "version": version, "master": master, "wrapped": wrapped}
    await connection.execute(_REPLACE_WRAPPING, values)


def _row(recording: Recording) -> dict[str, object]:
    values: dict[str, object] = msgspec.to_builtins(recording, builtin_types=(datetime, UUID, bytes))
    return values


def _recording(row: Row[Any]) -> Recording:
    return msgspec.convert(dict(row._mapping), Recording)  # noqa: SLF001 - SQLAlchemy's public name

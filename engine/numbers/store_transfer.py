"""The SQL of transfers. Every function works in the caller's transaction."""

from __future__ import annotations

from datetime import datetime
from uuid import UUID

import msgspec
from sqlalchemy import RowMapping, text
from sqlalchemy.ext.asyncio import AsyncConnection

from engine.foundation.phone_number import PhoneNumber
from engine.numbers.transfer_model import Transfer, TransferStatus

_NAMES = Transfer.__struct_fields__
_COLUMNS = ", ".join(_NAMES)
_VALUES = ", ".join(f":{name}" for name in _NAMES)

_INSERT = text(f"""
    INSERT INTO number_transfers ({_COLUMNS}) VALUES ({_VALUES})
    ON CONFLICT (number) WHERE status = 'offered' DO NOTHING
""")  # noqa: S608 - fixed columns
_ONE = text(f"SELECT {_COLUMNS} FROM number_transfers WHERE id = :id")  # noqa: S608
_DECIDE = text(f"""
    UPDATE number_transfers SET status = :status, decided_by = :by, decided_at = :now, reason = :reason
    WHERE id = :id AND status = 'offered' AND expires_at > :now RETURNING {_COLUMNS}
""")  # noqa: S608
_WITHDRAW_OPEN = text(f"""
    UPDATE number_transfers SET status = 'withdrawn', decided_by = :by, decided_at = :now,
        reason = 'the number is no longer held by whoever offered it'
    WHERE number = :number AND status = 'offered' RETURNING {_COLUMNS}
""")  # noqa: S608
_EXPIRE = f"""
    UPDATE number_transfers SET status = 'expired', decided_by = 'time', decided_at = :now
    WHERE status = 'offered' AND expires_at <= :now {{which}} RETURNING {_COLUMNS}
"""  # noqa: S608
_EXPIRE_ALL = text(_EXPIRE.format(which=""))
_EXPIRE_OF = text(_EXPIRE.format(which="AND number = :number"))
_SUBTREE = "{column} IN (SELECT id FROM accounts WHERE path @> ARRAY[CAST(:within AS uuid)])"
_LISTING = text(f"""
    SELECT {_COLUMNS} FROM number_transfers
    WHERE ({_SUBTREE.format(column="from_account")} OR {_SUBTREE.format(column="to_account")})
      AND (CAST(:status AS text) IS NULL OR status = :status) AND (CAST(:before AS uuid) IS NULL OR id < :before)
    ORDER BY id DESC LIMIT :limit
""")  # noqa: S608


async def insert(connection: AsyncConnection, offer: Transfer) -> bool:
    """False when the number is offered to somebody already."""
    values = msgspec.structs.asdict(offer) | {"status": offer.status.value}
    return bool((await connection.execute(_INSERT, values)).rowcount)


async def one(connection: AsyncConnection, identifier: UUID) -> Transfer | None:
    row = (await connection.execute(_ONE, {"id": identifier})).mappings().one_or_none()
    return _transfer(row) if row else None


async def decide(
    connection: AsyncConnection, identifier: UUID, status: TransferStatus, by: str, now: datetime, reason: str = ""
) -> Transfer | None:
    """The transfer as it is then; None when it is not open any more."""
    values = {"id": identifier, "status": status.value, "by": by, "now": now, "reason": reason}
    row = (await connection.execute(_DECIDE, values)).mappings().one_or_none()
    return _transfer(row) if row else None


async def withdraw_open(connection: AsyncConnection, number: PhoneNumber, by: str, now: datetime) -> Transfer | None:
    """Whatever offer of the number is open is so no more; that offer."""
    values = {"number": number, "by": by, "now": now}
    row = (await connection.execute(_WITHDRAW_OPEN, values)).mappings().one_or_none()
    return _transfer(row) if row else None


async def expire(connection: AsyncConnection, now: datetime) -> list[Transfer]:
    """Ends the offers whose time is over; those."""
    return [_transfer(row) for row in (await connection.execute(_EXPIRE_ALL, {"now": now})).mappings()]


async def expire_of(connection: AsyncConnection, number: PhoneNumber, now: datetime) -> list[Transfer]:
    """As `expire`, of one number alone."""
    rows = await connection.execute(_EXPIRE_OF, {"number": number, "now": now})
    return [_transfer(row) for row in rows.mappings()]


async def listing(
    connection: AsyncConnection, within: UUID, status: TransferStatus | None, before: UUID | None, limit: int
) -> list[Transfer]:
    """The newest first, older than `before`, that go out of or into the subtree of `within`."""
    values = {"within": within, "status": status and status.value, "before": before, "limit": limit}
    return [_transfer(row) for row in (await connection.execute(_LISTING, values)).mappings()]


def _transfer(row: RowMapping) -> Transfer:
    return Transfer(**{**row, "status": TransferStatus(row["status"])})

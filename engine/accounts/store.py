"""The SQL of accounts and senders. Every function works in the caller's transaction."""

from __future__ import annotations

from typing import Any
from uuid import UUID

from sqlalchemy import Row, text
from sqlalchemy.ext.asyncio import AsyncConnection

from engine.accounts.model import Account
from engine.foundation.phone_number import PhoneNumber

_BY_NAME = text("SELECT id, name, zone FROM accounts WHERE name = :name")
_INSERT = text("INSERT INTO accounts (id, name) VALUES (:id, :name) ON CONFLICT (name) DO NOTHING")
_LIST = text("SELECT id, name, zone FROM accounts ORDER BY name")
_INSERT_SENDER = text("""
    INSERT INTO senders (account_id, number, evidence) VALUES (:account, :number, :evidence)
    ON CONFLICT (account_id, number) DO NOTHING
""")
_IS_SENDER = text("SELECT EXISTS (SELECT FROM senders WHERE account_id = :account AND number = :number)")


async def account_by_name(connection: AsyncConnection, name: str) -> Account | None:
    row = (await connection.execute(_BY_NAME, {"name": name})).one_or_none()
    return _account(row) if row else None


async def insert_account(connection: AsyncConnection, identifier: UUID, name: str) -> None:
    """Leaves the account of that name as it is when there is one, even one that another transaction is making."""
    await connection.execute(_INSERT, {"id": identifier, "name": name})


async def all_accounts(connection: AsyncConnection) -> list[Account]:
    return [_account(row) for row in await connection.execute(_LIST)]


async def insert_sender(connection: AsyncConnection, account: UUID, number: PhoneNumber, evidence: str) -> None:
    """Leaves a registration that is there as it is: its evidence is the first one."""
    await connection.execute(_INSERT_SENDER, {"account": account, "number": number, "evidence": evidence})


async def sender_exists(connection: AsyncConnection, account: UUID, number: PhoneNumber) -> bool:
    return bool(await connection.scalar(_IS_SENDER, {"account": account, "number": number}))


def _account(row: Row[Any]) -> Account:
    return Account(id=row.id, name=row.name, zone=row.zone)

"""An account with a registered sender, and numbers for it, for tests of accounts, numbers and routing."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any
from uuid import UUID

import msgspec
from sqlalchemy.ext.asyncio import AsyncEngine

from engine.accounts.book import account_named, register_sender
from engine.accounts.model import LOCAL_OPERATOR
from engine.foundation.database import transaction
from engine.foundation.phone_number import PhoneNumber
from engine.numbers.model import NumberKind, ServiceNumber

SENDER = PhoneNumber("0212345678")
VIRTUAL = PhoneNumber("050712345678")
TARGET = PhoneNumber("0298765432")


async def open_shop(database: AsyncEngine, name: str = "shop") -> UUID:
    """Its account, with SENDER registered."""
    async with transaction(database) as connection:
        account = await account_named(connection, LOCAL_OPERATOR, name, datetime.now(UTC))
        await register_sender(
            connection, LOCAL_OPERATOR, account.id, SENDER, "contract of 2026-11-02", datetime.now(UTC)
        )
    return account.id


def number_of(account: UUID, **settings: Any) -> ServiceNumber:
    """VIRTUAL, forwarded to TARGET, with whatever else is wanted."""
    plain = ServiceNumber(number=VIRTUAL, kind=NumberKind.VIRTUAL, account_id=account, target=TARGET)
    return msgspec.structs.replace(plain, **settings)

"""The step to several messages per call, up and down, over messages that are there already."""

from __future__ import annotations

from uuid import UUID, uuid4

import asyncpg
import pytest

from engine.foundation.schema import downgrade, upgrade
from tests.databases import MIGRATIONS, at_step

MESSAGE = """
INSERT INTO messages (id, account_id, call_id, recipient, sender, channel, category, text, status, certificate,
                      decided_at)
VALUES ($1, $2, $3, '01023456789', '0212345678', 'sms', 'information', 'text', 'delivered', '[]', now())
"""


async def a_message(connection: asyncpg.Connection[asyncpg.Record], account: UUID, call: UUID | None) -> UUID:
    message = uuid4()
    await connection.execute(MESSAGE, message, account, call)
    return message


async def test_messages_and_windows_stay_through_up_and_down(empty_url: str) -> None:
    account, call = uuid4(), uuid4()
    async with at_step(empty_url, "0006") as connection:
        await connection.execute("INSERT INTO accounts (id, name) VALUES ($1, 'shop')", account)
        callback = await a_message(connection, account, call)
        await connection.execute(
            "INSERT INTO callback_recipients VALUES ($1, '01023456789', now(), $2)", account, callback
        )
        await upgrade(empty_url, MIGRATIONS, "0007")
        assert await connection.fetchval("SELECT purpose FROM messages") == "callback"
        assert await connection.fetchval("SELECT purpose || number FROM callback_recipients") == "callback"
        with pytest.raises(asyncpg.UniqueViolationError):
            await a_message(connection, account, call)
        promised = await a_message(connection, account, None)
        await connection.execute(
            "UPDATE messages SET purpose = 'text-only', call_id = $1 WHERE id = $2", call, promised
        )
        await connection.execute(
            "INSERT INTO callback_recipients (account_id, recipient, purpose, number, last_at, message_id) "
            "VALUES ($1, '01023456789', 'text-only', '05071234567', now(), $2)",
            account,
            promised,
        )
        await downgrade(empty_url, MIGRATIONS, "0006")
        calls = {row["id"]: row["call_id"] for row in await connection.fetch("SELECT id, call_id FROM messages")}
        assert calls == {callback: call, promised: None}
        assert await connection.fetchval("SELECT array_agg(message_id) FROM callback_recipients") == [callback]
        with pytest.raises(asyncpg.UniqueViolationError):
            await a_message(connection, account, call)

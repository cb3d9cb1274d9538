"""The SQL of replays: ranges that a webhook is sent once more. Every function works in the caller's transaction."""

from __future__ import annotations

from uuid import UUID

from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncConnection

from engine.webhooks.model import Replay
from engine.webhooks.store import tell

_FIELDS = "id, top, first_seq, last_seq, only_dead, position, asked_at"
_ADD = text("""
    INSERT INTO webhook_replays (id, webhook_id, top, first_seq, last_seq, only_dead, position, asked_at)
    VALUES (:id, :webhook, :top, :first_seq, :last_seq, :only_dead, :position, :asked_at)
""")
_LISTING = text(f"""
    SELECT {_FIELDS} FROM webhook_replays WHERE webhook_id = :webhook ORDER BY asked_at, id
""")  # noqa: S608 - our own words
_COME_TO = text("UPDATE webhook_replays SET position = :position WHERE id = :id")
_SHORTEN = text("UPDATE webhook_replays SET last_seq = :last WHERE id = :id")
_END = text("DELETE FROM webhook_replays WHERE id = :id")


async def add(connection: AsyncConnection, webhook: UUID, replay: Replay) -> None:
    values = {name: getattr(replay, name) for name in Replay.__dataclass_fields__}
    await connection.execute(_ADD, values | {"webhook": webhook})
    await tell(connection, webhook)


async def listing(connection: AsyncConnection, webhook: UUID) -> list[Replay]:
    """Oldest first."""
    rows = await connection.execute(_LISTING, {"webhook": webhook})
    return [Replay(**row) for row in rows.mappings()]


async def come_to(connection: AsyncConnection, identifier: UUID, position: int) -> None:
    await connection.execute(_COME_TO, {"id": identifier, "position": position})


async def shorten(connection: AsyncConnection, identifier: UUID, last: int) -> None:
    """What is behind `last` is not sent again."""
    await connection.execute(_SHORTEN, {"id": identifier, "last": last})


async def end(connection: AsyncConnection, identifier: UUID) -> None:
    await connection.execute(_END, {"id": identifier})

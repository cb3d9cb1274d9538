"""What callers of a suspended number hear is there to be heard."""

from __future__ import annotations

from uuid import UUID

from sqlalchemy.ext.asyncio import AsyncConnection

from engine.foundation.errors import Invalid
from engine.numbers.sound_names import named_prompt
from engine.prompts import library


async def check_announced(connection: AsyncConnection, account: UUID, sound: str) -> None:
    """Raises Invalid when the sound is a prompt that the account does not have."""
    name = named_prompt(sound)
    if name is not None and name not in await library.played(connection, account):
        raise Invalid(f"announcement: the account has no prompt named {name!r}; name one that it has, or make it")

"""Prompts that go along with a number to another account: copies, so that neither account plays what is the other's."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from itertools import count
from uuid import UUID

from sqlalchemy.ext.asyncio import AsyncConnection

from engine.foundation.errors import TryLater
from engine.numbers.sound_names import LONGEST_PROMPT
from engine.prompts import store


async def hand_over(
    connection: AsyncConnection, names: Iterable[str], giver: UUID, receiver: UUID
) -> Mapping[str, str]:
    """Copies the current versions of the giver's prompts; what each is called at the receiver's, by its own name.

    Where the receiver plays another sound under that name, the copy has a number behind it: `인사말 (2)`.
    """
    theirs = {prompt.name: prompt.current for prompt in await store.of_account(connection, giver)}
    known = {prompt.name: prompt.current.sound for prompt in await store.of_account(connection, receiver)}
    called: dict[str, str] = {}
    for name in dict.fromkeys(names):
        if name not in theirs:
            continue
        made = theirs[name]
        called[name] = new = next(one for one in _names(name) if known.get(one, made.sound) == made.sound)
        if new in known:
            continue
        if (await store.add_version(connection, receiver, new, made)).version > 1:
            raise TryLater(f"prompt {new}: somebody makes one of that name at this moment; try again")
        known[new] = made.sound
    return called


def _names(name: str) -> Iterable[str]:
    yield name
    for place in count(2):
        ending = f" ({place})"
        yield name[: LONGEST_PROMPT - len(ending)].rstrip() + ending

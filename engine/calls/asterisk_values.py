"""What lies in Asterisk's own database, as the manager reads and writes it.

Differences only, one after the other, and slowly enough that calls notice nothing.
"""

from __future__ import annotations

import asyncio
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import Protocol, TypeVar

from engine.routing.alone_text import FAMILY, folders, owner_of

A_SECOND = 2_000
"""Values that are written in a second: a tenth of what Asterisk and the manager connection can do."""
_AT_ONCE = 50

_T = TypeVar("_T")


class Database(Protocol):
    """Asterisk's own database."""

    async def database_tree(self, family: str) -> dict[str, str]: ...

    async def database_put(self, family: str, key: str, value: str) -> None: ...

    async def database_delete(self, family: str, key: str) -> None: ...


@dataclass(slots=True)
class _There:
    """What lies in the database: a digest of each value by its key, and which keys belong together."""

    digests: dict[str, int] = field(default_factory=dict)
    several: dict[str, set[str]] = field(default_factory=dict)
    """By owner, where there is more than the owner's own key."""

    def put(self, owner: str, key: str, value: str) -> None:
        self.digests[key] = hash(value)
        if key != owner:
            self.several.setdefault(owner, set()).add(key)

    def drop(self, owner: str, key: str) -> None:
        self.digests.pop(key, None)
        keys = self.several.get(owner)
        if keys is not None:
            keys.discard(key)
            if not keys:
                del self.several[owner]

    def of(self, owner: str) -> set[str]:
        own = {owner} if owner in self.digests else set()
        return own | self.several.get(owner, set())


class Values:
    """The values of all numbers, callers and trunks, each under a key that belongs to an owner: `owner_of`."""

    def __init__(self, database: Database, a_second: int = A_SECOND) -> None:
        self._database = database
        self._a_second = a_second
        self._there = _There()

    def __iter__(self) -> Iterator[str]:
        """All keys."""
        return iter(self._there.digests)

    def __contains__(self, key: str) -> bool:
        return key in self._there.digests

    def of(self, owner: str) -> set[str]:
        """The owner's keys."""
        return self._there.of(owner)

    async def read(self) -> None:
        """What is there: from now on only differences are written. Raises DariError."""
        there = _There()
        for folder in (*folders(), "state", "trunk"):
            for rest, value in (await self._database.database_tree(f"{FAMILY}/{folder}")).items():
                key = f"{folder}/{rest}"
                there.put(owner_of(key), key, value)
            await asyncio.sleep(0)
        self._there = there

    async def put(self, values: Iterable[tuple[str, str]]) -> None:
        """Key and value of each, in their order; only what is not there is written. Raises DariError."""
        digests = self._there.digests
        fresh = [(key, value) for key, value in values if digests.get(key) != hash(value)]
        for part in in_parts(fresh, _AT_ONCE):
            # One after the other in one line of the manager, so in this order, whatever is waited for first.
            await asyncio.gather(*(self._database.database_put(FAMILY, key, value) for key, value in part))
            for key, value in part:
                self._there.put(owner_of(key), key, value)
            await self._pause(len(part))

    async def drop(self, keys: Sequence[str]) -> None:
        """Those keys go. Raises DariError."""
        for part in in_parts(keys, _AT_ONCE):
            await asyncio.gather(*(self._database.database_delete(FAMILY, key) for key in part))
            for key in part:
                self._there.drop(owner_of(key), key)
            await self._pause(len(part))

    async def _pause(self, written: int) -> None:
        await asyncio.sleep(written / self._a_second)


def in_parts(values: Sequence[_T], size: int) -> Iterator[Sequence[_T]]:
    """In their order, `size` at most in each."""
    for at in range(0, len(values), size):
        yield values[at : at + size]

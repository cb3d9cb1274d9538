"""Puts entries that are committed into the chain: numbered without a gap, each hash over all before it.

Not in the deed's own transaction. A chain has one end, so deeds would have to wait for each other's commit, and all of
them for one that hangs. Here only whoever chains waits for whoever chains; a deed that is undone was never seen.
Until then, a second at most while the jobs run, an entry is kept by the database's refusal alone.
"""

from __future__ import annotations

from uuid import UUID

from sqlalchemy.ext.asyncio import AsyncConnection, AsyncEngine

from engine.audit import store
from engine.audit.chain import digest_of, next_head
from engine.audit.model import HASH_BYTES, Head
from engine.foundation.database import transaction
from engine.foundation.errors import GaveUp

_AT_ONCE = 500
_GONE = bytes(HASH_BYTES)
"""Instead of the digest of an entry that was taken out before it was chained: its place is kept, and tells."""


async def chain_waiting(database: AsyncEngine) -> int:
    """Chains all that wait, in transactions of its own. How many. Raises GaveUp when the chain's end was removed."""
    done = 0
    while True:
        async with transaction(database) as connection:
            some = await chain_some(connection)
        done += some
        if some < _AT_ONCE:
            return done


async def keep_chained(database: AsyncEngine) -> None:
    """As `chain_waiting`, for a job that is done every second; two at once wait for each other and do no harm."""
    await chain_waiting(database)


async def chain_some(connection: AsyncConnection, limit: int = _AT_ONCE) -> int:
    """Chains the oldest that wait, `limit` at most. How many."""
    head = await store.head(connection, lock=True)
    if head is None:
        raise GaveUp("the audit: the row of audit_head is gone, so nothing can be chained; see `dari audit verify`")
    links: list[tuple[Head, UUID, bytes]] = []
    for identifier, entry in await store.take_waiting(connection, limit):
        digest = digest_of(entry) if entry else _GONE
        head = next_head(head, digest)
        links.append((head, identifier, digest))
    if links:
        await store.add_links(connection, links)
    return len(links)

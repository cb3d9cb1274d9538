"""Jobs are put into the queue in the transaction that makes them needed: both are there, or neither.

A job is done at least once: whoever acts on it acts under a key, so that a second time changes nothing.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import timedelta
from uuid import UUID

from pgqueuer.adapters.persistence.qb import QueryQueueBuilder
from sqlalchemy.ext.asyncio import AsyncConnection

from engine.foundation.gathering import parts_of

MANY = 50
"""Things of which one job tells at most: many are done at the price of one, and none waits long for the others."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Wanted:
    """A job to be done: `name` is the function's in the job table, `payload` is what it is given."""

    name: str
    payload: bytes
    key: str | None = None
    """While a job with this key waits or runs, a second one is not put in."""
    after: timedelta = timedelta(0)


async def enqueue(
    connection: AsyncConnection,
    job: str,
    payload: bytes,
    *,
    key: str | None = None,
    after: timedelta = timedelta(0),
) -> None:
    """Puts one job into the queue, in the caller's transaction, to be done when `after` has passed."""
    await enqueue_all(connection, [Wanted(name=job, payload=payload, key=key, after=after)])


async def enqueue_all(connection: AsyncConnection, jobs: Sequence[Wanted]) -> None:
    """Puts jobs into the queue with one statement, in the caller's transaction."""
    if jobs:
        # PgQueuer's own statement; through SQLAlchemy, which begins the transaction with its first statement.
        await connection.exec_driver_sql(
            QueryQueueBuilder().build_enqueue_query("skip"),
            (
                [0] * len(jobs),
                [job.name for job in jobs],
                [job.payload for job in jobs],
                [job.after for job in jobs],
                [job.key for job in jobs],
                ["{}"] * len(jobs),
            ),
        )


async def enqueue_each(
    connection: AsyncConnection, name: str, ids: Sequence[UUID], *, after: timedelta = timedelta(0)
) -> None:
    """Has the job of that name done for each id, in the caller's transaction: one job for up to `MANY` of them."""
    jobs = [Wanted(name=name, payload=_payload_of(part), after=after) for part in parts_of(ids, MANY)]
    await enqueue_all(connection, jobs)


def ids_of(payload: bytes) -> list[UUID]:
    """What a job is to be done for: its payload's ids, one in a line."""
    return [UUID(line) for line in payload.decode().splitlines()]


def _payload_of(ids: Sequence[UUID]) -> bytes:
    return "\n".join(map(str, ids)).encode()

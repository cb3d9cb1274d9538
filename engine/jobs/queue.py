"""Jobs are put into the queue in the transaction that makes them needed: both are there, or neither.

A job is done at least once: whoever acts on it acts under a key, so that a second time changes nothing.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import timedelta

from pgqueuer.adapters.persistence.qb import QueryQueueBuilder
from sqlalchemy.ext.asyncio import AsyncConnection


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

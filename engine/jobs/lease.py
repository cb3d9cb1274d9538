"""PgQueuer's queries with a fence: what a worker says of a job counts only while the job is still its own."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Collection, Iterable
from contextlib import suppress
from dataclasses import dataclass, field
from datetime import timedelta

import structlog
from pgqueuer.adapters.persistence.composer import ComposedQuery
from pgqueuer.adapters.persistence.qb import QueryQueueBuilder
from pgqueuer.adapters.persistence.queries import Queries
from pgqueuer.domain.models import Job, TracebackRecord
from pgqueuer.domain.types import JOB_STATUS, JobId, QueueEntrypoint, QueueManagerId
from pgqueuer.ports.repository import EntrypointExecutionParameter

from engine.foundation.database import database_errors
from engine.foundation.errors import DariError

GATHER = 0.05
"""Seconds between two looks into the queue at least: jobs of several transactions are then picked together."""

STARTS = "starts"
"""The header that says how often in a row a job was started without an outcome. A job without it was not picked before,
or came to one: to count each first start would cost as much as many a job itself."""

_TAKES = "heartbeat = NOW(),"
_TAKES_OVER = """heartbeat = NOW(),
    headers = CASE WHEN status = 'queued' THEN headers ELSE jsonb_set(
        coalesce(nullif(headers, 'null'), '{}'), '{starts}', to_jsonb(greatest((headers->>'starts')::int, 1))) END,"""

log = structlog.get_logger(__name__)


class _Picking(QueryQueueBuilder):
    """PgQueuer's statements; who picks a job of a worker that is gone notes that it was started once at least."""

    def build_dequeue_query(
        self,
        *,
        batch_size: int,
        entrypoints: list[QueueEntrypoint],
        concurrency_limits: list[int],
        queue_manager_id: QueueManagerId,
        global_concurrency_limit: int | None,
        heartbeat_timeout: timedelta,
    ) -> ComposedQuery:
        query = super().build_dequeue_query(
            batch_size=batch_size,
            entrypoints=entrypoints,
            concurrency_limits=concurrency_limits,
            queue_manager_id=queue_manager_id,
            global_concurrency_limit=global_concurrency_limit,
            heartbeat_timeout=heartbeat_timeout,
        )
        return ComposedQuery(query.sql.replace(_TAKES, _TAKES_OVER, 1), query.args)


@dataclass
class FencedQueries(Queries):
    """The queue as one worker sees it. A worker that was away longer than its lease changes nothing any more."""

    worker: QueueManagerId | None = None
    qbq: QueryQueueBuilder = field(default_factory=_Picking)
    _eta: timedelta | None = field(default=None, init=False)
    _got_all: bool = field(default=False, init=False)
    _not_before: float = field(default=0.0, init=False)

    async def dequeue(
        self,
        batch_size: int,
        entrypoints: dict[QueueEntrypoint, EntrypointExecutionParameter],
        queue_manager_id: QueueManagerId,
        global_concurrency_limit: int | None,
        heartbeat_timeout: timedelta,
    ) -> list[Job]:
        """Picks jobs. PgQueuer asks until it gets none; when it got less than it wanted, it got all there were."""
        if self._got_all:
            self._got_all = False
            return []
        await asyncio.sleep(self._not_before - time.monotonic())
        looked_at = time.monotonic()
        jobs = await super().dequeue(
            batch_size, entrypoints, queue_manager_id, global_concurrency_limit, heartbeat_timeout
        )
        self._got_all = 0 < len(jobs) < batch_size
        self._not_before = looked_at if len(jobs) == batch_size else looked_at + GATHER
        return jobs

    async def count_start(self, job: Job) -> int | None:
        """Notes that the job is started now: how often in a row it was, without an outcome. None: not ours any more.

        PgQueuer counts the outcomes; the start of a job that kills its worker has none.
        """
        rows = await self.driver.fetch(
            f"""UPDATE {self._table} SET headers = jsonb_set(
                    coalesce(nullif(headers, 'null'), '{{}}'), '{{starts}}',
                    to_jsonb(coalesce((headers->>'starts')::int, 0) + 1))
                WHERE id = $1 AND queue_manager_id = $2 AND status = 'picked'
                RETURNING (headers->>'starts')::int AS starts""",  # noqa: S608 - the table's name is PgQueuer's
            job.id,
            self.worker,
        )
        return int(str(rows[0]["starts"])) if rows else None

    async def clear(self, job: Job) -> None:
        """Notes that a job which had lost a worker is done, before its outcome is written with those of others."""
        with suppress(DariError), database_errors():
            await self._with_outcome([job.id])

    async def replace(self, job: Job, payloads: Collection[bytes]) -> bool:
        """Puts a job for each of these payloads into the place of one. False: it is not ours any more."""
        rows = await self.driver.fetch(
            f"""WITH gone AS (
                    DELETE FROM {self._table} WHERE id = $1 AND queue_manager_id = $2 AND status = 'picked'
                    RETURNING priority, entrypoint, created)
                INSERT INTO {self._table} (priority, entrypoint, created, payload, headers, status)
                SELECT priority, entrypoint, created, payload, '{{}}', 'queued'
                FROM gone, unnest($3::bytea[]) AS payload RETURNING id""",  # noqa: S608
            job.id,
            self.worker,
            list(payloads),
        )
        return bool(rows)

    async def eligible_queued_work(self, entrypoints: list[QueueEntrypoint]) -> int:
        """Whether there is work now: 1 or 0. PgQueuer then asks `next_deferred_eta`, and `queued_work`.

        One question about one instant answers all three, so that no job falls between two answers.
        """
        [row] = await self.driver.fetch(
            f"""WITH work AS (SELECT EXISTS (SELECT FROM {self._table} WHERE status = 'queued'
                    AND entrypoint = ANY($1) AND execute_after <= now()) AS due)
                SELECT due, CASE WHEN NOT due THEN (SELECT execute_after - now() FROM {self._table}
                    WHERE status = 'queued' AND entrypoint = ANY($1) AND execute_after > now()
                    ORDER BY execute_after LIMIT 1) END AS eta FROM work""",  # noqa: S608
            entrypoints,
        )
        eta = row["eta"]
        self._eta = eta if isinstance(eta, timedelta) else None
        return 1 if row["due"] else 0

    async def next_deferred_eta(self, entrypoints: list[QueueEntrypoint]) -> timedelta | None:
        """Asked when nothing is due."""
        return self._eta

    async def queued_work(self, entrypoints: list[QueueEntrypoint]) -> int:
        """Asked when nothing is due, and nothing will be: then there is none."""
        return int(self._eta is not None)

    async def log_jobs(self, job_status: list[tuple[Job, JOB_STATUS, TracebackRecord | None]]) -> None:
        own = await self._with_outcome(job.id for job, _, _ in job_status)
        if own:
            await super().log_jobs([entry for entry in job_status if entry[0].id in own])

    async def retry_job(self, job: Job, delay: timedelta, traceback_record: TracebackRecord | None) -> None:
        """Puts the job back. When the database does not answer, the end of the lease will do it."""
        try:
            with database_errors():
                if job.id in await self._with_outcome([job.id]):
                    await super().retry_job(job, delay, traceback_record)
        except DariError as error:
            log.warning("a job comes back only after its lease", job=job.entrypoint, reason=str(error))

    async def give_back(self, workers: Collection[QueueManagerId]) -> int:
        """Puts the jobs of these workers back, of which none runs any more; how many they were.

        That nobody knows of an outcome is no fault of theirs: their starts are counted anew.
        """
        rows = await self.driver.fetch(
            f"""UPDATE {self._table} SET status = 'queued', queue_manager_id = NULL, updated = now(),
                    headers = headers - 'starts'
                WHERE queue_manager_id = ANY($1) AND status = 'picked' RETURNING id""",  # noqa: S608
            list(workers),
        )
        return len(rows)

    async def update_heartbeat(self, job_ids: list[JobId]) -> None:
        await self.driver.execute(
            f"UPDATE {self._table} SET heartbeat = now() WHERE id = ANY($1) AND queue_manager_id = $2",  # noqa: S608
            job_ids,
            self.worker,
        )

    async def _with_outcome(self, ids: Iterable[JobId]) -> set[object]:
        """Which of these jobs are still ours. Their starts are counted anew: they have come to an outcome."""
        rows = await self.driver.fetch(
            f"""UPDATE {self._table} SET headers = headers - 'starts'
                WHERE id = ANY($1) AND queue_manager_id = $2 AND status = 'picked' RETURNING id""",  # noqa: S608
            list(ids),
            self.worker,
        )
        return {row["id"] for row in rows}

    @property
    def _table(self) -> str:
        return self.qbq.qualified.queue_table

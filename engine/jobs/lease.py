"""PgQueuer's queries with a fence: what a worker says of a job counts only while the job is still its own."""

from __future__ import annotations

from collections.abc import Collection, Iterable
from dataclasses import dataclass, field
from datetime import timedelta

import structlog
from pgqueuer.adapters.persistence.queries import Queries
from pgqueuer.domain.models import Job, TracebackRecord
from pgqueuer.domain.types import JOB_STATUS, JobId, QueueEntrypoint, QueueManagerId

from engine.foundation.database import database_errors
from engine.foundation.errors import DariError

log = structlog.get_logger(__name__)


@dataclass
class FencedQueries(Queries):
    """The queue as one worker sees it. A worker that was away longer than its lease changes nothing any more."""

    worker: QueueManagerId | None = None
    _eta: timedelta | None = field(default=None, init=False)

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

"""Everything that follows a call: decisions, messages, recordings; and the trace of SIP messages.

The table of jobs is the only way from a lower folder to an upper one: a lower one enqueues a name, this file says
which function does it.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping
from contextlib import AsyncExitStack
from functools import partial
from uuid import UUID

import aiohttp
import structlog
from sqlalchemy.ext.asyncio import AsyncEngine

from engine.app.housekeeping import (
    compare_calls,
    compare_recordings,
    delete_recordings,
    seed_this_and_next_year,
    sweep_sounds,
)
from engine.app.opened import archive_of, call_file_of, call_log_of, database_of
from engine.asterisk.sip_trace import SipTrace
from engine.callbacks.call_ended import call_ended, message_failed
from engine.calls.listening_log import forget_old_listening
from engine.cdr.amend import make_months_ahead
from engine.cdr.drain import CALL_ENDED, KEEP_RECORDING, KEEP_VOICEMAIL
from engine.foundation.clock import Clock, SystemClock
from engine.foundation.tasks import Tasks
from engine.jobs.worker import Job, Worker
from engine.messages.gateways.sandbox import SANDBOX_RECEIPTS, SandboxGateway
from engine.messages.live_lines import tell_messages
from engine.messages.outbox import LOOK_UP_MESSAGE, MESSAGE_FAILED, SEND_MESSAGE, Outbox
from engine.recordings.archive import Archive
from engine.recordings.finished import keep_recording, keep_voicemail
from engine.settings import Settings

_HOURLY = 3600.0
_DAILY = 86_400.0
_OVERDUE_EVERY = 15.0

log = structlog.get_logger(__name__)


async def run(settings: Settings) -> None:
    clock = SystemClock()
    async with AsyncExitStack() as stack:
        tasks = Tasks("jobs role")
        stack.push_async_callback(tasks.close)
        database = database_of(settings, stack, "dari jobs")
        session = await stack.enter_async_context(aiohttp.ClientSession())
        gateway = SandboxGateway(
            session, settings.gateway_url, settings.gateway_key, _receipt_url(settings), settings.gateway_timeout
        )
        outbox = Outbox(database, gateway, clock)
        archive = archive_of(settings, database, clock)
        worker = Worker(
            settings.database_url,
            job_table(database, outbox, archive, clock),
            command_timeout=settings.database_timeout,
        )
        worker.every(_OVERDUE_EVERY, "overdue messages", outbox.look_after)
        worker.every(_HOURLY, "months", partial(make_months_ahead, database, clock))
        worker.every(_HOURLY, "retention of recordings", partial(delete_recordings, archive))
        worker.every(_DAILY, "recordings and their files", partial(compare_recordings, archive))
        worker.every(_DAILY, "calls and their records", partial(compare_calls, database, call_file_of(settings), clock))
        worker.every(_DAILY, "public holidays", partial(seed_this_and_next_year, database, clock))
        worker.every(_DAILY, "unused sounds", partial(sweep_sounds, database, settings.paths, clock))
        worker.every(_DAILY, "old listening", partial(forget_old_listening, database, clock))
        tasks.start("message lines", tell_messages(database, call_log_of(settings, "messages", stack)))
        if settings.sip_trace:
            trace = SipTrace(settings.paths.trace, settings.sip_trace_hours, clock)
            await trace.open(settings.hep_address)
            stack.callback(trace.close)
        await worker.run()


def job_table(database: AsyncEngine, outbox: Outbox, archive: Archive, clock: Clock) -> Mapping[str, Job]:
    """Every job: its name, and the function that does it."""

    def of_id(function: Callable[[UUID], Awaitable[None]]) -> Callable[[bytes], Awaitable[None]]:
        async def do(payload: bytes) -> None:
            await function(UUID(payload.decode()))

        return do

    async def decide(call_id: UUID) -> None:
        await call_ended(database, call_id, clock.now())

    return {
        CALL_ENDED: Job(of_id(decide)),
        KEEP_RECORDING: Job(of_id(partial(keep_recording, archive))),
        KEEP_VOICEMAIL: Job(of_id(partial(keep_voicemail, archive))),
        SEND_MESSAGE: Job(of_id(outbox.send)),
        LOOK_UP_MESSAGE: Job(of_id(outbox.look_up)),
        MESSAGE_FAILED: Job(of_id(partial(message_failed, database))),
    }


def _receipt_url(settings: Settings) -> str:
    host = "127.0.0.1" if settings.http_bind.host == "0.0.0.0" else settings.http_bind.host  # noqa: S104 - compared
    return f"http://{host}:{settings.http_bind.port}{SANDBOX_RECEIPTS}"

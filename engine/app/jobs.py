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
from sqlalchemy.ext.asyncio import AsyncEngine

from engine.app.opened import call_log_of, database_of
from engine.asterisk.sip_trace import SipTrace
from engine.callbacks.call_ended import call_ended, message_failed
from engine.cdr.amend import make_months_ahead
from engine.cdr.drain import CALL_ENDED, KEEP_RECORDING
from engine.foundation.clock import Clock, SystemClock
from engine.foundation.tasks import Tasks
from engine.jobs.worker import Job, Worker
from engine.messages.gateways.sandbox import SANDBOX_RECEIPTS, SandboxGateway
from engine.messages.live_lines import tell_messages
from engine.messages.outbox import LOOK_UP_MESSAGE, MESSAGE_FAILED, SEND_MESSAGE, Outbox
from engine.recordings.finished import keep_recording
from engine.settings import Settings

_HOURLY = 3600.0
_OVERDUE_EVERY = 15.0


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
        worker = Worker(
            settings.database_url,
            job_table(database, outbox, settings, clock),
            command_timeout=settings.database_timeout,
        )
        worker.every(_OVERDUE_EVERY, "overdue messages", outbox.look_after)
        worker.every(_HOURLY, "months", partial(make_months_ahead, database, clock))
        tasks.start("message lines", tell_messages(database, call_log_of(settings, "messages", stack)))
        if settings.sip_trace:
            trace = SipTrace(settings.paths.trace, settings.sip_trace_hours, clock)
            await trace.open(settings.hep_address)
            stack.callback(trace.close)
        await worker.run()


def job_table(database: AsyncEngine, outbox: Outbox, settings: Settings, clock: Clock) -> Mapping[str, Job]:
    """Every job: its name, and the function that does it."""
    paths = settings.paths

    def of_id(function: Callable[[UUID], Awaitable[None]]) -> Callable[[bytes], Awaitable[None]]:
        async def do(payload: bytes) -> None:
            await function(UUID(payload.decode()))

        return do

    async def decide(call_id: UUID) -> None:
        await call_ended(database, call_id, clock.now())

    return {
        CALL_ENDED: Job(of_id(decide)),
        KEEP_RECORDING: Job(
            of_id(partial(keep_recording, database, paths.asterisk_spool / "monitor", paths.recordings))
        ),
        SEND_MESSAGE: Job(of_id(outbox.send)),
        LOOK_UP_MESSAGE: Job(of_id(outbox.look_up)),
        MESSAGE_FAILED: Job(of_id(partial(message_failed, database))),
    }


def _receipt_url(settings: Settings) -> str:
    host = "127.0.0.1" if settings.http_bind.host == "0.0.0.0" else settings.http_bind.host  # noqa: S104 - compared
    return f"http://{host}:{settings.http_bind.port}{SANDBOX_RECEIPTS}"

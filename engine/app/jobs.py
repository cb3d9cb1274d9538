"""Everything that follows a call: decisions, messages, recordings; and the trace of SIP messages.

The table of jobs is the only way from a lower folder to an upper one: a lower one enqueues a name, this file says
which function does it.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping, Sequence
from contextlib import AsyncExitStack
from functools import partial
from uuid import UUID

import aiohttp
import structlog
from sqlalchemy.ext.asyncio import AsyncEngine

from engine.accounts.sessions import forget_old as forget_old_sessions
from engine.app.housekeeping import (
    compare_calls,
    compare_recordings,
    delete_recordings,
    keep_numbers,
    seed_this_and_next_year,
    sweep_sounds,
)
from engine.app.opened import archive_of, call_file_of, call_log_of, database_of, webhook_rules_of
from engine.asterisk.sip_trace import SipTrace
from engine.audit.chaining import keep_chained
from engine.callbacks.call_ended import calls_ended, message_failed
from engine.calls.listening_log import forget_old_listening
from engine.cdr.amend import make_months_ahead
from engine.cdr.drain import CALL_ENDED, KEEP_RECORDING, KEEP_VOICEMAIL
from engine.events.sequencer import Sequencer
from engine.events.tail import Tail
from engine.foundation.clock import Clock, SystemClock
from engine.foundation.ids import new_id
from engine.foundation.tasks import Tasks
from engine.jobs.queue import ids_of
from engine.jobs.worker import Job, Worker
from engine.messages.gateways.sandbox import SANDBOX_RECEIPTS, SandboxGateway
from engine.messages.live_lines import tell_messages
from engine.messages.outbox import LOOK_UP_MESSAGE, MESSAGE_FAILED, SEND_MESSAGE, Outbox
from engine.recordings.archive import Archive
from engine.recordings.finished import keep_recording, keep_voicemail
from engine.settings import Settings
from engine.webhooks.egress import Egress
from engine.webhooks.lane import Means
from engine.webhooks.post_office import PostOffice
from engine.webhooks.retention import forget_old

_EACH_SECOND = 1.0
_EACH_MINUTE = 60.0
_HOURLY = 3600.0
_DAILY = 86_400.0
_OVERDUE_EVERY = 15.0

log = structlog.get_logger(__name__)


async def run(settings: Settings) -> None:
    clock = SystemClock()
    async with AsyncExitStack() as stack:
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
        worker.every(_EACH_MINUTE, "life of numbers", partial(keep_numbers, database, settings, clock))
        worker.every(_HOURLY, "months", partial(make_months_ahead, database, clock))
        worker.every(_HOURLY, "retention of recordings", partial(delete_recordings, archive))
        worker.every(_DAILY, "recordings and their files", partial(compare_recordings, archive))
        worker.every(_DAILY, "calls and their records", partial(compare_calls, database, call_file_of(settings), clock))
        worker.every(_DAILY, "public holidays", partial(seed_this_and_next_year, database, clock))
        worker.every(_DAILY, "unused sounds", partial(sweep_sounds, database, settings.paths, clock))
        worker.every(_EACH_SECOND, "audit chain", partial(keep_chained, database))
        worker.every(_DAILY, "old sessions", partial(forget_old_sessions, database, clock))
        worker.every(_DAILY, "old listening", partial(forget_old_listening, database, clock))
        worker.every(_HOURLY, "old events", partial(forget_old, database, settings.event_days, clock))
        if settings.sip_trace:
            trace = SipTrace(settings.paths.trace, settings.sip_trace_hours, clock)
            await trace.open(settings.hep_address)
            stack.callback(trace.close)
        call_log = call_log_of(settings, "messages", stack)
        tasks = Tasks("jobs role")
        stack.push_async_callback(tasks.close)
        tasks.start("events", _send_events(settings, clock))
        tasks.start("message lines", tell_messages(database, call_log))
        tasks.start("jobs", worker.run())
        await tasks.first_failure()  # without any one of them it is no jobs role: another life of it starts whole


async def _send_events(settings: Settings, clock: Clock) -> None:
    """Events get their places, and receivers get events; over connections of their own, which no job takes away.

    Until cancelled, when what is being sent is finished; fails when one of the three does.
    """
    async with AsyncExitStack() as stack:
        rules = webhook_rules_of(settings)
        database = database_of(settings, stack, "dari events")
        egress = await stack.enter_async_context(Egress(rules.opened, timeout=settings.webhook_seconds))
        tail = Tail(database, settings.database_url)
        means = Means(database=database, tail=tail, egress=egress, key=rules.key, clock=clock, me=new_id(clock.now()))
        tasks = Tasks("events")
        stack.push_async_callback(tasks.close)
        tasks.start("sequencer", Sequencer(database, settings.database_url).run())
        tasks.start("tail", tail.run())
        tasks.start("webhooks", PostOffice(means, settings.database_url).run())
        await tasks.first_failure()


def job_table(database: AsyncEngine, outbox: Outbox, archive: Archive, clock: Clock) -> Mapping[str, Job]:
    """Every job: its name, and the function that does it."""

    def of_id(function: Callable[[UUID], Awaitable[None]]) -> Callable[[bytes], Awaitable[None]]:
        async def do(payload: bytes) -> None:
            await function(UUID(payload.decode()))

        return do

    def of_ids(function: Callable[[Sequence[UUID]], Awaitable[None]]) -> Callable[[bytes], Awaitable[None]]:
        async def do(payload: bytes) -> None:
            await function(ids_of(payload))

        return do

    async def decide(call_ids: Sequence[UUID]) -> None:
        await calls_ended(database, call_ids, clock.now())

    async def free(message_ids: Sequence[UUID]) -> None:
        for message_id in message_ids:
            await message_failed(database, message_id)

    return {
        CALL_ENDED: Job(of_ids(decide), many=True),
        KEEP_RECORDING: Job(of_id(partial(keep_recording, archive))),
        KEEP_VOICEMAIL: Job(of_id(partial(keep_voicemail, archive))),
        SEND_MESSAGE: Job(of_ids(outbox.send_all), many=True),
        LOOK_UP_MESSAGE: Job(of_id(outbox.look_up)),
        MESSAGE_FAILED: Job(of_ids(free), many=True),
    }


def _receipt_url(settings: Settings) -> str:
    host = "127.0.0.1" if settings.http_bind.host == "0.0.0.0" else settings.http_bind.host  # noqa: S104 - compared
    return f"http://{host}:{settings.http_bind.port}{SANDBOX_RECEIPTS}"

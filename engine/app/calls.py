"""The engine: live calls, their records into the database, trunks into Asterisk."""

from __future__ import annotations

import asyncio
import gc
from contextlib import AbstractAsyncContextManager, AsyncExitStack
from dataclasses import dataclass
from functools import partial

import structlog
from sqlalchemy.ext.asyncio import AsyncEngine

from engine.app.opened import call_file_of, call_log_of, database_of, music_of
from engine.app.speech import Voice, open_voice
from engine.asterisk.call_door import Asked, call_door, door_key
from engine.asterisk.commands import Ari
from engine.asterisk.connection import Connection
from engine.asterisk.manager import Manager
from engine.calls.causes import CAUSE_TOWARDS_CALLER
from engine.calls.control import control_door
from engine.calls.control_client import EngineStatus
from engine.calls.fallback import Fallback, Means
from engine.calls.listening_door import ListeningDoor
from engine.calls.listening_log import ListeningLog
from engine.calls.listening_rules import Mode
from engine.calls.live_door import live_call_routes
from engine.calls.read_back import ReadBack, Sources
from engine.calls.reception import EVENTS_USED, Reception
from engine.calls.switchboard import Switchboard
from engine.calls.takeover import Elsewhere, Sibling, Takeover, on_duty, open_own
from engine.cdr.drain import Drain
from engine.cdr.model import CallRecord
from engine.cdr.search import TURNED_AWAY
from engine.cdr.spool import Spool
from engine.events.live import LiveEvents
from engine.foundation.clock import Clock, SystemClock
from engine.foundation.errors import DariError, Invalid
from engine.foundation.tasks import Tasks
from engine.prompts.wholeness import bytes_if_whole
from engine.routing.agi_door import Lookups, agi_door
from engine.routing.cache import RoutingCache
from engine.routing.history import CallHistory, seed_loads
from engine.routing.load import DAY, LoadBook
from engine.routing.planner import Planner
from engine.settings import Engine, Settings
from engine.trunks.cache import TrunkCache
from engine.trunks.health import TrunkHealth
from engine.trunks.load import Load
from engine.trunks.outgoing import Trunks
from engine.trunks.overload import TOO_MANY, Overload, keep_finding
from engine.trunks.provisioning import TrunkProvisioning
from engine.trunks.rate_control import RateControl
from engine.watchdog.heartbeat import Moving, beat, beat_when, writes_of

_AGAIN = 2.0  # seconds

log = structlog.get_logger(__name__)


async def run(settings: Settings, number: int = 1) -> None:
    """The `number`-th engine of this home."""
    paths, own, clock = settings.paths, settings.engine(number), SystemClock()
    manager = _manager(settings)
    async with AsyncExitStack() as stack:
        ari = await stack.enter_async_context(
            Ari(settings.ari_url, own.app_name, settings.ari_user, settings.ari_password)
        )
        connection = Connection(
            settings.ari_url, own.app_name, settings.ari_user, settings.ari_password, event_types=EVENTS_USED
        )
        cache = RoutingCache(own.numbers_kept)
        gc.freeze()  # what was read stays: no collection that holds up calls need look at it
        carriers = _carriers(settings, own, ari, manager, clock)
        heart = Tasks("heart")  # beats from before the spool is read, which may take minutes, until all is closed
        stack.push_async_callback(heart.close)
        beating = heart.start("heartbeat", beat(own.heartbeat, Moving(lambda: connection.lag, clock.monotonic)))
        writing = heart.start("writes", beat_when(writes_of(own.heartbeat), ari.write_probe, lambda: ari.deeds))
        database = database_of(settings, stack, "dari calls")
        spool = await open_own(own.spool, own.node, clock)
        stack.push_async_callback(spool.close)
        live = LiveEvents(database)
        call_log = call_log_of(settings, own.call_log, stack, live.offer)
        voice = await open_voice(settings, stack)
        fallback = _fallback(settings, manager, cache, carriers, voice, clock)
        await stack.enter_async_context(manager)
        past, book = CallHistory(database), LoadBook()
        stack.push_async_callback(past.close)
        planner = Planner(cache, past, book, settings.ring_seconds, clock.monotonic)
        board = Switchboard(
            ari=ari,
            recorder=manager,
            trunks=carriers.trunks,
            music_class=music_of(paths).music_class,
            speech=voice.sound_for,
            spool=spool,
            sounds=paths.sounds,
            monitor=paths.asterisk_spool / "monitor",
            node=own.node,
            talk_limit=settings.talk_limit.total_seconds(),
        )

        def siblings() -> list[Sibling]:
            return [Sibling(other.spool, other.app_name) for other in settings.siblings(number)]

        elsewhere = Elsewhere(siblings).calls
        call_file = call_file_of(settings)
        reception = Reception(board, connection, planner, call_log, clock, call_file=call_file, elsewhere=elsewhere)
        drain = Drain(spool, database, own.spool / "refused.jsonl")
        rate = RateControl()

        def status() -> EngineStatus:
            knows_numbers = planner.known and carriers.cache.known
            return engine_status(reception, spool, drain, carriers.trunks, knows_numbers, rate.limit)

        async def asked(call: Asked) -> None:
            await reception.asked(call)
            if call.question.came is not None:
                rate.note(clock.now().timestamp() - call.question.came)

        # Closed in reverse: first the live calls get their time, in which everything below still works for them.
        tasks = Tasks("calls")
        stack.push_async_callback(tasks.close)
        allowed = {Mode(mode) for mode in settings.listening.split(",")}
        listening = ListeningDoor(reception, ListeningLog(database, clock), clock, allowed)
        routes = [*live_call_routes(reception), *listening.routes()]
        await stack.enter_async_context(control_door(own.socket, reception, status, routes))
        stack.push_async_callback(listening.close)

        async def trunks_changed() -> None:
            fallback.trunks_changed()
            await carriers.changed()

        async def duty() -> None:
            """What one engine does for all of the home."""
            async with AsyncExitStack() as opened:
                if settings.agi_bind:
                    await opened.enter_async_context(_agi(settings, planner, voice, clock))
                await fallback.keep()

        sources = Sources(
            file=call_file,
            kept=paths.run / "read-back.json",
            spools=lambda: [own.spool, *(sibling.spool for sibling in siblings())],
            database=database,
            monitor=board.monitor,
        )
        read_back = ReadBack(sources, spool, planner, call_log, clock, partial(count_read_back, book, clock))
        takeover = Takeover(spool, siblings, reception.take_over, lambda: reception.connected, clock.monotonic)
        tasks.start("numbers", cache.keep_fresh(database, settings.database_url))
        tasks.start("limits", remember_calls(book, cache, database, clock))
        tasks.start("trunks", carriers.cache.keep_fresh(database, settings.database_url, trunks_changed))
        tasks.start("provisioning", carriers.provisioning.keep_trying())
        tasks.start("trunks' health", carriers.health.keep_fresh())
        tasks.start("overload", carriers.overload.keep_setting())
        if settings.fixed_calls_a_second is None:
            finding = partial(keep_finding, rate, len(settings.all_engines), ari.set_global, clock.monotonic)
            tasks.start("rate", on_duty(paths.run / "rate.lock", finding))
        tasks.start("drain", drain.run())
        tasks.start("live events", live.run())
        tasks.start("heartbeat", _failing_with(beating))
        tasks.start("writes", _failing_with(writing))
        tasks.start("duty", on_duty(paths.run / "duty.lock", duty))
        tasks.start("read back", on_duty(paths.run / "read-back.lock", read_back.keep_reading))
        tasks.start("calls", reception.run())
        if settings.call_door:
            key = door_key(settings.ari_password)
            door = call_door(settings.call_door.host, settings.call_door.port, key, asked)
            await stack.enter_async_context(door)
        stack.push_async_callback(reception.close, settings.stop_seconds)
        stack.push_async_callback(_ended, tasks.start("takeover", takeover.keep_trying()))
        await tasks.first_failure()  # without any one of them it is no engine: another life of it starts whole


async def _failing_with(task: asyncio.Task[None]) -> None:
    """Fails when `task` does, and may be ended without it."""
    await asyncio.shield(task)


async def _ended(task: asyncio.Task[None]) -> None:
    """Who leaves takes nothing over any more."""
    task.cancel()
    await asyncio.wait([task])


@dataclass(frozen=True, slots=True)
class _Carriers:
    """All that is about trunks."""

    cache: TrunkCache
    health: TrunkHealth
    trunks: Trunks
    overload: Overload
    provisioning: TrunkProvisioning

    async def changed(self) -> None:
        """Somebody changed a trunk: Asterisk hears of it."""
        await self.provisioning.provide(self.cache.all())
        await self.overload.set_now()
        self.health.changed()


def _carriers(settings: Settings, own: Engine, ari: Ari, manager: Manager, clock: Clock) -> _Carriers:
    cache = TrunkCache(own.trunks_kept)
    health = TrunkHealth(cache.all, manager.contact, manager.registrations, clock.monotonic)
    for event in ("ContactStatus", "Registry"):
        manager.tell_of(event, health.changed)
    return _Carriers(
        cache=cache,
        health=health,
        trunks=Trunks(cache.all, health, Load(), clock.monotonic),
        overload=Overload(ari.set_global, cache.all, settings.calls_at_once, settings.fixed_calls_a_second),
        provisioning=TrunkProvisioning(
            settings.paths.asterisk_etc, settings.rtp_bind, manager.reload, manager.register_again
        ),
    )


def _fallback(
    settings: Settings, manager: Manager, cache: RoutingCache, carriers: _Carriers, voice: Voice, clock: Clock
) -> Fallback:
    """To be made before the manager connects."""
    means = Means(
        music_class=music_of(settings.paths).music_class,
        spoken=voice.ready,
        cause=CAUSE_TOWARDS_CALLER.__getitem__,
        ring_seconds=settings.ring_seconds,
        whole=lambda sound: bytes_if_whole(settings.paths.sounds / f"{sound}.wav"),
    )
    trunks = carriers.cache
    fallback = Fallback(manager, cache, lambda: trunks.all() if trunks.known else None, means, clock)
    cache.tell_of_changes(fallback.changed)
    manager.tell_of("FullyBooted", fallback.reconnected)
    return fallback


def _agi(
    settings: Settings, planner: Planner, voice: Voice, clock: Clock
) -> AbstractAsyncContextManager[tuple[str, int]]:
    lookups = Lookups(
        known=lambda: planner.known,
        find=planner.line,
        plan=planner.plan,
        cause=CAUSE_TOWARDS_CALLER.__getitem__,
        spoken=voice.ready,
    )
    host, port = settings.agi_bind.host, settings.agi_bind.port
    return agi_door(host, port, lookups, settings.paths.sounds, clock, settings.agi_seconds)


async def remember_calls(book: LoadBook, cache: RoutingCache, database: AsyncEngine, clock: Clock) -> None:
    """Enters the last day's calls of numbers and accounts with limits, as soon as numbers and database are there."""
    while True:
        try:
            if cache.known:
                await seed_loads(book, database, cache.limited(), clock.now(), clock.monotonic())
                return
        except DariError as error:
            log.info("the last day's calls are not counted yet", reason=str(error))
        await asyncio.sleep(_AGAIN)


def count_read_back(book: LoadBook, clock: Clock, record: CallRecord) -> None:
    """A call that went without an engine counts for the limits of its number and its account like any other."""
    age = (clock.now() - record.arrived_at).total_seconds()
    if record.number and record.account_id and record.result not in TURNED_AWAY and age < DAY:
        for key in (record.number, record.account_id):
            book.seed(key, [clock.monotonic() - age])


def engine_status(
    reception: Reception, spool: Spool, drain: Drain, trunks: Trunks, knows_numbers: bool, limit: int | None
) -> EngineStatus:
    """How the engine is, in one word and, where it is not simply ready, a reason. `limit`: what overload allows."""
    reasons = [drain.reason, spool.reason, TOO_MANY if limit else ""]
    if reception.draining:
        state = "draining"
    elif not (reception.connected and knows_numbers):
        state = "starting"
        reasons = ["not connected to Asterisk" if not reception.connected else "the numbers are not known yet"]
    elif not reception.takes_calls:
        state = "refusing"
    else:
        state = "degraded" if any(reasons) else "ready"
    return EngineStatus(
        state=state,
        live_calls=reception.live_calls,
        connected=reception.connected,
        event_lag_ms=reception.event_lag_ms,
        spool_waiting=spool.waiting,
        database=not drain.reason,
        reason="; ".join(filter(None, reasons)),
        trunks=tuple(trunks.states()),
    )


def _manager(settings: Settings) -> Manager:
    if not (settings.ari_url and settings.ami_address):
        raise Invalid(
            "DARI_ARI_URL and DARI_AMI_ADDRESS: the engine needs both; start it with `dari up`, or set both to an "
            "Asterisk of your own"
        )
    host, _, port = settings.ami_address.partition(":")
    return Manager(host, int(port), settings.ami_user, settings.ami_password)

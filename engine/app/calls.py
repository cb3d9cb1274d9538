"""The engine: live calls, their records into the database, trunks into Asterisk."""

from __future__ import annotations

import asyncio
import gc
from contextlib import AbstractAsyncContextManager, AsyncExitStack
from dataclasses import dataclass

import structlog
from sqlalchemy.ext.asyncio import AsyncEngine

from engine.app.opened import call_log_of, database_of, music_of
from engine.app.speech import Voice, open_voice
from engine.asterisk.commands import Ari
from engine.asterisk.connection import Connection
from engine.asterisk.manager import Manager
from engine.calls.causes import CAUSE_TOWARDS_CALLER
from engine.calls.control import control_door
from engine.calls.control_client import EngineStatus
from engine.calls.listening_door import ListeningDoor
from engine.calls.listening_log import ListeningLog
from engine.calls.listening_rules import Mode
from engine.calls.live_door import live_call_routes
from engine.calls.reception import EVENTS_USED, Reception
from engine.calls.switchboard import Switchboard
from engine.cdr.drain import Drain
from engine.cdr.spool import Spool
from engine.foundation.clock import Clock, SystemClock
from engine.foundation.errors import DariError, Invalid
from engine.foundation.tasks import Tasks
from engine.routing.agi_door import Lookups, agi_door
from engine.routing.cache import RoutingCache
from engine.routing.history import CallHistory, seed_loads
from engine.routing.load import LoadBook
from engine.routing.planner import Planner
from engine.settings import Settings
from engine.trunks.cache import TrunkCache
from engine.trunks.health import TrunkHealth
from engine.trunks.load import Load
from engine.trunks.outgoing import Trunks
from engine.trunks.overload import Overload
from engine.trunks.provisioning import TrunkProvisioning
from engine.watchdog.heartbeat import beat

_AGAIN = 2.0  # seconds

log = structlog.get_logger(__name__)


async def run(settings: Settings) -> None:
    paths, clock = settings.paths, SystemClock()
    manager = _manager(settings)
    async with AsyncExitStack() as stack:
        database = database_of(settings, stack, "dari calls")
        spool = Spool.open(paths.spool, settings.node, clock)
        stack.push_async_callback(spool.close)
        ari = await stack.enter_async_context(
            Ari(settings.ari_url, settings.app_name, settings.ari_user, settings.ari_password)
        )
        call_log = call_log_of(settings, "calls", stack)
        cache = RoutingCache(paths.spool / "routing.snapshot")
        gc.freeze()  # what was read stays: no collection that holds up calls need look at it
        carriers = _carriers(settings, ari, manager, clock)
        await stack.enter_async_context(manager)
        past, book = CallHistory(database), LoadBook()
        stack.push_async_callback(past.close)
        planner = Planner(cache, past, book, settings.ring_seconds, clock.monotonic)
        voice = await open_voice(settings, stack)
        board = Switchboard(
            ari=ari,
            recorder=manager,
            trunks=carriers.trunks,
            music_class=music_of(paths).music_class,
            speech=voice.sound_for,
            spool=spool,
            sounds=paths.sounds,
            monitor=paths.asterisk_spool / "monitor",
            node=settings.node,
            talk_limit=settings.talk_limit.total_seconds(),
        )
        connection = Connection(
            settings.ari_url, settings.app_name, settings.ari_user, settings.ari_password, event_types=EVENTS_USED
        )
        reception = Reception(board, connection, planner, call_log, clock, settings.node)
        drain = Drain(spool, database, paths.spool / "refused.jsonl")

        def status() -> EngineStatus:
            return engine_status(reception, spool, drain, carriers.trunks, planner.known and carriers.cache.known)

        # Closed in reverse: first the live calls get their time, in which everything below still works for them.
        tasks = Tasks("calls")
        stack.push_async_callback(tasks.close)
        allowed = {Mode(mode) for mode in settings.listening.split(",")}
        listening = ListeningDoor(reception, ListeningLog(database, clock), clock, allowed)
        routes = [*live_call_routes(reception), *listening.routes()]
        await stack.enter_async_context(control_door(paths.engine_socket, reception, status, routes))
        stack.push_async_callback(listening.close)
        if settings.agi_bind:
            await stack.enter_async_context(_agi(settings, planner, voice, clock))
        tasks.start("numbers", cache.keep_fresh(database, settings.database_url))
        tasks.start("limits", remember_calls(book, cache, database, clock))
        tasks.start("trunks", carriers.cache.keep_fresh(database, settings.database_url, carriers.changed))
        tasks.start("provisioning", carriers.provisioning.keep_trying())
        tasks.start("trunks' health", carriers.health.keep_fresh())
        tasks.start("overload", carriers.overload.keep_setting())
        tasks.start("drain", drain.run())
        tasks.start("heartbeat", beat(paths.run / "engine.beat"))
        tasks.start("calls", reception.run())
        stack.push_async_callback(reception.close, settings.stop_seconds)
        await tasks.first_failure()  # without any one of them it is no engine: another life of it starts whole


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


def _carriers(settings: Settings, ari: Ari, manager: Manager, clock: Clock) -> _Carriers:
    cache = TrunkCache(settings.paths.spool / "trunks.snapshot")
    health = TrunkHealth(cache.all, manager.contact, manager.registrations, clock.monotonic)
    for event in ("ContactStatus", "Registry"):
        manager.tell_of(event, health.changed)
    return _Carriers(
        cache=cache,
        health=health,
        trunks=Trunks(cache.all, health, Load(), clock.monotonic),
        overload=Overload(ari.set_global, cache.all, settings.calls_at_once, settings.calls_a_second),
        provisioning=TrunkProvisioning(
            settings.paths.asterisk_etc, settings.rtp_bind, manager.reload, manager.register_again
        ),
    )


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


def engine_status(
    reception: Reception, spool: Spool, drain: Drain, trunks: Trunks, knows_numbers: bool
) -> EngineStatus:
    """How the engine is, in one word and, where it is not simply ready, a reason."""
    reasons = [drain.reason, spool.reason]
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

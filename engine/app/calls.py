"""The engine: live calls, their records into the database, trunks into Asterisk."""

from __future__ import annotations

from contextlib import AsyncExitStack

from engine.app.opened import call_log_of, database_of
from engine.asterisk.commands import Ari
from engine.asterisk.connection import Connection
from engine.asterisk.manager import Manager
from engine.calls.control import control_door
from engine.calls.control_client import EngineStatus
from engine.calls.reception import EVENTS_USED, Directory, Reception
from engine.calls.switchboard import Switchboard
from engine.cdr.drain import Drain
from engine.cdr.spool import Spool
from engine.foundation.clock import SystemClock
from engine.foundation.errors import Invalid
from engine.foundation.tasks import Tasks
from engine.prompts.music import Music
from engine.routing.cache import NumberCache
from engine.routing.plan import plan
from engine.settings import PRODUCT_FILES, Settings
from engine.trunks.cache import TrunkCache
from engine.trunks.provisioning import TrunkProvisioning
from engine.watchdog.heartbeat import beat


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
        await stack.enter_async_context(manager)
        call_log = call_log_of(settings, "calls", stack)
        numbers = NumberCache(paths.spool / "numbers.snapshot")
        trunks = TrunkCache(paths.spool / "trunks.snapshot")
        provisioning = TrunkProvisioning(paths.asterisk_etc, settings.rtp_bind, manager.reload)
        music = Music(paths.music, paths.sounds, (PRODUCT_FILES / "asterisk-conf" / "music.sql").read_text())
        board = Switchboard(
            ari=ari,
            recorder=manager,
            music_class=music.music_class,
            spool=spool,
            sounds=paths.sounds,
            monitor=paths.asterisk_spool / "monitor",
            node=settings.node,
            talk_limit=settings.talk_limit.total_seconds(),
        )
        directory = Directory(
            ready=lambda: numbers.known and trunks.known,
            number=numbers.find,
            trunk=trunks.find,
            plan=lambda number, caller, instant: plan(number, caller, instant, settings.ring_seconds),
        )
        connection = Connection(
            settings.ari_url, settings.app_name, settings.ari_user, settings.ari_password, event_types=EVENTS_USED
        )
        reception = Reception(board, connection, directory, call_log, clock, settings.node)
        drain = Drain(spool, database, paths.spool / "refused.jsonl")

        async def trunks_changed() -> None:
            await provisioning.provide(trunks.all())

        def status() -> EngineStatus:
            return engine_status(reception, spool, drain, numbers.known and trunks.known)

        # Closed in reverse: first the live calls get their time, in which everything below still works for them.
        tasks = Tasks("calls")
        stack.push_async_callback(tasks.close)
        await stack.enter_async_context(control_door(paths.engine_socket, reception, status))
        tasks.start("numbers", numbers.keep_fresh(database, settings.database_url))
        tasks.start("trunks", trunks.keep_fresh(database, settings.database_url, trunks_changed))
        tasks.start("provisioning", provisioning.keep_trying())
        tasks.start("drain", drain.run())
        tasks.start("heartbeat", beat(paths.run / "engine.beat"))
        tasks.start("calls", reception.run())
        stack.push_async_callback(reception.close, settings.stop_seconds)
        await tasks.first_failure()  # without any one of them it is no engine: another life of it starts whole


def engine_status(reception: Reception, spool: Spool, drain: Drain, knows_numbers: bool) -> EngineStatus:
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
    )


def _manager(settings: Settings) -> Manager:
    if not (settings.ari_url and settings.ami_address):
        raise Invalid(
            "DARI_ARI_URL and DARI_AMI_ADDRESS: the engine needs both; start it with `dari up`, or set both to an "
            "Asterisk of your own"
        )
    host, _, port = settings.ami_address.partition(":")
    return Manager(host, int(port), settings.ami_user, settings.ami_password)

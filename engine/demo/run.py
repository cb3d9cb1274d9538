"""The demo from beginning to end: the system comes up, the shop opens, six calls are placed and found out about."""

from __future__ import annotations

import asyncio
import secrets
import signal
from collections.abc import Callable
from contextlib import aclosing

from sqlalchemy.ext.asyncio import AsyncEngine

from engine.app.opened import archive_of
from engine.calls.control_all import known_numbers
from engine.cdr.model import Result
from engine.demo.findings import Finding, decided_message, find_out, recorded_call
from engine.demo.shop import LEAFLET, ORDERS, open_shop
from engine.demo.six_calls import Placed, place_six
from engine.events.call_log import CallEvent
from engine.events.call_log_reader import follow
from engine.foundation.clock import SystemClock
from engine.foundation.database import open_database, transaction
from engine.foundation.errors import DariError, GaveUp
from engine.foundation.tasks import Tasks
from engine.numbers.inventory import find
from engine.sandbox.carrier import Carrier
from engine.settings import Settings
from engine.supervisor.foreground import up
from engine.supervisor.parts import Say

_LOOKS, _LOOKS_EVERY = 200, 0.05
_LAST_LINES = 0.5  # seconds that the last lines of the log get to be shown


async def run_demo(
    settings: Settings,
    say: Say,
    show_event: Callable[[CallEvent], None],
    show_findings: Callable[[list[Finding]], None],
    *,
    once: bool,
) -> bool | None:
    """Whether all six calls did what they should; None when the operator stopped it before that was known.

    With `once` the system is stopped after them, else by Ctrl-C. Raises what kept the calls from being placed.
    """
    went_right: list[bool] = []
    failed: list[DariError] = []

    async def calls(whole: Settings) -> None:
        try:
            findings = await _six_calls(whole, say, show_event)
            show_findings(findings)
            went_right.append(not any(finding.wrong for finding in findings))
        except DariError as error:
            failed.append(error)
        if once or failed:
            signal.raise_signal(signal.SIGTERM)  # as the operator's Ctrl-C would

    await up(settings, say, calls, any_port=True)
    if failed:
        raise failed[0]
    return went_right[0] if went_right else None


async def _six_calls(settings: Settings, say: Say, show_event: Callable[[CallEvent], None]) -> list[Finding]:
    dari = (settings.sip_bind.host, settings.sip_bind.port)
    carrier_ip = _new_address()
    database = open_database(settings.database_url, settings.database_timeout, application_name="dari demo")
    tasks = Tasks("demo calls")
    try:
        async with Carrier(carrier_ip, 0, dari) as carrier:
            async with transaction(database) as connection:
                await open_shop(connection, carrier_ip, f"sip:{carrier_ip}:{carrier.address[1]}")
            await _trunk_is_known(carrier)
            await _numbers_are_known(settings, database)
            say("demo: a shop with two 050 numbers, a carrier with telephones; six calls")
            tasks.start("lines", _show_lines(settings, show_event))
            paths = settings.paths
            archive = archive_of(settings, database, SystemClock())
            findings = await place_six(
                carrier,
                lambda call: find_out(archive, call, paths.sounds, paths.home / "demo-recording.wav"),
                lambda call: _message_is_out(database, call),
            )
            await asyncio.sleep(_LAST_LINES)
            return list(findings)
    finally:
        await tasks.close()
        await database.dispose()


def _new_address() -> str:
    """A loopback address that no demo had before: when Asterisk knows it, it has read this demo's trunk."""
    return f"127.{1 + secrets.randbelow(250)}.{secrets.randbelow(256)}.2"


async def _trunk_is_known(carrier: Carrier) -> None:
    """Waits until Asterisk takes calls from the carrier: its trunk was written a moment ago."""
    for _ in range(_LOOKS):
        if await carrier.is_known():
            return
        await asyncio.sleep(_LOOKS_EVERY)
    raise GaveUp("Asterisk does not take calls from the demo's carrier; see log/engine.log in DARI_HOME")


async def _numbers_are_known(settings: Settings, database: AsyncEngine) -> None:
    """Waits until every engine goes by the shop's numbers as they were written a moment ago."""
    async with transaction(database) as connection:
        written = [await find(connection, number) for number in (ORDERS, LEAFLET)]
    for _ in range(_LOOKS):
        known = [await known_numbers(settings.engine_sockets, number.number) for number in written]
        if all(set(each) == {number} for each, number in zip(known, written, strict=True)):
            return
        await asyncio.sleep(_LOOKS_EVERY)
    raise GaveUp("the engine does not know the demo's numbers; see log/engine.log in DARI_HOME")


async def _message_is_out(database: AsyncEngine, call: Placed) -> None:
    record = await recorded_call(database, call)
    if record.result is not Result.ANSWERED:
        raise GaveUp(f"the first call was not answered but ended as {record.result.value}; see `dari trace`")
    await decided_message(database, record)


async def _show_lines(settings: Settings, show_event: Callable[[CallEvent], None]) -> None:
    async with aclosing(follow(settings.paths.log)) as events:
        async for event in events:
            show_event(event)

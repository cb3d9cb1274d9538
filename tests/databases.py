"""Fresh databases for tests: one server per test run, shared by its workers, and one migrated database to copy from."""

from __future__ import annotations

import fcntl
import hashlib
import os
import shutil
import tempfile
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager
from itertools import count
from pathlib import Path
from typing import IO

import asyncpg
from sqlalchemy import make_url

from engine.foundation.database import connect
from engine.foundation.schema import upgrade
from engine.supervisor.postgres import Embedded
from engine.supervisor.processes import start_process

MIGRATIONS = Path(__file__).resolve().parent.parent / "migrations"
OTHER_SERVER = "DARI_TEST_DATABASE_URL"
"""Environment variable: a PostgreSQL to test on, as a user who may create databases; unset: the embedded one."""

_FOLDER = Path(tempfile.gettempdir())
_OURS = f"dari-tests-{os.geteuid()}"


class Databases:
    """A test run's server, as one of its workers uses it. `join` it, and `leave`: the last one there stops it."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._name = "dari_test_" + hashlib.sha256(folder.name.encode()).hexdigest()[:12]
        self._embedded = None if os.environ.get(OTHER_SERVER) else Embedded(folder / "postgres", folder / "run")
        self._numbers = count()
        self._present: IO[str] | None = None

    @classmethod
    async def join(cls) -> Databases:
        """Takes part in this test run's server; the first one there starts it, and clears what killed runs left."""
        with _alone():
            for folder in _FOLDER.glob(f"{_OURS}-*"):
                if _deserted(folder):
                    await cls(folder)._remove()
            run = os.environ.get("PYTEST_XDIST_TESTRUNUID", str(os.getpid()))
            databases = cls(_FOLDER / f"{_OURS}-{run}")
            await databases._enter()
            return databases

    async def leave(self) -> None:
        with _alone():
            if self._present:
                self._present.close()
            if _deserted(self._folder):
                await self._remove()

    async def fresh(self) -> str:
        """The address of a new database with all tables and nothing in them."""
        name = f"{self._name}_{os.getpid()}_{next(self._numbers)}"
        await self._execute(f"CREATE DATABASE {name} TEMPLATE {self._name} {self._owned}")
        return self._url(name)

    async def empty(self) -> str:
        """The address of a new database without tables."""
        name = f"{self._name}_{os.getpid()}_{next(self._numbers)}"
        await self._execute(f"CREATE DATABASE {name} {self._owned}")
        return self._url(name)

    async def drop(self, url: str) -> None:
        """Removes one that `fresh` or `empty` made, whoever is connected to it."""
        await self._execute(f"DROP DATABASE IF EXISTS {make_url(url).database} WITH (FORCE)")

    @property
    def _owned(self) -> str:
        return "OWNER dari" if self._embedded else ""

    @property
    def _administration(self) -> str:
        return self._embedded.superuser_url if self._embedded else os.environ[OTHER_SERVER]

    def _url(self, name: str) -> str:
        url = make_url(self._embedded.url if self._embedded else os.environ[OTHER_SERVER])
        return url.set(database=name, drivername="postgresql+asyncpg").render_as_string(hide_password=False)

    async def _enter(self) -> None:
        first = not self._folder.exists()
        self._folder.mkdir(exist_ok=True)
        self._present = (self._folder / "present").open("w")
        fcntl.flock(self._present, fcntl.LOCK_SH)
        if not first:
            return
        if self._embedded:
            await self._embedded.prepare()
            quick = [*self._embedded.command(), "-c", "fsync=off"]  # nobody needs these data after a power cut
            start_process("test database", quick, dict(os.environ), self._folder / "postgres.log")
            await self._embedded.ready()
        await self._execute(f"CREATE DATABASE {self._name} {self._owned}")
        await upgrade(self._url(self._name), MIGRATIONS)

    async def _remove(self) -> None:
        if self._embedded is None:
            await self._drop_all()
        elif server := self._embedded.running():
            await self._embedded.stop(server, patience=5.0)
        shutil.rmtree(self._folder)

    async def _drop_all(self) -> None:
        connection = await connect(self._administration, command_timeout=30.0)
        try:
            for row in await connection.fetch("SELECT datname FROM pg_database WHERE datname ^@ $1", self._name):
                await connection.execute(f"DROP DATABASE {row['datname']} WITH (FORCE)")
        finally:
            await connection.close()

    async def _execute(self, statement: str) -> None:
        connection = await connect(self._administration, command_timeout=30.0)
        try:
            await connection.execute(statement)
        finally:
            await connection.close()


@asynccontextmanager
async def at_step(url: str, step: str) -> AsyncIterator[asyncpg.Connection[asyncpg.Record]]:
    """A connection to the empty database at `url`, which gets the tables of that step of the migrations."""
    await upgrade(url, MIGRATIONS, step)
    connection = await connect(url, command_timeout=10.0)
    try:
        yield connection
    finally:
        await connection.close()


@contextmanager
def _alone() -> Iterator[None]:
    """One process of all test runs at a time."""
    with (_FOLDER / f"{_OURS}.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield


def _deserted(folder: Path) -> bool:
    """Whether no living process takes part in that test run any more: a dead one's lock is gone with it."""
    with (folder / "present").open("w") as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            return False
        return True

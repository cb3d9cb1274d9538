"""PostgreSQL: how it is opened, how its absence is told, how its notifications are heard."""

from __future__ import annotations

import asyncio
import math
import time
from collections.abc import AsyncGenerator, AsyncIterator, Iterator, Sequence
from contextlib import aclosing, asynccontextmanager, contextmanager, suppress
from typing import Any

import asyncpg
import structlog
from sqlalchemy import Engine, make_url
from sqlalchemy.event import listens_for
from sqlalchemy.exc import DBAPIError, InvalidatePoolError
from sqlalchemy.exc import TimeoutError as PoolTimeout
from sqlalchemy.ext.asyncio import AsyncConnection, AsyncEngine, create_async_engine
from sqlalchemy.pool import ConnectionPoolEntry

from engine.foundation.errors import DariError, Invalid, TryLater

log = structlog.get_logger(__name__)

CONNECT_TIMEOUT = 2.0
"""Seconds for a connection to be made, or to come free in the pool: an absent database is told at once."""

_PING_EVERY = 15.0
_SURELY_ALIVE = 5.0
"""Seconds of rest after which a connection of the pool is asked whether it lives."""
_RESTS_SINCE = "rests since"
_FIRST_WAIT, _LONGEST_WAIT = 0.1, 2.0

# SQLSTATE classes of a server that is going, coming, full or in a race that a second try wins.
_PASSING = ("08", "25006", "40", "53", "55P03", "57", "58")
_REFUSED = ("28", "3D")
_NOT_MIGRATED = ("42P01", "42703", "42883")  # no such table, column, function


def open_database(
    url: str, command_timeout: float, *, application_name: str = "dari", pool_size: int = 10
) -> AsyncEngine:
    """A pool of at most `pool_size` connections; no statement lasts longer than `command_timeout` seconds.

    Connects when first used, and once more only when all connections are busy. They stay, for a new one costs a process
    of the server's, and every statement is parsed and planned there anew. Close it with `await engine.dispose()`.
    """

    async def creator() -> asyncpg.Connection[asyncpg.Record]:
        return await _connect(url, command_timeout, application_name)

    engine = create_async_engine(
        "postgresql+asyncpg://",
        async_creator=creator,
        pool_size=pool_size,
        max_overflow=0,
        pool_use_lifo=True,  # so that few are used often, and know their statements
        pool_timeout=CONNECT_TIMEOUT,
        hide_parameters=True,  # phone numbers and texts stay out of error messages
    )
    _replace_dead_ones(engine.sync_engine)
    return engine


def _replace_dead_ones(engine: Engine) -> None:
    """A connection that died in the pool is replaced before its next user sees it.

    One whose server closed it says so at once; only one that rested is asked, for its server may have gone in silence.
    SQLAlchemy's own check asks every time, which is half of all that a short transaction sends.
    """
    dialect = engine.dialect

    @listens_for(engine, "checkin")
    def rests(_: object, record: ConnectionPoolEntry) -> None:
        record.info[_RESTS_SINCE] = time.monotonic()

    @listens_for(engine, "checkout")
    def look_at(connection: Any, record: ConnectionPoolEntry, _: object) -> None:
        driver = record.driver_connection
        if driver is not None and driver.is_closed():
            raise InvalidatePoolError
        if time.monotonic() - record.info.get(_RESTS_SINCE, math.inf) < _SURELY_ALIVE:
            return
        try:
            dialect.do_ping(connection)
        except dialect.loaded_dbapi.Error:
            raise InvalidatePoolError from None


async def connect(
    url: str, command_timeout: float, *, application_name: str = "dari"
) -> asyncpg.Connection[asyncpg.Record]:
    """A connection of one's own, without SQLAlchemy. Raises TryLater, or Invalid when the server refuses us."""
    with database_errors():
        return await _connect(url, command_timeout, application_name)


@asynccontextmanager
async def transaction(engine: AsyncEngine) -> AsyncIterator[AsyncConnection]:
    """One transaction, committed at the end, undone by any error. SQL only inside: any OSError becomes TryLater."""
    with database_errors():
        async with engine.connect() as connection, connection.begin():
            try:
                yield connection
            except (TimeoutError, asyncio.CancelledError):
                # A server that hangs would be waited for once more to undo it; without a client it does so itself.
                await connection.invalidate()
                raise


@contextmanager
def database_errors() -> Iterator[None]:
    """Turns what the drivers raise for a database that is away or busy into TryLater. Other errors pass as they are.

    Whether a transaction that failed so was committed is unknown: what is tried again must be harmless when done twice.
    """
    try:
        yield
    except DariError:
        raise
    except PoolTimeout:
        raise TryLater("the database is busy: no connection came free; try again") from None
    except (OSError, asyncpg.InterfaceError, asyncpg.PostgresError, DBAPIError) as error:
        told = _told(error)
        if told is None:
            raise
        raise told from error


async def listen(
    url: str, channels: Sequence[str], *, reread_after: float | None = None, command_timeout: float = 10.0
) -> AsyncGenerator[str, None]:
    """The payloads notified on `channels`, endlessly, over its own connection, which is made anew whenever it is lost.

    Yields an empty text after each connect, and every `reread_after` seconds: notifications may have been missed, so
    read everything again. Use it inside `contextlib.aclosing`.
    """
    wait = _FIRST_WAIT
    told = False
    while True:
        try:
            connection = await connect(url, command_timeout, application_name="dari listen")
        except DariError as error:
            if wait == _LONGEST_WAIT and not told:
                told = True
                log.warning("not listening to the database", channels=",".join(channels), reason=str(error))
            await asyncio.sleep(wait)
            wait = min(wait * 2, _LONGEST_WAIT)
            continue
        if told:
            told = False
            log.info("listening to the database again", channels=",".join(channels))
        wait = _FIRST_WAIT
        try:
            async with aclosing(_heard(connection, channels, reread_after)) as heard:
                async for payload in heard:
                    yield payload
        finally:
            connection.terminate()


async def _heard(
    connection: asyncpg.Connection[asyncpg.Record], channels: Sequence[str], reread_after: float | None
) -> AsyncGenerator[str, None]:
    """What one connection hears until it is lost."""
    heard: asyncio.Queue[str | None] = asyncio.Queue()
    connection.add_termination_listener(lambda _connection: heard.put_nowait(None))
    now = asyncio.get_running_loop().time
    with suppress(OSError, asyncpg.PostgresError, asyncpg.InterfaceError):
        for channel in channels:
            await connection.add_listener(
                channel, lambda _connection, _pid, _channel, text: heard.put_nowait(str(text))
            )
        reread_at = now()
        while True:
            if now() >= reread_at:
                reread_at = now() + (reread_after or float("inf"))
                yield ""
            try:
                # Not `wait_for`: in Python 3.11 it loses a cancellation that comes together with a notification.
                async with asyncio.timeout(min(_PING_EVERY, reread_at - now())):
                    payload = await heard.get()
            except TimeoutError:
                await connection.execute("SELECT 1")  # a connection may be gone without anybody having been told
                continue
            if payload is None:
                return
            yield payload


class _Connection(asyncpg.Connection):
    """Closed without a word unless a time limit is given: a server that hangs would be waited for, one by one."""

    async def close(self, *, timeout: float | None = None) -> None:
        if timeout is not None:
            await super().close(timeout=timeout)
            return
        self.terminate()
        await asyncio.sleep(0)  # the loop lets the socket go


async def _connect(url: str, command_timeout: float, application_name: str) -> asyncpg.Connection[asyncpg.Record]:
    # asyncpg reads the address itself, so that sslmode and the like mean what they mean to every PostgreSQL program.
    address = make_url(url).set(drivername="postgresql").render_as_string(hide_password=False)
    return await asyncpg.connect(
        address,
        timeout=CONNECT_TIMEOUT,
        command_timeout=command_timeout,
        connection_class=_Connection,
        server_settings={"application_name": application_name, "timezone": "UTC"},
    )


def _told(error: Exception) -> DariError | None:
    """What a driver's error means to us; None when it is about the statement, not about the server."""
    state = getattr(getattr(error, "orig", error), "sqlstate", None) or ""
    if isinstance(error, asyncpg.exceptions.ClientConfigurationError):
        return Invalid(f"setting DARI_DATABASE_URL: {error}; write it like postgresql://user:password@host/name")
    if isinstance(error, OSError) or state.startswith(_PASSING) or _connection_lost(error):
        reason = getattr(error, "strerror", None) or f"{type(error).__name__} {state}".rstrip()
        return TryLater(f"the database is away or busy ({reason}); try again")
    if state.startswith(_REFUSED):
        return Invalid(f"the database refuses Dari ({state}); check user, password and name in DARI_DATABASE_URL")
    if state in _NOT_MIGRATED:
        return Invalid("the database lacks tables of this version of Dari; run `dari migrate`")
    return None


def _connection_lost(error: Exception) -> bool:
    if isinstance(error, DBAPIError):
        return error.connection_invalidated
    return isinstance(error, asyncpg.InterfaceError) and "closed" in str(error)

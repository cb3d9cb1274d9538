"""What the doctor asks of the database: its version, its tables, its clock, and whether anything is set up in it."""

from __future__ import annotations

import time

from engine.accounts.book import is_sender
from engine.foundation.database import connect, open_database, transaction
from engine.foundation.errors import DariError
from engine.foundation.schema import newest
from engine.numbers.inventory import listing
from engine.settings import PRODUCT_FILES, Settings
from engine.supervisor.check import Check, bad, ok, refused, warn
from engine.supervisor.report import DatabaseReport

_CLOCKS_APART = 2.0  # seconds
_OLDEST_POSTGRES = 15


async def database_checks(whole: Settings, found: DatabaseReport, *, own: bool) -> list[Check]:
    """The database as it answered."""
    if not found.answers:
        mend = "start it with `dari up`" if own else "check DARI_DATABASE_URL and that server"
        return [(warn if own else bad)("database", found.reason, mend)]
    checks = []
    if int(found.version.split(".")[0]) < _OLDEST_POSTGRES:
        checks.append(bad("database", f"PostgreSQL {found.version}", f"use {_OLDEST_POSTGRES} or newer"))
    else:
        checks.append(ok("database", f"PostgreSQL {found.version}"))
    wanted = newest(PRODUCT_FILES / "migrations")
    if found.step == wanted:
        checks.append(ok("tables", f"step {found.step}"))
    else:
        checks.append(bad("tables", f"step {found.step or 'none'}, wanted {wanted}", "run `dari migrate`"))
    checks.append(await _clocks(whole))
    if found.trunks is not None:
        checks.append(_trunks(found.trunks))
        checks += await _numbers(whole)
    return checks


async def _clocks(whole: Settings) -> Check:
    try:
        connection = await connect(whole.database_url, 5.0, application_name="dari doctor")
        try:
            theirs = float(await connection.fetchval("SELECT extract(epoch FROM clock_timestamp())::float8"))
        finally:
            await connection.close()
    except DariError as error:
        return refused("database clock", error)
    apart = abs(theirs - time.time())
    if apart > _CLOCKS_APART:
        return bad("database clock", f"{apart:.0f} s apart from this machine's", "set both, for example with chrony")
    return ok("database clock", "the same as here")


async def _numbers(whole: Settings) -> list[Check]:
    database = open_database(whole.database_url, whole.database_timeout, application_name="dari doctor", pool_size=1)
    try:
        async with transaction(database) as connection:
            numbers = await listing(connection)
            senders = {(number.account_id, number.sender) for number in numbers if number.sender and number.callback}
            missing = [pair for pair in senders if not await is_sender(connection, *pair)]
    except DariError as error:
        return [refused("numbers", error)]
    finally:
        await database.dispose()
    if not numbers:
        return [
            warn(
                "numbers",
                "none: every caller hears that the number is not in service",
                "add one with `dari number add`",
            )
        ]
    checks = [ok("numbers", f"{len(numbers)} in service")]
    if missing:
        found = f"{len(missing)} not registered: their messages are held"
        return [*checks, bad("senders", found, "set them with `dari number set --sender`")]
    return [*checks, ok("senders", f"{len(senders)} registered")]


def _trunks(count: int) -> Check:
    if count == 0:
        return warn("trunks", "none: every call is turned away", "add one with `dari trunk add`")
    return ok("trunks", str(count))

"""What the doctor asks about calls: whether each that Asterisk had has its record, and only one."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

from engine.app.opened import call_file_of
from engine.cdr.agreement import SETTLED, Agreement, compare
from engine.foundation.database import open_database
from engine.foundation.errors import DariError
from engine.foundation.schema import newest
from engine.settings import PRODUCT_FILES, Settings
from engine.supervisor.check import Check, bad, ok, refused
from engine.supervisor.report import DatabaseReport

_NAME = "call records"
_LOOKED_BACK = timedelta(hours=1)


async def call_checks(whole: Settings, found: DatabaseReport) -> list[Check]:
    """Nothing while the database is away or has not all its tables: that is told already."""
    if not found.answers or found.step != newest(PRODUCT_FILES / "migrations"):
        return []
    file, now = call_file_of(whole), datetime.now(UTC)
    database = open_database(whole.database_url, whole.database_timeout, application_name="dari doctor", pool_size=1)
    try:
        return [judged(await compare(database, file, now - _LOOKED_BACK, now - SETTLED))]
    except DariError as error:
        return [refused(_NAME, error)]
    except OSError as error:
        return [
            bad(_NAME, f"{file.path} cannot be read ({error.strerror})", "let this user read Asterisk's log folder")
        ]
    finally:
        await database.dispose()


def judged(found: Agreement) -> Check:
    """What is said of a comparison of the last hour."""
    if found.whole:
        return ok(_NAME, f"one for each of the {found.rows} calls that Asterisk had in the last hour")
    some = ", ".join(found.examples)
    return bad(
        _NAME,
        f"of {found.rows} calls in the last hour {found.missing} have no record and {found.doubled} several: {some}",
        "calls without an engine get theirs once one runs (`dari up`); look for these channels in DARI_HOME/log",
    )

"""What the doctor asks about recordings: whether the master key of this home is the one that owners' keys are under."""

from __future__ import annotations

from engine.foundation.database import open_database, transaction
from engine.foundation.errors import DariError
from engine.foundation.schema import newest
from engine.recordings.keys import MasterKey, count_keys
from engine.settings import PRODUCT_FILES, Settings
from engine.supervisor.check import Check, bad, ok, refused
from engine.supervisor.report import DatabaseReport

_NAME = "recording key"


async def recording_checks(whole: Settings, found: DatabaseReport) -> list[Check]:
    """Nothing while the database is away or has not all its tables: that is told already."""
    if not found.answers or found.step != newest(PRODUCT_FILES / "migrations"):
        return []
    database = open_database(whole.database_url, whole.database_timeout, application_name="dari doctor", pool_size=1)
    try:
        master = MasterKey.of(whole.recording_key) if whole.recording_key else None
        async with transaction(database) as connection:
            keys, opened = await count_keys(connection, master)
    except DariError as error:
        return [refused(_NAME, error)]
    finally:
        await database.dispose()
    return [_judged(whole, keys, opened)]


def _judged(whole: Settings, keys: int, opened: int) -> Check:
    if opened == keys:
        return ok(_NAME, f"opens all {keys} keys of owners" if keys else "no owner has a key yet")
    file = whole.paths.recording_key
    return bad(
        _NAME,
        f"{keys - opened} of {keys} owners' keys do not open: their recordings cannot be heard",
        f"put the old recording.key back as {file}, or into DARI_RECORDING_KEY where that is set; if both keys are "
        "wanted, `dari recording rekey --old-master FILE`",
    )

"""The database's tables, moved from one version to another. The scripts are in `migrations/`."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from alembic import command
from alembic.config import Config
from alembic.runtime.migration import MigrationContext
from alembic.script import ScriptDirectory
from alembic.util import CommandError
from sqlalchemy import Connection, text
from sqlalchemy.ext.asyncio import AsyncEngine

from engine.foundation.database import database_errors, open_database
from engine.foundation.errors import Invalid

MIGRATION_LOCK = 0x64617269
"""Advisory lock of whoever migrates: any constant of ours, free again when the transaction ends."""

_MIGRATION_TIMEOUT = 600.0  # seconds: large tables, and waiting for another migration to end


async def upgrade(url: str, scripts: Path, revision: str = "head") -> None:
    """Brings the tables up to `revision`. Two at once are safe: one waits for the other and finds nothing to do."""
    await _migrate(url, scripts, lambda config: command.upgrade(config, revision))


async def downgrade(url: str, scripts: Path, revision: str) -> None:
    """Takes the tables back to `revision`; `base` removes them and all that is in them."""
    await _migrate(url, scripts, lambda config: command.downgrade(config, revision))


async def current(url: str) -> str | None:
    """The revision that the database is at; None: it has no tables of ours."""
    engine = _open(url)
    try:
        with database_errors():
            async with engine.connect() as connection:
                return await connection.run_sync(lambda bare: MigrationContext.configure(bare).get_current_revision())
    finally:
        await engine.dispose()


def newest(scripts: Path) -> str:
    """The revision that this version of Dari needs."""
    head = ScriptDirectory.from_config(_config(scripts)).get_current_head()
    if head is None:
        raise Invalid(f"{scripts} holds no migrations; install Dari again")
    return head


async def _migrate(url: str, scripts: Path, deed: Callable[[Config], None]) -> None:
    config = _config(scripts)

    def run(connection: Connection) -> None:
        config.attributes["connection"] = connection
        deed(config)

    engine = _open(url)
    try:
        with database_errors():
            async with engine.begin() as connection:
                # Before Alembic, whose state belongs to the whole process. What fails leaves nothing behind.
                await connection.execute(text("SELECT pg_advisory_xact_lock(:key)"), {"key": MIGRATION_LOCK})
                await connection.run_sync(run)
    except CommandError as error:
        raise Invalid(
            f"the database cannot be migrated: {error}; is this Dari older than the one that made it?"
        ) from None
    finally:
        await engine.dispose()


def _open(url: str) -> AsyncEngine:
    return open_database(url, _MIGRATION_TIMEOUT, application_name="dari migrate", pool_size=1)


def _config(scripts: Path) -> Config:
    config = Config()
    config.set_main_option("script_location", str(scripts).replace("%", "%%"))
    return config

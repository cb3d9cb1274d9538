"""What several roles open, each for itself."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import AsyncExitStack
from ipaddress import ip_network

from sqlalchemy.ext.asyncio import AsyncEngine

from engine.cdr.call_file import CallFile
from engine.events.call_log import CallEvent
from engine.events.call_log_writer import CallLog
from engine.foundation.clock import Clock
from engine.foundation.database import open_database
from engine.foundation.sealing import SealingKey
from engine.prompts.music import Music
from engine.recordings.archive import Archive
from engine.recordings.keys import MasterKey
from engine.settings import PRODUCT_FILES, Paths, Settings
from engine.webhooks.settings import Rules

_LOGGED_WITHIN = 0.05
"""Seconds by which the live log of calls may lag behind them."""


def database_of(settings: Settings, stack: AsyncExitStack, name: str) -> AsyncEngine:
    database = open_database(settings.database_url, settings.database_timeout, application_name=name)
    stack.push_async_callback(database.dispose)
    return database


def archive_of(settings: Settings, database: AsyncEngine, clock: Clock) -> Archive:
    """The recordings of this home. Raises Invalid when their master key is not known."""
    return Archive(
        database=database,
        clock=clock,
        master=MasterKey.of(settings.recording_key),
        folder=settings.paths.recordings,
        spool=settings.paths.asterisk_spool,
        days=settings.recording_days,
    )


def call_file_of(settings: Settings) -> CallFile:
    """Asterisk's own call records, of the Asterisk that this home runs."""
    return CallFile(settings.paths.asterisk / "log" / "cdr-custom" / "calls.csv")


def call_log_of(
    settings: Settings, name: str, stack: AsyncExitStack, tell: Callable[[CallEvent], None] | None = None
) -> CallLog:
    """`tell` is told of each event as well."""
    call_log = CallLog(
        settings.paths.log,
        name,
        mask=settings.mask_numbers,
        max_bytes=settings.call_log_bytes,
        files=settings.call_log_files,
        within=_LOGGED_WITHIN,
        tell=tell,
    )
    stack.callback(call_log.close)
    return call_log


def webhook_rules_of(settings: Settings) -> Rules:
    """What webhooks are set and sent by. Raises Invalid when the key of secrets is not known."""
    named = filter(None, map(str.strip, settings.webhook_networks.split(",")))
    return Rules(SealingKey.of(settings.secret_key), tuple(map(ip_network, named)))


def music_of(paths: Paths) -> Music:
    """The ringback classes of the sounds folder."""
    return Music(paths.music, paths.sounds, (PRODUCT_FILES / "asterisk-conf" / "music.sql").read_text())

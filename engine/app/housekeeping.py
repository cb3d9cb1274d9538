"""What has to be looked after now and then, whether or not there are calls."""

from __future__ import annotations

import asyncio
from datetime import timedelta

import structlog
from sqlalchemy.ext.asyncio import AsyncEngine

from engine.accounts.model import OPERATOR_PLACE, Actor, Role
from engine.app.opened import music_of
from engine.cdr.agreement import SETTLED, compare
from engine.cdr.call_file import CallFile
from engine.foundation.clock import Clock
from engine.foundation.database import transaction
from engine.numbers.keeping import look_after_numbers
from engine.numbers.order_model import Periods
from engine.numbers.quarantine import BY_TIME
from engine.numbers.quarantine_terms import terms_with
from engine.numbers.sound_names import sounds_of
from engine.prompts.catalogue import sweep
from engine.prompts.library import sounds_in_use
from engine.recordings.archive import Archive
from engine.recordings.check import compare as compare_files
from engine.recordings.retention import sweep as delete_expired
from engine.routing import holiday_calendar
from engine.routing.plan import STANDARD_RINGBACK
from engine.routing.played_prompts import treatments
from engine.settings import Paths, Settings

log = structlog.get_logger(__name__)

_TIME = Actor(who=BY_TIME, place=OPERATOR_PLACE, role=Role.OPERATOR)
"""Who does what nobody asked for."""


async def seed_this_and_next_year(database: AsyncEngine, clock: Clock) -> None:
    """The public holidays of this year and the next are there; temporary ones are entered by hand."""
    year = clock.now().year
    async with transaction(database) as connection:
        new, gone = await holiday_calendar.seed(connection, _TIME, (year, year + 1), clock.now())
    if new or gone:
        log.info("public holidays were brought up to date", new=new, gone=gone)


async def sweep_sounds(database: AsyncEngine, paths: Paths, clock: Clock) -> None:
    """Removes sounds and ringback folders that nothing names any more, after their time of grace."""
    used = {STANDARD_RINGBACK}
    lists: set[str | tuple[str, ...]] = {(STANDARD_RINGBACK,)}
    async with transaction(database) as connection:
        used |= await sounds_in_use(connection)
        async for treatment in treatments(connection):
            used.update(filter(None, sounds_of(treatment)))
            if treatment.ringback:
                lists.add(treatment.ringback)
    folders = await asyncio.to_thread(music_of(paths).sweep, lists, clock.now())
    sounds = await asyncio.to_thread(sweep, paths.sounds, used, clock.now())
    if sounds or folders:
        log.info("unused sounds were removed", sounds=sounds, ringbacks=folders)


async def keep_numbers(database: AsyncEngine, settings: Settings, clock: Clock) -> None:
    """Reservations, quarantines, orders and offers of numbers whose time is over."""
    await look_after_numbers(
        database,
        clock.now(),
        terms=terms_with(settings.number_quarantine_days),
        periods=Periods(warn_days=settings.number_warning_days, grace_days=settings.number_grace_days),
    )


async def delete_recordings(archive: Archive) -> None:
    """Recordings whose time is over go."""
    if done := await delete_expired(archive):
        log.info("recordings were deleted after their time", recordings=done)


async def compare_recordings(archive: Archive) -> None:
    """Recordings and their files agree, or somebody is told."""
    for finding in (await compare_files(archive)).open:
        log.error("a recording needs a look", trouble=finding.trouble.value, file=finding.file, why=finding.detail)


async def compare_calls(database: AsyncEngine, file: CallFile, clock: Clock) -> None:
    """Every call of the last day has its record, and only one, or somebody is told."""
    now = clock.now()
    found = await compare(database, file, now - timedelta(days=1), now - SETTLED)
    if not found.whole:
        log.error(
            "Asterisk's calls and our records disagree",
            calls=found.rows,
            without_record=found.missing,
            with_several=found.doubled,
            channels=found.examples,
        )

"""Calls that went without an engine come into the log, from Asterisk's own file of calls, each exactly once.

A row tells of a call that no engine had: its record is made from it at once. Or of one that an engine took, even if the
dialplan ran it on after that engine's death: then that one's record is waited for, and only when it surely does not
come, one is made from the row. The ids of such records follow from the row, so that whatever is read again, or by
another engine, is the same record and doubles nothing.
"""

from __future__ import annotations

import asyncio
import re
from collections import Counter, deque
from collections.abc import Callable, Iterable
from contextlib import suppress
from dataclasses import dataclass
from datetime import datetime, timedelta
from pathlib import Path

import msgspec
import structlog
from sqlalchemy.exc import DBAPIError
from sqlalchemy.ext.asyncio import AsyncEngine

from engine.calls.planner import Planner
from engine.calls.without_engine import caller_of, how_without_engine, record_of, was_taken
from engine.cdr.agreement import count_records, spooled
from engine.cdr.call_file import CallFile
from engine.cdr.call_file_follower import Follower, Place
from engine.cdr.call_row import Alone, Row
from engine.cdr.model import CallRecord
from engine.cdr.spool import Spool
from engine.events.call_log import CallEvent, CallEventKind
from engine.events.call_log_writer import CallLog
from engine.foundation.clock import Clock
from engine.foundation.database import transaction
from engine.foundation.errors import DariError
from engine.foundation.files import replace_file
from engine.recordings.sound import TURNED

log = structlog.get_logger(__name__)

LOOK_EVERY = 1.0
"""Seconds between two looks into the file."""
_ASK_AFTER = 2
"""Looks after which a record should be in the database: an engine writes it when the call ends, within a second."""
_SURE_AFTER = 20
"""Looks after which a record that is nowhere is not under way either: a frozen engine has been cut off by then."""
_SURE_AFTER_MISSES = 3
"""Looks in a row that find it nowhere: what changes its file meanwhile may be missed by one."""
_WAITING_AT_MOST = 5_000
"""Rows whose records are waited for; while there are so many (the database is away), no further ones are read."""
_BREATH, _BREATHER = 100, 0.01
"""Rows taken in before live calls get a longer turn, and for how many seconds."""
ROTATE_BYTES = 64_000_000
ROTATE_AFTER = timedelta(days=1)
"""Age of a file's first row. Callers' numbers are in these files, so none is written to for ever."""
ROTATED_FILES = 8
"""How many renamed files are kept at most: half a gigabyte of some 300 bytes a channel."""
KEPT_FOR = timedelta(days=14)
"""And for how long after they were last written to."""

_FILE_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]*")

_kept = msgspec.json.Decoder(Place)


@dataclass(frozen=True, slots=True)
class Sources:
    """Where it is seen what calls there were, and which of them have a record."""

    file: CallFile
    kept: Path
    """Keeps how far the file was read."""
    spools: Callable[[], Iterable[Path]]
    """The folders of all engines' spools."""
    database: AsyncEngine
    monitor: Path
    """Where Asterisk leaves recordings."""


@dataclass(slots=True)
class _Waiting:
    """A row whose record is to come."""

    place: Place
    row: Row
    looks: int = 0
    misses: int = 0


class ReadBack:
    """One of a home's engines runs it at a time."""

    def __init__(
        self,
        sources: Sources,
        spool: Spool,
        planner: Planner,
        call_log: CallLog,
        clock: Clock,
        count: Callable[[CallRecord], None] = lambda _: None,
    ) -> None:
        """`count` is told of each record, for the limits of its number."""
        self.reason = ""
        """Why calls are not read back now; empty when they are."""
        self._sources = sources
        self._spool = spool
        self._planner = planner
        self._log = call_log
        self._clock = clock
        self._count = count
        self._follower: Follower | None = None
        self._written_down: Place | None = None
        self._new: deque[tuple[Place, Row]] = deque()
        self._waiting: dict[str, _Waiting] = {}
        self._quiet_looks = 0
        """So many looks in a row found nothing new, and had nothing to wait for."""

    async def keep_reading(self) -> None:
        """Until cancelled."""
        try:
            while True:
                more = False
                try:
                    more = await self.look()
                except (DariError, DBAPIError, OSError) as error:
                    self._trouble(str(error))
                else:
                    self._trouble("")
                await asyncio.sleep(_BREATHER if more else LOOK_EVERY)
        finally:
            self.close()

    def close(self) -> None:
        if self._follower is not None:
            self._follower.close()
        self._follower = None

    async def look(self) -> bool:
        """Takes in what is new, and asks for the records that should have come. Whether there is more to take in.

        Raises OSError, or what the database raises: then the same is looked at again.
        """
        if not self._planner.known:
            return False
        if self._follower is None:
            self._follower = await asyncio.to_thread(self._begin)
        if not self._new and len(self._waiting) < _WAITING_AT_MOST:
            self._new.extend(await asyncio.to_thread(self._follower.read))
        if self._new:
            self._quiet_looks = 0
            await self._take_in()
            await self._write_down_place(self._follower)
            return True
        await self._ask()
        await self._write_down_place(self._follower)
        waiting = next(iter(self._waiting.values()), None)
        waiting_since = waiting.row.ended_at if waiting else None
        self._quiet_looks = 0 if waiting else self._quiet_looks + 1
        await asyncio.to_thread(self._rotate, self._follower, self._clock.now(), waiting_since)
        return False

    async def _take_in(self) -> None:
        """Some of the new rows."""
        for _ in range(min(_BREATH, len(self._new))):
            place, row = self._new[0]
            if row.from_trunk and (row.alone is Alone.NO or was_taken(row)):
                self._waiting.setdefault(row.channel, _Waiting(place, row))
            elif row.from_trunk:
                await self._make_record(row)
            self._new.popleft()  # only now: what failed is tried again

    def _begin(self) -> Follower:
        place: Place | None = None
        try:
            place = _kept.decode(self._sources.kept.read_bytes())
        except FileNotFoundError:
            pass
        except (OSError, msgspec.MsgspecError):
            log.warning("how far calls were read back is not known any more: all are looked at again")
        self._written_down = place
        return Follower(self._sources.file, place)

    async def _write_down_place(self, follower: Follower) -> None:
        """The next life begins with the first row whose record is not sure."""
        waiting = next(iter(self._waiting.values()), None)
        place = waiting.place if waiting else self._new[0][0] if self._new else follower.place
        if place is None or place == self._written_down:
            return
        await self._spool.synced()
        if self._spool.healthy:
            await asyncio.to_thread(replace_file, self._sources.kept, msgspec.json.encode(place), 0o600)
            self._written_down = place

    def _rotate(self, follower: Follower, now: datetime, waiting_since: datetime | None) -> None:
        """A file that is large or old is renamed, one that is too old goes; what was not read yet is not touched.

        `waiting_since`: when the first of the calls ended whose records are waited for.
        """
        file = self._sources.file
        if follower.at_end_of_newest:
            with suppress(FileNotFoundError):
                began = file.began()
                is_old = began is not None and now - began >= ROTATE_AFTER
                if is_old or file.path.stat().st_size >= ROTATE_BYTES:
                    file.rotate(ROTATED_FILES)
        if follower.at_end_of_newest or self._quiet_looks >= _SURE_AFTER:
            file.forget(min(now - KEPT_FOR, waiting_since or now))

    # -- calls that an engine took -------------------------------------------------------------------------------------

    async def _ask(self) -> None:
        """Whether the records have come that are waited for. One that surely will not is made from its row."""
        for waiting in self._waiting.values():
            waiting.looks += 1
        due = [waiting for waiting in self._waiting.values() if waiting.looks >= _ASK_AFTER]
        found = await self._records([waiting.row for waiting in due])
        for waiting in due:
            if found[waiting.row.channel]:
                del self._waiting[waiting.row.channel]
        await self._give_up([waiting for waiting in self._waiting.values() if waiting.looks >= _SURE_AFTER])

    async def _give_up(self, old: list[_Waiting]) -> None:
        """Makes the records that are neither in the database nor on their way there, as far as that is sure."""
        if not old:
            return
        rows = [waiting.row for waiting in old]
        on_its_way = await asyncio.to_thread(spooled, list(self._sources.spools()), rows)
        for waiting in old:
            is_nowhere = self._spool.healthy and waiting.row.channel not in on_its_way
            waiting.misses = waiting.misses + 1 if is_nowhere else 0
            if waiting.misses >= _SURE_AFTER_MISSES:
                await self._make_record(waiting.row)
                del self._waiting[waiting.row.channel]

    async def _records(self, rows: list[Row]) -> Counter[str]:
        found: Counter[str] = Counter()
        for first in range(0, len(rows), 500):
            async with transaction(self._sources.database) as connection:
                found += await count_records(connection, rows[first : first + 500])
        return found

    # -- records -------------------------------------------------------------------------------------------------------

    async def _make_record(self, row: Row) -> None:
        await asyncio.sleep(0)  # live calls first: a record costs them some time, and there may be thousands
        line = self._planner.line(row.number) if row.number else None
        plan = self._planner.plan_unasked(line, caller_of(row), row.started_at) if line else None
        record = record_of(row, line, plan)
        if row.recorded:
            await asyncio.to_thread(self._take_recording, row, record)
        self._spool.closed(record)
        self._count(record)
        self._tell(record)

    def _take_recording(self, row: Row, record: CallRecord) -> None:
        """Gives it the call's name, under which it is kept; one that may not be kept goes.

        The dialplan records on the target's leg.
        """
        if not _FILE_NAME.fullmatch(row.channel):
            return
        left = self._sources.monitor / f"{row.channel}.raw"
        with suppress(FileNotFoundError):
            if record.recording:
                left.replace(self._sources.monitor / f"{record.call_id}{TURNED}")
            else:
                left.unlink()

    def _tell(self, record: CallRecord) -> None:
        """Its lines in the call log, at the instants at which it came and went."""
        how = how_without_engine(record.node)
        talk = f", talked {record.talk_seconds:.1f} s" if record.talk_seconds else ""
        ended = f"{record.result.value}{talk}, ended by {record.ended_by.value}; {how}"
        lines = (
            (record.arrived_at, CallEventKind.ARRIVED, how, None),
            (record.ended_at, CallEventKind.ENDED, ended, record.target),
        )
        for at, kind, detail, target in lines:
            event = CallEvent(
                at=at,
                call_id=record.call_id,
                kind=kind,
                number=record.number,
                caller=record.caller,
                target=target,
                detail=detail,
            )
            self._log.write(event)

    def _trouble(self, reason: str) -> None:
        if reason and not self.reason:
            log.warning("calls that went without an engine wait to be written down", reason=reason)
        elif self.reason and not reason:
            log.info("calls that went without an engine are written down again")
        self.reason = reason

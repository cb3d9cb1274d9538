"""The live log of calls, for people: one line per event of a call, and the same as JSON for programs.

One process writes one NAME (the engine `calls`, the jobs role `messages`). `call_log_reader` reads them all.
"""

from __future__ import annotations

import asyncio
import errno
import os
import time
import unicodedata
from collections.abc import Callable
from datetime import datetime, timedelta, timezone
from enum import Enum
from functools import lru_cache
from pathlib import Path
from typing import BinaryIO
from uuid import UUID

import msgspec
import structlog

from engine.foundation.phone_number import NumberClass, PhoneNumber, classify, masked, written

log = structlog.get_logger(__name__)

KST = timezone(timedelta(hours=9), "KST")
_LONGEST_DETAIL = 200
_REMEMBERED = 4096
"""The same parties come in every line of a call."""
_SHORT_ID = 8
_LOOKED_EVERY = 1.0
"""Seconds between two looks whether somebody moved a file away: lines of that second are in the moved one."""


class CallEventKind(Enum):
    """What happened to a call, in the words of those who watch."""

    ARRIVED = "arrived"
    PLACED = "placed"
    """Dari calls on somebody's order."""
    NOTICE = "notice"
    RINGBACK = "ringback"
    RINGING = "ringing"
    """The target rings."""
    ANSWERED = "answered"
    """The target answered."""
    WHISPER = "whisper"
    CONNECTED = "connected"
    RECORDING = "recording"
    NOT_RECORDED = "not recorded"
    ANNOUNCEMENT = "announcement"
    CONSENT = "consent"
    VOICEMAIL = "voicemail"
    LISTENING = "listening"
    ENDED = "ended"
    MESSAGE_QUEUED = "message queued"
    MESSAGE_SENT = "message sent"
    MESSAGE_HELD = "message held"
    MESSAGE_DELIVERED = "message delivered"
    MESSAGE_FAILED = "message failed"


KIND_WIDTH = max(len(kind.value) for kind in CallEventKind)
_NUMBER_WIDTH = len("0507-1234-5678")
PARTIES_WIDTH = 3 * _NUMBER_WIDTH + 2 * len(" -> ")


class CallEvent(msgspec.Struct, frozen=True, kw_only=True):
    """One event. `detail` may hold what a caller sent: it is cleaned before it is written or shown."""

    at: datetime
    call_id: UUID
    kind: CallEventKind
    number: PhoneNumber | None = None
    """The number called."""
    caller: PhoneNumber | None = None
    target: PhoneNumber | None = None
    detail: str = ""
    account_id: UUID | None = None
    """Whose number was called, while the engine has the call."""


def short_id(call_id: UUID) -> str:
    """The last eight hex digits: random in a time-ordered id, and enough to name a call of these days."""
    return call_id.hex[-_SHORT_ID:]


def line(event: CallEvent) -> str:
    """The event in fixed columns: Korean time, short call id, kind, caller -> number -> target, detail."""
    columns = (
        event.at.astimezone(KST).replace(tzinfo=None).isoformat(" ", "milliseconds"),
        short_id(event.call_id),
        f"{event.kind.value:<{KIND_WIDTH}}",
        f"{parties(event):<{PARTIES_WIDTH}}",
        event.detail,
    )
    return printable("  ".join(columns)).rstrip()


def parties(event: CallEvent) -> str:
    """Caller -> number -> target, each in its column; the target only once it is known."""
    return _in_columns(event.caller, event.number, event.target)


@lru_cache(_REMEMBERED)
def _in_columns(caller: PhoneNumber | None, number: PhoneNumber | None, target: PhoneNumber | None) -> str:
    numbers = (caller, number, target) if target else (caller, number)
    return " -> ".join(f"{written(number) if number else '-':<{_NUMBER_WIDTH}}" for number in numbers)


def without_numbers(event: CallEvent) -> CallEvent:
    """The event with people's numbers masked.

    A 050 number stays whole: it stands in advertisements, names no person, and differs from its neighbours
    in just those digits that masking would hide.
    """
    return msgspec.structs.replace(
        event,
        number=_hidden(event.number),
        caller=_hidden(event.caller),
        target=_hidden(event.target),
    )


@lru_cache(_REMEMBERED)
def _hidden(number: PhoneNumber | None) -> PhoneNumber | None:
    """Digits with stars inside (`010****5678`), which `written` sets with hyphens like any other number."""
    if number is None or classify(number) is NumberClass.VIRTUAL:
        return number
    return PhoneNumber(masked(number).replace("-", ""))


def printable(text: str) -> str:
    """Without anything that ends a line, moves a cursor or turns the direction of writing."""
    return text if text.isprintable() else "".join("?" if _steers(char) else char for char in text)


def _steers(char: str) -> bool:
    return unicodedata.category(char) in ("Cc", "Cf", "Cs", "Co", "Cn", "Zl", "Zp")


class CallLog:
    """NAME.log for `tail -f` and NAME.jsonl for programs, in one folder, both rotated by size.

    Whatever happens to the files, `write` returns: a call never suffers from its log. What could not be
    written is counted in `lost`.
    """

    def __init__(
        self,
        folder: Path,
        name: str,
        *,
        mask: bool,
        max_bytes: int,
        files: int,
        within: float = 0.0,
        tell: Callable[[CallEvent], None] | None = None,
    ) -> None:
        """`files` rotated ones are kept of each: NAME.log.1 is the youngest. `tell` gets each event, unmasked.

        Events of `within` seconds are written together, which takes them out of the way of calls; that needs a running
        event loop, and `close`.
        """
        self._mask = mask
        self._within = within
        self._waiting: list[CallEvent] = []
        self._soon: asyncio.TimerHandle | None = None
        self._tell = tell
        self._lines = _RotatedFile(folder / f"{name}.log", max_bytes, files)
        self._objects = _RotatedFile(folder / f"{name}.jsonl", max_bytes, files)
        self._failing = False
        self.lost = 0

    def write(self, event: CallEvent) -> None:
        """Tells of the event at once, and appends it to both files soon."""
        if self._tell is not None:
            self._tell(event)
        self._waiting.append(event)
        if not self._within:
            self._append()
        elif self._soon is None:
            self._soon = asyncio.get_running_loop().call_later(self._within, self._append)

    def close(self) -> None:
        """Nothing is left to be written."""
        if self._soon is not None:
            self._soon.cancel()
        if self._waiting:
            self._append()
        self._lines.close()
        self._objects.close()

    def _append(self) -> None:
        self._soon = None
        events, self._waiting = [self._as_written(event) for event in self._waiting], []
        try:
            self._lines.append(b"".join(line(event).encode() + b"\n" for event in events))
            self._objects.append(b"".join(msgspec.json.encode(event) + b"\n" for event in events))
        except OSError as error:
            self.lost += len(events)
            if not self._failing:
                log.warning("call log cannot be written", file=error.filename, reason=error.strerror)
            self._failing = True
        else:
            if self._failing:
                log.warning("call log is written again", lost=self.lost)
            self._failing = False

    def _as_written(self, event: CallEvent) -> CallEvent:
        detail = printable(event.detail)[:_LONGEST_DETAIL]
        if detail != event.detail:
            event = msgspec.structs.replace(event, detail=detail)
        return without_numbers(event) if self._mask else event


class _RotatedFile:
    """Whole lines appended to one path, opened again when somebody moved it away. Raises OSError."""

    def __init__(self, path: Path, max_bytes: int, files: int) -> None:
        self._path = path
        self._max_bytes = max_bytes
        self._files = files
        self._file: BinaryIO | None = None
        self._looked = 0.0
        self._torn = False
        """Whether the file may end inside a line: after a full disk, or a death of the last writer."""

    def append(self, text: bytes) -> None:
        file = self._open_file()
        if file.tell() + len(text) > self._max_bytes and file.tell():
            self._rotate()
            file = self._open_file()
        data = b"\n" + text if self._torn else text
        self._torn = True
        if file.write(data) != len(data):
            raise OSError(errno.ENOSPC, "written only in part; the disk is full", str(self._path))
        self._torn = False

    def close(self) -> None:
        if self._file:
            self._file.close()
        self._file = None

    def _open_file(self) -> BinaryIO:
        now = time.monotonic()
        if self._file and (self._torn or now - self._looked >= _LOOKED_EVERY):
            self._looked = now
            if not self._is_still_there(self._file):
                self.close()
        if not self._file:
            self._path.parent.mkdir(parents=True, exist_ok=True)
            file = self._path.open("ab+", buffering=0)
            self._torn = file.tell() > 0 and os.pread(file.fileno(), 1, file.tell() - 1) != b"\n"
            self._file = file
        return self._file

    def _is_still_there(self, file: BinaryIO) -> bool:
        try:
            return os.path.samestat(self._path.stat(), os.fstat(file.fileno()))
        except FileNotFoundError:
            return False

    def _rotate(self) -> None:
        self.close()
        for age in range(self._files - 1, 0, -1):
            older = self._rotated(age)
            if older.exists():
                older.replace(self._rotated(age + 1))
        self._path.replace(self._rotated(1))

    def _rotated(self, age: int) -> Path:
        return self._path.with_name(f"{self._path.name}.{age}")

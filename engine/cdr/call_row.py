"""A row of Asterisk's own call records: one channel that has ended. Pure.

`asterisk-conf/README.md` names the columns. Whoever calls decides what stands in some of them, so nothing in a row is
trusted: a row that cannot be read is left out, and never ends the reading.
"""

from __future__ import annotations

import csv
import re
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass
from datetime import UTC, datetime
from enum import Enum
from itertools import islice, pairwise
from uuid import UUID

import msgspec

from engine.cdr.model import CallRecord, Result, Side, Step, answered_as
from engine.foundation.phone_number import PhoneNumber, national

_COLUMNS = 14
"""Of the rows of every version; what others append may be missing, and what is appended after that is not read."""
_ENDED = re.compile(r"([0-9]*) (\S*) (\S*)")
"""The cause, what became of the offer, the caller's presentation: in earlier versions each has its own column."""
_TOLD_ALONE = 7
"""What one column tells of a call that the dialplan ran, parted by |: in earlier versions each part has its own."""
_LONGEST = 4096
# A quote inside a field is doubled and a field is closed before a comma, so that only a row's beginning looks so,
# whatever a caller puts into a field, line feeds included.
ROW = re.compile(rb'^"(?=[A-Za-z0-9])', re.MULTILINE)
_JOINED = re.compile(rb'"(?=[A-Za-z0-9][^",\n]*","[A-Za-z0-9])')
_INSTANT = re.compile(r"[0-9]{9,11}\.[0-9]{6}")
_ID_AT_END = re.compile(r"(?:^|\")(?:[A-Za-z0-9_-]+-)?[0-9]{9,11}\.[0-9]{1,7}$")
_LINE_END = re.compile(rb'"\n')
_LINES_OF_A_ROW = 50


DIRECT = "DIRECT"
"""The offer of a call that an engine had the dialplan dial by itself: both legs end together."""
_FULL = "FULL"
"""The offer of a call that the dialplan refused; in earlier versions it has none."""


class Alone(Enum):
    """Whether the dialplan ran the call without an engine."""

    NO = ""
    YES = "yes"
    FULL = "full"
    """It refused the call at once: too many for the system or the trunk."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Row:
    """One channel that has ended. Texts are as the caller sent them: unchecked."""

    channel: str
    """Its id (uniqueid)."""
    from_trunk: bool
    """Whether it is a call that came in; else it is a leg that was made here."""
    sip_call_id: str | None
    """None also of a call that an engine took or that was refused: the channel is what it is known by."""
    channel_name: str
    caller_sent: str
    number_sent: str
    started_at: datetime
    answered_at: datetime | None
    ended_at: datetime
    cause: int
    """Q.850; 0: unknown."""
    offer: str
    """What became of the offer to the engines: SUCCESS, TIMEOUT, FAILED, DIRECT, FULL or empty."""
    target_left: bool = False
    """Of a DIRECT call: whether the target hung up."""
    alone: Alone = Alone.NO
    number: PhoneNumber | None = None
    """The number called."""
    presentation: str = ""
    """CALLERID(pres)."""
    result: Result | None = None
    """None: the caller left before one was sure."""
    target: PhoneNumber | None = None
    """Who was rung last."""
    account_id: UUID | None = None
    recorded: bool = False
    notices: tuple[str, ...] = ()
    """Sounds that the caller was told."""

    @property
    def talk_seconds(self) -> float:
        """From the answer to the end; 0 when nobody answered."""
        return round((self.ended_at - self.answered_at).total_seconds(), 3) if self.answered_at else 0.0


def with_end(record: CallRecord, row: Row) -> CallRecord:
    """The record of a call whose end no engine saw, with the end that Asterisk wrote down.

    What the record knows by the journal stays: how the call went, when the two were connected, a result but LOST.
    """
    ended_at = max(row.ended_at, record.arrived_at)
    answered_at = record.answered_at or row.answered_at
    result, ended_by = record.result, record.ended_by
    if result is Result.LOST:
        result = answered_as(record.direction, record.legs, record.voicemail) if answered_at else Result.CALLER_GAVE_UP
        ended_by = Side.CALLER  # who stays while no engine is there, stays in Asterisk
    talk = (ended_at - answered_at).total_seconds() if answered_at and result is Result.ANSWERED else 0.0
    return msgspec.structs.replace(
        record,
        ended_at=ended_at,
        answered_at=answered_at if result in (Result.ANSWERED, Result.VOICEMAIL) else record.answered_at,
        talk_seconds=max(round(talk, 3), 0.0),
        result=result,
        ended_by=ended_by,
        cause=row.cause or record.cause,
        steps=tuple(_lasted_until(step, record.ended_at, ended_at) for step in record.steps),
    )


def _lasted_until(step: Step, known: datetime, ended_at: datetime) -> Step:
    """A step that went on when the call was last seen alive went on to its end."""
    return msgspec.structs.replace(step, ended_at=ended_at) if step.ended_at in (None, known) else step


def split(data: bytes) -> list[bytes]:
    """Each row of a piece of the file, and what stands before the first; together they are the piece."""
    starts = [match.start() for match in ROW.finditer(data)]
    if not starts or starts[0] != 0:
        starts.insert(0, 0)
    return [data[start:end] for start, end in zip(starts, [*starts[1:], len(data)], strict=True) if end > start]


def is_whole(record: bytes) -> bool:
    """Whether the last piece of a file is not being written just now."""
    return record.endswith(b'"\n') and bool(rows_in(record))


def rows_in(piece: bytes) -> list[Row]:
    """The rows in a piece of the file: one, unless a torn end or a power cut joined several or spoiled it."""
    columns = _columns(piece)
    row = _row(columns)
    if row is not None and not _goes_over(columns):
        return [row]
    return list(_rescued(piece)) or ([row] if row is not None else [])


def parse(record: bytes) -> Row | None:
    """The row that this is; None when it is none."""
    return _row(_columns(record))


def _goes_over(columns: list[str]) -> bool:
    """Whether, after a torn end, another row begins in it: that one is whole."""
    if '"' in columns[0] or '"' in columns[1]:
        return True
    pairs = pairwise(columns[2:])
    return any(_ID_AT_END.search(one) and _ID_AT_END.match(other) for one, other in pairs if not _INSTANT.match(other))


def _rescued(piece: bytes) -> Iterator[Row]:
    """Whole rows wherever behind its beginning they begin, and whatever follows them."""
    end = 0
    for start in _JOINED.finditer(piece):
        if start.start() < end:
            continue
        for line_end in islice(_LINE_END.finditer(piece, start.start(), start.start() + _LONGEST), _LINES_OF_A_ROW):
            columns = _columns(piece[start.start() : line_end.end()])
            row = _row(columns)
            if row is not None and not _goes_over(columns):
                yield row
                end = line_end.end()
                break


def _columns(record: bytes) -> list[str]:
    try:
        (columns,) = csv.reader([record.decode(errors="replace").replace("\0", "").removesuffix("\n")], strict=True)
    except (csv.Error, ValueError):
        return []
    return columns


def _row(columns: list[str]) -> Row | None:
    if len(columns) < _COLUMNS:
        return None
    started_at, ended_at = _instant(columns[6]), _instant(columns[8])
    if not columns[0] or started_at is None or ended_at is None:
        return None
    answered_at = _instant(columns[7])
    alone, number, presentation, result, target, account, recorded, notices = _appended(columns)
    cause, offer, joined = columns[12], columns[13], _ENDED.fullmatch(columns[12])
    if joined is not None:
        cause, offer, presentation = joined.groups()
    offer, _, hung_up = offer.partition("|")
    ran = Alone.FULL if offer == _FULL else Alone(alone) if alone in ("", "full") else Alone.YES
    return Row(
        channel=columns[0],
        from_trunk=bool(joined or columns[2]),
        sip_call_id=columns[2] or None,
        channel_name=columns[3],
        caller_sent=columns[4],
        number_sent=number if ran is Alone.YES and number else columns[5],
        started_at=started_at,
        answered_at=min(max(answered_at, started_at), max(ended_at, started_at)) if answered_at else None,
        ended_at=max(ended_at, started_at),
        cause=int(cause) if re.fullmatch(r"[0-9]{1,3}", cause) else 0,
        offer=offer,
        target_left=hung_up not in ("", columns[3]),
        alone=ran,
        number=national(number or columns[5]),
        presentation=presentation,
        result=_result(result),
        target=national(target),
        account_id=_uuid(account),
        recorded=recorded == "yes",
        notices=tuple(filter(None, notices.split("&"))),
    )


def _appended(columns: list[str]) -> tuple[str, str, str, str, str, str, str, str]:
    """The columns after the first fourteen as earlier versions have them; those that are missing are empty."""
    joined = columns[_COLUMNS].split("|") if len(columns) > _COLUMNS else []
    told = [*joined[:2], "", *joined[2:]] if len(joined) == _TOLD_ALONE else columns[_COLUMNS:22]
    a, b, c, d, e, f, g, h = (*told, *[""] * 8)[:8]
    return a, b, c, d, e, f, g, h


def _instant(text: str) -> datetime | None:
    """Seconds since 1970, 0 for never. None also for what is no instant of our times."""
    return datetime.fromtimestamp(float(text), UTC) if _INSTANT.fullmatch(text) else None


def _result(text: str) -> Result | None:
    with suppress(ValueError):
        return Result(text)
    return None


def _uuid(text: str) -> UUID | None:
    with suppress(ValueError):
        return UUID(text)
    return None

"""Made-up calls as rows of PostgreSQL's binary COPY, thousands in one step: numpy lays them out. Pure.

Calls that ended alike have the same columns filled and fields of the same lengths, so a row is a fixed layout.
"""

from __future__ import annotations

import struct
from collections.abc import Iterable, Sequence
from typing import Any
from uuid import UUID

import numpy as np
from numpy.typing import NDArray

from engine.cdr.model import Result
from engine.rehearsal.shape import Calls, Instants, Numbers

HEAD = b"PGCOPY\n\xff\r\n\0" + struct.pack(">ii", 0, 0)
TAIL = struct.pack(">h", -1)

COLUMNS = (
    "arrived_at",
    "call_id",
    "node",
    "sip_call_id",
    "account_id",
    "number",
    "number_sent",
    "number_kind",
    "caller",
    "caller_sent",
    "target",
    "trunk",
    "ringing_at",
    "answered_at",
    "ended_at",
    "ringback_seconds",
    "talk_seconds",
    "result",
    "cause",
    "ended_by",
    "recording_reason",
    "post_dial_delay",
    "legs",
    "steps",
    "direction",
    "rules",
)
"""What is written; the columns of `calls` that are left out stay empty."""

_Column = NDArray[Any]
_Piece = bytes | _Column
"""The same in every row, or an entry per row, all of one length."""
_Field = Sequence[_Piece] | None
"""A value of one column; None: NULL."""

_SINCE_2000 = 946_684_800_000_000
_NODE, _TRUNK, _DIALLED_AFTER = b"n1", b"carrier", 20_000


def number_texts(places: Numbers) -> _Column:
    """The 050 numbers at these places: one from the other as far apart as numbers that people chose."""
    return _digits(b"0502", (places * 48_271) % 99_999_989, 8)


def target_texts(places: Numbers) -> _Column:
    """Whom they ring."""
    return _digits(b"02", (places * 69_621) % 79_999_987 + 20_000_000, 8)


def rows(calls: Calls, accounts: NDArray[np.void], random: np.random.Generator) -> bytes:
    """Rows for COPY, without HEAD and TAIL. `accounts` are 16 bytes for the owner of the number at each place."""
    count = len(calls.arrived)
    ending, known = calls.ending, calls.ending.result is not Result.NOT_IN_SERVICE
    number, target = number_texts(calls.number), target_texts(calls.number)
    caller = b"" if ending.withheld else _digits(b"010", calls.caller, 8)
    rang = calls.arrived + _DIALLED_AFTER * 3
    answered = rang + calls.ring
    ended = answered + calls.talk
    sip_id = _hex(random, count)
    moments = _Moments(calls, rang, answered, ended)
    fields: list[_Field] = [
        [_instants(calls.arrived)],
        [_ids(calls.arrived, random)],
        [_NODE],
        [sip_id],
        [accounts[calls.number]] if known else None,
        [number],
        [number],
        [b"050"] if known else None,
        None if ending.withheld else [caller],
        [caller],
        [target] if ending.rang or ending.answered else None,
        [_TRUNK],
        [_instants(rang)] if ending.rang else None,
        [_instants(answered)] if ending.answered else None,
        [_instants(ended)],
        [_seconds(calls.ring)],
        [_seconds(calls.talk)],
        [ending.result.value.encode()],
        [struct.pack(">i", ending.cause)],
        [ending.ended_by.value.encode()],
        [b""],
        [_seconds(rang - calls.arrived)] if ending.rang else None,
        [b"\1", *_legs(calls, moments, sip_id, caller, target)],
        [b"\1", *_steps(calls, moments)],
        [b"incoming"],
        [b"\1[]"],
    ]
    return _laid_out(fields, count)


class _Moments:
    """Instants of some calls as JSON has them."""

    def __init__(self, calls: Calls, rang: Instants, answered: Instants, ended: Instants) -> None:
        self.arrived = _told(calls.arrived)
        self.dialled = _told(calls.arrived + _DIALLED_AFTER)
        self.rang, self.answered, self.ended = _told(rang), _told(answered), _told(ended)


def _legs(calls: Calls, moments: _Moments, sip_id: _Column, caller: _Piece, target: _Column) -> list[_Piece]:
    """The caller's leg, and the target's when it was rung."""
    ending = calls.ending
    end = b'","cause":%d,"sip_code":0}' % ending.cause
    of_caller = _leg(b"caller", sip_id, None if ending.withheld else caller, moments.arrived)
    of_target = _leg(b"target", sip_id[::-1], target, moments.dialled)
    answered: list[_Piece] = [b'","answered_at":"', moments.answered] if ending.answered else []
    pieces: list[_Piece] = [b"[", *of_caller, *answered, b'","ended_at":"', moments.ended, end]
    if ending.rang:
        pieces += [
            b",",
            *of_target,
            b'","ringing_at":"',
            moments.rang,
            *answered,
            b'","ended_at":"',
            moments.ended,
            end,
        ]
    return [*pieces, b"]"]


def _leg(side: bytes, sip_id: _Column, number: _Piece | None, started: _Column) -> list[_Piece]:
    shown: list[_Piece] = [b"null"] if number is None else [b'"', number, b'"']
    head = b'{"side":"%s","channel":"n1-' % side
    trunk = b'","trunk":"%s","number":' % _TRUNK
    return [head, sip_id, b'","sip_call_id":"', sip_id, trunk, *shown, b',"started_at":"', started]


def _steps(calls: Calls, moments: _Moments) -> list[_Piece]:
    """Ringback, then the talk."""
    if not calls.ending.rang:
        return [b"[]"]
    pieces: list[_Piece] = [
        *(b'[{"kind":"ringback","to":["caller"],"started_at":"', moments.dialled),
        *(b'","ended_at":"', moments.answered, b'","sound":"own/tune","whole":true}'),
    ]
    if calls.ending.answered:
        pieces += [
            *(b',{"kind":"connect","to":["caller","target"],"started_at":"', moments.answered),
            *(b'","ended_at":"', moments.ended, b'","sound":null,"whole":true}'),
        ]
    return [*pieces, b"]"]


def _laid_out(fields: Iterable[_Field], count: int) -> bytes:
    pieces: list[_Piece] = [struct.pack(">h", len(COLUMNS))]
    for field in fields:
        length = -1 if field is None else sum(len(one) if isinstance(one, bytes) else one.itemsize for one in field)
        pieces += [struct.pack(">i", length), *(field or ())]
    merged = _merged(pieces)
    layout = np.dtype([(f"f{place}", _type(piece)) for place, piece in enumerate(merged)])
    table = np.empty(count, layout)
    for place, piece in enumerate(merged):
        table[f"f{place}"] = np.void(piece) if isinstance(piece, bytes) else piece.view(_type(piece))
    return table.tobytes()


def _merged(pieces: Iterable[_Piece]) -> list[_Piece]:
    """Without empty pieces, and with those that are the same in every row joined to one."""
    merged: list[_Piece] = []
    for piece in pieces:
        if isinstance(piece, bytes) and merged and isinstance(merged[-1], bytes):
            merged[-1] += piece
        elif not isinstance(piece, bytes) or piece:
            merged.append(piece)
    return merged


def _type(piece: _Piece) -> np.dtype[np.void]:
    return np.dtype((np.void, len(piece) if isinstance(piece, bytes) else piece.itemsize))


def _digits(prefix: bytes, values: Numbers, digits: int) -> _Column:
    """Decimal text of a fixed length behind a prefix."""
    text = np.empty((len(values), len(prefix) + digits), np.uint8)
    text[:, : len(prefix)] = np.frombuffer(prefix, np.uint8)
    for place in range(digits):
        text[:, -1 - place] = ord("0") + values // 10**place % 10
    return _as_texts(text)


def _hex(random: np.random.Generator, count: int) -> _Column:
    signs = np.frombuffer(b"0123456789abcdef", np.uint8)
    return _as_texts(signs[random.integers(0, 16, (count, 24))])


def _as_texts(signs: NDArray[np.uint8]) -> _Column:
    return np.ascontiguousarray(signs).view(np.dtype((np.void, signs.shape[1])))[:, 0]


def _ids(arrived: Instants, random: np.random.Generator) -> _Column:
    """UUIDs of version 7 that tell these instants."""
    made = random.integers(0, 256, (len(arrived), 16), dtype=np.uint8)
    milliseconds = (arrived // 1000).astype(">i8").view(np.uint8).reshape(-1, 8)
    made[:, :6] = milliseconds[:, 2:]
    made[:, 6] = made[:, 6] & 0x0F | 0x70
    made[:, 8] = made[:, 8] & 0x3F | 0x80
    return _as_texts(made)


def _instants(instants: Instants) -> _Column:
    return (instants - _SINCE_2000).astype(">i8")


def _seconds(microseconds: Instants) -> _Column:
    return (microseconds / 1e6).astype(">f8")


def _told(instants: Instants) -> _Column:
    """2026-11-22T07:02:37.011000Z"""
    text = np.datetime_as_string(instants.astype("datetime64[us]"), unit="us").astype("S26")
    signs = np.empty((len(text), 27), np.uint8)
    signs[:, :26] = text.view(np.uint8).reshape(-1, 26)
    signs[:, 26] = ord("Z")
    return _as_texts(signs)


def account_bytes(accounts: Sequence[UUID]) -> NDArray[np.void]:
    """As `rows` wants them."""
    return _as_texts(np.frombuffer(b"".join(one.bytes for one in accounts), np.uint8).reshape(-1, 16).copy())

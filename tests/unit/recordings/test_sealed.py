"""Sealed files: what went in comes out, from anywhere in it, and nothing else ever does."""

from __future__ import annotations

import hashlib
import io
from collections.abc import Callable
from dataclasses import replace
from uuid import UUID

import pytest
from hypothesis import given
from hypothesis import strategies as st

from engine.recordings.model import RecordingKind
from engine.recordings.sealed import CHUNK, Damaged, Header, SealedFile, seal

OWNER, OTHER = UUID(int=1), UUID(int=2)
CALL, OTHER_CALL = UUID(int=3), UUID(int=4)
KEY, OTHER_KEY = b"k" * 32, b"o" * 32
HEADER = Header.fresh(OWNER, CALL, RecordingKind.TALK, 1)
SIZE = len(HEADER.packed())
STORED = CHUNK + 16
"""Bytes of a whole chunk in the file."""


def sealed(plain: bytes, header: Header = HEADER, key: bytes = KEY) -> bytes:
    target = io.BytesIO()
    pieces = [plain[begin : begin + 50_000] for begin in range(0, len(plain), 50_000)]
    told = seal(target, header, key, pieces)
    assert (told.size, told.sha256) == (len(target.getvalue()), hashlib.sha256(plain).digest())
    return target.getvalue()


def unsealed(content: bytes, key: bytes = KEY) -> bytes:
    file = io.BytesIO(content)
    return b"".join(SealedFile(file, Header.read(file), key).pieces())


def sound(length: int) -> bytes:
    """Bytes of which no two chunks are alike."""
    return b"".join(n.to_bytes(4, "big") for n in range(length // 4 + 1))[:length]


LENGTHS = [0, 1, CHUNK - 1, CHUNK, CHUNK + 1, 3 * CHUNK, 3 * CHUNK + 7]


@pytest.mark.parametrize("length", LENGTHS)
def test_what_went_in_comes_out(length: int) -> None:
    content = sealed(sound(length))
    assert unsealed(content) == sound(length)
    file = io.BytesIO(content)
    assert Header.read(file) == HEADER
    assert SealedFile(file, HEADER, KEY).size == length


def test_nothing_of_the_sound_is_readable_and_the_same_sound_never_looks_the_same() -> None:
    plain = sound(2 * CHUNK)
    first = sealed(plain)
    second = sealed(plain, Header.fresh(OWNER, CALL, RecordingKind.TALK, 1))
    pieces = {plain[begin : begin + 16] for begin in range(0, len(plain), 16)}
    for content in (first, second):
        assert not any(content[begin : begin + 16] in pieces for begin in range(len(content) - 16))
    assert first[SIZE:] != second[SIZE:]


@given(st.data())
def test_any_part_is_read_alone(data: st.DataObject) -> None:
    start = data.draw(st.integers(0, len(_PLAIN)))
    stop = data.draw(st.integers(start, len(_PLAIN) + 10))
    file = io.BytesIO(_SEALED)
    assert b"".join(SealedFile(file, HEADER, KEY).pieces(start, stop)) == _PLAIN[start:stop]


def test_a_part_is_read_although_another_is_damaged() -> None:
    content = bytearray(_SEALED)
    content[SIZE + 5] ^= 1
    file = SealedFile(io.BytesIO(bytes(content)), HEADER, KEY)
    assert b"".join(file.pieces(2 * CHUNK)) == _PLAIN[2 * CHUNK :]
    with pytest.raises(Damaged, match="part 1 of 4"):
        b"".join(file.pieces(0, 1))


_PLAIN = sound(3 * CHUNK + 7)
_SEALED = sealed(_PLAIN)


def _chunk(number: int) -> slice:
    return slice(SIZE + number * STORED, SIZE + (number + 1) * STORED)


def _swapped(content: bytes) -> bytes:
    return content[:SIZE] + content[_chunk(1)] + content[_chunk(0)] + content[_chunk(2).start :]


def _another_header(**changes: object) -> Callable[[bytes], bytes]:
    return lambda content: replace(HEADER, **changes).packed() + content[SIZE:]  # type: ignore[arg-type]


_ANOTHER = sealed(sound(3 * CHUNK + 7), Header.fresh(OWNER, OTHER_CALL, RecordingKind.TALK, 1))

TAMPERING: dict[str, Callable[[bytes], bytes]] = {
    "a bit of the sound": lambda content: (
        content[: SIZE + 99] + bytes([content[SIZE + 99] ^ 1]) + content[SIZE + 100 :]
    ),
    "a bit of a tag": lambda content: content[:-1] + bytes([content[-1] ^ 0x80]),
    "cut at a chunk": lambda content: content[: _chunk(2).stop],
    "cut after the first chunk": lambda content: content[: _chunk(0).stop],
    "cut inside a chunk": lambda content: content[:-3],
    "cut inside a tag": lambda content: content[: _chunk(2).stop + 9],
    "only the header": lambda content: content[:SIZE],
    "cut in the header": lambda content: content[:40],
    "empty": lambda _: b"",
    "something behind it": lambda content: content + b"\0",
    "a chunk behind it": lambda content: content + content[_chunk(1)],
    "two chunks swapped": _swapped,
    "a chunk left out": lambda content: content[: _chunk(1).start] + content[_chunk(2).start :],
    "a chunk of another call": lambda content: (
        content[: _chunk(1).start] + _ANOTHER[_chunk(1)] + content[_chunk(2).start :]
    ),
    "another call's sound": lambda content: content[:SIZE] + _ANOTHER[SIZE:],
    "called another call's": _another_header(call_id=OTHER_CALL),
    "called another owner's": _another_header(account_id=OTHER),
    "called a voicemail": _another_header(kind=RecordingKind.VOICEMAIL),
    "called another version": _another_header(key_version=2),
    "another salt": _another_header(salt=b"s" * 32),
    "no recording at all": lambda _: b"RIFF" + bytes(SIZE + 100),
    "a kind that there is not": lambda content: content[:40] + b"\x09" + content[41:],
}


@pytest.mark.parametrize("what", TAMPERING)
def test_no_change_stays_unseen(what: str) -> None:
    changed = TAMPERING[what](_SEALED)
    assert changed != _SEALED
    with pytest.raises(Damaged):
        unsealed(changed)


def test_another_owners_key_opens_nothing() -> None:
    with pytest.raises(Damaged):
        unsealed(_SEALED, OTHER_KEY)

"""Sealed files: encrypted in chunks, so that any part is read alone and no change, cut or swap stays unseen.

    header (77 bytes)  "DARIREC1" · account · call · kind · version of the owner's key · salt, big-endian
    chunks             65,536 bytes of the plain file each, the last one shorter; AES-256-GCM, 16 bytes of tag behind

Each file has a key of its own: HKDF-SHA256 of the owner's key with the random salt and the whole header, so a header
that was changed opens nothing. A chunk's nonce is its number and whether it is the last one: chunks cannot be
reordered, left out, added, or moved to another file.
"""

from __future__ import annotations

import hashlib
import os
import secrets
import struct
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import BinaryIO
from uuid import UUID

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.kdf.hkdf import HKDF

from engine.foundation.errors import GaveUp
from engine.recordings.model import RecordingKind

CHUNK = 65_536
"""Bytes of the plain file in one chunk: 2 seconds of a talk."""
_TAG = 16
_MAGIC = b"DARIREC1"
_LAYOUT = struct.Struct(">8s16s16sBI32s")
_KINDS = {RecordingKind.TALK: 1, RecordingKind.VOICEMAIL: 2}


class Damaged(GaveUp):
    """A sealed file is not what was sealed: damaged, cut, changed, or another's."""


@dataclass(frozen=True, slots=True)
class Header:
    """What stands before the chunks, readable without a key."""

    account_id: UUID
    call_id: UUID
    kind: RecordingKind
    key_version: int
    salt: bytes

    @classmethod
    def fresh(cls, account_id: UUID, call_id: UUID, kind: RecordingKind, key_version: int) -> Header:
        return cls(account_id, call_id, kind, key_version, secrets.token_bytes(32))

    @classmethod
    def read(cls, file: BinaryIO) -> Header:
        """The header at the beginning of `file`. Raises Damaged."""
        file.seek(0)
        packed = file.read(_LAYOUT.size)
        if len(packed) != _LAYOUT.size or not packed.startswith(_MAGIC):
            raise Damaged("it is no sealed recording")
        _, account, call, kind, version, salt = _LAYOUT.unpack(packed)
        kinds = {number: each for each, number in _KINDS.items()}
        if kind not in kinds:
            raise Damaged("its header names no kind of recording")
        return cls(UUID(bytes=account), UUID(bytes=call), kinds[kind], version, salt)

    def packed(self) -> bytes:
        return _LAYOUT.pack(
            _MAGIC, self.account_id.bytes, self.call_id.bytes, _KINDS[self.kind], self.key_version, self.salt
        )


@dataclass(frozen=True, slots=True)
class Sealed:
    """What `seal` wrote."""

    size: int
    """Bytes of the sealed file."""
    sha256: bytes
    """Of the plain file."""


def seal(target: BinaryIO, header: Header, owner_key: bytes, plain: Iterable[bytes]) -> Sealed:
    """Writes the pieces of a plain file, encrypted, to `target`."""
    cipher = _cipher(header, owner_key)
    digest = hashlib.sha256()
    size = target.write(header.packed())
    for number, (chunk, last) in enumerate(_chunks(plain)):
        digest.update(chunk)
        size += target.write(cipher.encrypt(_nonce(number, last), chunk, None))
    return Sealed(size, digest.digest())


def plain_size(sealed: int) -> int:
    """Bytes of the plain file in a sealed one of so many bytes."""
    body = sealed - _LAYOUT.size
    return body + body // -(CHUNK + _TAG) * _TAG


class SealedFile:
    """A sealed file that is read, from anywhere in it. Not for several threads at once."""

    def __init__(self, file: BinaryIO, header: Header, owner_key: bytes) -> None:
        """Raises Damaged when the file's size cannot be that of a sealed one."""
        self._file = file
        self._cipher = _cipher(header, owner_key)
        body = file.seek(0, os.SEEK_END) - _LAYOUT.size
        self._count = -(-body // (CHUNK + _TAG))
        self.size = body - self._count * _TAG
        """Bytes of the plain file."""
        if self._count < 1 or self.size < (self._count - 1) * CHUNK:
            raise Damaged("it is cut off")

    def pieces(self, start: int = 0, stop: int | None = None) -> Iterator[bytes]:
        """The plain file from byte `start` up to `stop`, chunk by chunk. Raises Damaged at a chunk that was changed."""
        stop = self.size if stop is None else min(stop, self.size)
        whole = start == 0 and stop == self.size
        first, beyond = start // CHUNK, self._count if whole else -(-stop // CHUNK)
        for number in range(first, beyond):
            begin = number * CHUNK
            yield self._chunk(number)[max(0, start - begin) : stop - begin]

    def _chunk(self, number: int) -> bytes:
        self._file.seek(_LAYOUT.size + number * (CHUNK + _TAG))
        sealed = self._file.read(CHUNK + _TAG)
        try:
            return self._cipher.decrypt(_nonce(number, number == self._count - 1), sealed, None)
        except InvalidTag:
            raise Damaged(f"its part {number + 1} of {self._count} was changed or is not its own") from None


def _cipher(header: Header, owner_key: bytes) -> AESGCM:
    return AESGCM(HKDF(SHA256(), 32, salt=header.salt, info=header.packed()).derive(owner_key))


def _nonce(number: int, last: bool) -> bytes:
    return struct.pack(">QI", number, last)


def _chunks(pieces: Iterable[bytes]) -> Iterator[tuple[bytes, bool]]:
    """The pieces cut anew into chunks, each with whether it is the last; there is always one."""
    waiting = bytearray()
    for piece in pieces:
        waiting += piece
        while len(waiting) > CHUNK:
            yield bytes(waiting[:CHUNK]), False
            del waiting[:CHUNK]
    yield bytes(waiting), True

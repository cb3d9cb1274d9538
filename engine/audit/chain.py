"""The hash chain over the entries (pure). Anybody can compute it again with nothing but SHA-256 and JSON."""

from __future__ import annotations

import hashlib

import msgspec

from engine.audit.model import Entry, Head


def digest_of(entry: Entry) -> bytes:
    """SHA-256 over the entry as JSON in UTF-8: keys in order, no spaces, the instant in UTC with a Z."""
    return hashlib.sha256(msgspec.json.encode(msgspec.structs.asdict(entry), order="sorted")).digest()


def next_head(head: Head, digest: bytes) -> Head:
    """The chain with one more entry: SHA-256 over the hash before, the number (8 bytes, big end first), the digest."""
    number = head.number + 1
    return Head(number, hashlib.sha256(head.hash + number.to_bytes(8, "big") + digest).digest())

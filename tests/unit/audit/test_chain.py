"""The chain can be computed again by anybody, from what README says of it."""

from __future__ import annotations

import hashlib
import json
from datetime import UTC, datetime
from uuid import UUID

import msgspec
import pytest

from engine.audit.chain import digest_of, next_head
from engine.audit.model import START, Entry, Head
from engine.foundation.errors import Invalid

ENTRY = Entry(
    id=UUID("019a0000-0000-7000-8000-000000000001"),
    at=datetime(2026, 11, 22, 3, 4, 5, 678901, tzinfo=UTC),
    who="user:019a0000-0000-7000-8000-000000000002",
    deed="issue numbers",
    account_id=UUID(int=7),
    object_kind="number",
    object_id="05071234567",
    before=None,
    after={"status": "가게", "allowed": [1, 2.5, None, True], "a": {"z": 1, "b": 2}},
    peer="192.0.2.1",
)


def test_the_digest_is_sha256_over_plain_json_with_its_keys_in_order() -> None:
    written = {
        "id": "019a0000-0000-7000-8000-000000000001",
        "at": "2026-11-22T03:04:05.678901Z",
        "who": "user:019a0000-0000-7000-8000-000000000002",
        "deed": "issue numbers",
        "account_id": "00000000-0000-0000-0000-000000000007",
        "object_kind": "number",
        "object_id": "05071234567",
        "before": None,
        "after": {"a": {"b": 2, "z": 1}, "allowed": [1, 2.5, None, True], "status": "가게"},
        "peer": "192.0.2.1",
    }
    plain = json.dumps(written, sort_keys=True, separators=(",", ":"), ensure_ascii=False).encode()
    assert digest_of(ENTRY) == hashlib.sha256(plain).digest()


def test_the_order_of_keys_in_a_value_makes_no_difference() -> None:
    other = msgspec.structs.replace(ENTRY, after=dict(reversed(list((ENTRY.after or {}).items()))))
    assert list(other.after or {}) != list(ENTRY.after or {})
    assert digest_of(other) == digest_of(ENTRY)


@pytest.mark.parametrize(
    "change",
    [
        {"who": "user:x"},
        {"deed": "release numbers"},
        {"account_id": None},
        {"object_id": "05071234568"},
        {"before": {}},
        {"after": {**(ENTRY.after or {}), "status": "가계"}},
        {"peer": ""},
        {"at": ENTRY.at.replace(microsecond=678902)},
        {"id": UUID(int=1)},
    ],
)
def test_any_change_gives_another_digest(change: dict[str, object]) -> None:
    assert digest_of(msgspec.structs.replace(ENTRY, **change)) != digest_of(ENTRY)


def test_each_hash_is_over_the_one_before_the_number_and_the_digest() -> None:
    first = next_head(START, digest_of(ENTRY))
    assert first.number == 1
    assert first.hash == hashlib.sha256(bytes(32) + (1).to_bytes(8, "big") + digest_of(ENTRY)).digest()
    second = next_head(first, digest_of(ENTRY))
    assert second.number == 2
    assert second.hash == hashlib.sha256(first.hash + (2).to_bytes(8, "big") + digest_of(ENTRY)).digest()


def test_a_head_is_read_back_from_how_it_is_written() -> None:
    head = next_head(START, digest_of(ENTRY))
    assert Head.parse(f" {head.written}\n") == head
    assert head.written.startswith("1:")


@pytest.mark.parametrize("text", ["", "1", "1:", "1:zz", "-1:" + "00" * 32, "1:" + "00" * 31, "x:" + "00" * 32])
def test_what_is_no_head_is_refused(text: str) -> None:
    with pytest.raises(Invalid, match="NUMBER:HASH"):
        Head.parse(text)

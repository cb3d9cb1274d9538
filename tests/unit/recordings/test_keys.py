"""The master key and what it wraps."""

from __future__ import annotations

import base64
from uuid import UUID

import pytest

from engine.foundation.errors import Invalid
from engine.recordings.keys import MasterKey, OwnerKey

OWNER, OTHER = UUID(int=1), UUID(int=2)
MASTER, ANOTHER = MasterKey(b"m" * 32), MasterKey(b"a" * 32)
KEY = OwnerKey(OWNER, 3, b"secret of the owner, 32 bytes..!")


def test_a_wrapped_key_is_opened_by_its_master_key_alone() -> None:
    wrapped = MASTER.wrap(KEY)
    assert MASTER.unwrap(OWNER, 3, wrapped) == KEY
    assert KEY.secret not in wrapped
    assert MASTER.wrap(KEY) != wrapped
    with pytest.raises(Invalid, match="DARI_RECORDING_KEY does not open"):
        ANOTHER.unwrap(OWNER, 3, wrapped)


def test_a_wrapped_key_cannot_be_given_to_another_owner_or_version() -> None:
    wrapped = MASTER.wrap(KEY)
    for account, version, content in (
        (OTHER, 3, wrapped),
        (OWNER, 2, wrapped),
        (OWNER, 3, wrapped[:-1]),
        (OWNER, 3, b""),
    ):
        with pytest.raises(Invalid):
            MASTER.unwrap(account, version, content)


def test_keys_do_not_show_in_a_log_line() -> None:
    assert "mmmm" not in repr(MASTER)
    assert "secret of" not in repr(KEY)
    assert MASTER.name == MasterKey(b"m" * 32).name != ANOTHER.name


def test_a_master_key_is_32_bytes_in_base64() -> None:
    assert MasterKey.of(base64.b64encode(b"m" * 32).decode()) == MASTER
    for wrong in ("", "short", base64.b64encode(b"m" * 31).decode(), "ü" * 44):
        with pytest.raises(Invalid, match="DARI_RECORDING_KEY"):
            MasterKey.of(wrong)

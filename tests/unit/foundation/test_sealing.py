"""Secrets are opened by the key that sealed them, for whom they were sealed."""

from __future__ import annotations

import base64

import pytest

from engine.foundation.errors import Invalid
from engine.foundation.sealing import SealingKey

KEY = SealingKey.of(base64.b64encode(bytes(range(32))).decode())


def test_what_was_sealed_is_opened_again() -> None:
    sealed = KEY.seal(b"secret", "user:1")
    assert KEY.open(sealed, "user:1") == b"secret"
    assert b"secret" not in sealed
    assert KEY.seal(b"secret", "user:1") != sealed


def test_nobody_elses_key_or_place_opens_it() -> None:
    sealed = KEY.seal(b"secret", "user:1")
    with pytest.raises(Invalid, match="user:2: DARI_SECRET_KEY does not open"):
        KEY.open(sealed, "user:2")
    with pytest.raises(Invalid, match="DARI_SECRET_KEY"):
        SealingKey(bytes(32)).open(sealed, "user:1")
    for damaged in (b"", sealed[:-1], sealed[:11], sealed[:-1] + bytes([sealed[-1] ^ 1])):
        with pytest.raises(Invalid, match="DARI_SECRET_KEY"):
            KEY.open(damaged, "user:1")


@pytest.mark.parametrize("written", ["", "x", "ü", base64.b64encode(bytes(31)).decode()])
def test_what_is_no_key_is_refused(written: str) -> None:
    with pytest.raises(Invalid, match="DARI_SECRET_KEY"):
        SealingKey.of(written)


def test_the_key_is_not_shown() -> None:
    assert "x" * 32 not in repr(SealingKey(b"x" * 32))

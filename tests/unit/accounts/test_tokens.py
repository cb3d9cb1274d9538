"""Tokens: their shapes, and that only their hashes are needed."""

from __future__ import annotations

import hashlib

import pytest

from engine.accounts.tokens import hash_of, is_session_token, letters, new_key, new_session_token, new_token, prefix_of


def test_each_kind_is_known_by_its_shape_and_taken_for_no_other() -> None:
    session, prefix, token = new_session_token(), letters(8), new_token()
    key = new_key(prefix)
    assert is_session_token(session)
    assert prefix_of(session) is None
    assert prefix_of(key) == prefix
    assert not is_session_token(key)
    assert not is_session_token(token)
    assert prefix_of(token) is None
    assert len(token) == 43


def test_no_two_are_alike() -> None:
    assert len({new_session_token() for _ in range(1000)}) == 1000


@pytest.mark.parametrize(
    "text", ["", "dari_", "dari_session_", "Bearer x", "dari_abcdefgh_" + "x" * 42, "dari_abcdefg_" + "x" * 43]
)
def test_anything_else_is_none(text: str) -> None:
    assert not is_session_token(text)
    assert prefix_of(text) is None


def test_a_line_break_at_the_end_makes_another_token() -> None:
    assert not is_session_token(new_session_token() + "\n")
    assert prefix_of(new_key("abcdefgh") + "\n") is None


def test_what_is_kept_is_sha256() -> None:
    assert hash_of("abc") == hashlib.sha256(b"abc").digest()
    assert len(hash_of("\ud800")) == 32

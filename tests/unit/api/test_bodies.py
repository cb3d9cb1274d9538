"""What a JSON body may hold, whoever sends it."""

from __future__ import annotations

import json
from contextlib import suppress

import pytest
from hypothesis import given
from hypothesis import strategies as st

from engine.api.bodies import check_content_encoding, check_json, check_media_type
from engine.api.problems import Code, Refused

_TEXT = st.text(st.characters(exclude_characters="\0", exclude_categories=["Cs"]))
_JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | _TEXT,
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(_TEXT, inner, max_size=4),
    max_leaves=20,
)


@given(_JSON)
def test_what_is_json_is_read_as_it_is(value: object) -> None:
    assert check_json(json.dumps(value).encode()) == value


@given(st.binary(max_size=200))
def test_other_bytes_are_read_or_refused_and_nothing_else(body: bytes) -> None:
    with suppress(Refused):
        check_json(body)


@pytest.mark.parametrize(
    ("body", "code"),
    [
        (b"{", Code.MALFORMED),
        (b"", Code.MALFORMED),
        (b"\xff\xfe{\x00}\x00", Code.MALFORMED),
        ('{"이름": 1}'.encode("euc-kr"), Code.MALFORMED),
        (b'{"a": NaN}', Code.MALFORMED),
        (b"[Infinity]", Code.MALFORMED),
        (b"1" * 5000, Code.MALFORMED),
        (b"[" * 100_000, Code.MALFORMED),
        (b"[" * 51 + b"]" * 51, Code.MALFORMED),
        (b'{"a": 1, "a": 1}', Code.DUPLICATE_KEY),
        (b'[{"b": {"a": 1, "a": 2}}]', Code.DUPLICATE_KEY),
        (b'{"a": "\\u0000"}', Code.INVALID),
        (b'{"a\\u0000": 1}', Code.INVALID),
        (b'[["\\ud800"]]', Code.INVALID),
    ],
)
def test_what_nobody_could_keep_is_refused(body: bytes, code: Code) -> None:
    with pytest.raises(Refused) as refused:
        check_json(body)
    assert refused.value.code is code


def test_the_field_that_cannot_be_kept_is_named() -> None:
    with pytest.raises(Refused) as refused:
        check_json(b'{"rules": [{"name": "a"}, {"name": "b\\u0000"}]}')
    assert [error.field for error in refused.value.errors] == ["body.rules.1.name"]


@pytest.mark.parametrize(
    "sent", ["application/json", "application/json; charset=utf-8", "APPLICATION/JSON;charset=UTF8"]
)
def test_json_in_utf8_is_taken(sent: str) -> None:
    check_media_type(sent, {"application/json"})


@pytest.mark.parametrize(
    "sent", [None, "", "text/plain", "application/json; charset=euc-kr", "application/x-www-form-urlencoded", "json"]
)
def test_any_other_kind_is_refused(sent: str | None) -> None:
    with pytest.raises(Refused) as refused:
        check_media_type(sent, {"application/json"})
    assert refused.value.code is Code.WRONG_MEDIA_TYPE


def test_packed_bodies_are_refused() -> None:
    check_content_encoding("identity")
    with pytest.raises(Refused):
        check_content_encoding("gzip")

"""Cursors: what goes in comes out, and nothing else is taken for one."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta, timezone
from uuid import UUID

import pytest
from hypothesis import given
from hypothesis import strategies as st

from engine.api.pages import PageWanted, cursor_of, in_utc, opened
from engine.api.problems import Refused

_INSTANTS = st.datetimes(datetime(2001, 1, 1), datetime(2199, 1, 1), timezones=st.just(UTC))  # noqa: DTZ001
_NAMES = st.text(st.characters(categories=("L", "N")), max_size=20)


@given(_INSTANTS, st.uuids(), st.integers(-(2**63) + 1, 2**63 - 1), _NAMES)
def test_a_cursor_gives_back_its_values(instant: datetime, identifier: UUID, number: int, name: str) -> None:
    cursor = cursor_of(instant, identifier, number, name)
    assert opened(cursor, (datetime, UUID, int, str)) == (instant, identifier, number, name)


@given(st.text(max_size=100))
def test_any_other_text_is_refused(text: str) -> None:
    with pytest.raises(Refused):
        opened(text, (datetime, UUID))


@pytest.mark.parametrize("values", [(), ("x",), (5,), (True,), (UUID(int=1), UUID(int=2)), ("\0",)])
def test_a_cursor_of_another_list_is_refused(values: tuple[object, ...]) -> None:
    with pytest.raises(Refused):
        opened(cursor_of(*values), (UUID,))  # type: ignore[arg-type]


def test_a_page_says_where_the_next_begins_only_when_there_is_one() -> None:
    wanted = PageWanted(limit=2, cursor=None)
    assert wanted.after(int) is None
    full = wanted.page([1, 2, 3], str, lambda row: (row,))
    assert full.items == ["1", "2"]
    assert full.next is not None
    assert PageWanted(limit=2, cursor=full.next).after(int) == (2,)
    assert wanted.page([1, 2], str, lambda row: (row,)).next is None


def test_instants_are_in_utc_and_of_a_time_that_can_be() -> None:
    seoul = timezone(timedelta(hours=9))
    assert in_utc(datetime(2026, 11, 22, 9, tzinfo=seoul)) == datetime(2026, 11, 22, tzinfo=UTC)
    for instant in (datetime(1, 1, 1, tzinfo=seoul), datetime(9999, 12, 31, tzinfo=UTC), datetime(2026, 1, 1)):  # noqa: DTZ001
        with pytest.raises(ValueError, match="zone"):
            in_utc(instant)

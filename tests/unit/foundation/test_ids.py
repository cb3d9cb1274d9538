"""Ids in the order of arrival."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

from engine.foundation.ids import id_from, instant_of, new_id

NOON = datetime(2026, 3, 2, 12, 0, 0, 999_999, tzinfo=UTC)


def test_ids_of_one_millisecond_are_in_the_order_of_their_instants() -> None:
    instants = [NOON + timedelta(microseconds=step) for step in range(2500)]
    ids = [new_id(instant) for instant in instants]
    assert ids == sorted(ids)
    assert len(set(ids)) == len(ids)


def test_an_id_is_of_version_7_and_tells_its_instant_and_no_two_are_alike() -> None:
    ids = {new_id(NOON) for _ in range(200)}
    assert len(ids) == 200
    for one in (*ids, id_from(NOON, b"a call")):
        assert (one.version, one.variant) == (7, "specified in RFC 4122")
        assert instant_of(one) == NOON.replace(microsecond=999_000)

"""What goes over trunks."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from engine.trunks.load import Load
from engine.trunks.model import Trunk


def trunk(calls_per_second: float | None = None, max_calls: int | None = None) -> Trunk:
    return Trunk(
        name="t",
        match=("192.0.2.1",),
        contact="sip:192.0.2.1",
        calls_per_second=calls_per_second,
        max_calls=max_calls,
    )


def test_calls_of_both_directions_fill_a_trunk_until_they_are_released() -> None:
    load = Load()
    narrow = trunk(max_calls=2)
    came_in, sent = load.taken("t"), load.sent(narrow, 0.0)
    assert (load.counts(), load.full(narrow)) == ({"t": 2}, True)
    came_in.release()
    came_in.release()
    assert (load.calls("t"), load.full(narrow)) == (1, False)
    with load.taken("t"), sent:
        assert load.full(narrow)
    assert load.counts() == {}


def test_a_trunk_without_limits_is_never_full_or_too_fast() -> None:
    load = Load()
    for _ in range(1000):
        load.sent(trunk(), 0.0)
    assert not load.full(trunk())
    assert not load.too_fast(trunk(), 0.0)


def test_calls_that_come_in_do_not_use_up_what_may_be_sent() -> None:
    load = Load()
    for _ in range(5):
        load.taken("t")
    assert not load.too_fast(trunk(calls_per_second=1.0), 0.0)


def test_a_slow_trunk_gets_its_next_call_when_it_is_time() -> None:
    load, slow = Load(), trunk(calls_per_second=0.5)
    load.sent(slow, 10.0)
    assert load.too_fast(slow, 11.9)
    assert not load.too_fast(slow, 12.0)


@given(
    st.floats(0.1, 50),
    st.lists(st.floats(0, 3), min_size=1, max_size=200),
)
def test_in_no_stretch_of_time_more_calls_are_sent_than_the_rate_and_a_seconds_worth(
    rate: float, waits: list[float]
) -> None:
    load, limited = Load(), trunk(calls_per_second=rate)
    now, sent = 0.0, []
    for wait in waits:
        now += wait
        if not load.too_fast(limited, now):
            load.sent(limited, now)
            sent.append(now)
    for first, since in enumerate(sent):
        for last in range(first, len(sent)):
            assert last - first + 1 <= max(1.0, rate) + rate * (sent[last] - since) + 1e-6


def test_a_clock_that_stands_still_gives_nothing() -> None:
    load, limited = Load(), trunk(calls_per_second=2.0)
    for _ in range(2):
        assert not load.too_fast(limited, 5.0)
        load.sent(limited, 5.0)
    assert load.too_fast(limited, 5.0)
    assert load.too_fast(limited, 4.0)

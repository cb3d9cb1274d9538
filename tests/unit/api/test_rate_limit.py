"""A bucket of tokens: what it gives, when it is full again, and what the answer says."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from engine.api.rate_limit import Bucket, Rate, RateLimits, take

RATE = Rate(a_minute=60, at_once=3)


def test_a_full_bucket_gives_so_many_at_once_and_then_one_each_second() -> None:
    limits = RateLimits(RATE)
    assert [limits.take("a", 0.0).allowed for _ in range(4)] == [True, True, True, False]
    assert not limits.take("a", 0.9).allowed
    assert limits.take("a", 1.0).allowed
    assert not limits.take("a", 1.0).allowed


def test_one_does_not_pay_for_another() -> None:
    limits = RateLimits(Rate(a_minute=60, at_once=1))
    assert limits.take("a", 0.0).allowed
    assert limits.take("b", 0.0).allowed
    assert not limits.take("a", 0.0).allowed


def test_the_answer_says_what_is_left_and_how_long_to_wait() -> None:
    bucket, taken = take(None, RATE, 0.0)
    assert taken.headers == {"RateLimit-Limit": "3", "RateLimit-Remaining": "2", "RateLimit-Reset": "1"}
    _, refused = take(Bucket(0.25, 0.0), RATE, 0.0)
    assert refused.headers == {
        "RateLimit-Limit": "3",
        "RateLimit-Remaining": "0",
        "RateLimit-Reset": "3",
        "Retry-After": "1",
    }
    assert bucket.tokens == 2


@given(st.lists(st.floats(0, 5), max_size=60), st.integers(1, 600), st.integers(1, 20))
def test_never_more_than_the_rate_and_waiting_always_helps(steps: list[float], a_minute: int, at_once: int) -> None:
    rate = Rate(a_minute, at_once)
    bucket, now, given_out = None, 0.0, 0
    for step in steps:
        now += step
        bucket, taken = take(bucket, rate, now)
        given_out += taken.allowed
        assert given_out <= at_once + now * rate.a_second + 1e-6
        assert 0 <= taken.remaining < at_once or (at_once == 1 and taken.remaining == 0)
        if not taken.allowed:
            assert take(bucket, rate, now + taken.wait + 1e-6)[1].allowed

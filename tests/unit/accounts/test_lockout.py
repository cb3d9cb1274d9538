"""How long somebody waits who failed to sign in."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from engine.accounts.lockout import (
    FORGOTTEN_AFTER,
    FREE_FOR_LOGIN,
    LONGEST,
    Attempts,
    login_subject,
    peer_subject,
    standing,
    wait,
)

NOW = datetime(2026, 11, 22, 3, tzinfo=UTC)
AT_ONCE = timedelta(0)


def after(failures: int, ago: timedelta = AT_ONCE) -> Attempts:
    return Attempts(failures, NOW - ago)


def test_a_stranger_does_not_wait() -> None:
    assert wait(None, FREE_FOR_LOGIN, NOW) == AT_ONCE
    assert standing(None, NOW) == 0


@pytest.mark.parametrize(
    ("failures", "seconds"), [(0, 0), (4, 0), (5, 1), (6, 2), (7, 4), (10, 32), (14, 512), (15, 900), (10**6, 900)]
)
def test_the_wait_doubles_after_the_free_ones_up_to_fifteen_minutes(failures: int, seconds: int) -> None:
    assert wait(after(failures), 5, NOW) == timedelta(seconds=seconds)


def test_time_that_has_gone_by_counts() -> None:
    assert wait(after(10, timedelta(seconds=30)), 5, NOW) == timedelta(seconds=2)
    assert wait(after(10, timedelta(seconds=32)), 5, NOW) == AT_ONCE


def test_failures_are_forgotten_after_a_day() -> None:
    assert standing(after(100, FORGOTTEN_AFTER - timedelta(seconds=1)), NOW) == 100
    assert standing(after(100, FORGOTTEN_AFTER), NOW) == 0
    assert wait(after(100, FORGOTTEN_AFTER), 5, NOW) == AT_ONCE


@given(st.integers(0, 10**9), st.integers(0, 1000), st.timedeltas(timedelta(0), timedelta(days=400)))
def test_nobody_waits_longer_than_the_longest_and_one_more_failure_never_shortens_it(
    failures: int, free: int, ago: timedelta
) -> None:
    waited = wait(after(failures, ago), free, NOW)
    assert AT_ONCE <= waited <= LONGEST
    assert wait(after(failures + 1, ago), free, NOW) >= waited


def test_a_guesser_gets_few_guesses_a_day() -> None:
    tries, at, attempts = 0, NOW, None
    while at < NOW + timedelta(days=1):
        at += wait(attempts, FREE_FOR_LOGIN, at)
        attempts = Attempts(standing(attempts, at) + 1, at)
        tries += 1
    assert tries < 120


def test_an_ipv6_address_is_counted_with_its_network_and_an_ipv4_one_alone() -> None:
    assert peer_subject("2001:db8:1:2::1") == peer_subject("2001:db8:1:2:ffff::9")
    assert peer_subject("2001:db8:1:2::1") != peer_subject("2001:db8:1:3::1")
    assert peer_subject("192.0.2.1") != peer_subject("192.0.2.2")
    assert peer_subject("::ffff:192.0.2.1") == peer_subject("192.0.2.1")
    assert peer_subject("a socket") != peer_subject("")


def test_a_login_is_no_address_and_is_kept_as_a_hash() -> None:
    assert login_subject("192.0.2.1") != peer_subject("192.0.2.1")
    assert b"secret" not in login_subject("my secret")
    assert len(login_subject("\ud800")) == 32

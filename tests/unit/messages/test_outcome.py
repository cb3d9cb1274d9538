from __future__ import annotations

from datetime import timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from engine.messages.gateways.gateway import Accepted, Away, Delivered, NeverSeen, Rejected, Undelivered, Unknown
from engine.messages.model import Status
from engine.messages.outcome import Pace, after_look_up, after_submission, final, switched_off

PACE = Pace()
NEW = timedelta(seconds=1)


def test_an_accepted_message_waits_for_its_receipt() -> None:
    move = after_submission(Accepted("r"), 1, NEW, PACE)
    assert (move.status, move.reference, move.look_after, move.try_after) == (
        Status.ACCEPTED,
        "r",
        PACE.receipt_after,
        None,
    )


@pytest.mark.parametrize("answer", [Undelivered("r", "switched off"), Rejected("refused")])
def test_a_message_that_nobody_got_has_failed_for_good(answer: Undelivered | Rejected) -> None:
    move = after_submission(answer, 1, NEW, PACE)
    assert (move.status, move.reason, move.nobody_got_it) == (Status.FAILED, answer.reason, True)
    assert move == final(answer)


def test_a_message_whose_function_is_off_is_held_and_its_window_is_free() -> None:
    move = switched_off(("callback", "store message"))
    assert move is not None
    assert (move.status, move.nobody_got_it, move.look_after, move.try_after) == (Status.HELD, True, None, None)
    assert move.reason == "callback, store message was switched off for the account before it was sent"
    assert switched_off(()) is None


def test_a_message_found_delivered_is_delivered() -> None:
    assert after_submission(Delivered("r"), 2, NEW, PACE).status is Status.DELIVERED


def test_a_gateway_that_took_nothing_is_tried_again_until_it_is_given_up() -> None:
    moves = [after_submission(Away("busy"), attempt, NEW, PACE) for attempt in range(1, PACE.attempts + 1)]
    assert [move.status for move in moves] == [Status.QUEUED] * (PACE.attempts - 1) + [Status.FAILED]
    assert moves[-1].reason == "busy; given up after 10 attempts"
    assert moves[-1].nobody_got_it


def test_a_gateway_may_ask_for_a_longer_pause() -> None:
    assert after_submission(Away("busy", after=60.0), 1, NEW, PACE).try_after == timedelta(seconds=60)


def test_a_message_in_doubt_is_asked_after_and_never_said_to_have_reached_nobody() -> None:
    early = after_submission(Unknown("no answer"), 50, NEW, PACE)
    late = after_submission(Unknown("no answer"), 50, PACE.give_up_after, PACE)
    assert (early.status, early.try_after) == (Status.UNKNOWN, PACE.longest_pause)
    assert (late.status, late.nobody_got_it) == (Status.FAILED, False)


@given(st.integers(1, 10_000))
def test_pauses_grow_to_a_limit_and_a_lost_job_is_missed_only_after_them(attempt: int) -> None:
    move = after_submission(Unknown("no answer"), attempt, NEW, PACE)
    assert move.try_after is not None
    assert move.look_after is not None
    assert PACE.pause(attempt) <= PACE.pause(attempt + 1) <= PACE.longest_pause
    assert move.try_after < move.look_after


def test_an_accepted_message_stays_until_the_gateway_knows_more_or_is_given_up() -> None:
    assert after_look_up(Accepted("r"), NEW, PACE) is None
    assert after_look_up(Unknown("no answer"), NEW, PACE) is None
    assert after_look_up(Delivered("r"), NEW, PACE) == final(Delivered("r"))
    for finding, age in ((NeverSeen(), NEW), (Accepted("r"), PACE.give_up_after)):
        move = after_look_up(finding, age, PACE)
        assert move is not None
        assert (move.status, move.nobody_got_it) == (Status.FAILED, False)

"""A suspended number: every caller hears its announcement, with an engine and without one."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime

import msgspec
import pytest

from engine.cdr.model import Result
from engine.foundation.phone_number import PhoneNumber
from engine.numbers.treatment import Limits, Treatment
from engine.routing.alone import entries
from engine.routing.alone_text import Sounds, number_key, number_values
from engine.routing.call_plan import Announce
from engine.routing.current_prompts import with_current_prompts
from engine.routing.model import Condition, History, Line, Load
from engine.routing.plan import plan
from tests.routing_lines import BAD, rule, span
from tests.routing_lines import line as a_line

NOW = datetime(2026, 11, 22, 3, 0, tzinfo=UTC)
CALLER = PhoneNumber("01012345678")
SUSPENDED = "ko/not-in-service"


@pytest.fixture
def line() -> Line:
    """With a rule for the evening and a limit."""
    evening = rule("evening", Condition(times=(span("18:00-09:00"),)), Treatment(announcement="ko/holiday"))
    plain = a_line(evening, treatment=Treatment(announcement="ko/closed"), limits=Limits(at_once=1))
    return replace(plain, number=msgspec.structs.replace(plain.number, suspended=SUSPENDED))


@pytest.mark.parametrize("caller", [CALLER, None])
@pytest.mark.parametrize("hour", [3, 12])
def test_whatever_its_rules_and_limits_say_callers_hear_the_announcement(
    line: Line, caller: PhoneNumber | None, hour: int
) -> None:
    full = History(number=Load(at_once=5))
    planned = plan(line, caller, NOW.replace(hour=hour), full, 30)
    assert planned == Announce(SUSPENDED, Result.NOT_IN_SERVICE, line.number.account_id)


def test_it_is_forwarded_again_when_it_is_resumed(line: Line) -> None:
    resumed = replace(line, number=msgspec.structs.replace(line.number, suspended=None))
    planned = plan(resumed, CALLER, NOW, History(), 30)
    assert isinstance(planned, Announce)
    assert planned.result is Result.CLOSED


def test_a_blocked_caller_is_turned_away_as_before(line: Line) -> None:
    planned = plan(line, BAD, NOW, History(), 30)
    assert isinstance(planned, Announce)
    assert planned.result is Result.BLOCKED


def test_without_an_engine_one_entry_says_so_for_ever(line: Line) -> None:
    (entry,) = entries(line, frozenset(), NOW, 30)
    assert (entry.until, entry.plan) == (None, Announce(SUSPENDED, Result.NOT_IN_SERVICE, line.number.account_id))
    sounds = Sounds(music_class=lambda _: None, spoken=lambda _: None, cause=lambda _: 1)
    key = number_key(line.number.number)
    limits = (line.number.limits, line.account.limits)
    kept = number_values(key, str(line.number.account_id), limits, (entry,), sounds)
    assert kept == {key: f"{line.number.account_id}|1||=a|{SUSPENDED}|not in service|1"}


def test_its_announcement_may_be_a_prompt_of_its_account(line: Line) -> None:
    named = replace(
        line,
        number=msgspec.structs.replace(line.number, suspended="prompt:이사"),
        account=msgspec.structs.replace(line.account, prompts={"이사": "own/abc"}),
    )
    assert with_current_prompts(named).number.suspended == "own/abc"
    gone = replace(named, account=msgspec.structs.replace(named.account, prompts={}))
    assert with_current_prompts(gone).number.suspended == "own/no-such-prompt"
    assert with_current_prompts(line) is line

"""Who a caller's channel belongs to, as far as its place in the dialplan tells."""

from __future__ import annotations

from collections.abc import Collection
from datetime import datetime, timedelta

import pytest

from engine.asterisk.events import Channel, DialplanPlace
from engine.calls.adoption import Found, Ours, is_alone, is_direct, is_given_away
from engine.calls.contexts import ALONE, BACK, runs_alone
from engine.calls.notes import Moment
from engine.trunks.pjsip import CONTEXT
from tests.call_desk import NODE, START

CALLER = "1767225600.1"


def channel(context: str, application: str, *, state: str = "Ring", created: datetime = START) -> Channel:
    return Channel(
        id=CALLER,
        name="PJSIP/carrier-00000001",
        state=state,
        dialplan=DialplanPlace(context=context, app_name=application),
        creationtime=created.isoformat(),
    )


@pytest.mark.parametrize(
    ("context", "application", "direct", "alone", "given_away"),
    [
        (CONTEXT, "Dial", True, True, False),
        (CONTEXT, "StasisBroadcast", False, False, False),
        (CONTEXT, "Stasis", False, False, False),
        (CONTEXT, "AGI", False, True, True),
        (CONTEXT, "AppDial", False, True, True),
        (BACK, "StasisBroadcast", False, False, False),
        (ALONE, "StasisBroadcast", False, True, True),
        ("dari-alone-ring", "Dial", False, True, True),
        ("dari-say", "Playback", False, True, True),
    ],
)
def test_where_a_caller_is_tells_whose_it_is(
    context: str, application: str, direct: bool, alone: bool, given_away: bool
) -> None:
    there = channel(context, application)
    assert (is_direct(there), is_alone(there), is_given_away(there)) == (direct, alone, given_away)


def test_who_is_not_there_is_nobodys() -> None:
    assert not any(belongs(None) for belongs in (is_direct, is_alone, is_given_away))


@pytest.mark.parametrize(
    ("context", "alone"),
    [(ALONE, True), ("dari-alone-ring", True), ("dari-say", True), (CONTEXT, False), (BACK, False)],
)
def test_contexts_in_which_a_call_goes_without_an_engine(context: str, alone: bool) -> None:
    assert runs_alone(context) is alone


def strays(there: Channel, *, callers: Collection[str] = (), has_ended: bool) -> list[str]:
    late = START + timedelta(minutes=1)
    found = Found(Moment(late, 60.0), {there.id: there}, {}, frozenset({there.id}), NODE, {})
    return Ours(NODE, {}, callers, (), lambda _channel: has_ended).stray_channels(found)


@pytest.mark.parametrize("has_ended", [True, False])
def test_whom_the_dialplan_connected_goes_once_the_call_is_over_and_never_before(has_ended: bool) -> None:
    assert strays(channel(CONTEXT, "Dial", state="Up"), has_ended=has_ended) == ([CALLER] if has_ended else [])


@pytest.mark.parametrize("has_ended", [True, False])
@pytest.mark.parametrize("state", ["Ring", "Up"])
def test_who_goes_without_an_engine_is_never_ended(has_ended: bool, state: str) -> None:
    assert strays(channel("dari-alone-ring", "Dial", state=state), has_ended=has_ended) == []

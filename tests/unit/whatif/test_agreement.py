"""What is explained and what would be heard tell of the same call, whatever is set."""

from __future__ import annotations

import msgspec
import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from engine.callbacks.evidence import Evidence
from engine.cdr.model import Result
from engine.foundation.phone_number import PhoneNumber
from engine.numbers.treatment import (
    Failure,
    Fallback,
    Limits,
    RecordMode,
    Target,
    TargetOrder,
    Then,
    Treatment,
    Whisper,
)
from engine.prompts.telephone_sound import Samples
from engine.routing.call_plan import Forward
from engine.routing.model import History, Load
from engine.routing.plan import plan
from engine.whatif.explanation import Asking, Explanation, explain
from engine.whatif.heard import Assumed, Heard, Outcome, hear
from engine.whatif.telling import sections
from tests.hand_made_line import CALLER, MORNING, NUMBER, RING_SECONDS, SENDER, line_of

TALK = "answered and connected"

numbers = st.sampled_from(["0212345678", "01022223333", "15881234", "0311234567"]).map(PhoneNumber)
targets = st.builds(Target, number=numbers, ring_seconds=st.none() | st.integers(3, 60), share=st.integers(0, 100))
failures = st.lists(st.sampled_from(Failure), max_size=3, unique=True).map(tuple)
sounds = st.lists(st.sampled_from(["own/a", "own/b"]), min_size=1, max_size=2).map(tuple)
fallbacks = st.builds(
    Fallback,
    then=st.sampled_from(Then),
    on=failures,
    targets=st.lists(targets, min_size=1, max_size=2).map(tuple),
    sounds=sounds,
    text=st.just("곧 전화드리겠습니다."),
)
treatments = st.builds(
    Treatment,
    targets=st.none() | st.lists(targets, min_size=1, max_size=3).map(tuple),
    order=st.none() | st.sampled_from(TargetOrder),
    ring_seconds=st.none() | st.integers(3, 60),
    notice=st.none() | st.just("own/a"),
    store_notice=st.none() | st.booleans(),
    recording=st.none() | st.sampled_from(RecordMode),
    ringback=st.none() | sounds,
    whisper=st.none() | st.just(Whisper(sound="own/b")),
    accept=st.none() | st.booleans(),
    busy=st.none() | sounds,
    fallbacks=st.none() | st.lists(fallbacks, max_size=3).map(tuple),
)


def silence(_name: str) -> Samples:
    return np.full(2400, 0.1)


def ended_as(heard: Heard) -> str:
    """The result in the last thing that happens."""
    return heard.timeline[-1].what.removeprefix("refused: ").partition(",")[0]


@given(treatments, st.sampled_from(Outcome), st.floats(0, 200), st.booleans())
def test_they_agree(treatment: Treatment, outcome: Outcome, answer_after: float, over: bool) -> None:
    line = line_of(treatment, callback="감사합니다", sender=SENDER, limits=Limits(at_once=1))
    history = History(number=Load(at_once=1 if over else 0))
    made = plan(line, CALLER, MORNING, history, RING_SECONDS)
    assert isinstance(made, Forward)
    asking = Asking(NUMBER, CALLER, MORNING)
    told = explain(asking, line, history, made, Evidence({SENDER}), source="a test", talk_seconds=60.0)
    assert msgspec.json.decode(msgspec.json.encode(told), type=Explanation) == told
    assert all(part.lines for part in sections(told)), "no section is empty"
    assert told.forwarding is not None

    heard = hear(made, Assumed(outcome, answer_after), silence)
    talked = any(moment.what.startswith(TALK) for moment in heard.timeline)
    ways = {way.failure.value: way for way in told.forwarding.if_nobody}
    first = next((stage for stage in told.forwarding.stages if stage.telephones and stage.after is None), None)
    if outcome is Outcome.ANSWERED:
        if first is told.forwarding.stages[0] and answer_after <= max(one.seconds for one in first.telephones):
            assert talked, "somebody answers while the first telephones ring"
        if not any(stage.telephones for stage in told.forwarding.stages):
            assert not talked
    elif outcome.value in ways:
        assert not talked
        way = ways[outcome.value]
        expected = "hung up" if way.result is Result.VOICEMAIL else way.result.value
        assert ended_as(heard) == expected

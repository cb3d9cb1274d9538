"""What the sides showed, held against the goals and laid out beside each other."""

from __future__ import annotations

import math
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import replace

import msgspec
import pytest

from tests.bench.figures import Delays
from tests.bench.load import Outcome
from tests.bench.sides.goals import Goal, goals
from tests.bench.sides.overload import normal_after
from tests.bench.sides.results import (
    Live,
    Overload,
    PerCall,
    SideRun,
    Step,
    Sustained,
    Trial,
    best_of,
    group_of,
    per_group,
)
from tests.bench.sides.schedule import Plan, expected
from tests.bench.sides.shown import blemishes, lines
from tests.bench.sides.sustain import Thoroughness
from tests.bench.sides.taker import LOAD_NUMBERS, Holds, Room, Side, Taker, target_of
from tests.bench.sides.trial import Pace, probe_rate

NOTHING = Delays(0, math.nan, math.nan, math.nan)
STEP = Step(
    rate=50.0,
    seconds=20.0,
    placed=290,
    failed={},
    repeated=0,
    restarted=[],
    behind=False,
    late=0.0,
    ringing=Delays(40, 4.0, 8.0, 9.0),
    audio=NOTHING,
    reached=Delays(40, 2.0, 4.0, 5.0),
    answer=Delays(20, 5.0, 10.0, 12.0),
    passed_on=Delays(40, 1.0, 2.0, 3.0),
    own=Delays(20, 0.3, 1.0, 1.5),
    unpunctual=Delays(40, 0.1, 0.8, 1.0),
    load_answer=Delays(250, 4.0, 8.0, 12.0),
    cpu={"Asterisk": 4.0},
    parts={"asterisk": 4.0},
    others=3.0,
)
A = SideRun(name="A", title="Dial()", steps=[STEP], sustained=Sustained(350.0, 60.0, 60.0, []))
D = SideRun(
    name="D",
    title="Dari",
    steps=[
        msgspec.structs.replace(
            STEP,
            audio=Delays(20, 30.0, 45.0, 50.0),
            answer=Delays(20, 8.0, 30.0, 40.0),
            cpu={"Asterisk": 6.0, "engine": 2.0, "workers": 1.5},
        )
    ],
    sustained=Sustained(175.0, 60.0, 60.0, [Trial(200.0, 10.0, "3 × no answer")]),
    live=[
        Live(
            calls=800,
            with_sound=True,
            answered=800,
            failed={},
            groups={"engine": PerCall(25.0, 0.0, 0.0)},
            asterisk_cpu=150.0,
        )
    ],
    calls=290,
    recorded=290,
    messages=290,
)


def _by_name(runs: list[SideRun]) -> dict[str, Goal]:
    return {goal.figure: goal for goal in goals({run.name: run for run in runs})}


def test_each_goal_says_how_far_it_is() -> None:
    found = _by_name([A, D])
    assert found["D sustained ÷ A"].value == 0.5
    assert found["D sustained ÷ A"].verdict == "floor"
    assert found["D setup p50 ÷ A at 50/s"].value == 1.6
    assert found["D setup p99 ÷ A at 50/s"].verdict == "missed"
    assert found["D engine + workers, CPU ms per call at 50/s"].value == 3.5
    assert found["D first ringback after INVITE, p99 ms at 50/s"].verdict == "aim"
    assert found["D engine memory per live call, kB"].verdict == "floor"


def test_turns_decide_about_setup_where_both_sides_had_them() -> None:
    a = msgspec.structs.replace(A, in_turns=Delays(700, 4.0, 10.0, 15.0))
    d = msgspec.structs.replace(D, in_turns=Delays(700, 7.0, 24.0, 40.0))
    found = _by_name([a, d])
    assert found["D setup p50 ÷ A at 50/s"].value == 1.75
    assert found["D setup p99 ÷ A at 50/s"].value == 2.4
    assert _by_name([a, D])["D setup p50 ÷ A at 50/s"].value == 1.6
    assert {line.figure: line.values for line in lines([a, d])}["50/s in turns: INVITE to 200, p99 ms"] == [10.0, 24.0]


def test_what_was_not_measured_is_neither_reached_nor_missed() -> None:
    assert {goal.verdict for goal in _by_name([A]).values()} == {"not measured"}
    assert _by_name([A, D])["D sustained ÷ C (bare ARI, originate)"].verdict == "not measured"
    unknown = msgspec.structs.replace(D, sustained=Sustained(math.nan, 0.0, 4.0, []))
    assert _by_name([A, unknown])["D sustained ÷ A"].verdict == "not measured"


def test_a_full_database_is_held_against_every_figure() -> None:
    slower = msgspec.structs.replace(D.steps[0], answer=Delays(20, 10.0, 33.0, 50.0))
    held = [msgspec.structs.replace(D.live[0], groups={"engine": PerCall(30.0, 0.0, 0.0)})]
    full = msgspec.structs.replace(D, name="F", steps=[slower], sustained=Sustained(140.0, 60.0, 60.0, []), live=held)
    found = _by_name([A, D, full])
    assert {name: goal.value for name, goal in found.items() if name.startswith("F ÷ D")} == {
        "F ÷ D, sustained (D ÷ F)": 1.25,
        "F ÷ D, setup p50 at 50/s": 1.25,
        "F ÷ D, setup p99 at 50/s": 1.1,
        "F ÷ D, first ringback p99 at 50/s": 1.0,
        "F ÷ D, engine + workers, CPU": 1.0,
        "F ÷ D, engine memory per live call": 1.2,
    }


def test_rates_that_held_for_different_times_are_not_compared() -> None:
    shorter = msgspec.structs.replace(D, sustained=Sustained(175.0, 10.0, 60.0, [Trial(175.0, 60.0, "1 × 503")]))
    assert _by_name([A, shorter])["D sustained ÷ A"].verdict == "not measured"
    assert "175/s held for 10 s, none for 60 s" in list(blemishes(shorter))


def _step(rate: float, *, held: bool = True) -> Step:
    return msgspec.structs.replace(STEP, rate=rate, repeated=0 if held else 1)


def test_the_answer_is_the_highest_rate_that_held_for_the_whole_time() -> None:
    trials = [Trial(150.0, 10.0, ""), Trial(150.0, 60.0, "late"), Trial(135.0, 60.0, ""), Trial(142.0, 60.0, "late")]
    found = best_of(trials, [_step(50.0), _step(100.0)], 60.0)
    assert (found.rate, found.held_for) == (135, 60)


def test_where_none_held_so_long_the_answer_is_what_held_at_all() -> None:
    trials = [Trial(150.0, 10.0, ""), Trial(150.0, 60.0, "late")]
    found = best_of(trials, [_step(50.0), _step(100.0), _step(140.0, held=False)], 60.0)
    assert (found.rate, found.held_for, found.wanted) == (100, 20, 60)
    found = best_of([Trial(150.0, 10.0, ""), Trial(40.0, 60.0, "late")], [_step(50.0)], 60.0)
    assert (found.rate, found.held_for) == (150, 10)


def test_only_where_nothing_held_there_is_no_answer() -> None:
    found = best_of([Trial(150.0, 10.0, "late")], [_step(50.0, held=False)], 60.0)
    assert math.isnan(found.rate)
    assert found.held_for == 0


def test_an_overload_that_never_ended_misses_its_aim_and_one_that_harms_misses_its_floor() -> None:
    told = Overload(
        limit=100.0,
        offered=200.0,
        standing=30,
        harmed=1,
        answered=900,
        refused=1000,
        failed={"no answer": 2},
        refusal=Delays(200, 4.0, 20.0, 40.0),
        load_refusal=Delays(1000, 4.0, 24.0, 44.0),
        normal_after=None,
    )
    found = _by_name([A, msgspec.structs.replace(D, overload=told)])
    assert found["D overload: calls in progress harmed"].verdict == "missed"
    assert found["D overload: neither taken nor refused with 503"].value == 2
    assert found["D overload: refused within, p99 ms"].verdict == "aim"
    assert found["D overload: back to normal after, s"].verdict == "floor"


def test_normal_again_is_when_all_that_follow_are() -> None:
    setups = [(10.0, 0.5), (10.5, 0.01), (11.0, None), (12.0, 0.02), (13.0, 0.01)]
    assert normal_after(setups, 10.0, 0.03) == 2.0
    assert normal_after(setups, 10.0, 0.015) == 3.0
    assert normal_after(setups, 10.0, 0.001) is None
    assert normal_after([(9.9, 0.01)], 10.0, 0.03) == 0.0
    told_late = [(11.0, 0.01), (12.0, 0.01), (10.0, None)]
    assert normal_after(told_late, 10.0, 0.03) == 1.0


def test_the_probes_calls_are_a_part_of_the_rate() -> None:
    assert probe_rate(50.0) == probe_rate(300.0) == 20
    assert 0 < probe_rate(10.0) < 5


def test_the_rate_at_which_sides_are_compared_is_offered_for_longer() -> None:
    pace = Pace(12.0, 3.0, 40.0, 40.0)
    assert pace.at(50.0).seconds == 40
    assert pace.at(25.0).seconds == 12
    assert Pace(5.0, 1.0, 4.0).at(50.0).seconds == 5


@asynccontextmanager
async def _never(room: Room) -> AsyncIterator[Taker]:
    raise AssertionError(room)
    yield


def test_how_long_a_side_takes_grows_with_what_it_goes_through() -> None:
    plan = Plan(
        (50.0,), Pace(12.0, 3.0, 40.0, 40.0), Thoroughness(10.0, 60.0, 0.05, 6, 120.0), ((800, True),), 20.0, 0, ""
    )
    side = Side("D", "", _never, 80.0)
    briefly = replace(plan, search=replace(plan.search, whole=0.0))
    assert 100 < expected(side, plan) - expected(side, briefly) < 200
    assert expected(side, plan) > expected(replace(side, name="A"), plan)
    assert expected(side, plan) > expected(replace(side, holds=Holds.NONE), plan)
    assert plan.search.longest <= 360


def test_a_side_that_opens_once_holds_only_what_its_shops_are_made_for() -> None:
    plan = Plan((), Pace(1.0, 1.0, 1.0), Thoroughness(1.0, 0.0, 1.0, 0, 0.0), ((800, True), (1900, False)), 0.0, 0, "")
    side = Side("F", "", _never, 80.0, holds=Holds.AT_FIRST)
    assert plan.live_of(side) == ((1900, False),)
    assert plan.live_of(replace(side, holds=Holds.AFRESH)) == plan.live
    assert plan.live_of(replace(side, holds=Holds.NONE)) == ()


def test_a_step_holds_only_when_nothing_at_all_was_wrong() -> None:
    assert STEP.held
    assert STEP.why_not == ""
    for change in ({"failed": {"503": 1}}, {"repeated": 1}, {"late": 1.5}, {"restarted": ["engine"]}, {"behind": True}):
        spoiled = msgspec.structs.replace(STEP, **change)
        assert not spoiled.held
        assert spoiled.why_not


def test_a_step_is_beyond_the_side_only_when_it_failed_clearly() -> None:
    assert not STEP.is_beyond
    assert not msgspec.structs.replace(STEP, repeated=1, failed={"no answer": 1}).is_beyond
    for change in ({"failed": {"503": 4}}, {"repeated": 4}, {"late": 1.5}, {"behind": True}):
        assert msgspec.structs.replace(STEP, **change).is_beyond


def test_the_table_has_ratios_to_the_first_side_and_leaves_out_what_nobody_has() -> None:
    found = {line.figure: line.cells() for line in lines([A, D])}
    assert found["calls/s sustained"] == ["350.0", "175.0 ×0.50"]
    assert found["50/s: INVITE to 200, p50 ms"] == ["5.0", "8.0 ×1.60"]
    assert found["50/s: INVITE to first sound, p99 ms"] == ["–", "45.0"]
    assert found["800 live calls with sound: engine, kB per call"] == ["–", "25.0"]
    assert found["  for so many seconds"] == ["60", "60 ×1.00"]
    assert found["calls in the database"] == ["–", "290"]
    assert not any("database, CPU" in figure for figure in found)


def test_what_spoils_the_figures_is_said() -> None:
    assert list(blemishes(SideRun(name="x", title="", absent="not installed"))) == ["absent: not installed"]
    lost = msgspec.structs.replace(D, recorded=289, steps=[msgspec.structs.replace(STEP, failed={"487": 2})])
    told = " ".join(blemishes(lost))
    for what in ("at 50/s: 2 × 487", "200/s 3 × no answer (10 s)", "290 calls placed, 289 in the database"):
        assert what in told
    assert list(blemishes(A)) == ["tried: ", "none failed: it may hold more than 350/s"]
    slow = msgspec.structs.replace(A, steps=[msgspec.structs.replace(STEP, own=Delays(20, 1.0, 32.0, 40.0))])
    assert any("32 ms for its own answer" in one for one in blemishes(slow))


@pytest.mark.parametrize(
    ("part", "group"),
    [("asterisk", "Asterisk"), ("engine-2", "engine"), ("jobs", "workers"), ("postgres", "database"), ("web", "rest")],
)
def test_every_part_belongs_to_a_group(part: str, group: str) -> None:
    assert group_of(part) == group


def test_groups_are_sums() -> None:
    assert per_group({"engine": 1.0, "engine-2": 2.0, "web": 1.0, "watchdog": 0.5}) == {"engine": 3.0, "rest": 1.5}


def test_each_number_rings_a_target_of_its_own() -> None:
    assert target_of(LOAD_NUMBERS[0]) == "023450001"
    assert len({target_of(number) for number in LOAD_NUMBERS}) == len(LOAD_NUMBERS)


def test_an_outcome_with_nothing_in_it_has_no_span() -> None:
    assert Outcome().span == 0.0

"""How runs of tests/bench/calls.py stand side by side."""

from __future__ import annotations

import math

import msgspec
import pytest

from tests.bench.figures import Delays, PartUse, Row, Run, delays, rows

RUN = Run(
    name="before",
    commit="1",
    rate=50.0,
    placed=110,
    recorded=110,
    answered=100,
    failed={},
    repeated=0,
    load_ringing=Delays(80, 5.0, 9.0, 12.0),
    load_answer=Delays(80, 10.0, 19.0, 22.0),
    probe_ringing=Delays(20, 4.0, 8.0, 8.0),
    probe_answer=Delays(20, 8.0, 16.0, 16.0),
    parts={"engine": PartUse(2.0, 0.5, 80.0), "asterisk": PartUse(6.0, 0.5, 90.0)},
    restarted=[],
    others=3.0,
)


def test_delays_are_milliseconds_by_nearest_rank() -> None:
    found = delays([one / 1000 for one in range(200, 0, -1)])
    assert (found.count, found.p50, found.p99, found.longest) == pytest.approx((200, 100.0, 198.0, 200.0))
    assert delays([0.007]) == Delays(1, 7.0, 7.0, 7.0)


def test_nothing_measured_is_not_a_number() -> None:
    assert math.isnan(delays([]).p99)
    assert Row("x", [[math.nan], [1.0]], 1).ratio is None


def test_the_ratio_is_of_the_medians_and_of_two_checkouts_only() -> None:
    assert Row("x", [[2.0, 4.0, 100.0], [1.0, 2.0, 2.0]], 1).ratio == 0.5
    assert Row("x", [[2.0]], 1).ratio is None
    assert Row("x", [[0.04], [2.0]], 2).ratio is None, "less than the steps of the clock"
    assert Row("x", [[2.0], [-0.1]], 2).ratio is None


def test_parts_stand_by_what_they_cost_and_one_that_is_new_is_no_number_before() -> None:
    after = msgspec.structs.replace(RUN, name="now", parts={**RUN.parts, "agi": PartUse(9.0, 0.1, 50.0)})
    found = {row.measure: row for row in rows([[RUN, RUN], [after]])}
    costs = [name.partition(":")[0] for name in found if name.endswith("CPU ms per call")]
    assert costs == ["agi", "asterisk", "engine", "all parts"]
    assert found["all parts: CPU ms per call"].figures == [[8.0, 8.0], [17.0]]
    assert math.isnan(found["agi: CPU ms per call"].figures[0][0])
    assert found["engine: CPU ms per call"].ratio == 1.0


def test_a_run_whose_answered_calls_outnumber_its_records_has_lost_some() -> None:
    assert RUN.lost == 0
    assert msgspec.structs.replace(RUN, recorded=97).lost == 3

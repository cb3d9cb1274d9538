"""Which trunks are tried, in which order."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from engine.trunks.choice import candidates
from engine.trunks.load import Load
from engine.trunks.model import Health, Trunk

NOW = 100.0


def trunk(name: str, priority: int = 100, outgoing: bool = True, max_calls: int | None = None) -> Trunk:
    return Trunk(
        name=name,
        match=("192.0.2.1",),
        contact="sip:192.0.2.1",
        priority=priority,
        outgoing=outgoing,
        max_calls=max_calls,
    )


def names(trunks: list[Trunk], came_in_by: str | None = None, load: Load | None = None, **health: Health) -> list[str]:
    def of(name: str) -> Health:
        return health.get(name, Health.UNKNOWN)

    return [trunk.name for trunk in candidates(trunks, came_in_by, load or Load(), of, NOW)]


THREE = [trunk("c", 10), trunk("a", 20), trunk("b", 20)]


def test_by_priority_and_then_by_name() -> None:
    assert names(THREE) == ["c", "a", "b"]


def test_the_trunk_that_the_call_came_in_by_is_first() -> None:
    assert names(THREE, "b") == ["b", "c", "a"]
    assert names(THREE, "gone") == ["c", "a", "b"]


def test_a_trunk_for_incoming_calls_only_is_never_sent_any() -> None:
    assert names([trunk("in", outgoing=False), trunk("out")], "in") == ["out"]


def test_one_that_is_down_is_left_out_while_another_is_not() -> None:
    assert names(THREE, "c", c=Health.DOWN) == ["a", "b"]
    assert names(THREE, c=Health.DOWN, a=Health.UP, b=Health.DOWN) == ["a"]


def test_when_all_are_down_all_are_tried() -> None:
    assert names(THREE, "b", a=Health.DOWN, b=Health.DOWN, c=Health.DOWN) == ["b", "c", "a"]


def test_a_full_or_hurried_trunk_is_left_out_even_when_the_others_are_down() -> None:
    load = Load()
    load.taken("full")
    hurried = Trunk(name="hurried", match=("192.0.2.1",), contact="sip:192.0.2.1", calls_per_second=1.0)
    load.sent(hurried, NOW)
    trunks = [trunk("full", max_calls=1), hurried, trunk("down")]
    assert names(trunks, "full", load, down=Health.DOWN) == ["down"]


@given(
    st.lists(st.tuples(st.sampled_from("abcdef"), st.booleans(), st.sampled_from(Health)), unique_by=lambda one: one[0])
)
def test_there_is_a_trunk_to_try_whenever_one_may_be_sent_calls(some: list[tuple[str, bool, Health]]) -> None:
    trunks = [trunk(name, outgoing=outgoing) for name, outgoing, _ in some]
    health = {name: state for name, _, state in some}
    chosen = candidates(trunks, None, Load(), health.__getitem__, NOW)
    assert bool(chosen) == any(outgoing for _, outgoing, _ in some)

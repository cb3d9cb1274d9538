from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from engine.foundation.errors import Invalid
from engine.foundation.placeholders import check_placeholders, filled

FACTS = {"number": "0507-1234-5678", "label": "배달앱"}


@pytest.mark.parametrize(
    ("text", "becomes"),
    [
        ("", ""),
        ("{number}", "0507-1234-5678"),
        ("[{label}] {number}, {number}", "[배달앱] 0507-1234-5678, 0507-1234-5678"),
        ("{unknown} {label}", "{unknown} 배달앱"),
        ("{ label } {Label} {} {", "{ label } {Label} {} {"),
        ("{{label}}", "{배달앱}"),
    ],
)
def test_names_in_braces_become_their_facts(text: str, becomes: str) -> None:
    assert filled(text, FACTS) == becomes


def test_a_fact_is_not_looked_into() -> None:
    assert filled("{label} {number}", {"label": "{number}", "number": "{label}"}) == "{number} {label}"


@pytest.mark.parametrize("text", ["", "{number} {label}", "} {", "{", "[label]"])
def test_known_names_and_lone_braces_may_be_set(text: str) -> None:
    check_placeholders(text, FACTS, "callback")


@pytest.mark.parametrize(("text", "named"), [("{Label}", "{Label}"), ("{label} {가게}", "{가게}"), ("{}", "{}")])
def test_anything_else_in_braces_is_refused_and_named(text: str, named: str) -> None:
    with pytest.raises(Invalid, match="callback: ") as refused:
        check_placeholders(text, FACTS, "callback")
    assert named in str(refused.value)
    assert "{number}, {label}" in str(refused.value)


@given(st.text("{}ab", max_size=30))
def test_what_may_be_set_keeps_no_known_name_unfilled(text: str) -> None:
    try:
        check_placeholders(text, {"a": "1", "b": "2"}, "callback")
    except Invalid:
        return
    done = filled(text, {"a": "1", "b": "2"})
    assert "{a}" not in done
    assert "{b}" not in done

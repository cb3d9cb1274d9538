"""What Asterisk tells of a call when it asks."""

from __future__ import annotations

import pytest

from engine.asterisk.call_question import Question, read_question

FACTS = {
    "agi_network_script": "key",
    "agi_channel": "PJSIP/carrier-0000000a",
    "agi_uniqueid": "1793577600.7",
    "agi_callerid": "01012345678",
    "agi_callingpres": "0",
    "agi_extension": "+825071234567",
}


def test_a_question_is_read_whole() -> None:
    assert read_question(FACTS) == Question(
        "1793577600.7", "PJSIP/carrier-0000000a", "+825071234567", "01012345678", withheld=False
    )


@pytest.mark.parametrize(
    ("told", "came"),
    [("1793577600123", 1793577600.123), ("", None), ("179357760012", None), ("-793577600123", None), ("now", None)],
)
def test_when_the_call_came(told: str, came: float | None) -> None:
    assert read_question({**FACTS, "agi_arg_1": told}).came == came


@pytest.mark.parametrize(
    ("presentation", "withheld"),
    [
        ("0", False),
        ("1", False),
        ("3", False),
        ("32", True),
        ("33", True),
        ("35", True),
        ("67", False),
        ("", False),
        ("-1", False),
        ("x", False),
    ],
)
def test_whether_the_number_is_withheld(presentation: str, withheld: bool) -> None:
    assert read_question({**FACTS, "agi_callingpres": presentation}).withheld is withheld


def test_unknown_is_asterisks_word_for_no_number() -> None:
    assert read_question({**FACTS, "agi_callerid": "unknown"}).caller_sent == ""


def test_of_what_is_not_told_nothing_is_known() -> None:
    assert read_question({}) == Question("", "", "", "", withheld=False)

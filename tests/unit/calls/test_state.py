"""The states of a call and the moves between them."""

from __future__ import annotations

from itertools import product

import pytest

from engine.calls.state import ALLOWED, CallState, check_move
from engine.foundation.errors import Conflict

MOVES = {
    ("arrived", "announcing"),
    ("arrived", "ringing"),
    ("arrived", "connected"),
    ("arrived", "ended"),
    ("announcing", "ended"),
    ("ringing", "whispering"),
    ("ringing", "connected"),
    ("ringing", "announcing"),
    ("ringing", "ended"),
    ("whispering", "connected"),
    ("whispering", "ringing"),
    ("whispering", "announcing"),
    ("whispering", "ended"),
    ("connected", "ended"),
}


@pytest.mark.parametrize(("old", "new"), list(product(CallState, CallState)), ids=lambda state: state.value)
def test_each_move_is_allowed_or_a_conflict(old: CallState, new: CallState) -> None:
    if (old.value, new.value) in MOVES:
        check_move(old, new)
    else:
        with pytest.raises(Conflict, match=f"from {old.value} to {new.value}"):
            check_move(old, new)


def test_every_state_leads_to_the_end() -> None:
    assert all(CallState.ENDED in ALLOWED[state] for state in CallState if state is not CallState.ENDED)

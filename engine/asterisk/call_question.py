"""What Asterisk tells of a call when it asks about it over FastAGI. Pure. What the caller could choose is unchecked."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass

_MILLISECONDS = re.compile("[0-9]{13}")
_PRESENTATION = 0x60
_PROHIBITED = 0x20
"""Of those bits of `agi_callingpres`: the caller withholds the number."""


@dataclass(frozen=True, slots=True)
class Question:
    """A call that has just come in, and of which nobody has decided anything."""

    channel: str
    """Its id."""
    channel_name: str
    number_sent: str
    caller_sent: str
    withheld: bool
    came: float | None = None
    """Unix seconds by Asterisk's clock; None: untold."""


def read_question(facts: Mapping[str, str]) -> Question:
    """`facts` are the request's lines by name."""
    caller, presentation = facts.get("agi_callerid", ""), facts.get("agi_callingpres", "")
    milliseconds = facts.get("agi_arg_1", "")
    return Question(
        channel=facts.get("agi_uniqueid", ""),
        channel_name=facts.get("agi_channel", ""),
        number_sent=facts.get("agi_extension", ""),
        caller_sent="" if caller == "unknown" else caller,
        withheld=presentation.isdecimal() and int(presentation) & _PRESENTATION == _PROHIBITED,
        came=int(milliseconds) / 1000 if _MILLISECONDS.fullmatch(milliseconds) else None,
    )

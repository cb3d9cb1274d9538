"""One thing that the doctor looked at: what it found and, where it must, how to mend it."""

from __future__ import annotations

from enum import Enum

import msgspec

from engine.foundation.errors import DariError


class State(Enum):
    OK = "ok"
    WARN = "warn"
    BAD = "bad"


class Check(msgspec.Struct, frozen=True, kw_only=True):
    """One thing looked at. `mend` says what to do, and is empty when it is ok."""

    name: str
    state: State
    found: str
    mend: str = ""


def ok(name: str, found: str) -> Check:
    return Check(name=name, state=State.OK, found=found)


def warn(name: str, found: str, mend: str) -> Check:
    return Check(name=name, state=State.WARN, found=found, mend=mend)


def bad(name: str, found: str, mend: str) -> Check:
    return Check(name=name, state=State.BAD, found=found, mend=mend)


def refused(name: str, error: DariError) -> Check:
    """A refusal of ours: its sentence already names the mend, after the first semicolon."""
    found, _, mend = str(error).partition("; ")
    return bad(name, found, mend)

"""What both sides of a call that might be would hear, of the sounds that it would play. Reads files alone."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import datetime
from math import inf
from pathlib import Path

from engine.foundation.errors import Invalid, NotFound
from engine.foundation.phone_number import PhoneNumber
from engine.prompts.catalogue import path_of
from engine.prompts.telephone_sound import NoSound, Samples, read_wav
from engine.routing.call_plan import CallPlan, Forward
from engine.routing.plan import plan
from engine.whatif.asked import Read
from engine.whatif.heard import Assumed, Heard, hear, ringbacks


def heard_of(
    read: Read,
    caller: PhoneNumber | None,
    made: CallPlan,
    assumed: Assumed,
    *,
    ring_seconds: int,
    folders: Sequence[Path],
    spoken: Mapping[str, str],
    longest: float = inf,
) -> Heard:
    """`folders`: where sounds lie, the first that has one counts. `spoken`: the sound that each text has become.

    Raises Invalid when it lasts longer than `longest` seconds.
    """

    def later(instant: datetime) -> CallPlan:
        return plan(read.line, caller, instant, read.history, ring_seconds)

    return hear(
        made,
        assumed,
        lambda name: samples_of(name, folders),
        spoken=spoken,
        ringbacks=ringbacks(made, read.at, later),
        longest=longest,
    )


def whisper_of(made: CallPlan) -> str | None:
    """The text that whoever answers hears spoken; None: no text."""
    return (made.whisper.text or None) if isinstance(made, Forward) and made.whisper else None


def samples_of(name: str, folders: Sequence[Path]) -> Samples:
    """The sound as a call plays it. Raises NotFound."""
    for folder in folders:
        try:
            return read_wav(path_of(name, folder))
        except (FileNotFoundError, Invalid):
            continue
        except NoSound as reason:
            raise NotFound(f"sound {name}: it cannot be played, {reason}") from None
    raise NotFound(f"sound {name}: it is not there")

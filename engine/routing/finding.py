"""What is odd about a number's rules and treatment, said in a sentence with the mend. Values."""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum


class Severity(Enum):
    """Whether it can be meant."""

    ERROR = "error"
    """It never does what it says."""
    WARNING = "warning"
    """It may be meant, and often is not."""


class Oddity(Enum):
    """What a finding is about."""

    SETS_NOTHING = "sets nothing"
    NEVER_HOLDS = "never holds"
    DATES_OVER = "dates are over"
    NO_SUCH_DAY = "no such day in the calendar"
    UNKNOWN_GROUP = "unknown group"
    EMPTY_GROUP = "empty group"
    BLOCKED_GROUP = "blocked group"
    NEVER_DECIDES = "never decides"
    TARGETS_NEVER_RING = "targets never ring"
    NEVER_HEARD = "never heard"
    NO_SHARES = "no shares"
    SHARES_NOT_WHOLE = "shares do not make 100"
    SHARES_UNUSED = "shares are not used"
    ONE_TARGET = "one target needs no order"
    NO_SENDER = "no sender"
    CONSENT_BEFORE = "consent before the talk"
    NO_TALK_TO_RECORD = "nothing to record"
    RINGS_AGAIN = "rings again"
    NEVER_REACHED = "never reached"
    RINGS_LONG = "rings long"
    FACT_MISSING = "fact is missing"
    NO_SUCH_SOUND = "no such sound"
    NO_SUCH_PROMPT = "no such prompt"


@dataclass(frozen=True, slots=True)
class Finding:
    """One oddity. `rule` is None for the number's standing treatment."""

    rule: str | None
    severity: Severity
    oddity: Oddity
    sentence: str
    sentence_ko: str


def finding(rule: str | None, severity: Severity, oddity: Oddity, sentence: str, sentence_ko: str) -> Finding:
    """A finding whose sentences name the rule first."""
    named, named_ko = ("number", "번호 기본 설정") if rule is None else (f"rule {rule!r}", f"규칙 ‘{rule}’")
    return Finding(rule, severity, oddity, f"{named}: {sentence}", f"{named_ko}: {sentence_ko}")

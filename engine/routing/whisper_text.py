"""The whisper's text for one call, its facts filled in (X7). Pure.

`이번 주 {count_this_week} 전화[, 지난 통화 {last_talk}]`: a part in [brackets] is left out when one of its facts is
not known or not there. So is, outside brackets, what stands between two of the signs , . ! ? around such a fact.
"""

from __future__ import annotations

import re
from datetime import datetime, time, timedelta
from functools import lru_cache

from engine.foundation.placeholders import filled
from engine.numbers.treatment import COUNT_THIS_WEEK, LABEL, LAST_TALK, Treatment, Whisper
from engine.routing.call_plan import WhisperPlan
from engine.routing.model import History
from engine.routing.opening import Situation

_PART = re.compile(r"\[[^\[\]]*\]|[^\[\],.!?]+[,.!?]*|.", re.DOTALL)
_FACT = re.compile(r"\{([^{}]*)\}")
_TENS = ("", "열", "스물", "서른", "마흔", "쉰", "예순", "일흔", "여든", "아흔")
_ONES = ("", "한", "두", "세", "네", "다섯", "여섯", "일곱", "여덟", "아홉")


def whispered(treatment: Treatment, call: Situation) -> WhisperPlan | None:
    """What the target is told about this call; None: nothing."""
    wanted = treatment.whisper
    if wanted is None:
        return None
    text = filled_in(wanted.text, _facts(wanted, treatment.label, call)) if wanted.text else None
    return WhisperPlan(wanted.sound or None, text or None) if wanted.sound or text else None


def filled_in(text: str, facts: dict[str, str]) -> str:
    """The text with its facts, without the parts that lack one; "" when nothing is left."""
    kept = [filled(bare, facts) for bare, named in _parts(text) if named <= facts.keys()]
    whole = " ".join("".join(kept).split())
    return whole.strip(" ,") if re.search(r"\w", whole) else ""


@lru_cache(maxsize=10_000)
def _parts(text: str) -> tuple[tuple[str, frozenset[str]], ...]:
    """Each part that is left out or kept as a whole, and the facts that it needs."""
    parts = [part[1:-1] if part[0] == "[" and part[-1] == "]" else part for part in _PART.findall(text)]
    return tuple((part, frozenset(_FACT.findall(part))) for part in parts)


def ordinal(count: int) -> str:
    """첫 번째, 두 번째, … 열한 번째, 스무 번째; from 100 on in digits."""
    if count == 1:
        return "첫 번째"
    if count == 20:
        return "스무 번째"
    return f"{_TENS[count // 10]}{_ONES[count % 10]} 번째" if count < 100 else f"{count} 번째"


def _facts(whisper: Whisper, label: str | None, call: Situation) -> dict[str, str]:
    """Those facts that are known, of those that the text asks for."""
    asked = frozenset[str]().union(*(named for _, named in _parts(whisper.text or "")))
    facts: dict[str, str] = {}
    if LABEL in asked and label:
        facts[LABEL] = label
    if call.caller is None or not call.history.known:
        return facts
    if COUNT_THIS_WEEK in asked:
        facts[COUNT_THIS_WEEK] = ordinal(_calls_this_week(call) + 1)
    if LAST_TALK in asked and (last := _last_talk(call.history)) is not None:
        day = last.astimezone(call.zone)
        facts[LAST_TALK] = f"{day.month}월 {day.day}일"
    return facts


def _calls_this_week(call: Situation) -> int:
    monday = call.today.date - timedelta(days=call.today.weekday - 1)
    week_began = datetime.combine(monday, time(), call.zone)
    return sum(past.at >= week_began for past in call.history.calls)


def _last_talk(history: History) -> datetime | None:
    return next((past.at for past in history.calls if past.talk_seconds > 0), None)

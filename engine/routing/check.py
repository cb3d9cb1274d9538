"""Finds rules that never hold or never decide, before they are saved; and treatments that contradict themselves. Pure.

Only what is certain is said: a rule about which nothing is found may still be a mistake.
"""

from __future__ import annotations

from collections.abc import Container, Iterator, Sequence
from dataclasses import dataclass
from datetime import date, datetime, timedelta

from engine.numbers.treatment import Treatment
from engine.routing.check_treatment import of_treatment
from engine.routing.coverage import covered
from engine.routing.finding import Finding, Oddity, Severity, finding
from engine.routing.model import BLOCKED, WITHHELD, Condition, DayKind, Line, Rule
from engine.routing.opening import WEEKDAYS, day_of, on_day, zone_of

_LOOK_AHEAD = 400
"""In days. Every weekday of every week of the month comes within."""
_MOST_DAYS = 4000
"""So many are looked at; where none of them decides it, nothing is said."""
_WEEKDAYS_KO = "월화수목금토일"
_KINDS_KO = {DayKind.PUBLIC_HOLIDAY: "공휴일", DayKind.CLOSED_DAY: "휴무일", DayKind.OPEN_DAY: "영업일"}


@dataclass(frozen=True, slots=True)
class Against:
    """What rules are checked against besides their number and account."""

    now: datetime
    ring_seconds: int = 30
    """The system's ring time."""
    sounds: Container[str] | None = None
    """Names of the sounds that are there; None: not asked."""


def check(line: Line, against: Against) -> tuple[Finding, ...]:
    """What is odd about the line's standing treatment and its enabled rules, in their order."""
    found = list(of_treatment(None, line, against.ring_seconds, against.sounds))
    enabled = [rule for rule in line.rules if rule.enabled]
    today = against.now.astimezone(zone_of(line.account.zone)).date()
    for at, rule in enumerate(enabled):
        never = list(_never_holds(rule, line, today))
        found += never or _never_decides(rule, enabled[:at])
        found += _odd_callers(rule, line)
        found += of_treatment(rule, line, against.ring_seconds, against.sounds)
    return tuple(found)


def _never_holds(rule: Rule, line: Line, today: date) -> Iterator[Finding]:
    condition = rule.condition
    if condition.dates and max(dates.last for dates in condition.dates) < _first_start(condition, today):
        last = max(dates.last for dates in condition.dates)
        yield _warning(
            rule,
            Oddity.DATES_OVER,
            f"its dates ended on {last}; change them or remove it",
            f"적용 기간이 {last}에 끝났습니다. 기간을 바꾸거나 규칙을 삭제하세요.",
        )
    elif not _has_a_day(condition, line, today):
        wanted, wanted_ko = _days_wanted(condition)
        by_calendar = bool(condition.days)
        yield (_warning if by_calendar else _error)(
            rule,
            Oddity.NO_SUCH_DAY if by_calendar else Oddity.NEVER_HOLDS,
            f"it never holds, for no day to come is {wanted}; change its days",
            f"앞으로 {wanted_ko}에 해당하는 날이 없어 적용되지 않습니다. 요일·기간·휴일 조건을 바꾸세요.",
        )
    if condition.last_call is not None and condition.callers and set(condition.callers) == {WITHHELD}:
        yield _error(
            rule,
            Oddity.NEVER_HOLDS,
            "it never holds, for the last call of a withheld caller is not known; leave one of the two out",
            "발신번호 표시제한 고객은 지난 통화를 알 수 없어 적용되지 않습니다. 두 조건 중 하나를 빼세요.",
        )


def _first_start(condition: Condition, today: date) -> date:
    """The earliest day on which a span may have started that is not over yet."""
    past_midnight = any(span.end <= span.start for span in condition.times)
    return today - timedelta(days=1) if past_midnight else today


def _has_a_day(condition: Condition, line: Line, today: date) -> bool:
    """Whether a day is to come on which the condition may start to hold; also True when too many had to be asked."""
    if not condition.dates and not condition.days:
        return True
    first = _first_start(condition, today).toordinal()
    looked_at = 0
    for low, high in _day_numbers_ahead(condition, line, first):
        for number in range(low, high + 1):
            if on_day(condition, day_of(line, date.fromordinal(number))):
                return True
            looked_at += 1
            if looked_at > _MOST_DAYS:
                return True
    return False


def _day_numbers_ahead(condition: Condition, line: Line, first: int) -> list[tuple[int, int]]:
    if condition.dates:
        return [(max(first, dates.first.toordinal()), dates.last.toordinal()) for dates in condition.dates]
    single = [closed.day for closed in (*line.closed_days, *line.account.closed_days) if closed.day is not None]
    last_known = max((day.toordinal() for day in (*single, *line.holidays.days)), default=first)
    return [(first, min(max(first, last_known) + _LOOK_AHEAD, date.max.toordinal()))]


def _days_wanted(condition: Condition) -> tuple[str, str]:
    parts, parts_ko = [], []
    if condition.weekdays:
        parts.append("a " + " or ".join(WEEKDAYS[weekday - 1] for weekday in condition.weekdays))
        parts_ko.append("·".join(_WEEKDAYS_KO[weekday - 1] for weekday in condition.weekdays) + "요일")
    if condition.days:
        parts.append("a day of the kind " + " or ".join(kind.value for kind in condition.days))
        parts_ko.append("·".join(_KINDS_KO[kind] for kind in condition.days))
    if condition.dates:
        parts.append("in " + " or ".join(f"{dates.first} to {dates.last}" for dates in condition.dates))
        parts_ko.append(", ".join(f"{dates.first}~{dates.last}" for dates in condition.dates))
    return " and ".join(parts), " 그리고 ".join(parts_ko)


def _odd_callers(rule: Rule, line: Line) -> Iterator[Finding]:
    for name in rule.condition.callers:
        if name == WITHHELD:
            continue
        if name == BLOCKED:
            yield _warning(
                rule,
                Oddity.BLOCKED_GROUP,
                f"callers in {BLOCKED} are turned away before any rule is asked; take the group out of it",
                "차단 그룹의 전화는 규칙보다 먼저 차단됩니다. 조건에서 차단 그룹을 빼세요.",
            )
        elif name not in line.account.groups:
            yield _error(
                rule,
                Oddity.UNKNOWN_GROUP,
                f"the account has no group of callers named {name!r}; name one that it has, or make it",
                f"고객 그룹 ‘{name}’이(가) 없습니다. 있는 그룹을 고르거나 그룹을 만드세요.",
            )
        elif not line.account.groups[name]:
            yield _warning(
                rule,
                Oddity.EMPTY_GROUP,
                f"the group {name!r} is empty; put callers into it",
                f"고객 그룹 ‘{name}’에 등록된 번호가 없습니다. 번호를 등록하세요.",
            )


def _never_decides(rule: Rule, earlier: Sequence[Rule]) -> Iterator[Finding]:
    said = _said(rule.treatment)
    if not said:
        yield _warning(
            rule,
            Oddity.SETS_NOTHING,
            "it sets nothing; let it set something or remove it",
            "설정하는 내용이 없습니다. 설정을 추가하거나 규칙을 삭제하세요.",
        )
        return
    first = silenced_by(rule, earlier)
    if first:
        names, names_ko = ", ".join(repr(name) for name in first), ", ".join(f"‘{name}’" for name in first)
        come = "come" if len(first) > 1 else "comes"
        yield _warning(
            rule,
            Oddity.NEVER_DECIDES,
            f"it never decides anything, for {names} {come} before it whenever it holds; move it up or remove it",
            f"앞선 규칙 {names_ko}이(가) 항상 먼저 적용되어 쓰이지 않습니다. 순서를 올리거나 규칙을 삭제하세요.",
        )


def silenced_by(rule: Rule, earlier: Sequence[Rule]) -> tuple[str, ...]:
    """Names of enabled rules, asked before `rule`, that leave it nothing to decide, ever; (): it may decide something.

    They say all its settings whenever it holds, or have its callers hear an announcement whatever it says.
    """
    announcing = [other for other in earlier if other.enabled and other.treatment.announcement is not None]
    if announcing and all(other.treatment.announcement for other in announcing) and _covered(rule, announcing):
        return tuple(other.name for other in announcing)
    names: dict[str, None] = {}
    for setting in _said(rule.treatment):
        saying = [other for other in earlier if other.enabled and getattr(other.treatment, setting) is not None]
        if not _covered(rule, saying):
            return ()
        names |= dict.fromkeys(other.name for other in saying)
    return tuple(other.name for other in earlier if other.name in names)


def _covered(rule: Rule, by: Sequence[Rule]) -> bool:
    return covered(rule.condition, [other.condition for other in by])


def _said(treatment: Treatment) -> list[str]:
    return [name for name in Treatment.__struct_fields__ if getattr(treatment, name) is not None]


def _error(rule: Rule, oddity: Oddity, sentence: str, sentence_ko: str) -> Finding:
    return finding(rule.name, Severity.ERROR, oddity, sentence, sentence_ko)


def _warning(rule: Rule, oddity: Oddity, sentence: str, sentence_ko: str) -> Finding:
    return finding(rule.name, Severity.WARNING, oddity, sentence, sentence_ko)

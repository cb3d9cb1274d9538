"""What is odd about a number's rules is found, and nothing is said of rules that are as people mean them."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, date, datetime

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from engine.cdr.model import Result
from engine.foundation.phone_number import PhoneNumber
from engine.numbers.treatment import (
    ConsentOffer,
    Failure,
    Fallback,
    RecordMode,
    Target,
    TargetOrder,
    Then,
    Treatment,
    Whisper,
)
from engine.routing.check import Against, check, silenced_by
from engine.routing.finding import Finding, Oddity, Severity
from engine.routing.model import (
    WITHHELD,
    ClosedDay,
    Condition,
    DateRange,
    DayKind,
    History,
    Holidays,
    LastCall,
    Line,
    Rule,
)
from engine.routing.plan import plan
from tests.routing_lines import (
    ALWAYS,
    NOTHING,
    SECOND,
    SHOP,
    THIRD,
    UNSAID,
    ZONES,
    callers,
    closed_days,
    conditions,
    dates,
    histories,
    holidays,
    instants,
    line,
    rule,
    span,
    sweep,
)

NOW = datetime(2026, 11, 21, 3, tzinfo=UTC)
TUNE = Treatment(ringback=("own/a",))
CLOSED = Treatment(announcement="own/closed")
TWO = (Target(number=SHOP, share=60), Target(number=SECOND, share=40))
BOTH = (Target(number=SHOP), Target(number=SECOND))
ERROR, WARNING = Severity.ERROR, Severity.WARNING


def found(*rules: Rule, **more: object) -> list[tuple[str | None, Severity, Oddity]]:
    return brief(check(line(*rules, **more), Against(NOW)))  # type: ignore[arg-type]


def brief(findings: tuple[Finding, ...]) -> list[tuple[str | None, Severity, Oddity]]:
    return [(finding.rule, finding.severity, finding.oddity) for finding in findings]


def test_nothing_is_said_of_rules_as_shops_have_them() -> None:
    rules = (
        rule("holiday", Condition(days=(DayKind.PUBLIC_HOLIDAY, DayKind.CLOSED_DAY)), CLOSED),
        rule("night", Condition(times=(span("22:00-09:00"),)), CLOSED),
        rule("vip", Condition(callers=("vip",)), Treatment(targets=BOTH, order=TargetOrder.LAST_TALKED)),
        rule("lunch", Condition(weekdays=(1, 2, 3, 4, 5), times=(span("12:00-13:00"),)), TUNE),
        rule("december", Condition(dates=(dates("2026-12-01", "2026-12-31"),)), Treatment(notice="own/n")),
        rule("always", treatment=Treatment(callback="고맙습니다", whisper=Whisper(text="{label} 전화"))),
    )
    chain = (
        Fallback(then=Then.RING, targets=(Target(number=THIRD),)),
        Fallback(then=Then.TEXT, on=(Failure.BUSY,), text="문자"),
        Fallback(then=Then.VOICEMAIL),
    )
    standing = Treatment(label="배달앱", fallbacks=chain, recording=RecordMode.ALWAYS)
    served = line(*rules, treatment=standing, holidays={date(2026, 12, 25): "기독탄신일"})
    assert check(served, Against(NOW, 30, {"own/closed", "own/a", "own/n"})) == ()


@pytest.mark.parametrize(
    ("condition", "severity", "oddity"),
    [
        (Condition(dates=(dates("2026-10-01", "2026-11-20"),)), WARNING, Oddity.DATES_OVER),
        (Condition(dates=(dates("2026-11-23", "2026-11-24"),), weekdays=(6, 7)), ERROR, Oddity.NEVER_HOLDS),
        # Of the dates only those to come count: the last Monday was the 16th.
        (Condition(dates=(dates("2026-11-16", "2026-11-21"),), weekdays=(1,)), ERROR, Oddity.NEVER_HOLDS),
        (Condition(days=(DayKind.CLOSED_DAY,)), WARNING, Oddity.NO_SUCH_DAY),
        (Condition(days=(DayKind.PUBLIC_HOLIDAY,), weekdays=(1,)), WARNING, Oddity.NO_SUCH_DAY),
        (
            Condition(dates=(dates("2026-12-24", "2026-12-26"),), days=(DayKind.CLOSED_DAY,)),
            WARNING,
            Oddity.NO_SUCH_DAY,
        ),
        (
            Condition(callers=(WITHHELD,), last_call=LastCall(results=(Result.BUSY,))),
            ERROR,
            Oddity.NEVER_HOLDS,
        ),
        (Condition(callers=("regulars",)), ERROR, Oddity.UNKNOWN_GROUP),
        (Condition(callers=("vip", "regulars")), ERROR, Oddity.UNKNOWN_GROUP),
        (Condition(callers=("empty",)), WARNING, Oddity.EMPTY_GROUP),
        (Condition(callers=("blocked",)), WARNING, Oddity.BLOCKED_GROUP),
    ],
)
def test_rules_that_never_hold(condition: Condition, severity: Severity, oddity: Oddity) -> None:
    assert found(rule("odd", condition, TUNE), holidays={date(2026, 12, 25): "기독탄신일"}) == [
        ("odd", severity, oddity)
    ]


@pytest.mark.parametrize(
    "condition",
    [
        Condition(dates=(dates("2026-10-01", "2026-11-21"),)),
        # Friday's night is not over at noon on Saturday only if it lasts that long.
        Condition(dates=(dates("2026-11-20", "2026-11-20"),), times=(span("22:00-21:00"),)),
        Condition(dates=(dates("2026-11-01", "2026-11-20"), dates("2027-01-01", "2027-01-01"))),
        Condition(dates=(dates("2028-02-29", "2028-02-29"),), weekdays=(2,)),
        Condition(days=(DayKind.CLOSED_DAY,), weekdays=(7,)),
        Condition(days=(DayKind.PUBLIC_HOLIDAY,), weekdays=(5,)),
        Condition(days=(DayKind.OPEN_DAY,)),
        Condition(dates=(DateRange(first=date(2027, 1, 1), last=date.max),), days=(DayKind.CLOSED_DAY,)),
        Condition(callers=(WITHHELD, "vip")),
    ],
)
def test_rules_that_hold_one_day(condition: Condition) -> None:
    fifth_sundays = ClosedDay(weekday=7, weeks=(5,))
    served = line(
        rule("fine", condition, TUNE), closed_days=(fifth_sundays,), holidays={date(2026, 12, 25): "기독탄신일"}
    )
    assert check(served, Against(NOW)) == ()


@pytest.mark.parametrize(
    ("rules", "silent"),
    [
        ((rule("a", treatment=TUNE), rule("b", Condition(weekdays=(1,)), TUNE)), "b"),
        ((rule("a", Condition(weekdays=(1,)), TUNE), rule("b", treatment=TUNE)), None),
        ((rule("a", treatment=TUNE), rule("b", treatment=Treatment(ringback=(), accept=True))), None),
        ((rule("a", treatment=TUNE, enabled=False), rule("b", treatment=TUNE)), None),
        ((rule("a", treatment=CLOSED), rule("b", Condition(callers=("vip",)), TUNE)), "b"),
        (
            (
                rule("back", Condition(callers=("vip",)), Treatment(announcement="")),
                rule("a", treatment=CLOSED),
                rule("b", Condition(callers=("vip",)), TUNE),
            ),
            None,
        ),
        (
            (
                rule("day", Condition(times=(span("09:00-18:00"),)), TUNE),
                rule("night", Condition(times=(span("18:00-09:00"),)), TUNE),
                rule("b", Condition(weekdays=(2,)), TUNE),
            ),
            "b",
        ),
        (
            (
                rule("tune", treatment=TUNE),
                rule("accept", Condition(weekdays=(6, 7)), Treatment(accept=True)),
                rule("b", Condition(weekdays=(7,)), Treatment(accept=False, ringback=())),
            ),
            "b",
        ),
    ],
)
def test_rules_that_never_decide(rules: tuple[Rule, ...], silent: str | None) -> None:
    assert found(*rules) == ([] if silent is None else [(silent, WARNING, Oddity.NEVER_DECIDES)])


def test_the_rules_that_come_before_are_named() -> None:
    rules = (rule("day", treatment=TUNE), rule("other", treatment=Treatment(accept=True)), rule("b", treatment=TUNE))
    (finding,) = check(line(*rules), Against(NOW))
    assert finding.sentence == (
        "rule 'b': it never decides anything, for 'day' comes before it whenever it holds; move it up or remove it"
    )
    assert finding.sentence_ko.startswith("규칙 ‘b’: 앞선 규칙 ‘day’")


@pytest.mark.parametrize(
    ("said", "severity", "oddity"),
    [
        (UNSAID, WARNING, Oddity.SETS_NOTHING),
        (Treatment(announcement="own/c", targets=(Target(number=SECOND),)), ERROR, Oddity.TARGETS_NEVER_RING),
        (Treatment(announcement="own/c", recording=RecordMode.ON_KEY), WARNING, Oddity.NO_TALK_TO_RECORD),
        (Treatment(announcement="own/c", ringback=("own/a",)), WARNING, Oddity.NEVER_HEARD),
        (
            Treatment(order=TargetOrder.BY_SHARE, targets=(Target(number=SHOP), Target(number=SECOND))),
            ERROR,
            Oddity.NO_SHARES,
        ),
        (
            Treatment(order=TargetOrder.BY_SHARE, targets=(Target(number=SHOP, share=60), Target(number=SECOND))),
            WARNING,
            Oddity.SHARES_NOT_WHOLE,
        ),
        (Treatment(targets=TWO), WARNING, Oddity.SHARES_UNUSED),
        (Treatment(order=TargetOrder.ALL_AT_ONCE), WARNING, Oddity.ONE_TARGET),
        (Treatment(consent=ConsentOffer(text="약도", before=True)), WARNING, Oddity.CONSENT_BEFORE),
        (
            Treatment(fallbacks=(Fallback(then=Then.RING, targets=(Target(number=SHOP),)),)),
            WARNING,
            Oddity.RINGS_AGAIN,
        ),
        (
            Treatment(fallbacks=(Fallback(then=Then.VOICEMAIL), Fallback(then=Then.ANNOUNCE, sounds=("own/a",)))),
            WARNING,
            Oddity.NEVER_REACHED,
        ),
        (
            Treatment(fallbacks=(Fallback(then=Then.VOICEMAIL),), busy=("own/a",)),
            WARNING,
            Oddity.NEVER_HEARD,
        ),
        (
            Treatment(targets=tuple(Target(number=n, ring_seconds=41) for n in (SHOP, SECOND, THIRD))),
            WARNING,
            Oddity.RINGS_LONG,
        ),
        (Treatment(whisper=Whisper(text="{label} 전화")), WARNING, Oddity.FACT_MISSING),
    ],
)
def test_treatments_that_contradict_themselves(said: Treatment, severity: Severity, oddity: Oddity) -> None:
    assert found(rule("odd", treatment=said)) == [("odd", severity, oddity)]
    assert found(rule("odd", treatment=said, enabled=False)) == []


@pytest.mark.parametrize(
    "said",
    [
        Treatment(callback="문자"),
        Treatment(fallbacks=(Fallback(then=Then.TEXT, text="문자"),)),
        Treatment(consent=ConsentOffer(text="약도")),
    ],
)
def test_messages_need_a_sender(said: Treatment) -> None:
    assert found(rule("text", treatment=said), sender=None) == [("text", ERROR, Oddity.NO_SENDER)]
    assert found(rule("text", treatment=said)) == []
    assert found(treatment=said, sender=None) == [(None, ERROR, Oddity.NO_SENDER)]


def test_the_standing_treatment_fills_what_a_rule_leaves_unsaid() -> None:
    by_share = rule("share", Condition(weekdays=(1,)), Treatment(order=TargetOrder.BY_SHARE))
    assert found(by_share, treatment=Treatment(targets=TWO)) == [(None, WARNING, Oddity.SHARES_UNUSED)]
    assert found(rule("w", treatment=Treatment(whisper=Whisper(text="{label}"))), treatment=Treatment(label="앱")) == []


def test_sounds_that_are_not_there() -> None:
    said = Treatment(
        ringback=("own/a", "own/b"),
        notice="",
        fallbacks=(Fallback(then=Then.ANNOUNCE, sounds=("own/c",)),),
    )
    findings = check(line(rule("odd", treatment=said)), Against(NOW, 30, {"own/a"}))
    assert brief(findings) == [("odd", ERROR, Oddity.NO_SUCH_SOUND)] * 2
    assert [name for name in ("own/a", "own/b", "own/c") if any(name in f.sentence for f in findings)] == [
        "own/b", "own/c",
    ]  # fmt: skip


@settings(deadline=None, max_examples=50)
@given(st.lists(st.builds(rule, st.just("r"), conditions, st.sampled_from([TUNE, CLOSED, UNSAID])), max_size=3))
def test_every_line_can_be_checked_and_each_sentence_names_the_rule(rules: list[Rule]) -> None:
    for finding in check(line(*rules), Against(NOW)):
        assert finding.sentence.startswith("rule 'r': ")
        assert finding.sentence_ko.startswith("규칙 ‘r’: ")


SOME = st.sampled_from(
    [TUNE, CLOSED, Treatment(announcement=""), Treatment(ringback=(), accept=True), Treatment(accept=False)]
)
OFTEN_WIDE = st.one_of(
    conditions,
    st.sampled_from([ALWAYS, Condition(weekdays=(1, 2, 3, 4, 5)), Condition(times=(span("18:00-09:00"),))]),
)


@st.composite
def calls(draw: st.DrawFn) -> tuple[PhoneNumber | None, datetime, History]:
    instant = draw(instants)
    return draw(callers), instant, draw(histories(instant))


def served_by(rules: list[Rule], zone: str, closed: tuple[ClosedDay, ...], public: dict[date, str]) -> Line:
    named = [rule(f"rule {at}", one.condition, one.treatment, enabled=one.enabled) for at, one in enumerate(rules)]
    return line(*named, zone=zone, closed_days=closed, holidays=public)


LINES = st.builds(
    served_by,
    st.lists(st.builds(rule, st.just(""), OFTEN_WIDE, SOME, enabled=st.booleans()), min_size=2, max_size=4),
    st.sampled_from(ZONES),
    closed_days,
    holidays,
)


@settings(deadline=None, max_examples=100)
@given(LINES, calls())
def test_a_silenced_rule_never_decides_anything(
    served: Line, call: tuple[PhoneNumber | None, datetime, History]
) -> None:
    silent = {its.name for at, its in enumerate(served.rules) if its.enabled and silenced_by(its, served.rules[:at])}
    caller, first, history = call
    for instant in sweep(first) if silent else ():
        assert not silent & set(plan(served, caller, instant, history, 30).rules)


@settings(deadline=None, max_examples=100)
@given(LINES, callers, instants)
def test_a_rule_said_never_to_hold_does_not(served: Line, caller: PhoneNumber | None, instant: datetime) -> None:
    now = min(instant, datetime(2028, 6, 1, tzinfo=UTC))
    never = (Oddity.NEVER_HOLDS, Oddity.DATES_OVER, Oddity.NO_SUCH_DAY)
    odd = {finding.rule for finding in check(served, Against(now)) if finding.oddity in never}
    for later in sweep(instant) if odd else ():
        assert not any(asked.holds for asked in plan(served, caller, later, NOTHING, 30).asked if asked.rule in odd)


def test_a_holiday_far_ahead_is_still_a_day_to_come() -> None:
    condition = Condition(days=(DayKind.PUBLIC_HOLIDAY,))
    served = line(rule("far", condition, TUNE), holidays={date(2035, 1, 1): "신정"})
    assert check(served, Against(NOW)) == ()
    assert served.holidays == Holidays(days={date(2035, 1, 1): "신정"})


def test_a_prompt_that_the_account_does_not_have() -> None:
    said = Treatment(ringback=("prompt:인사말",), busy=("prompt:인사말",))
    assert found(rule("tune", treatment=said)) == [("tune", ERROR, Oddity.NO_SUCH_PROMPT)]
    assert found(treatment=said) == [(None, ERROR, Oddity.NO_SUCH_PROMPT)]
    served = line(rule("tune", treatment=said))
    account = msgspec.structs.replace(served.account, prompts={"인사말": "own/x"})
    assert check(replace(served, account=account), Against(NOW, sounds=set())) == ()

"""What calls go through without an engine says at every instant what `plan` says then."""

from __future__ import annotations

from datetime import datetime, timedelta

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from engine.calls.causes import CAUSE_TOWARDS_CALLER
from engine.cdr.model import Result
from engine.foundation.errors import Invalid
from engine.foundation.phone_number import PhoneNumber
from engine.numbers.treatment import (
    CallerShown,
    ConsentOffer,
    Failure,
    Fallback,
    Limits,
    RecordMode,
    Target,
    TargetOrder,
    Then,
    Treatment,
    Whisper,
)
from engine.routing.alone import (
    AHEAD,
    MOST_KINDS,
    STRANGER,
    Groups,
    as_alone,
    asks_for_withheld,
    entries,
    groups_asked_for,
    kind_name,
    kinds_of_callers,
)
from engine.routing.alone_text import (
    LONGEST_LINE,
    LONGEST_VALUE,
    Sounds,
    caller_key,
    checked,
    folders,
    number_key,
    number_values,
    put_together,
    route_text,
    trunk_values,
)
from engine.routing.call_plan import Announce, Forward, Ring, Say
from engine.routing.model import WITHHELD, AccountRouting, Condition, History, Line
from engine.routing.plan import plan
from engine.routing.stages import lot
from engine.trunks.model import NumberFormat, Trunk
from tests.routing_lines import (
    ACCOUNT,
    BAD,
    CALLER,
    NUMBER,
    SECOND,
    SHOP,
    THIRD,
    VIP,
    WEDNESDAY,
    closed_days,
    conditions,
    holidays,
    instants,
    line,
    rule,
    span,
)

RING_SECONDS = 30
NO_PAST = History(known=False)
VIPS: Groups = frozenset({"vip"})
SOUNDS = Sounds(
    lambda sounds: f"list-{len(sounds)}", {"주문 전화입니다": "own/spoken"}.get, CAUSE_TOWARDS_CALLER.__getitem__
)

treatments = st.builds(
    Treatment,
    targets=st.sampled_from(
        [None, (Target(number=SECOND, share=30), Target(number=THIRD, share=60, ring_seconds=5), Target(number=SHOP))]
    ),
    order=st.sampled_from(
        [None, TargetOrder.IN_TURN, TargetOrder.ALL_AT_ONCE, TargetOrder.LAST_TALKED, TargetOrder.BY_SHARE]
    ),
    ring_seconds=st.sampled_from([None, 12]),
    store_notice=st.sampled_from([None, True]),
    fee_notice=st.sampled_from([None, True]),
    ringback=st.sampled_from([None, ("own/a",), ("own/a", "own/b")]),
    accept=st.sampled_from([None, True]),
    shown=st.sampled_from([None, CallerShown.NUMBER]),
    recording=st.sampled_from([None, RecordMode.ALWAYS, RecordMode.ON_KEY]),
    announcement=st.sampled_from([None, None, "ko/closed", "ko/holiday"]),
    busy=st.sampled_from([None, ("own/busy",)]),
    fallbacks=st.sampled_from(
        [
            None,
            (Fallback(then=Then.RING, on=(Failure.BUSY,), targets=(Target(number=THIRD),)),),
            (Fallback(then=Then.ANNOUNCE, sounds=("ko/closed",)),),
        ]
    ),
)


@st.composite
def lines(draw: st.DrawFn) -> Line:
    rules = draw(st.lists(st.tuples(conditions, treatments), max_size=3))
    return line(
        *(rule(f"r{n}", condition, treatment) for n, (condition, treatment) in enumerate(rules)),
        treatment=draw(treatments),
        zone=draw(st.sampled_from(["Asia/Seoul", "Europe/Berlin", "Australia/Lord_Howe"])),
        closed_days=draw(closed_days),
        holidays=draw(holidays),
        limits=Limits(at_once=draw(st.sampled_from([None, 3]))),
    )


def read(kept: dict[str, str], key: str, at: datetime) -> str:
    """The route that the dialplan takes at `at`, in the way in which it reads."""
    body = put_together(kept, key).split("|", 3)[3]
    if body.startswith("="):
        return body[1:]
    for entry in body.split("/"):
        until, _, place = entry.partition(":")
        if not until or int(at.timestamp()) < int(until):
            return put_together(kept, f"{key}.{place}")
    raise AssertionError("the entries end")


def kept_of(found_line: Line, groups: Groups | None, now: datetime) -> dict[str, str]:
    found = entries(found_line, groups, now, RING_SECONDS)
    limits = (found_line.number.limits, found_line.account.limits)
    return number_values(number_key(NUMBER), str(ACCOUNT), limits, found, SOUNDS)


@settings(deadline=None)
@given(lines(), instants, st.lists(st.timedeltas(timedelta(0), AHEAD), min_size=1, max_size=8))
def test_at_every_instant_the_route_says_what_the_plan_says(of: Line, now: datetime, later: list[timedelta]) -> None:
    now = now.replace(microsecond=0)
    for groups, caller in ((frozenset[str](), CALLER), (VIPS, VIP), (None, None)):
        kept = kept_of(of, groups, now)
        for away in later:
            at = (now + away).replace(microsecond=0)
            planned = plan(of, caller, at, NO_PAST, RING_SECONDS)
            route = read(kept, number_key(NUMBER), at)
            if isinstance(planned, Announce):
                assert route == f"a|{planned.sound}|{planned.result.value}|{CAUSE_TOWARDS_CALLER[planned.result]}"
            else:
                route = drawn_by(route, lot(NUMBER, caller, at))
                assert fields_of(route) == fields_of_plan(planned)


def fields_of(route: str) -> list[str]:
    """Without the number of stages that a call over the limit passes over."""
    fields = route.split("|")
    return fields[:7] + fields[9:]


def drawn_by(route: str, lot_of_call: float) -> str:
    """The route with the stage in front that the dialplan would draw with that lot."""
    fields = route.split("|")
    if fields[0] == "f" and fields[8]:
        sums = list(map(int, fields[8].split("&")))
        place = next(at for at, reached in enumerate(sums) if lot_of_call * sums[-1] < reached)
        stages = fields[9].split("~")
        fields[9] = "~".join([stages[place], *stages[:place], *stages[place + 1 :]])
    return "|".join(fields)


def fields_of_plan(planned: Forward) -> list[str]:
    stages = []
    for stage in planned.stages:
        on = "*" if stage.on is None else "".join(sorted(LETTER[failure] for failure in stage.on))
        if isinstance(stage, Say):
            stages.append(f"s:{on}::{'&'.join(stage.sounds)}")
        else:
            assert isinstance(stage, Ring)
            seconds = max(one.seconds for one in stage.targets)
            numbers = "&".join(one.number for one in stage.targets)
            stages.append(f"r:{on}:{'y' if stage.follows else ''}:{seconds}:{numbers}")
    return [
        "f",
        "&".join(notice.sound for notice in planned.notices),
        f"list-{len(planned.ringback)}",
        "",
        "y" if planned.accept else "",
        "n" if planned.shown is CallerShown.NUMBER else "c",
        "y" if planned.recording is RecordMode.ALWAYS else "",
        "~".join(stages),
    ]


LETTER = {
    Failure.BUSY: "b",
    Failure.NO_ANSWER: "n",
    Failure.UNREACHABLE: "u",
    Failure.REJECTED: "r",
    Failure.NOT_ACCEPTED: "a",
    Failure.OVER_LIMIT: "o",
}


def route_of(of: Line, groups: Groups | None = frozenset()) -> str:
    [only] = entries(of, groups, WEDNESDAY, RING_SECONDS)
    return route_text(only, SOUNDS)


def test_a_plain_number_is_one_value_and_never_runs_out() -> None:
    kept = kept_of(line(), frozenset(), WEDNESDAY)
    assert kept == {f"n78/{NUMBER}": f"{ACCOUNT}|||=f||list-1|||c||0||r:*::30:{SHOP}~s:o::ko/over-limit"}


def test_hours_are_entries_for_fourteen_days() -> None:
    closed = rule("night", Condition(times=(span("22:00-08:00"),)), Treatment(announcement="ko/closed"))
    found = entries(line(closed), frozenset(), WEDNESDAY, RING_SECONDS)
    assert len(found) == 29
    first, second, last = found[0].until, found[1].until, found[-1]
    assert (first, second) == (
        WEDNESDAY.replace(hour=22, minute=0),
        WEDNESDAY.replace(hour=8, minute=0) + timedelta(days=1),
    )
    assert last.until is None
    kept = kept_of(line(closed), frozenset(), WEDNESDAY)
    assert len(kept) == 3
    assert read(kept, number_key(NUMBER), WEDNESDAY + timedelta(days=3)).startswith("f|")
    assert read(kept, number_key(NUMBER), WEDNESDAY + timedelta(hours=10)).startswith("a|ko/closed|closed|19")


def test_what_nobody_can_keep_is_left_out() -> None:
    voicemail = Fallback(then=Then.VOICEMAIL, on=(Failure.BUSY, Failure.NO_ANSWER))
    text = Fallback(then=Then.TEXT, on=(Failure.UNREACHABLE,), text="다시 걸겠습니다")
    consent = ConsentOffer(text="약도")
    standing = Treatment(fallbacks=(voicemail, text), consent=consent)
    for of in (line(treatment=standing), line(rule("r", treatment=standing))):
        alone = as_alone(of, frozenset())
        planned = plan(alone, STRANGER, WEDNESDAY, NO_PAST, RING_SECONDS)
        assert isinstance(planned, Forward)
        assert planned.consent is None
        said = {
            failure: stage.sounds
            for stage in planned.stages[1:]
            for failure in stage.on or ()
            if isinstance(stage, Say)
        }
        assert said == {
            Failure.BUSY: ("ko/busy",),
            Failure.NO_ANSWER: ("ko/no-answer",),
            Failure.OVER_LIMIT: ("ko/over-limit",),
        }


def test_a_whisper_is_heard_when_it_has_been_spoken() -> None:
    assert route_of(line(treatment=Treatment(whisper=Whisper(text="주문 전화입니다")))).split("|")[3] == "own/spoken"
    unspoken = Whisper(text="다른 전화입니다", sound="own/other")
    assert route_of(line(treatment=Treatment(whisper=unspoken))).split("|")[3] == "own/other"
    counted = Whisper(text="이번 주 {count_this_week} 전화입니다")
    assert route_of(line(treatment=Treatment(whisper=counted))).split("|")[3] == ""


def test_over_the_limit_the_targets_are_passed_over() -> None:
    targets = (Target(number=SECOND), Target(number=THIRD))
    of = line(treatment=Treatment(targets=targets), limits=Limits(at_once=2))
    assert route_of(of).split("|")[7] == "2"
    assert kept_of(of, frozenset(), WEDNESDAY)[number_key(NUMBER)].startswith(f"{ACCOUNT}|2||=")


def test_kinds_of_callers() -> None:
    account = AccountRouting(
        account_id=ACCOUNT,
        groups={
            "vip": frozenset({VIP, CALLER}),
            "press": frozenset({CALLER, BAD}),
            "other": frozenset({SECOND}),
            "blocked": frozenset({BAD}),
        },
    )
    asked: Groups = frozenset({"vip", "press"})
    assert kinds_of_callers(account, asked) == {VIP: {"vip"}, CALLER: {"vip", "press"}}
    assert kind_name(frozenset({"vip", "press"})) == kind_name(frozenset({"press", "vip"})) != kind_name(VIPS)
    assert kind_name(None) == "withheld"


def test_kinds_without_bound_are_bounded() -> None:
    groups = {f"g{n}": frozenset({PhoneNumber(f"0101234{n:04}")}) for n in range(100)}
    account = AccountRouting(account_id=ACCOUNT, groups=groups)
    assert len(set(kinds_of_callers(account, frozenset(groups)).values())) == MOST_KINDS


def test_whom_a_line_tells_apart() -> None:
    of = line(
        rule("a", Condition(callers=("vip", WITHHELD))),
        rule("b", Condition(callers=("press",)), enabled=False),
    )
    assert groups_asked_for(of) == {"vip"}
    assert asks_for_withheld(of)
    assert not asks_for_withheld(line())


def test_what_is_longer_than_a_line_goes_on_in_others() -> None:
    value = "1234567890" * 200
    kept = checked("n12/3", value)
    assert list(kept) == ["n12/3", "n12/3~1", "n12/3~2"]
    assert max(map(len, kept.values())) <= LONGEST_LINE + 1
    assert put_together(kept, "n12/3") == value


@pytest.mark.parametrize(
    "value", ["${SHELL(id)}", 'a"b', "a;b", "가", "a\nb", "a(b)", "$[1]", "1" * (LONGEST_VALUE + 1), "+"]
)
def test_what_could_mean_something_to_a_dialplan_is_refused(value: str) -> None:
    with pytest.raises(Invalid):
        checked("n12/3", value)


def test_a_sound_of_no_sounds_name_is_one_that_is_not_there() -> None:
    of = line(treatment=Treatment(announcement="ko/closed)|x"))
    assert route_of(of) == "a|own/no-such-prompt|closed|19"


def test_the_longest_chain_fits() -> None:
    targets = tuple(Target(number=PhoneNumber(f"0101234{n:04}")) for n in range(500))
    kept = kept_of(line(treatment=Treatment(targets=targets)), frozenset(), WEDNESDAY)
    assert len(put_together(kept, number_key(NUMBER))) <= LONGEST_VALUE


def test_very_many_changes_fit() -> None:
    rules = [
        rule(
            f"r{n}",
            Condition(times=(span(f"{n // 2:02}:{30 * (n % 2):02}-{n // 2:02}:{30 * (n % 2) + 15:02}"),)),
            Treatment(ring_seconds=10 + n),
        )
        for n in range(48)
    ]
    kept = kept_of(line(*rules), frozenset(), WEDNESDAY)
    assert len(put_together(kept, number_key(NUMBER))) <= LONGEST_VALUE
    for hours in (0, 5, 20):
        at = WEDNESDAY + timedelta(hours=hours)
        planned = plan(line(*rules), CALLER, at, NO_PAST, RING_SECONDS)
        assert isinstance(planned, Forward)
        assert fields_of(read(kept, number_key(NUMBER), at)) == fields_of_plan(planned)


def test_trunks_in_their_order() -> None:
    def trunk(name: str, **more: object) -> Trunk:
        return msgspec.convert({"name": name, "match": ["127.0.0.9"], "contact": "sip:127.0.0.9", **more}, Trunk)

    last = trunk("last", priority=200, number_format=NumberFormat.E164.value, prefix="9", longest_ringing=20)
    assert trunk_values([last, trunk("in-only", outgoing=False), trunk("first")]) == {
        "trunk/first": "national|national|||12",
        "trunk/last": "e164|e164|9|20|12",
        "state/trunks": "first&last",
    }


def test_every_key_lies_in_a_folder() -> None:
    for key in (number_key(NUMBER, "withheld"), caller_key(str(ACCOUNT), CALLER)):
        assert key.partition("/")[0] in folders()


def test_results_and_causes_are_the_same_in_the_dialplan() -> None:
    from engine.settings import PRODUCT_FILES

    dialplan = (PRODUCT_FILES / "dialplan" / "extensions.conf").read_text()
    said = {
        name: value.split(":")
        for name, _, value in (row.partition(" = ") for row in dialplan.splitlines() if row.startswith("ALONE_"))
    }
    results = [Result(word) for word in said["ALONE_RESULTS"]]
    assert [str(CAUSE_TOWARDS_CALLER[result]) for result in results] == said["ALONE_CAUSES"]
    assert set(said["ALONE_FAILURES"]) == set(LETTER.values())

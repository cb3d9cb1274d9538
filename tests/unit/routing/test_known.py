"""What routing goes by comes back from disk as it was, and what numbers share is there once."""

from __future__ import annotations

from datetime import date, time
from pathlib import Path
from uuid import UUID

import msgspec

from engine.accounts.model import Module
from engine.foundation.phone_number import PhoneNumber
from engine.numbers.model import NumberKind, ServiceNumber
from engine.numbers.treatment import Limits, Target, Treatment, Whisper
from engine.routing.known import Known, read_known, write_known
from engine.routing.model import AccountRouting, ClosedDay, Condition, Holidays, Rule, TimeSpan

ACCOUNT = UUID(int=1)
OTHER = PhoneNumber("050712345679")
NUMBER = ServiceNumber(
    number=PhoneNumber("0212345678"),
    kind=NumberKind.OWN,
    account_id=ACCOUNT,
    target=PhoneNumber("0298765432"),
    treatment=Treatment(whisper=Whisper(text="안녕"), targets=(Target(number=PhoneNumber("01012345678")),)),
    limits=Limits(at_once=2),
    callback="고맙습니다",
    sender=PhoneNumber("0311234567"),
    repeat_window_days=3,
    min_talk_seconds=5,
    suspended="prompt:인사말",
)
NIGHT = Rule(
    name="night",
    condition=Condition(times=(TimeSpan(start=time(18), end=time(9)),)),
    treatment=Treatment(announcement=""),
    enabled=False,
)


def everything() -> Known:
    plain = ServiceNumber(
        number=OTHER,
        kind=NumberKind.VIRTUAL,
        account_id=UUID(int=1),
        target=NUMBER.target,
        treatment=msgspec.structs.replace(NUMBER.treatment),
    )
    account = AccountRouting(
        account_id=ACCOUNT,
        zone="Asia/Tokyo",
        limits=Limits(per_day=9),
        closed_days=(ClosedDay(weekday=7, weeks=(2, 4)),),
        groups={"vip": frozenset({PhoneNumber("01099998888")})},
        prompts={"인사말": "own/first"},
        off=frozenset({Module.CALLS, Module.RECORDING}),
    )
    return Known(
        numbers={NUMBER.number: NUMBER, OTHER: plain},
        rules={OTHER: (NIGHT,)},
        closed_days={NUMBER.number: (ClosedDay(day=date(2026, 12, 25)),)},
        accounts={ACCOUNT: account},
        holidays=Holidays(days={date(2026, 12, 25): "성탄절"}),
    )


def test_no_field_of_a_number_keeps_its_default_in_this_test() -> None:
    default = ServiceNumber(number=OTHER, kind=NumberKind.VIRTUAL, account_id=UUID(int=2), target=OTHER)
    for field in ServiceNumber.__struct_fields__:
        assert getattr(NUMBER, field) != getattr(default, field), field


def test_what_is_known_comes_back_whole(tmp_path: Path) -> None:
    known = everything()
    write_known(known, tmp_path / "routing")
    assert read_known(tmp_path / "routing") == known


def test_what_numbers_share_is_one_object(tmp_path: Path) -> None:
    write_known(everything(), tmp_path / "routing")
    known = read_known(tmp_path / "routing")
    assert known is not None
    first, second = known.numbers.values()
    assert first.treatment is second.treatment
    assert first.account_id is second.account_id


def test_a_number_whose_account_is_not_known_yet_has_the_standing_calendar() -> None:
    line = Known(numbers={NUMBER.number: NUMBER}).line(NUMBER.number)
    assert line is not None
    assert line.account == AccountRouting(account_id=ACCOUNT)
    assert (line.rules, line.closed_days) == ((), ())


def test_those_with_limits_are_named() -> None:
    assert everything().limited() == ([NUMBER.number], [ACCOUNT])


def test_a_line_has_the_current_sounds_of_its_prompts_and_the_number_keeps_their_names() -> None:
    known = everything()
    named = msgspec.structs.replace(NUMBER, treatment=Treatment(ringback=("prompt:인사말", "own/x")))
    closed = msgspec.structs.replace(NIGHT, treatment=Treatment(announcement="prompt:인사말"))
    known.numbers[NUMBER.number], known.rules[NUMBER.number] = named, (closed, NIGHT)
    first = known.line(NUMBER.number)
    assert first is not None
    assert first.number.treatment.ringback == ("own/first", "own/x")
    assert [rule.treatment.announcement for rule in first.rules] == ["own/first", ""]
    assert known.numbers[NUMBER.number].treatment.ringback == ("prompt:인사말", "own/x")

    again = known.line(NUMBER.number)
    assert again is not None
    assert again.number is first.number, "resolved once, not for each call"
    assert again.rules is first.rules

    known.accounts[ACCOUNT] = msgspec.structs.replace(known.accounts[ACCOUNT], prompts={"인사말": "own/second"})
    later = known.line(NUMBER.number)
    assert later is not None
    assert (later.number.treatment.ringback, later.rules[0].treatment.announcement) == (
        ("own/second", "own/x"),
        "own/second",
    )
    assert first.number.treatment.ringback == ("own/first", "own/x"), "a call that goes on keeps what it has"


def test_a_changed_rule_or_number_is_seen_at_once() -> None:
    known = everything()
    assert known.line(OTHER) is not None
    known.rules[OTHER] = ()
    known.numbers[OTHER] = msgspec.structs.replace(known.numbers[OTHER], target=PhoneNumber("0311111111"))
    found = known.line(OTHER)
    assert found is not None
    assert (found.rules, found.number.target) == ((), "0311111111")

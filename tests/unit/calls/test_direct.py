"""Which calls the dialplan can ring and connect by itself, what it is told, and what it tells when nobody took one."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta
from typing import Any

import msgspec
import pytest

from engine.asterisk.events import Channel, StasisStart
from engine.calls.direct import DIAL, CameBack, came_back, direct_stage, values_for_dial
from engine.calls.party import Telephone
from engine.cdr.model import Result, Side
from engine.foundation.phone_number import PhoneNumber
from engine.numbers.treatment import CallerShown, ConsentOffer, Failure, RecordMode
from engine.routing.call_plan import (
    Announce,
    CallPlan,
    Forward,
    Notice,
    NoticeKind,
    Ring,
    Ringing,
    Say,
    SendText,
    Stage,
    Voicemail,
    WhisperPlan,
)
from engine.trunks.model import NumberFormat, Trunk
from tests.call_desk import ACCOUNT, CARRIER, NUMBER, SHOP, START

SECONDS = 20
RING = Ring((Ringing(PhoneNumber(SHOP), SECONDS),))
ANOTHER = Ring((Ringing(PhoneNumber("0312345678"), SECONDS),))
PLAIN = Forward(
    account_id=ACCOUNT,
    stages=(RING,),
    failed_before=None,
    notices=(),
    ringback=("test/ringback",),
    ringback_until=None,
    whisper=None,
    accept=False,
    shown=CallerShown.CALLER,
    recording=RecordMode.NEVER,
    consent=None,
    callback=None,
)


def stage_of(**changes: Any) -> int | None:
    return direct_stage(msgspec.structs.replace(PLAIN, **changes), START)


def test_a_plain_plan_is_dialled_by_the_dialplan() -> None:
    assert stage_of() == 0
    assert stage_of(callback="고맙습니다.", shown=CallerShown.NUMBER) == 0


@pytest.mark.parametrize(
    "changes",
    [
        {"notices": (Notice(NoticeKind.FEE, "ko/fee-notice"),)},
        {"whisper": WhisperPlan(sound="test/whisper")},
        {"accept": True},
        {"consent": ConsentOffer(text="수신 동의")},
        {"recording": RecordMode.ALWAYS},
        {"recording": RecordMode.ON_KEY},
        {"failed_before": Failure.OVER_LIMIT},
        {"stages": ()},
        {"stages": (Voicemail("ko/voicemail"),)},
        {"stages": (Say(("ko/closed",)), RING)},
        {"stages": (Ring((*RING.targets, *ANOTHER.targets)),)},
        {"stages": (RING, ANOTHER)},
        {"stages": (RING, msgspec.structs.replace(ANOTHER, on=frozenset({Failure.BUSY})))},
        {"stages": (RING, Say(("ko/busy",), frozenset({Failure.BUSY})), ANOTHER)},
        {"ringback_until": START},
        {"ringback_until": START + timedelta(seconds=SECONDS)},
    ],
    ids=str,
)
def test_whatever_needs_an_engines_hand_is_not(changes: dict[str, Any]) -> None:
    assert stage_of(**changes) is None


def test_a_call_that_is_only_told_something_is_not() -> None:
    plan: CallPlan = Announce("ko/not-in-service", Result.NOT_IN_SERVICE)
    assert direct_stage(plan, START) is None


@pytest.mark.parametrize(
    "later", [Say(("ko/busy",)), Voicemail("ko/voicemail"), SendText("ko/text-only", "고맙습니다.")], ids=str
)
def test_what_comes_after_the_ringing_is_done_by_the_engine_then(later: Stage) -> None:
    assert stage_of(stages=(RING, later)) == 0


def test_a_stage_for_a_failure_that_has_not_happened_is_passed_over() -> None:
    on_busy = msgspec.structs.replace(ANOTHER, on=frozenset({Failure.BUSY}))
    assert stage_of(stages=(on_busy, RING)) == 1


def test_a_ringback_that_changes_after_the_ringing_is_no_hindrance() -> None:
    assert stage_of(ringback_until=START + timedelta(seconds=SECONDS, milliseconds=1)) == 0


# -- what the dialplan is told ----------------------------------------------------------------------------------------

TELEPHONE = Telephone(
    side=Side.TARGET,
    number=PhoneNumber(SHOP),
    seconds=SECONDS,
    shown=PhoneNumber("01012345678"),
    diverted_by=PhoneNumber(NUMBER),
)


def test_what_is_told_is_what_dial_needs() -> None:
    assert values_for_dial(TELEPHONE, CARRIER, "ringback-1") == {
        DIAL: "PJSIP/0212345678@carrier",
        "DARI_RINGS": "20",
        "DARI_HEARS": "ringback-1",
        "DARI_SHOWS": "01012345678",
        "GROUP(dari_dialled)": "carrier",
        "REDIRECTING(from-num,i)": NUMBER,
        "REDIRECTING(count,i)": "1",
        "REDIRECTING(reason,i)": "unconditional",
    }


@pytest.mark.parametrize("telephone", [replace(TELEPHONE, shown=None), replace(TELEPHONE, diverted_by=None)])
def test_a_number_that_is_not_to_be_seen_is_nothing_for_dial(telephone: Telephone) -> None:
    assert values_for_dial(telephone, CARRIER, "ringback-1") is None


@pytest.mark.parametrize(
    ("trunk", "dialled", "shows", "diverted"),
    [
        ({"prefix": "9"}, "90212345678", "01012345678", NUMBER),
        ({"number_format": NumberFormat.E164}, "+82212345678", "+821012345678", f"+82{NUMBER[1:]}"),
        (
            {"number_format": NumberFormat.INTERNATIONAL, "caller_format": NumberFormat.NATIONAL, "prefix": "00"},
            "0082212345678",
            "01012345678",
            NUMBER,
        ),
    ],
)
def test_numbers_are_written_as_the_trunk_wants_them(
    trunk: dict[str, Any], dialled: str, shows: str, diverted: str
) -> None:
    there: Trunk = msgspec.structs.replace(CARRIER, **trunk)
    values = values_for_dial(TELEPHONE, there, "ringback-1")
    assert values is not None
    assert values[DIAL] == f"PJSIP/{dialled}@carrier"
    assert values["DARI_SHOWS"] == shows
    assert values["REDIRECTING(from-num,i)"] == diverted


# -- what the dialplan tells -------------------------------------------------------------------------------------------


def told(*args: str) -> CameBack | None:
    channel = Channel(id="1793577600.1", name="PJSIP/carrier-00000001", state="Ring")
    return came_back(StasisStart(application="dari-n1", channel=channel, args=args))


@pytest.mark.parametrize(
    ("status", "cause", "code", "back"),
    [
        ("BUSY", "17", "486", CameBack(False, 17, 486)),
        ("NOANSWER", "19", "480", CameBack(False, 19, 480)),
        ("CHANUNAVAIL", "1", "404", CameBack(False, 1, 404)),
        ("NOANSWER", "0", "", CameBack(True)),
        ("NOANSWER", "19", "180", CameBack(True, 19)),
        ("NOANSWER", "19", "183", CameBack(True, 19)),
        ("NOANSWER", "127", "487", CameBack(True, 127)),
        ("CHANUNAVAIL", "20", "", CameBack(False, 20)),
        ("CANCEL", "127", "487", CameBack(False, 127)),
        ("NOANSWER", "x", "4800", CameBack(True)),
        ("", "", "", CameBack(False)),
    ],
)
def test_a_refusal_and_a_telephone_that_rang_in_vain(status: str, cause: str, code: str, back: CameBack) -> None:
    assert told("back", status, cause, code) == back


@pytest.mark.parametrize(
    "args",
    [
        (),
        ("allowed_not_screened",),
        ("target", "019b76da-a864-7000-8f06-734a33815753"),
        ("back",),
        ("back", "BUSY", "17"),
        ("back", "BUSY", "17", "486", "more"),
        ("forth", "BUSY", "17", "486"),
    ],
)
def test_what_is_told_of_other_calls_is_no_coming_back(args: tuple[str, ...]) -> None:
    assert told(*args) is None

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime
from pathlib import Path

import pytest

from engine.asterisk.agi import AgiRequest
from engine.calls.causes import CAUSE_TOWARDS_CALLER
from engine.foundation.errors import Invalid, TryLater
from engine.foundation.phone_number import PhoneNumber
from engine.numbers.treatment import (
    CallerShown,
    Failure,
    Fallback,
    RecordMode,
    Target,
    TargetOrder,
    Then,
    Treatment,
    Whisper,
)
from engine.routing.agi_door import Lookups, scripts_of
from engine.routing.call_plan import CallPlan
from engine.routing.model import Condition, Line, Rule
from tests.hand_clock import HandClock
from tests.hand_made_line import CALLER, NUMBER, SECOND, TARGET, line_of, plan_of

SOUNDS = Path("/var/lib/dari/sounds")


async def ask(
    script: str,
    line: Line | None,
    query: Mapping[str, str] | None = None,
    *,
    sounds: Path = SOUNDS,
    known: bool = True,
    facts: Mapping[str, str] | None = None,
) -> Mapping[str, str]:
    """The variables that the script answers with."""
    asked: list[PhoneNumber | None] = []

    async def planned(found: Line | None, caller: PhoneNumber | None, _at: datetime) -> CallPlan:
        asked.append(caller)
        return plan_of(found, caller)

    lookups = Lookups(
        known=lambda: known,
        find=lambda number: line if line and number == line.number.number else None,
        plan=planned,
        cause=CAUSE_TOWARDS_CALLER.__getitem__,
        spoken={"배달앱 전화": "own/spoken"}.get,
    )
    channel = {"agi_extension": NUMBER, "agi_callerid": CALLER, "agi_callingpres": "0"} | dict(facts or {})
    request = AgiRequest(script, query or {}, channel)
    return await scripts_of(lookups, sounds, HandClock())[script](request)


async def test_a_route_is_all_that_a_dialplan_needs() -> None:
    told = await ask(
        "route",
        line_of(
            Treatment(
                targets=(Target(number=TARGET, ring_seconds=12), Target(number=SECOND)),
                order=TargetOrder.ALL_AT_ONCE,
                store_notice=True,
                recording=RecordMode.ALWAYS,
                ringback=("own/a", "own/b"),
                whisper=Whisper(sound="own/whisper"),
                accept=True,
                fallbacks=(
                    Fallback(then=Then.RING, on=(Failure.BUSY, Failure.NO_ANSWER), targets=(Target(number=SECOND),)),
                ),
            )
        ),
    )
    assert told["DARI_DECISION"] == "forward"
    assert (told["DARI_STAGES"], told["DARI_TARGETS"], told["DARI_RING_SECONDS"]) == ("2", f"{TARGET}&{SECOND}", "30")
    assert (told["DARI_TARGETS_2"], told["DARI_AFTER_1"], told["DARI_AFTER_2"]) == (SECOND, "", "busy&no answer")
    assert told["DARI_NOTICES"] == f"{SOUNDS}/ko/store-info-notice&{SOUNDS}/ko/recording-notice"
    assert told["DARI_RINGBACK"] == f"{SOUNDS}/own/a&{SOUNDS}/own/b"
    assert (told["DARI_WHISPER"], told["DARI_ACCEPT"]) == (f"{SOUNDS}/own/whisper", "yes")
    assert (told["DARI_SHOWN"], told["DARI_RECORDING"]) == (CALLER, "always")


@pytest.mark.parametrize(
    ("whisper", "told"),
    [
        (Whisper(sound="own/whisper"), f"{SOUNDS}/own/whisper"),
        (Whisper(text="배달앱 전화"), f"{SOUNDS}/own/spoken"),
        (Whisper(text="아직", sound="own/whisper"), f"{SOUNDS}/own/whisper"),
        (Whisper(text="아직"), ""),
        (None, ""),
    ],
)
async def test_a_whisper_is_told_when_it_is_a_sound_already(whisper: Whisper | None, told: str) -> None:
    assert (await ask("route", line_of(Treatment(whisper=whisper))))["DARI_WHISPER"] == told


@pytest.mark.parametrize(
    ("facts", "query", "shown"),
    [
        ({}, {}, CALLER),
        ({"agi_callingpres": "35"}, {}, ""),
        ({"agi_callerid": "unknown"}, {}, ""),
        ({"agi_callerid": '1",EXEC Hangup'}, {}, ""),
        ({}, {"caller": "0311112222"}, "0311112222"),
        ({"agi_callingpres": "35"}, {"caller": "0311112222"}, "0311112222"),
    ],
)
async def test_who_calls(facts: dict[str, str], query: dict[str, str], shown: str) -> None:
    assert (await ask("route", line_of(), query, facts=facts))["DARI_SHOWN"] == shown


async def test_the_number_asked_about_may_be_another_than_the_one_dialled() -> None:
    told = await ask(
        "route", line_of(Treatment(shown=CallerShown.NUMBER)), {"number": "+825012345678"}, facts={"agi_extension": "7"}
    )
    assert told["DARI_RESULT"] == "not in service"
    told = await ask(
        "route", line_of(Treatment(shown=CallerShown.NUMBER)), {"number": NUMBER}, facts={"agi_extension": "7"}
    )
    assert told["DARI_SHOWN"] == NUMBER


async def test_a_decision_and_the_rule_that_made_it() -> None:
    closed = Rule(name="휴무, ${X}", condition=Condition(), treatment=Treatment(announcement="own/closed"))
    told = await ask("decision", line_of(rules=[closed]))
    assert (told["DARI_DECISION"], told["DARI_RESULT"]) == ("announce", "closed")
    assert told["DARI_WHY"].startswith("휴무 X")
    assert await ask("decision", line_of()) == {
        "DARI_DECISION": "forward",
        "DARI_RESULT": "",
        "DARI_WHY": "no rule held",
    }


@pytest.mark.parametrize(
    ("failure", "sound", "cause"),
    [
        ("BUSY", f"{SOUNDS}/own/busy", "17"),
        ("busy", f"{SOUNDS}/own/busy", "17"),
        ("NOANSWER", f"{SOUNDS}/own/greeting", "19"),
        ("CHANUNAVAIL", "", "27"),
        ("not_accepted", "", "19"),
    ],
)
async def test_the_announcement_for_how_the_call_failed(failure: str, sound: str, cause: str) -> None:
    chain = (Fallback(then=Then.VOICEMAIL, on=(Failure.NO_ANSWER,), sounds=("own/greeting",)),)
    line = line_of(Treatment(busy=("own/busy",), fallbacks=chain))
    told = await ask("announcement", line, {"failure": failure})
    assert told == {"DARI_SOUND": sound, "DARI_CAUSE": cause}


async def test_the_announcement_of_a_number_that_nobody_has() -> None:
    assert await ask("announcement", None) == {"DARI_SOUND": f"{SOUNDS}/ko/not-in-service", "DARI_CAUSE": "1"}


async def test_a_failure_that_there_is_not() -> None:
    with pytest.raises(Invalid, match="failure"):
        await ask("announcement", line_of(), {"failure": "TIRED"})


async def test_before_the_numbers_are_known_nothing_is_said_of_any() -> None:
    with pytest.raises(TryLater, match="not known yet"):
        await ask("route", None, known=False)


async def test_a_sounds_folder_that_a_dialplan_would_misread_is_refused() -> None:
    with pytest.raises(Invalid, match="sound"):
        await ask("route", line_of(), sounds=Path("/var/lib/dari, old"))

"""Live events: which there are, and that nobody waits for them."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import msgspec
import pytest

from engine.cdr.model import CallRecord, Direction, Leg, Result, Side, Step, StepKind
from engine.cdr.told import events_of
from engine.events.call_log import CallEvent, CallEventKind
from engine.events.call_log_writer import CallLog
from engine.events.kinds import EventKind, is_wanted, read_kinds
from engine.events.live import KEPT, LiveEvents, told_live
from engine.foundation.database import open_database
from engine.foundation.errors import Invalid
from engine.foundation.ids import new_id
from tests.call_records import CALLER, MORNING, NUMBER, TARGET, arrival, record

ACCOUNT, CALL = new_id(MORNING), new_id(MORNING)


def log_line(kind: CallEventKind, **changes: object) -> CallEvent:
    values: dict[str, object] = {
        "at": MORNING,
        "call_id": CALL,
        "kind": kind,
        "number": NUMBER,
        "caller": CALLER,
        "account_id": ACCOUNT,
    }
    return CallEvent(**(values | changes))  # type: ignore[arg-type]


def test_what_is_told_while_a_call_lives() -> None:
    parties = {"number": NUMBER, "caller": CALLER}
    lines = [
        log_line(CallEventKind.ARRIVED),
        log_line(CallEventKind.RINGBACK),
        log_line(CallEventKind.RINGING, target=TARGET),
        log_line(CallEventKind.ANSWERED, target=TARGET),
        log_line(CallEventKind.CONNECTED, target=TARGET),
        log_line(CallEventKind.ENDED, target=TARGET),
    ]
    told = [event for event in map(told_live, lines) if event is not None]
    assert [(event.kind, event.leg, event.body) for event in told] == [
        ("call.started", "", parties | {"direction": "incoming"}),
        ("call.ringing", TARGET, parties | {"target": TARGET}),
        ("call.answered", "", parties | {"target": TARGET}),
    ]


def test_what_is_not_told_live() -> None:
    for line in (
        log_line(CallEventKind.ARRIVED, account_id=None),  # nobody's number: with the record, to the operator
        log_line(CallEventKind.RINGING),  # the telephone of whoever ordered the call
    ):
        assert told_live(line) is None


def test_the_record_tells_the_same_things_under_the_same_names() -> None:
    call = _connected()
    told = events_of(call)
    assert [(event.kind, event.leg) for event in told] == [
        ("call.started", ""),
        ("call.ringing", TARGET),
        ("call.answered", ""),
        ("call.ended", ""),
    ]
    live = [
        told_live(log_line(CallEventKind.ARRIVED, call_id=call.call_id)),
        told_live(log_line(CallEventKind.RINGING, call_id=call.call_id, target=TARGET)),
        told_live(log_line(CallEventKind.CONNECTED, call_id=call.call_id, target=TARGET)),
    ]
    for early, late in zip(live, told, strict=False):
        assert early is not None
        assert replace(early, at=late.at) == late


def test_a_number_that_is_rung_over_two_trunks_rings_once_and_each_number_rings() -> None:
    other = type(TARGET)("0311234567")
    rang = {"started_at": MORNING, "ringing_at": MORNING, "sip_call_id": None, "trunk": "t"}
    legs = tuple(
        Leg(side=side, channel=str(index), number=number, **rang)  # type: ignore[arg-type]
        for index, (side, number) in enumerate(
            [(Side.CALLER, CALLER), (Side.TARGET, TARGET), (Side.TARGET, TARGET), (Side.TARGET, other)]
        )
    )
    call = msgspec.structs.replace(record(), legs=legs)
    assert [event.leg for event in events_of(call) if event.kind == "call.ringing"] == [TARGET, other]


def test_who_only_left_a_message_was_not_answered() -> None:
    call = msgspec.structs.replace(record(), result=Result.VOICEMAIL, voicemail="x.wav")
    assert EventKind.CALL_ANSWERED.value not in [event.kind for event in events_of(call)]


def test_a_call_that_went_without_an_engine_tells_what_its_record_knows() -> None:
    call = msgspec.structs.replace(record(), legs=(), steps=())
    assert [event.kind for event in events_of(call)] == [
        "call.started",
        "call.ringing",
        "call.answered",
        "call.ended",
    ]
    unanswered = msgspec.structs.replace(call, ringing_at=None, answered_at=None, result=Result.CALLER_GAVE_UP)
    assert [event.kind for event in events_of(unanswered)] == ["call.started", "call.ended"]


def test_neither_texts_nor_the_systems_own_matters_are_told() -> None:
    call = msgspec.structs.replace(
        record(), callback="SECRET TEXT", text_only="SECRET TEXT", direction=Direction.OUTGOING
    )
    ended = events_of(call)[-1]
    written = msgspec.json.encode(ended.body).decode()
    for secret in ("SECRET", "192.0.2", "PJSIP", "carrier", ".wav", "n1"):
        assert secret not in written
    assert ended.body["recorded"] is True
    assert ended.body["talk_seconds"] == 42.5


async def test_offering_never_waits_and_memory_is_bounded(tmp_path: Path) -> None:
    database = open_database("postgresql://nobody@127.0.0.1:1/none", 1.0)  # there is none
    live = LiveEvents(database)
    log = CallLog(tmp_path, "calls", mask=True, max_bytes=10**8, files=1, tell=live.offer)
    for _ in range(KEPT + 5):
        live.offer(log_line(CallEventKind.ARRIVED))
    log.write(log_line(CallEventKind.ARRIVED))
    log.close()
    assert live.left_to_records == 6
    assert (tmp_path / "calls.log").read_text().count("arrived") == 1
    await database.dispose()


def test_kinds_are_named_whole_or_by_their_group() -> None:
    assert read_kinds(["call.ended", " call.ended", "message.*"]) == ("call.ended", "message.*")
    assert is_wanted("message.sent", ("message.*",))
    assert is_wanted("anything.new", ())
    assert not is_wanted("call.started", ("call.ended", "message.*"))
    for wrong in ("call", "*", "call.nothing", "nothing.*", "webhook.test", "", "call.*.x"):
        with pytest.raises(Invalid, match="kinds: there are no events"):
            read_kinds([wrong])
    with pytest.raises(Invalid, match="too many"):
        read_kinds([f"call.{index}" for index in range(40)])


def _connected() -> CallRecord:
    """As the engine writes it: the target rang, and the two were connected."""
    call = record(arrival(account_id=ACCOUNT))
    (leg,) = call.legs
    assert call.answered_at is not None
    connected = Step(kind=StepKind.CONNECT, to=(Side.CALLER, Side.TARGET), started_at=call.answered_at)
    return msgspec.structs.replace(
        call,
        legs=(msgspec.structs.replace(leg, ringing_at=call.ringing_at),),
        steps=(*call.steps, connected),
    )

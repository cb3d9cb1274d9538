"""`dari calls`, `messages` and `trace` on a real database."""

from __future__ import annotations

import asyncio
from datetime import timedelta
from pathlib import Path
from uuid import uuid4

import msgspec
import pytest
from sqlalchemy.ext.asyncio import AsyncEngine

from engine.accounts.book import account_named
from engine.accounts.model import LOCAL_OPERATOR
from engine.asterisk.sip_trace import SipMessage, parse_hep
from engine.cdr import store as cdr_store
from engine.cdr.model import CallRecord, Result
from engine.foundation.database import transaction
from engine.foundation.ids import new_id
from engine.foundation.phone_number import PhoneNumber
from engine.messages import store as messages_store
from engine.messages.model import Category, Channel, Check, Message, Purpose, Status
from tests.call_records import CALLER, MORNING, NUMBER, TARGET, arrival, record
from tests.command_line import Dari, refused
from tests.hep import between, hep


@pytest.fixture
async def call(database: AsyncEngine) -> CallRecord:
    """An answered call, closed and in the database, and an unanswered one an hour before it."""
    answered = record()
    before = record(arrival(MORNING - timedelta(hours=1)), talk_seconds=0)
    missed = msgspec.structs.replace(before, result=Result.BUSY, recording=None, number=PhoneNumber("05079998888"))
    async with transaction(database) as connection:
        await cdr_store.insert(connection, [missed, answered])
    return answered


@pytest.fixture
def sip(call: CallRecord, tmp_path: Path) -> list[SipMessage]:
    """The SIP messages of the answered call, where the engine keeps them."""
    carrier, dari, shop = "192.0.2.1:5060", "192.0.2.9:5060", "192.0.2.2:5060"
    caller_leg, target_leg = call.sip_call_id, call.legs[0].sip_call_id
    said = [
        (0.0, carrier, dari, caller_leg, f"INVITE sip:{NUMBER}@192.0.2.9 SIP/2.0\r\nFrom: <sip:{CALLER}@192.0.2.1>"),
        (0.1, dari, carrier, caller_leg, "SIP/2.0 183 Session Progress"),
        (0.2, dari, shop, target_leg, f"INVITE sip:{TARGET}@192.0.2.2 SIP/2.0\r\nFrom: <sip:{CALLER}@192.0.2.9>"),
        (6.0, shop, dari, target_leg, "SIP/2.0 200 OK"),
        (0.3, carrier, dari, "another@192.0.2.1", "INVITE sip:0000@192.0.2.9 SIP/2.0"),
    ]
    packets = [
        hep(
            f"{text}\r\nCall-ID: {leg}\r\n\r\nv=0\r\n",
            call.arrived_at + timedelta(seconds=after),
            **between(source, destination),
        )
        for after, source, destination, leg, text in said
    ]
    folder = tmp_path / "home/trace"
    folder.mkdir(parents=True)
    (folder / f"{call.arrived_at:%Y%m%dT%H}.hep").write_bytes(b"".join(packets))
    return [parse_hep(packet) for packet in packets]


def test_calls_are_listed_newest_first_with_people_hidden(dari: Dari, call: CallRecord) -> None:
    shown = dari("calls").out
    first, second = shown.splitlines()[2:4]
    assert "answered" in first
    assert call.call_id.hex[-8:] in first
    assert "010-****-5678" in first
    assert "0507-123-4567" in first
    assert "42.5 s" in first
    assert "busy" in second
    assert "010-1234-5678" in dari("calls", "--numbers").out


async def test_a_call_without_an_engine_is_marked_and_others_are_not(
    dari: Dari, call: CallRecord, database: AsyncEngine
) -> None:
    assert "without an engine" not in (await asyncio.to_thread(dari, "calls")).err
    alone = msgspec.structs.replace(record(arrival(MORNING + timedelta(hours=1))), node="alone")
    async with transaction(database) as connection:
        await cdr_store.insert(connection, [alone])
    told = await asyncio.to_thread(dari, "calls")
    assert "without an engine" in told.err
    first, second = told.out.splitlines()[2:4]
    assert "answered*" in first
    assert "*" not in second.partition("answered")[2]


def test_calls_as_json_are_whole_records(dari: Dari, call: CallRecord) -> None:
    first, second = dari("calls", "--json").objects
    assert msgspec.convert(first, CallRecord) == call
    assert second["result"] == "busy"


def test_calls_are_chosen_by_number_time_and_count(dari: Dari, call: CallRecord) -> None:
    assert len(dari("calls", "--json", "--number", "0507-999-8888").objects) == 1
    assert len(dari("calls", "--json", "--limit", "1").objects) == 1
    since = dari("calls", "--json", "--since", "2026-11-02T08:30").objects
    assert [found["call_id"] for found in since] == [str(call.call_id)]
    refused(dari("calls", "--since", "yesterday"), "--since", "'yesterday'")
    assert dari("calls", "--number", "02-777-7777").err == "no such calls\n"


def test_no_calls_and_no_messages_yet_is_no_error(dari: Dari) -> None:
    assert dari("calls") == (0, "", "no calls yet\n")
    assert dari("messages") == (0, "", "no messages yet\n")
    assert dari("messages", "--json") == (0, "", "")


async def held(database: AsyncEngine, call: CallRecord) -> Message:
    """A message that was not sent, and why."""
    async with transaction(database) as connection:
        owner = await account_named(connection, LOCAL_OPERATOR, "main", MORNING)
        message = Message(
            id=uuid4(),
            account_id=owner.id,
            call_id=call.call_id,
            number=NUMBER,
            purpose=Purpose.CONSENT,
            recipient=CALLER,
            sender=TARGET,
            channel=Channel.SMS,
            category=Category.INFORMATION,
            text="찾아오시는 길",
            status=Status.HELD,
            reason="a message went to this recipient within 7 days",
            certificate=(Check(rule="repeat window", version="1", passed=False, evidence="2 days ago"),),
            decided_at=call.ended_at,
        )
        await messages_store.insert_all(connection, [message], timedelta(0))
    return message


async def test_messages_tell_their_state_and_why_not(dari: Dari, database: AsyncEngine, call: CallRecord) -> None:
    message = await held(database, call)
    shown, whole, objects = await asyncio.to_thread(
        lambda: (dari("messages").out, dari("messages", "--numbers").out, dari("messages", "--json").objects)
    )
    assert "held" in shown
    assert "consent" in shown
    assert message.reason in shown
    assert "010-****-5678" in shown
    assert "010-1234-5678" in whole
    assert msgspec.convert(objects[0], Message) == message


@pytest.mark.usefixtures("sip")
def test_a_trace_is_a_ladder_of_sip_and_steps_in_the_order_of_time(dari: Dari, call: CallRecord) -> None:
    lines = dari("trace", call.call_id.hex[-8:]).out.splitlines()
    told = [" ".join(line.split()) for line in lines if line.startswith(" ")]
    expected = [
        "+0.000 caller --> dari INVITE 05071234567@192.0.2.9 (SDP)",
        "+0.100 caller <-- dari 183 Session Progress (SDP)",
        "+0.200 dari --> target INVITE 02****5678@192.0.2.2 (SDP)",
        "+6.000 dari <-- target 200 OK (SDP)",
    ]
    assert [line for line in told if "--" in line] == expected
    assert "+0.000 dari ringback ko/ringback-tone to caller" in told
    assert "+48.500 dari call ended by caller: answered" in told
    offsets = [float(line.split()[0]) for line in told]
    assert offsets == sorted(offsets)


@pytest.mark.usefixtures("sip")
def test_a_trace_hides_numbers_unless_asked_and_shows_messages_whole_on_demand(dari: Dari, call: CallRecord) -> None:
    hidden = dari("trace", call.call_id, "--full").out
    assert CALLER not in hidden
    assert "From: <sip:010****5678@192.0.2.1>" in hidden
    assert "Call-ID: abc@192.0.2.1" in hidden
    assert CALLER in dari("trace", call.call_id, "--full", "--numbers").out
    assert CALLER not in dari("trace", call.call_id, "--json").out
    rungs = dari("trace", call.call_id, "--json", "--numbers").objects
    assert [rung["source"] for rung in rungs if rung["sip"]] == ["caller", "dari", "dari", "target"]


def test_a_trace_without_kept_sip_says_so_and_shows_the_steps(dari: Dari, call: CallRecord) -> None:
    answer = dari("trace", call.call_id)
    assert answer.code == 0
    assert "ringback" in answer.out
    assert "DARI_SIP_TRACE" in answer.err


async def test_a_trace_of_a_call_without_a_sip_call_id_says_why_there_is_no_sip(
    dari: Dari, database: AsyncEngine
) -> None:
    refused_at_once = msgspec.structs.replace(record(arrival(MORNING)), sip_call_id=None, legs=())
    async with transaction(database) as connection:
        await cdr_store.insert(connection, [refused_at_once])
    answer = await asyncio.to_thread(dari, "trace", refused_at_once.call_id)
    assert "refused at once" in answer.err
    assert "DARI_SIP_TRACE" not in answer.err


def test_an_unknown_or_malformed_call_is_refused(dari: Dari) -> None:
    refused(dari("trace", new_id(MORNING)), "no record")
    refused(dari("trace", "ffffffff-ffff-4fff-bfff-ffffffffffff"), "no record")
    refused(dari("trace", "00000000"), "00000000")
    refused(dari("trace", "nonsense"), "'nonsense'")

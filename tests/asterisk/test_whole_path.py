"""The whole system as an operator has it: set up, changed, drained and stopped by commands, with calls in between."""

from __future__ import annotations

import asyncio
import re
import wave
from collections.abc import AsyncIterator
from datetime import datetime
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from engine.foundation.process import read_pid_file
from engine.sandbox.caller import CallerLeg
from engine.sandbox.phone import Answers
from engine.supervisor.ports import Transport, is_free, read_ports
from tests.eventually import PATIENCE, eventually
from tests.real_asterisk import loopback, write_tone
from tests.running_shop import (
    CALLER,
    NUMBER,
    SHOP,
    TARGET,
    TEXT,
    RunningShop,
    names_heard,
    running_shop,
)
from tests.tones import strongest

DARI, CARRIER = (loopback(22, host) for host in (1, 2))
REGULAR = "01087654321"
OTHER_NUMBER, OTHER_TARGET = "050811112222", "0517654321"


@pytest.fixture(scope="module")
async def shop() -> AsyncIterator[RunningShop]:
    async with running_shop(DARI, CARRIER, DARI_LOG_LEVEL="DEBUG") as running:
        yield running


@pytest.fixture(scope="module")
async def call(shop: RunningShop) -> CallerLeg:
    """An answered call, over."""
    caller, target = await shop.connected_call(REGULAR, NUMBER, TARGET)
    # On a busy machine some of what is said comes too late for a recording.
    await shop.talk(caller, target, seconds=3.0)
    return caller


@pytest.fixture(scope="module")
async def record(shop: RunningShop, call: CallerLeg) -> dict[str, Any]:
    """Its record; its message has been delivered."""
    written = await shop.record(call)
    assert (await shop.message(written))["status"] == "delivered"
    return written


async def test_an_answered_call_is_written_down_as_the_telephones_have_it(
    shop: RunningShop, call: CallerLeg, record: dict[str, Any]
) -> None:
    target = shop.carrier.targets[0]
    assert names_heard(call) == ["recording-notice", "ringback", "shop"]
    assert names_heard(target) == ["whisper", "recording-notice-target", "caller"]
    assert (record["result"], record["ended_by"]) == ("answered", "caller")
    assert (record["caller"], record["number"], record["target"]) == (REGULAR, NUMBER, TARGET)
    assert record["talk_seconds"] == pytest.approx(call.talk_seconds, abs=1.0)
    assert [leg["sip_call_id"] for leg in record["legs"]] == [call.call_id, target.call_id]
    assert all(leg["answered_at"] for leg in record["legs"])


async def test_its_recording_is_stereo_with_the_caller_left_and_as_long_as_the_talk(
    shop: RunningShop, record: dict[str, Any], tmp_path: Path
) -> None:
    file = tmp_path / "talk.wav"
    leave = ("--days", "1", "--reason", "a test", "--evidence", "paper 1")
    assert (await shop.home.run("account", "grant", record["account_id"], *leave))[0] == 0

    async def is_kept() -> bool:
        code, _, _ = await shop.home.run("recording", "export", record["call_id"], str(file), "--reason", "a test")
        return code == 0

    await eventually(is_kept)
    assert len(list((shop.home.folder / "recordings").rglob(f"{record['call_id']}.wav.enc"))) == 1
    with wave.open(str(file), "rb") as sound:
        assert (sound.getnchannels(), sound.getframerate(), sound.getsampwidth()) == (2, 8000, 2)
        assert sound.getnframes() / 8000 == pytest.approx(record["talk_seconds"], abs=1.0)
        sides = np.frombuffer(sound.readframes(sound.getnframes()), "<i2").reshape(-1, 2).astype(np.float64)
    assert strongest(sides[2400:-2400, 0]) == pytest.approx(CALLER, abs=5)
    assert strongest(sides[2400:-2400, 1]) == pytest.approx(SHOP, abs=5)


async def test_its_message_reached_the_gateway_once_with_every_rule_asked(
    shop: RunningShop, record: dict[str, Any]
) -> None:
    message = await shop.message(record)
    assert [(order["id"], order["text"]) for order in shop.sent(REGULAR)] == [(message["id"], TEXT)]
    assert len(message["certificate"]) >= 8
    assert all(check["passed"] and check["version"] and check["evidence"] for check in message["certificate"])


async def test_tail_tells_it_in_order_and_the_log_files_hide_peoples_numbers(
    shop: RunningShop, record: dict[str, Any]
) -> None:
    events = [event for event in await shop.objects("tail", "-n", "1000") if event["call_id"] == record["call_id"]]
    kinds = [event["kind"] for event in events]
    for order in (
        ["arrived", "notice", "ringback", "connected"],
        ["arrived", "ringing", "answered", "whisper", "connected", "recording", "ended"],
        ["ended", "message queued", "message sent", "message delivered"],
    ):
        assert [kind for kind in kinds if kind in order] == order
    instants = [datetime.fromisoformat(event["at"]) for event in events]
    assert instants == sorted(instants)
    for name in ("calls.log", "calls.jsonl", "messages.log", "messages.jsonl"):
        said = (shop.home.folder / "log" / name).read_text()
        assert REGULAR[-4:] in said
        assert not re.search(f"{REGULAR}|{TARGET}|8765-4321|1234-5678(?<!0507-1234-5678)|{TEXT}", said)


async def test_trace_shows_both_legs_and_the_steps(shop: RunningShop, record: dict[str, Any]) -> None:
    ladder = await shop.dari("trace", record["call_id"][-8:])
    for rung in (
        r"caller --> dari +INVITE 050712345678@",
        r"caller <-- dari +183 Session Progress \(SDP\)",
        r"dari --> target +INVITE 02\*{4}5678@",
        r"dari <-- target +180 Ringing",
        r"dari <-- target +200 OK \(SDP\)",
        r"dari +whisper own/\S+ to target",
        r"dari +recording notice ko/recording-notice to caller",
        r"dari +ringback own/\S+ to caller",
        r"caller <-- dari +200 OK \(SDP\)",
        r"dari +connect to caller and target",
        r"caller --> dari +BYE ",
        r"dari --> target +BYE ",
        r"call ended by caller: answered",
    ):
        assert re.search(rung, ladder), f"{rung} is not in\n{ladder}"
    assert re.search(r"caller <-- dari +200 OK.*caller --> dari +ACK ", ladder, re.DOTALL), ladder
    assert REGULAR not in ladder


async def test_the_same_caller_gets_no_second_message_within_the_window(
    shop: RunningShop, record: dict[str, Any]
) -> None:
    caller, target = await shop.connected_call(REGULAR, NUMBER, TARGET)
    await shop.talk(caller, target)
    message = await shop.message(await shop.record(caller))
    assert message["status"] == "held"
    assert message["reason"].startswith("the caller already got a message within the repeat window")
    assert [check["rule"] for check in message["certificate"] if not check["passed"]] == [
        "no message within the repeat window"
    ]
    assert len(shop.sent(REGULAR)) == 1


async def test_a_number_is_added_changed_and_removed_for_the_very_next_call(shop: RunningShop, tmp_path: Path) -> None:
    await shop.dari("number", "add", OTHER_NUMBER, "--target", TARGET)
    caller, _ = await shop.connected_call("01011110001", OTHER_NUMBER, TARGET)
    await caller.hang_up()

    write_tone(tmp_path / "other.wav", (1700, 1.0))
    await shop.dari("number", "set", OTHER_NUMBER, "--target", OTHER_TARGET, "--ringback", str(tmp_path / "other.wav"))
    elsewhere = shop.carrier.shop(OTHER_TARGET, Answers(after_seconds=1.0, tone=SHOP))
    caller = await shop.carrier.call(OTHER_NUMBER, from_number="01011110002", tone=CALLER)
    await elsewhere.next_call()
    await caller.answered()
    await asyncio.sleep(0.5)
    await caller.hang_up()
    assert names_heard(caller) == ["ringback", "shop"]

    await shop.dari("number", "remove", OTHER_NUMBER)
    caller = await shop.refused_call("01011110003", OTHER_NUMBER)
    assert caller.final_code == 404
    assert names_heard(caller) == ["not-in-service"]
    assert (await shop.record(caller))["result"] == "not in service"


async def test_what_cannot_be_is_refused_in_one_sentence_and_changes_nothing(shop: RunningShop, tmp_path: Path) -> None:
    async def everything() -> list[list[dict[str, Any]]]:
        return [await shop.objects("number", "list"), await shop.objects("trunk", "list")]

    noise = tmp_path / "noise.wav"
    noise.write_bytes(b"this is no sound" * 100)
    before = await everything()
    sounds_before = sorted((shop.home.folder / "sounds").rglob("*.wav"))
    new = ("number", "add", "050899990000", "--target")
    tried = {
        (*new, "+14155550100"): "international",
        (*new, "0600123456"): "premium",
        (*new, "112"): "emergency",
        (*new, "050712340000"): "050",
        (*new, TARGET, "--ringback", str(noise)): "ringback: ",
        (*new, TARGET, "--callback", TEXT, "--sender", NUMBER, "--account", "new"): "sender: ",
        ("number", "set", NUMBER, "--target", "0600123456"): "premium",
        ("number", "set", NUMBER, "--target", OTHER_TARGET, "--whisper", str(noise)): "whisper: ",
        ("number", "set", "050899990000", "--target", TARGET): "not in service",
        ("trunk", "add", "other", "--contact", "sip:198.51.100.7", "--match", CARRIER): "belong to trunk carrier",
        ("trunk", "add", "other", "--contact", "http://198.51.100.7", "--match", "198.51.100.7"): "SIP URI",
    }
    answers = await asyncio.gather(*(shop.home.run(*arguments) for arguments in tried))
    for (arguments, fragment), (code, output, errors) in zip(tried.items(), answers, strict=True):
        told = f"dari {' '.join(arguments)}: {code} {output!r} {errors!r}"
        assert code != 0, told
        assert output == "", told
        assert errors.startswith("dari: "), told
        assert len(errors.splitlines()) == 1, told
        assert fragment in errors, told
    assert await everything() == before
    assert sorted((shop.home.folder / "sounds").rglob("*.wav")) == sounds_before


async def test_while_drained_calls_go_without_the_engine_and_afterwards_through_it_again(shop: RunningShop) -> None:
    live, target = await shop.connected_call("01022220001")
    await eventually(lambda: shop.goes_without_an_engine(NUMBER))
    await shop.dari("drain", "--no-wait")
    alone, alone_target = await shop.connected_call("01022220002", NUMBER, TARGET)
    assert await shop.has_live_calls(1, "draining"), "the engine took another call"
    await shop.talk(alone, alone_target)
    assert names_heard(alone) == ["recording-notice", "ringback", "shop"]
    assert names_heard(alone_target) == ["whisper", "recording-notice-target", "caller"]
    assert not live.is_over, "draining ended a live call"
    await live.hang_up()
    await target.ended()
    await shop.dari("drain", "--undo")
    caller, _ = await shop.connected_call("01022220003")
    await caller.hang_up()
    assert (await shop.record(live))["result"] == "answered"
    record = await shop.record(alone)
    assert (record["result"], record["target"], record["node"]) == ("answered", TARGET, "alone")
    assert record["talk_seconds"] == pytest.approx(alone.talk_seconds, abs=1.0)
    assert (await shop.message(record))["status"] == "delivered"
    assert len(shop.sent("01022220002")) == 1
    assert (await shop.record(caller))["node"] == "n1"


async def test_no_program_log_and_no_command_line_holds_a_number_or_a_text(shop: RunningShop) -> None:
    """Every test before has left its traces too; these numbers occur nowhere else on this machine."""
    canary, person = "01047119001", "01047119002"
    await shop.dari("number", "add", "050847119003", "--target", person, "--account", "canary")
    assert (await shop.home.run("number", "add", "050847119003", "--target", person))[0] == 1
    caller, _ = await shop.connected_call(canary, "050847119003", person)
    lines = b"\n".join(command_lines())
    await caller.hang_up()
    await shop.record(caller)

    secret = [canary[1:], person[1:], "50847119003", REGULAR[1:], TARGET[1:], *TEXT.split()]
    folder = shop.home.folder
    allowed = {folder / "log" / f"{name}.{kind}" for name in ("calls", "messages") for kind in ("log", "jsonl")}
    logs = {*(folder / "log").iterdir(), *(folder / "asterisk" / "log").glob("*.log*"), shop.up.errors} - allowed
    assert {"engine.log", "jobs.log", "web.log", "gateway.log", "postgres.log", "messages.log"} <= {
        log.name for log in logs
    }
    said = {log: log.read_text(errors="replace") for log in logs}
    assert {(word, log.name) for log, text in said.items() for word in secret if word in text} == set()
    assert [word for word in secret if word.encode() in lines] == []


def command_lines() -> list[bytes]:
    """Of every process on this machine, but for the tests' own."""
    found = []
    for folder in Path("/proc").iterdir():
        try:
            if folder.name.isdigit():
                found.append((folder / "cmdline").read_bytes())
        except OSError:
            continue
    return found


async def test_ctrl_c_leaves_no_process_and_no_port(shop: RunningShop) -> None:
    ports = read_ports(shop.home.folder / "run" / "ports.json")
    assert ports
    tcp = [(DARI, 8050), *((ports.host, port) for port in (ports.ari, ports.ami, ports.gateway))]
    udp = [(DARI, 5060), (ports.host, ports.hep)]
    listening = [(*address, Transport.TCP) for address in tcp] + [(*address, Transport.UDP) for address in udp]
    assert not any(is_free(*address) for address in listening), "nothing listened before either"
    assert await asyncio.wait_for(shop.up.stop(), PATIENCE) == 0
    assert shop.home.left() == []
    assert all(is_free(*address) for address in listening)
    assert read_pid_file(shop.home.folder / "run" / "asterisk.pid") is None

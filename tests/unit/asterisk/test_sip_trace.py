"""HEP packets read, kept by the hour and found again."""

from __future__ import annotations

import asyncio
import socket
from datetime import UTC, datetime, timedelta
from ipaddress import IPv6Address
from pathlib import Path

import pytest

from engine.asterisk.sip_trace import SipMessage, SipTrace, find, parse_hep
from engine.foundation.errors import Invalid
from tests.hep import INVITE, NOON, hep


class SetClock:
    """Says what it was set to."""

    def __init__(self, instant: datetime) -> None:
        self.instant = instant

    def now(self) -> datetime:
        return self.instant

    def monotonic(self) -> float:
        return self.instant.timestamp()


def message(call_id: str, at: datetime = NOON, text: str = "") -> str:
    return text or f"BYE sip:x@y SIP/2.0\r\nCall-ID: {call_id}\r\n\r\n"


async def keep(trace: SipTrace, *packets: bytes) -> None:
    """Sends the packets to a trace that listens, as Asterisk does, and has them written."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sender:
        sender.bind(("127.0.12.41", 0))
        probe = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        probe.bind(("127.0.12.41", 0))
        address = probe.getsockname()
        probe.close()
        await trace.open(f"{address[0]}:{address[1]}")
        for packet in packets:
            sender.sendto(packet, address)
        await asyncio.sleep(0.05)
    trace.close()


async def test_messages_are_kept_after_a_while_without_any_and_those_that_have_just_come_at_the_end(
    tmp_path: Path,
) -> None:
    trace = SipTrace(tmp_path, 1, SetClock(NOON))
    address = ("127.0.12.43", 9060)
    await trace.open(f"{address[0]}:{address[1]}")
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sender:
        for at in range(4):
            sender.sendto(hep(message("a"), NOON + timedelta(seconds=at)), address)
            await asyncio.sleep(0.01 if at < 2 else 0.1)  # within two looks, then after many without a message
        sender.sendto(hep(message("a"), NOON + timedelta(seconds=4)), address)
        trace.close()
    assert len(find(tmp_path, ["a"])) == 5


def test_a_packet_tells_time_addresses_and_the_message() -> None:
    assert parse_hep(hep()) == SipMessage(
        at=NOON, source="127.0.0.2:5070", destination="127.0.0.1:5060", call_id="one@carrier", text=INVITE
    )


def test_ipv6_addresses_are_read() -> None:
    six = IPv6Address("::1").packed
    assert parse_hep(hep(c3=b"", c4=b"", c5=six, c6=six)).source == "[::1]:5070"


@pytest.mark.parametrize("name", ["Call-ID: ", "call-id:", "i: ", "CALL-ID \t:  "])
def test_the_call_id_is_the_messages_own_however_it_is_spelled(name: str) -> None:
    assert parse_hep(hep(f"BYE sip:a@b SIP/2.0\r\nVia: x\r\n{name}two@b\r\n\r\n")).call_id == "two@b"


def test_a_call_id_in_the_body_is_none() -> None:
    with pytest.raises(Invalid):
        parse_hep(hep("BYE sip:a@b SIP/2.0\r\nVia: x\r\n\r\nCall-ID: two@b\r\n"))


def test_bytes_that_are_no_text_do_not_matter() -> None:
    assert "\ufffd" in parse_hep(hep(c15=b"BYE sip:a@b SIP/2.0\r\nCall-ID: x\r\nSubject: \xff\r\n\r\n")).text


@pytest.mark.parametrize(
    "packet",
    [
        b"",
        b"HEP3",
        b"HEP2" + hep()[4:],
        hep()[:-1],
        hep() + b"x",
        hep(c9=b""),
        hep(c3=b""),
        hep(c3=b"\x7f"),
        hep(c7=b""),
        hep(c15=b""),
        hep(c15=b"\r\n\r\n"),
        b"HEP3\x00\x0c\x00\x00\x00\x01\x00\x00",
    ],
)
def test_what_is_no_whole_sip_packet_is_refused(packet: bytes) -> None:
    with pytest.raises(Invalid):
        parse_hep(packet)


async def test_messages_are_found_by_call_id_in_order_of_time(tmp_path: Path) -> None:
    trace = SipTrace(tmp_path, 1, SetClock(NOON))
    later, between = NOON + timedelta(seconds=2), NOON + timedelta(seconds=1)
    await keep(
        trace,
        hep(message("a"), later),
        hep(message("b"), between),
        hep(message("ab"), NOON),
        hep(message("a"), NOON),
        b"rubbish",
    )
    assert [(found.call_id, found.at) for found in find(tmp_path, ["a", "b"])] == [
        ("a", NOON),
        ("b", between),
        ("a", later),
    ]
    assert (trace.unreadable, trace.lost) == (1, 0)


async def test_messages_of_one_millisecond_keep_the_order_in_which_they_came(tmp_path: Path) -> None:
    """Asterisk stamps what it sends by the microsecond and what it receives by the millisecond only."""
    answer = hep("SIP/2.0 200 OK\r\nCall-ID: a\r\n\r\n", NOON + timedelta(microseconds=700))
    await keep(SipTrace(tmp_path, 1, SetClock(NOON)), answer, hep("ACK sip:x@y SIP/2.0\r\nCall-ID: a\r\n\r\n", NOON))
    assert [found.text[:3] for found in find(tmp_path, ["a"])] == ["SIP", "ACK"]


async def test_files_are_for_their_owner_only(tmp_path: Path) -> None:
    await keep(SipTrace(tmp_path / "trace", 1, SetClock(NOON)), hep())
    assert (tmp_path / "trace").stat().st_mode & 0o077 == 0
    assert [(file.name, file.stat().st_mode & 0o777) for file in (tmp_path / "trace").iterdir()] == [
        ("20261121T12.hep", 0o600)
    ]


async def test_hours_whose_time_is_up_are_removed_and_no_others(tmp_path: Path) -> None:
    clock = SetClock(NOON)
    for hour in range(4):
        clock.instant = NOON + timedelta(hours=hour)
        await keep(SipTrace(tmp_path, 2, clock), hep(message(str(hour)), clock.instant))
    assert sorted(file.name for file in tmp_path.iterdir()) == [f"20261121T{hour}.hep" for hour in (13, 14, 15)]


async def test_only_the_hours_asked_for_are_searched(tmp_path: Path) -> None:
    clock = SetClock(NOON)
    for hour in range(3):
        clock.instant = NOON + timedelta(hours=hour)
        await keep(SipTrace(tmp_path, 9, clock), hep(message("a"), clock.instant))
    hours = [found.at.hour for found in find(tmp_path, ["a"], NOON + timedelta(hours=1), NOON + timedelta(hours=1))]
    assert hours == [13]


async def test_a_message_at_the_end_of_an_hour_is_found_though_written_in_the_next(tmp_path: Path) -> None:
    last = datetime(2026, 11, 21, 12, 59, 59, 950_000, tzinfo=UTC)
    await keep(SipTrace(tmp_path, 9, SetClock(last + timedelta(seconds=1))), hep(message("a"), last))
    assert [found.at for found in find(tmp_path, ["a"], NOON, last)] == [last]


@pytest.mark.parametrize("left", [1, 5, 6, 40])
async def test_half_a_packet_of_a_killed_process_hides_nothing(tmp_path: Path, left: int) -> None:
    await keep(SipTrace(tmp_path, 1, SetClock(NOON)), hep(message("a")), hep(message("b")))
    file = tmp_path / "20261121T12.hep"
    whole = file.read_bytes()
    file.write_bytes(whole[:left] + whole + whole[:left] + hep(message("b")) + whole[:left])
    assert [found.call_id for found in find(tmp_path, ["a", "b"])] == ["a", "b", "b"]


async def test_a_packet_without_a_sip_message_is_passed_over(tmp_path: Path) -> None:
    await keep(SipTrace(tmp_path, 1, SetClock(NOON)), hep(c15=b"a HEP3 without a message of a"), hep(message("a")))
    assert [found.call_id for found in find(tmp_path, ["a"])] == ["a"]


async def test_what_an_older_version_wrote_is_removed_in_its_time(tmp_path: Path) -> None:
    for hour in (9, 11):
        (tmp_path / f"20261121T{hour:02}.jsonl").write_text("{}")
    await keep(SipTrace(tmp_path, 1, SetClock(NOON)), hep())
    assert {file.name for file in tmp_path.iterdir()} == {"20261121T11.jsonl", "20261121T12.hep"}


async def test_a_full_disk_loses_messages_and_nothing_else(tmp_path: Path) -> None:
    (tmp_path / "20261121T12.hep").mkdir()
    trace = SipTrace(tmp_path, 1, SetClock(NOON))
    await keep(trace, hep(), hep())
    assert trace.lost == 2


async def test_a_taken_address_is_named(tmp_path: Path) -> None:
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as taken:
        taken.bind(("127.0.12.42", 9060))
        with pytest.raises(Invalid, match=r"UDP 127\.0\.12\.42:9060 cannot be used"):
            await SipTrace(tmp_path, 1, SetClock(NOON)).open("127.0.12.42:9060")


def test_nothing_is_found_where_nothing_was_kept(tmp_path: Path) -> None:
    assert find(tmp_path / "none", ["a"]) == []

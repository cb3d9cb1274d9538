"""What tests/bench/load.py reads out of SIPp's short message log."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.bench.load import Load, Watch, read_outcome

INVITE = ("S", "INVITE", "INVITE sip:050712345678@127.0.0.1:5060 SIP/2.0")
RINGING = ("R", "INVITE", "SIP/2.0 183 Session Progress")
OK = ("R", "INVITE", "SIP/2.0 200 OK")
ACK = ("S", "ACK", "ACK sip:127.0.0.1:5060 SIP/2.0")
BYE = ("S", "BYE", "BYE sip:127.0.0.1:5060 SIP/2.0")
BYE_OK = ("R", "BYE", "SIP/2.0 200 OK")
THEIR_BYE = ("R", "BYE", "BYE sip:carrier@127.0.0.2:5080 SIP/2.0")

Message = tuple[str, str, str]


def log(folder: Path, *calls: list[tuple[float, Message]]) -> Path:
    """Rows as SIPp 3.6 writes them, every call's messages mingled with the others'."""
    rows = [
        (instant, f"2026-11-21\t21:10:43\t{100 + instant:.6f}\t{way}\t{number}-1@127.0.0.2\tCSeq:1 {method}\t{first}\n")
        for number, call in enumerate(calls, 1)
        for instant, (way, method, first) in call
    ]
    file = folder / "callers.tsv"
    file.write_text("".join(row for _, row in sorted(rows)))
    return file


def test_calls_that_went_well_tell_when_they_rang_and_were_answered(tmp_path: Path) -> None:
    one = [(0.0, INVITE), (0.006, RINGING), (0.012, OK), (0.012, ACK), (1.0, BYE), (1.001, BYE_OK)]
    other = [(0.5, INVITE), (0.507, RINGING), (0.508, RINGING), (0.52, OK), (0.52, ACK), (1.5, BYE), (1.6, BYE_OK)]
    outcome = read_outcome(log(tmp_path, one, other))
    assert outcome.ringing == pytest.approx([0.006, 0.007])
    assert outcome.answer == pytest.approx([0.012, 0.02])
    assert (outcome.answered, outcome.placed, dict(outcome.failed), outcome.repeated) == (2, 2, {}, 0)


@pytest.mark.parametrize(
    ("messages", "why"),
    [
        ([RINGING, ("R", "INVITE", "SIP/2.0 503 Service Unavailable"), ACK], "503"),
        ([("R", "INVITE", "SIP/2.0 100 Trying")], "no answer"),
        ([RINGING, OK, ACK, THEIR_BYE], "hung up by the other side"),
        ([RINGING, OK, ACK, BYE], "BYE without an answer"),
    ],
)
def test_each_way_to_fail_is_counted_by_its_name(tmp_path: Path, messages: list[Message], why: str) -> None:
    call = [(0.1 * at, message) for at, message in enumerate([INVITE, *messages])]
    outcome = read_outcome(log(tmp_path, call))
    assert dict(outcome.failed) == {why: 1}
    assert outcome.placed == 1


def test_an_invite_said_again_is_counted_and_measured_from_the_first(tmp_path: Path) -> None:
    call = [(0.0, INVITE), (0.5, INVITE), (0.6, RINGING), (0.7, OK), (0.7, ACK), (1.7, BYE), (1.7, BYE_OK)]
    outcome = read_outcome(log(tmp_path, call))
    assert outcome.repeated == 1
    assert outcome.answer == pytest.approx([0.7])


def test_a_load_takes_as_long_as_its_last_call() -> None:
    assert Load(calls=100, rate=50.0, hold=1.0).seconds == 3.0


def _write_on(file: Path, row: tuple[float, Message], call: int) -> None:
    instant, (way, method, first) = row
    with file.open("a") as log:
        log.write(f"2026-11-21\t21:10:43\t{instant:.6f}\t{way}\t{call}-1@127.0.0.2\tCSeq:1 {method}\t{first}\n")


@pytest.mark.parametrize("last", [INVITE, ("R", "INVITE", "SIP/2.0 503 Service Unavailable")])
def test_a_log_that_grows_is_watched_for_what_spoils_the_load(tmp_path: Path, last: Message) -> None:
    file = tmp_path / "callers.tsv"
    watch = Watch(file)
    assert not watch.is_spoiled()
    for call in (1, 2, 3):
        for message in (INVITE, RINGING, OK, ACK, BYE, BYE, BYE_OK):
            _write_on(file, (1.0, message), call)
            assert not watch.is_spoiled()
    _write_on(file, (2.0, last), 3)
    assert watch.is_spoiled()
    assert watch.is_spoiled()


def test_half_a_line_of_a_log_is_read_once_it_is_whole(tmp_path: Path) -> None:
    file = tmp_path / "callers.tsv"
    _write_on(file, (1.0, INVITE), 1)
    _write_on(file, (1.5, INVITE), 1)
    whole = file.read_bytes()
    watch = Watch(file)
    file.write_bytes(whole[:-30])
    assert not watch.is_spoiled()
    file.write_bytes(whole)
    assert watch.is_spoiled()

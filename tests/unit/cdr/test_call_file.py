"""Asterisk's own call file: whatever stands in it, whatever is done to it, every whole row is read once."""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from uuid import UUID

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from engine.cdr.call_file import CallFile
from engine.cdr.call_file_follower import Follower, Place
from engine.cdr.call_row import Alone, Row, parse, with_end
from engine.cdr.model import Result, Side, Step, StepKind, closed
from tests.call_records import CALLER, MORNING, NUMBER, TARGET, arrival, record
from tests.call_rows import COLUMNS, append, written_row

ACCOUNT = UUID("0199aaaa-0000-7000-8000-000000000001")
VERSIONS = (COLUMNS, 22)
"""How many columns the rows of this version have, and of the one before."""


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "calls.csv"


@pytest.fixture
def follow(path: Path) -> Iterator[Follower]:
    follower = Follower(CallFile(path), None)
    yield follower
    follower.close()


def _channels(follower: Follower) -> list[str]:
    """All that can be read now; a file that was renamed is looked at twice before it is left."""
    found: list[str] = []
    quiet = 0
    while quiet < 3:
        rows = follower.read()
        found += [row.channel for _, row in rows]
        quiet = 0 if rows else quiet + 1
    return found


def _again(follower: Follower, path: Path) -> Follower:
    """Another life of the reader, which knows only what was kept."""
    follower.close()
    assert follower.place is not None
    return Follower(CallFile(path), msgspec.json.decode(msgspec.json.encode(follower.place), type=Place))


# -- a row -------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("columns", VERSIONS)
def test_a_row_of_a_call_alone_is_read_whole_whichever_version_wrote_it(columns: int) -> None:
    row = parse(
        written_row(
            columns=columns,
            channel="1793577600.7",
            sip_call_id="abc@192.0.2.1",
            answered=6.5,
            lasted=49.0,
            result="answered",
            target=TARGET,
            account=str(ACCOUNT),
            recording="yes",
            notices="ko/recording-notice&ko/store-notice",
        )
    )
    assert row is not None
    assert (row.channel, row.sip_call_id, row.alone) == ("1793577600.7", "abc@192.0.2.1", Alone.YES)
    assert (row.started_at, row.answered_at) == (MORNING, MORNING + timedelta(seconds=6.5))
    assert (row.ended_at, row.talk_seconds) == (MORNING + timedelta(seconds=49), 42.5)
    assert (row.number, row.number_sent, row.caller_sent) == (NUMBER, NUMBER, CALLER)
    assert (row.result, row.target, row.account_id) == (Result.ANSWERED, TARGET, ACCOUNT)
    assert (row.recorded, row.notices) == (True, ("ko/recording-notice", "ko/store-notice"))
    assert (row.cause, row.offer, row.presentation) == (16, "TIMEOUT", "allowed_not_screened")
    assert row.from_trunk


@pytest.mark.parametrize("columns", VERSIONS)
@pytest.mark.parametrize(("alone", "offer", "ran"), [("", "SUCCESS", Alone.NO), ("full", "", Alone.FULL)])
def test_a_row_of_a_call_that_was_taken_or_refused_is_one_from_a_trunk(
    columns: int, alone: str, offer: str, ran: Alone
) -> None:
    row = parse(written_row(cause="42", offer=offer, alone=alone, columns=columns))
    assert row is not None
    assert (row.from_trunk, row.alone, row.cause) == (True, ran, 42)
    assert row.offer == ("FULL" if ran is Alone.FULL and columns == COLUMNS else offer)
    assert (row.presentation, row.number, row.number_sent) == ("allowed_not_screened", NUMBER, "+825071234567")
    assert (row.sip_call_id is None) == (columns == COLUMNS)


@pytest.mark.parametrize(
    ("offer", "came_to", "target_left"),
    [
        ("DIRECT|CALLER", "DIRECT", False),
        ("DIRECT|PJSIP/carrier-0000beef", "DIRECT", True),
        ("DIRECT|", "DIRECT", False),
        ("SUCCESS", "SUCCESS", False),
    ],
)
def test_a_row_of_a_call_that_the_dialplan_dialled_tells_who_hung_up(
    offer: str, came_to: str, target_left: bool
) -> None:
    row = parse(written_row(offer=offer, alone="", answered=1.0))
    assert row is not None
    assert (row.from_trunk, row.alone, row.offer, row.target_left) == (True, Alone.NO, came_to, target_left)
    assert (row.cause, row.presentation, row.sip_call_id) == (16, "allowed_not_screened", None)


@pytest.mark.parametrize("columns", [*VERSIONS, 14])
def test_a_leg_that_was_made_here_is_no_call_from_a_trunk(columns: int) -> None:
    row = parse(written_row(sip_call_id="", cause="", offer="", alone="", presentation="", columns=columns))
    assert row is not None
    assert (row.from_trunk, row.sip_call_id, row.cause) == (False, None, 0)


@pytest.mark.parametrize("cause", ["", "0", "16"])
@pytest.mark.parametrize("offer", ["", "SUCCESS"])
@pytest.mark.parametrize("presentation", ["", "prohib"])
def test_a_call_of_which_asterisk_told_little_is_still_one_from_a_trunk(
    cause: str, offer: str, presentation: str
) -> None:
    row = parse(written_row(cause=cause, offer=offer, presentation=presentation, alone=""))
    assert row is not None
    assert (row.from_trunk, row.cause) == (True, int(cause or 0))
    assert (row.offer, row.presentation) == (offer, presentation)


def test_a_row_of_an_older_version_is_read_as_far_as_it_goes() -> None:
    row = parse(written_row(offer="SUCCESS", alone="", columns=14))
    assert row is not None
    assert (row.alone, row.offer, row.presentation, row.notices) == (Alone.NO, "SUCCESS", "", ())
    assert (row.number, row.number_sent) == (NUMBER, "+825071234567")


def test_columns_of_a_later_version_are_passed_over() -> None:
    row = parse(written_row(result="busy").rstrip(b"\n") + b',"what","ever"\n')
    assert row is not None
    assert row.result is Result.BUSY


@pytest.mark.parametrize(
    "changes",
    [
        {"result": "no such result"},
        {"account": "not an id"},
        {"cause": "seventeen"},
        {"target": "sip:evil@192.0.2.66"},
        {"notices": "&&&"},
    ],
)
def test_a_value_that_makes_no_sense_is_left_out_and_the_row_kept(changes: dict[str, str]) -> None:
    row = parse(written_row(**changes))  # type: ignore[arg-type]
    assert row is not None
    assert (row.result, row.account_id, row.target, row.notices) == (None, None, None, ())


@pytest.mark.parametrize("torn", [b"", b"\n", b'"\n', b'"1.2","1.2"\n', b"1,2,3\n", b'"a' * 9_000])
def test_what_is_no_row_is_none(torn: bytes) -> None:
    assert parse(torn) is None


@pytest.mark.parametrize("seconds", ["nan", "inf", "-5", "1e99", "", "soon"])
def test_a_row_without_an_instant_of_our_times_is_none(seconds: str) -> None:
    instant = f'"{(MORNING + timedelta(seconds=10)).timestamp():.6f}"'.encode()
    assert parse(written_row().replace(instant, f'"{seconds}"'.encode())) is None


def test_an_end_before_the_start_counts_as_the_start() -> None:
    row = parse(written_row(answered=3.0, lasted=-5.0))
    assert row is not None
    assert (row.ended_at, row.answered_at, row.talk_seconds) == (MORNING, MORNING, 0.0)


HOSTILE = st.text(st.sampled_from('",\n\r\0\\&; .1793577600aé한😀'), max_size=60)


@given(st.lists(st.tuples(HOSTILE, HOSTILE, HOSTILE), min_size=1, max_size=6))
def test_whatever_callers_send_each_row_is_read_as_it_was_written(
    tmp_path_factory: pytest.TempPathFactory, sent: list[tuple[str, str, str]]
) -> None:
    path = tmp_path_factory.mktemp("hostile") / "calls.csv"
    written = [written_row(caller=a, number=b, sip_call_id=f"x{c}", alone="") for a, b, c in sent]
    append(path, *written)
    follower = Follower(CallFile(path), None)
    rows = [row for _, row in follower.read()]
    follower.close()
    assert [(row.caller_sent, row.number_sent, row.sip_call_id) for row in rows] == [
        (_kept(a), _kept(b), _kept(f"x{c}")) for a, b, c in sent
    ]
    found = CallFile(path).find_all([row.channel for row in rows])
    assert found == {row.channel: row for row in rows}


def _kept(text: str) -> str:
    return text.replace("\0", "")


@given(st.binary(max_size=300), st.integers(0, 400))
def test_garbage_and_torn_rows_cost_no_other_row(
    tmp_path_factory: pytest.TempPathFactory, garbage: bytes, torn_at: int
) -> None:
    path = tmp_path_factory.mktemp("torn") / "calls.csv"
    first, second, third = (written_row(channel=f"179357760{n}.1") for n in range(3))
    append(path, first, garbage.replace(b'"', b"'") + b"\n", second[: min(torn_at, len(second) - 2)], third)
    follower = Follower(CallFile(path), None)
    rows = [row.channel for _, row in follower.read()]
    follower.close()
    assert rows[0] == "1793577600.1"
    assert rows[-1] == "1793577602.1"


@pytest.mark.parametrize(
    "changes",
    [
        {},
        {"columns": 14},
        {"columns": 22},
        {"offer": "SUCCESS", "alone": ""},
        {"sip_call_id": "", "alone": "", "offer": ""},
        {"answered": 1.0, "account": str(ACCOUNT), "target": TARGET, "recording": "yes", "notices": "ko/a&ko/b"},
    ],
)
def test_wherever_a_row_is_torn_the_next_one_is_read(tmp_path: Path, changes: dict[str, object]) -> None:
    first, torn, last = (written_row(channel=f"179357760{n}.1", **changes) for n in range(3))  # type: ignore[arg-type]
    for at in range(len(torn)):
        path = tmp_path / f"{at}.csv"
        append(path, first, torn[:at], last)
        follower = Follower(CallFile(path), None)
        channels = [row.channel for _, row in follower.read()]
        follower.close()
        assert channels in (["1793577600.1", "1793577602.1"], [f"179357760{n}.1" for n in range(3)])


# -- following it ------------------------------------------------------------------------------------------------------


def test_a_file_that_is_not_there_yet_is_no_trouble(path: Path, follow: Follower) -> None:
    assert _channels(follow) == []
    append(path, written_row(channel="1793577600.1"))
    assert _channels(follow) == ["1793577600.1"]
    assert _channels(follow) == []


def test_the_last_row_is_read_when_it_is_whole(path: Path, follow: Follower) -> None:
    row = written_row(channel="1793577600.1")
    for at in range(1, len(row)):
        append(path, row[at - 1 : at])
        assert follow.read() == []
    append(path, row[-1:])
    assert _channels(follow) == ["1793577600.1"]


def test_each_row_has_the_place_where_it_begins(path: Path, follow: Follower) -> None:
    append(path, *(written_row(channel=f"1793577600.{n}") for n in range(1, 5)))
    rows = follow.read()
    for number, (place, row) in enumerate(rows):
        reader = Follower(CallFile(path), place)
        assert [again.channel for _, again in reader.read()] == [row.channel for _, row in rows[number:]]
        reader.close()
        assert row.channel == f"1793577600.{number + 1}"


def test_another_life_goes_on_where_the_last_one_was(path: Path, follow: Follower) -> None:
    append(path, written_row(channel="1793577600.1"))
    assert _channels(follow) == ["1793577600.1"]
    append(path, written_row(channel="1793577600.2"))
    later = _again(follow, path)
    assert _channels(later) == ["1793577600.2"]
    later.close()


def test_a_renamed_file_is_read_to_its_end_before_the_new_one(path: Path, follow: Follower) -> None:
    append(path, written_row(channel="1793577600.1"))
    assert _channels(follow) == ["1793577600.1"]
    append(path, written_row(channel="1793577600.2"))
    old = path.rename(path.with_name("calls.csv-20261102"))
    assert [row.channel for _, row in follow.read()] == ["1793577600.2"]
    append(old, written_row(channel="1793577600.3"))  # Asterisk had it open just then
    append(path, written_row(channel="1793577600.4"))
    assert _channels(follow) == ["1793577600.3", "1793577600.4"]
    assert follow.unread == 0


def test_files_of_the_days_without_a_reader_are_read_in_their_order(path: Path, follow: Follower) -> None:
    append(path, written_row(channel="1793577600.1"))
    assert _channels(follow) == ["1793577600.1"]
    for day in range(2, 5):
        append(path, written_row(channel=f"1793577600.{day}0"))
        path.rename(path.with_name(f"calls.csv.old{9 - day}"))
        append(path, written_row(channel=f"1793577600.{day}1"))
    later = _again(follow, path)
    wanted = [f"1793577600.{n}" for n in (20, 21, 30, 31, 40, 41)]
    assert _channels(later) == wanted
    later.close()


def test_rotation_loses_and_doubles_nothing_however_often(path: Path, follow: Follower) -> None:
    file = CallFile(path)
    read: list[str] = []
    for number in range(1, 41):
        append(path, written_row(channel=f"1793577600.{number}"))
        if number % 4 == 0:
            read += _channels(follow)
            assert follow.at_end_of_newest
        if number % 8 == 0:
            file.rotate(3)
    read += _channels(follow)
    assert read == [f"1793577600.{number}" for number in range(1, 41)]
    assert len(file.files()) == 3


def test_a_file_that_is_copied_and_emptied_is_read_on_in_the_copy(path: Path, follow: Follower) -> None:
    append(path, written_row(channel="1793577600.1"))
    assert _channels(follow) == ["1793577600.1"]
    append(path, written_row(channel="1793577600.2"))
    shutil.copy(path, path.with_name("calls.csv.1"))
    os.truncate(path, 0)
    append(path, *(written_row(channel=f"1793577600.{n}") for n in range(3, 9)))
    assert _channels(follow) == [f"1793577600.{n}" for n in range(2, 9)]
    assert follow.unread == 0


def test_a_copy_that_stays_beside_it_changes_nothing(path: Path, follow: Follower) -> None:
    append(path, written_row(channel="1793577600.1"))
    assert _channels(follow) == ["1793577600.1"]
    shutil.copy(path, path.with_name("calls.csv.bak"))
    append(path, written_row(channel="1793577600.2"))
    later = _again(follow, path)
    assert _channels(later) == ["1793577600.2"]
    later.close()


def test_what_went_away_unread_is_told_and_the_rest_read(path: Path, follow: Follower) -> None:
    append(path, written_row(channel="1793577600.1"))
    assert _channels(follow) == ["1793577600.1"]
    append(path, written_row(channel="1793577600.2"))
    follow.close()
    path.unlink()
    append(path, written_row(channel="1793577600.3"))
    later = _again(follow, path)
    assert _channels(later) == ["1793577600.3"]
    assert later.unread == 1
    later.close()


def test_an_open_file_is_read_on_though_its_name_is_gone(path: Path, follow: Follower) -> None:
    append(path, written_row(channel="1793577600.1"))
    assert _channels(follow) == ["1793577600.1"]
    append(path, written_row(channel="1793577600.2"))
    path.unlink()
    append(path, written_row(channel="1793577600.3"))
    assert _channels(follow) == ["1793577600.2", "1793577600.3"]
    assert follow.unread == 0


@given(st.lists(st.sampled_from(["row", "row", "read", "rotate", "restart", "tear"]), max_size=40))
def test_whatever_happens_every_row_is_read_once(tmp_path_factory: pytest.TempPathFactory, deeds: list[str]) -> None:
    path = tmp_path_factory.mktemp("deeds") / "calls.csv"
    append(path, written_row(channel="1793577600.1"))
    follower = Follower(CallFile(path), None)
    read = _channels(follower)
    written = ["1793577600.1"]
    for deed in deeds:
        if deed == "row":
            written.append(f"1793577600.{len(written) + 1}")
            append(path, written_row(channel=written[-1]))
        elif deed == "tear":
            append(path, written_row()[:57])
        elif deed == "rotate":
            CallFile(path).rotate(50)
        elif deed == "restart":
            follower = _again(follower, path)
        else:
            read += _channels(follower)
    read += _channels(follower)
    follower.close()
    assert read == written


# -- finding one -------------------------------------------------------------------------------------------------------


def test_the_row_of_a_channel_is_found_in_whichever_file(path: Path) -> None:
    file = CallFile(path)
    began = [MORNING + timedelta(minutes=n) for n in range(8)]
    for number, instant in enumerate(began):
        append(path, written_row(channel=f"{instant.timestamp():.0f}.{number}", began=instant))
        if number in (2, 5):
            file.rotate(5)
    for number, instant in enumerate(began):
        found = file.find(f"{instant.timestamp():.0f}.{number}")
        assert found is not None
        assert found.started_at == instant
    assert file.find(f"{began[3].timestamp():.0f}.99") is None
    assert file.find("0199aaaa-0000-7000-8000-000000000001.t1.n1") is None
    assert CallFile(path.with_name("none.csv")).find("1793577600.1") is None


def test_it_is_looked_for_no_further_back_than_the_channel_is_old(path: Path) -> None:
    long_ago = MORNING - timedelta(days=3)
    append(path, written_row(channel="1793577600.1", began=long_ago))
    append(path.with_name("calls.csv.1"), written_row(channel="1793577600.2", began=long_ago))
    os.utime(path.with_name("calls.csv.1"), (1, 1))
    assert CallFile(path).find("1793577600.2") is None  # a channel of that name began days after
    assert CallFile(path).find("1793577600.2", since=long_ago) is not None


def test_rows_are_found_across_the_pieces_in_which_the_file_is_read(path: Path) -> None:
    instants = [MORNING + timedelta(seconds=n) for n in range(9_000)]
    path.write_bytes(b"".join(written_row(channel=f"{at.timestamp():.0f}.5", began=at) for at in instants))
    wanted = [f"{at.timestamp():.0f}.5" for at in instants]
    assert CallFile(path).find_all(wanted).keys() == set(wanted)
    since = MORNING + timedelta(seconds=8_000)
    assert sum(1 for _ in CallFile(path).rows(since)) == 1_010
    follower = Follower(CallFile(path), None)
    assert _channels(follower) == wanted
    follower.close()


# -- the end of a call that an engine did not see ----------------------------------------------------------------------


def _row(**changes: object) -> Row:
    row = parse(written_row(alone="", offer="SUCCESS", **changes))  # type: ignore[arg-type]
    assert row is not None
    return row


def test_a_lost_call_that_was_answered_gets_its_talk_from_the_row() -> None:
    lost = closed(arrival(), ended_at=MORNING + timedelta(seconds=20), result=Result.LOST, ended_by=Side.DARI)
    reached = msgspec.structs.replace(lost, legs=record().legs)
    whole = with_end(reached, _row(answered=6.0, lasted=51.5))
    assert (whole.result, whole.ended_by, whole.cause) == (Result.ANSWERED, Side.CALLER, 16)
    assert (whole.answered_at, whole.ended_at) == (
        MORNING + timedelta(seconds=6),
        MORNING + timedelta(seconds=51.5),
    )
    assert whole.talk_seconds == 45.5


def test_a_lost_call_that_was_answered_while_nobody_was_reached_was_to_leave_a_message() -> None:
    lost = closed(arrival(), ended_at=MORNING + timedelta(seconds=20), result=Result.LOST, ended_by=Side.DARI)
    whole = with_end(lost, _row(answered=6.0, lasted=51.5))
    assert (whole.result, whole.ended_by, whole.talk_seconds) == (Result.VOICEMAIL, Side.CALLER, 0.0)
    assert whole.answered_at == MORNING + timedelta(seconds=6)


def test_a_lost_call_that_was_not_answered_was_given_up() -> None:
    lost = closed(arrival(), ended_at=MORNING, result=Result.LOST, ended_by=Side.DARI)
    whole = with_end(lost, _row(lasted=12.0))
    assert (whole.result, whole.ended_by, whole.talk_seconds) == (Result.CALLER_GAVE_UP, Side.CALLER, 0.0)
    assert (whole.answered_at, whole.ended_at) == (None, MORNING + timedelta(seconds=12))


@pytest.mark.parametrize("result", [Result.BUSY, Result.CLOSED, Result.NO_ANSWER])
def test_a_result_that_the_journal_knows_stays(result: Result) -> None:
    known = closed(arrival(), ended_at=MORNING, result=result, ended_by=Side.TARGET)
    whole = with_end(known, _row(lasted=12.0, cause="17"))
    assert (whole.result, whole.ended_by, whole.cause) == (result, Side.TARGET, 17)
    assert whole.ended_at == MORNING + timedelta(seconds=12)


def test_a_voicemail_is_no_talk() -> None:
    known = closed(arrival(), ended_at=MORNING, result=Result.VOICEMAIL, ended_by=Side.DARI)
    whole = with_end(known, _row(answered=4.0, lasted=12.0))
    assert (whole.result, whole.talk_seconds) == (Result.VOICEMAIL, 0.0)
    assert whole.answered_at == MORNING + timedelta(seconds=4)


def test_what_went_on_when_it_was_last_seen_goes_on_to_the_end() -> None:
    seen = MORNING + timedelta(seconds=20)
    steps = (
        Step(kind=StepKind.RINGBACK, to=(Side.CALLER,), started_at=MORNING, ended_at=MORNING + timedelta(seconds=6)),
        Step(kind=StepKind.CONNECT, to=(Side.CALLER,), started_at=MORNING + timedelta(seconds=6), ended_at=seen),
        Step(kind=StepKind.RECORDING, to=(Side.CALLER,), started_at=MORNING + timedelta(seconds=6)),
    )
    lost = msgspec.structs.replace(record(), ended_at=seen, steps=steps, result=Result.LOST)
    whole = with_end(lost, _row(answered=6.0, lasted=60.0))
    end = MORNING + timedelta(seconds=60)
    assert [step.ended_at for step in whole.steps] == [MORNING + timedelta(seconds=6), end, end]
    assert whole.answered_at == record().answered_at


def test_no_call_ends_before_it_came() -> None:
    late = arrival(datetime(2026, 11, 2, 0, 5, tzinfo=UTC))
    lost = closed(late, ended_at=late.arrived_at, result=Result.LOST, ended_by=Side.DARI)
    assert with_end(lost, _row(lasted=12.0)).ended_at == late.arrived_at

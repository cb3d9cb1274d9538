"""`dari number` and `dari trunk` on a real database, and what an operator hears when there is none."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from socketserver import StreamRequestHandler, ThreadingUnixStreamServer
from threading import Thread

import msgspec
import pytest

from engine.calls.control_client import EngineStatus
from engine.prompts.catalogue import exists
from engine.settings import read_settings
from engine.trunks.model import Health, TrunkState
from tests.command_line import Dari, refused
from tests.tones import tone, write_audio


def test_a_number_is_added_with_everything_and_listed(dari: Dari, tmp_path: Path) -> None:
    ringback = write_audio(tmp_path / "tune.mp3", tone(700, 2, 44_100), codec="mp3", rate=44_100)
    whisper = write_audio(tmp_path / "whisper.wav", tone(900, 1))
    answer = dari(
        *("number", "add", "0507-1234-5678", "--target", "02-1234-5678", "--ringback", ringback, "--whisper", whisper),
        *(
            "--record",
            "--callback",
            "고맙습니다",
            "--sender",
            "02-1234-5678",
            "--repeat-window",
            "3",
            "--min-talk",
            "5",
        ),
    )
    assert answer == (0, "number 0507-1234-5678 in service: rings 02-1234-5678\n", "")
    (listed,) = dari("number", "list", "--json").objects
    expected: dict[str, object] = {"number": "050712345678", "kind": "050", "target": "0212345678"}
    expected |= {"callback": "고맙습니다", "sender": "0212345678", "repeat_window_days": 3, "min_talk_seconds": 5}
    assert expected.items() <= listed.items()
    treatment = listed["treatment"]
    assert treatment["recording"] == "always"
    assert exists(treatment["ringback"][0], tmp_path / "home/sounds")
    assert exists(treatment["whisper"]["sound"], tmp_path / "home/sounds")
    shown = dari("number", "list").out
    assert "0507-1234-5678" in shown
    assert "고맙습니다" in shown


def test_a_number_is_changed_in_what_is_named_only_and_removed(dari: Dari, tmp_path: Path) -> None:
    tune = write_audio(tmp_path / "tune.wav", tone(700, 1))
    dari("number", "add", "050-1234-5678", "--target", "02-1234-5678", "--ringback", tune, "--record")
    assert dari("number", "set", "050-1234-5678", "--target", "010-2345-6789").code == 0
    (listed,) = dari("number", "list", "--json").objects
    assert listed["target"] == "01023456789"
    assert listed["treatment"]["recording"] == "always"
    assert listed["treatment"]["ringback"][0].startswith("own/")
    assert dari("number", "set", "050-1234-5678", "--no-ringback", "--no-record").code == 0
    (listed,) = dari("number", "list", "--json").objects
    assert listed["treatment"] == {"recording": "never"}
    assert dari("number", "remove", "050-1234-5678") == (0, "number 0501-234-5678 out of service\n", "")
    assert dari("number", "list", "--json").objects == []


WRONG_NUMBERS: list[tuple[list[str], list[str]]] = [
    (["12x", "--target", "02-1234-5678"], ["'12x'", "not a Korean phone number"]),
    (["112", "--target", "02-1234-5678"], ["112", "cannot be put into service"]),
    (["0507-1234-5678", "--target", "060-700-1234"], ["060-700-1234", "premium"]),
    (["0507-1234-5678", "--target", "001-1-212-5551234"], ["international"]),
    (["0507-1234-5678", "--target", "119"], ["emergency"]),
    (["0507-1234-5678", "--target", "0505-123-4567"], ["050"]),
    (["0507-1234-5678", "--target", "02-1234-5678", "--ringback", "/nowhere.wav"], ["ringback", "/nowhere.wav"]),
    (["0507-1234-5678", "--target", "02-1234-5678", "--whisper", "/etc/passwd"], ["whisper", "/etc/passwd"]),
    (["0507-1234-5678", "--target", "02-1234-5678", "--callback", "안녕하세요"], ["sender"]),
    (["0507-1234-5678", "--target", "02-1234-5678", "--sender", "0507-1234-5678"], ["sender", "050"]),
    (["0507-1234-5678", "--target", "02-1234-5678", "--sender", ""], ["sender"]),
    (["0507-1234-5678", "--target", "02-1234-5678", "--min-talk", "-5"], ["least talk time", "-5"]),
    (["0507-1234-5678", "--target", "02-1234-5678", "--ring-seconds", "1"], ["ring time"]),
    (["0507-1234-5678", "--target", "02-1234-5678", "--account", ""], ["account"]),
]


def test_a_number_that_breaks_a_rule_is_refused_and_nothing_is_kept(dari: Dari) -> None:
    for arguments, words in WRONG_NUMBERS:
        refused(dari("number", "add", *arguments), *words)
    assert dari("number", "list", "--json").objects == []


def test_adding_twice_changing_nothing_or_the_unknown_is_refused(dari: Dari) -> None:
    dari("number", "add", "0507-1234-5678", "--target", "02-1234-5678")
    refused(dari("number", "add", "0507-1234-5678", "--target", "02-9999-5678"), "dari number set")
    refused(dari("number", "set", "0507-1234-5678"), "nothing to change")
    refused(dari("number", "set", "0507-0000-0000", "--record"), "not in service")
    refused(dari("number", "remove", "0507-0000-0000"), "not in service")
    refused(dari("number", "set", "0507-1234-5678", "--callback", "x", "--no-callback"), "not both")


def test_a_trunk_is_added_changed_listed_and_removed(dari: Dari) -> None:
    added = dari(
        "trunk", "add", "carrier", "--match", "192.0.2.1", "--match", "192.0.2.8/30", "--contact", "sip:192.0.2.1"
    )
    assert added.code == 0
    assert "192.0.2.1, 192.0.2.8/30" in added.out
    assert dari("trunk", "set", "carrier", "--number-format", "e164", "--untrusted").code == 0
    (listed,) = dari("trunk", "list", "--json").objects
    assert listed == {
        "name": "carrier",
        "match": ["192.0.2.1", "192.0.2.8/30"],
        "contact": "sip:192.0.2.1",
        "number_format": "e164",
        "trusted": False,
        "caller_format": None,
        "prefix": "",
        "user": None,
        "realm": "",
        "register": False,
        "registered_as": "",
        "outgoing": True,
        "priority": 100,
        "max_calls": None,
        "calls_per_second": None,
        "longest_ringing": None,
        "provisional_seconds": 4.0,
        "early_dtmf": False,
        "options_seconds": 0,
        "state": None,
    }
    assert "not believed" in dari("trunk", "list").out
    assert dari("trunk", "remove", "carrier").out == "trunk carrier removed\n"
    assert dari("trunk", "list").err.startswith("no trunks yet")


EVERYTHING = (
    "--prefix 9 --caller-format international --incoming-only --priority 5 --user dari01 --realm carrier.test "
    "--register --registered-as 0701234567 --max-calls 30 --calls-per-second 2.5 --longest-ringing 25 "
    "--provisional-seconds 3 --early-dtmf --options-seconds 60"
)
NOTHING_OF_IT = (
    "--prefix= --caller-format same --outgoing --no-register --registered-as= --no-user --max-calls 0 "
    "--calls-per-second 0 --longest-ringing 0 --no-early-dtmf --options-seconds 0 --provisional-seconds 4 "
    "--priority 100"
)


def test_a_trunk_with_everything_is_added_shown_and_taken_back(dari: Dari, tmp_path: Path) -> None:
    password = tmp_path / "password"
    password.write_text("it's; secret\nsecond line")
    where = ("--match", "192.0.2.1", "--contact", "sip:192.0.2.1")
    added = dari("trunk", "add", "carrier", *where, *EVERYTHING.split(), "--password-file", password)
    assert (added.code, added.err) == (0, "")
    shown = dari("trunk", "show", "carrier").out
    for words in (
        "after 9", "dari01 at carrier.test", "calls then go to 0701234567", "- of 30", "2.5", "25 s", "after 3 s",
        "none are sent", "every 60 s", "the engine does not answer",
    ):  # fmt: skip
        assert words in shown
    assert "incoming only" in dari("trunk", "list").out
    assert dari("trunk", "set", "carrier", *NOTHING_OF_IT.split()).code == 0
    plain = dari("trunk", "show", "carrier", "--json").objects
    dari("trunk", "add", "plain", "--match", "192.0.2.2", "--contact", "sip:192.0.2.1")
    (other,) = dari("trunk", "show", "plain", "--json").objects
    assert plain == [other | {"name": "carrier", "match": ["192.0.2.1"]}]


@pytest.fixture
def engine_socket(tmp_path: Path) -> Iterator[None]:
    """An engine's control socket that tells of one trunk."""
    state = TrunkState(name="carrier", health=Health.DOWN, reason="it does not answer OPTIONS", calls=3)
    told = msgspec.json.encode(EngineStatus(state="ready", trunks=(state,)))

    class Answer(StreamRequestHandler):
        def handle(self) -> None:
            self.rfile.readline()
            self.wfile.write(b"HTTP/1.0 200 OK\r\nContent-Length: %d\r\n\r\n" % len(told) + told)

    socket = read_settings().paths.engine_socket
    socket.parent.mkdir(parents=True, exist_ok=True)
    with ThreadingUnixStreamServer(str(socket), Answer) as server:
        serving = Thread(target=server.serve_forever)
        serving.start()
        yield
        server.shutdown()
        serving.join()
    socket.unlink()


def test_trunks_are_listed_with_their_health_and_calls(dari: Dari, engine_socket: None) -> None:
    for name, address in (("carrier", "192.0.2.1"), ("other", "192.0.2.2")):
        dari("trunk", "add", name, "--match", address, "--contact", "sip:192.0.2.1", "--max-calls", 30)
    carrier, other = dari("trunk", "list", "--json").objects
    assert (carrier["state"]["health"], carrier["state"]["calls"], other["state"]) == ("down", 3, None)
    table = dari("trunk", "list").out
    assert "down" in table
    assert "3 of 30" in table
    assert "down: it does not answer OPTIONS" in dari("trunk", "show", "carrier").out


def test_a_password_is_kept_changed_and_never_shown(dari: Dari, tmp_path: Path) -> None:
    password = tmp_path / "password"
    password.write_text("made-for-tests\n")
    where = ("--match", "192.0.2.1", "--contact", "sip:192.0.2.1")
    answers = [
        dari("trunk", "add", "carrier", *where, "--user", "one", "--password-file", password),
        dari("trunk", "set", "carrier", "--user", "two"),
        dari("trunk", "set", "carrier", "--register"),
        dari("trunk", "show", "carrier"),
        dari("trunk", "show", "carrier", "--json"),
        dari("trunk", "list"),
        dari("trunk", "list", "--json"),
    ]
    assert [answer.code for answer in answers] == [0] * 7
    assert not any("made-for-tests" in answer.out + answer.err for answer in answers)
    assert answers[4].objects[0]["user"] == "two"
    refused(dari("trunk", "set", "carrier", "--no-user"), "cannot register without")
    refused(dari("trunk", "set", "carrier", "--no-user", "--user", "x"), "not both")
    refused(dari("trunk", "add", "other", *where, "--user", "one"), "--password-file")
    refused(dari("trunk", "add", "other", *where, "--password-file", password), "--user")
    refused(dari("trunk", "set", "carrier", "--password-file", tmp_path / "nowhere"), "cannot be read")
    password.write_text("\nx")
    refused(dari("trunk", "set", "carrier", "--password-file", password), "no password in its first line")
    refused(dari("trunk", "show", "nobody"), "does not exist")


WRONG_TRUNKS: list[tuple[list[str], list[str]]] = [
    (["two words", "--match", "192.0.2.1", "--contact", "sip:192.0.2.1"], ["two words"]),
    (["carrier", "--match", "nowhere", "--contact", "sip:192.0.2.1"], ["nowhere"]),
    (["carrier", "--match", "0.0.0.0/0", "--contact", "sip:192.0.2.1"], ["0.0.0.0/0"]),
    (["carrier", "--match", "192.0.2.1", "--contact", "sip:192.0.2.1\nallow=all"], ["contact"]),
    (["carrier", "--match", "192.0.2.1", "--contact", "sip:192.0.2.1", "--max-calls", "-1"], ["max-calls"]),
    (["carrier", "--match", "192.0.2.1", "--contact", "sip:192.0.2.1", "--longest-ringing", "1"], ["3 to 120"]),
    (["carrier", "--match", "192.0.2.1", "--contact", "sip:192.0.2.1", "--register"], ["without a user"]),
]


def test_a_trunk_that_breaks_a_rule_is_refused_and_nothing_is_kept(dari: Dari) -> None:
    for arguments, words in WRONG_TRUNKS:
        refused(dari("trunk", "add", *arguments), *words)
    assert dari("trunk", "list", "--json").objects == []


def test_a_database_that_is_not_there_is_told_with_what_to_start(dari: Dari, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("DARI_DATABASE_URL")
    for command in (("number", "list"), ("trunk", "list"), ("calls",), ("messages", "--json"), ("trace", "0" * 8)):
        refused(dari(*command), "does not run; start it with `dari up`")


def test_a_database_that_does_not_answer_is_told(dari: Dari, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DARI_DATABASE_URL", "postgresql://nobody:secret@127.0.0.1:1/nothing")
    answer = dari("calls")
    refused(answer, "the database is away")
    assert "secret" not in answer.err


def test_a_database_without_tables_is_told(dari: Dari, empty_url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DARI_DATABASE_URL", empty_url)
    refused(dari("number", "list"), "dari migrate")


def test_a_wrong_setting_is_told_by_its_name(dari: Dari, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DARI_RING_SECONDS", "soon")
    refused(dari("number", "list"), "DARI_RING_SECONDS")

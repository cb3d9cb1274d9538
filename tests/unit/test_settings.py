"""Settings: what the environment may say, and what is told when it says something else."""

from __future__ import annotations

from datetime import timedelta
from pathlib import Path

import pytest

from engine.foundation.errors import Invalid
from engine.settings import read_settings


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("DARI_DATABASE_URL", "mysql://dari:opensesame@db/dari"),
        ("DARI_DATABASE_URL", "postgresql://dari:opensesame@db:port/dari"),
        ("DARI_ARI_URL", "http://dari:opensesame@127.0.0.1:8088"),
        ("DARI_GATEWAY_URL", "ftp://dari:opensesame@127.0.0.1"),
    ],
)
def test_a_refused_address_is_named_and_its_password_is_not_told(
    monkeypatch: pytest.MonkeyPatch, name: str, value: str
) -> None:
    monkeypatch.setenv(name, value)
    with pytest.raises(Invalid, match=name) as refused:
        read_settings()
    assert "opensesame" not in str(refused.value)


@pytest.mark.parametrize(
    "url",
    ["postgresql://dari:p%40ss@db:5432/dari?sslmode=require", "postgres:///dari?host=/run/postgresql", ""],
)
def test_a_usable_database_is_taken(monkeypatch: pytest.MonkeyPatch, url: str) -> None:
    monkeypatch.setenv("DARI_DATABASE_URL", url)
    assert read_settings().database_url.partition("://")[2] == url.partition("://")[2]


@pytest.mark.parametrize(("value", "limit"), [("14400", 14400), ("90.5", 90.5), ("PT4H", 14400)])
def test_the_talk_limit_is_seconds_or_iso_8601(monkeypatch: pytest.MonkeyPatch, value: str, limit: float) -> None:
    monkeypatch.setenv("DARI_TALK_LIMIT", value)
    assert read_settings().talk_limit == timedelta(seconds=limit)


@pytest.mark.parametrize(("value", "fixed"), [("auto", None), ("", None), ("0", 0), ("50", 50)])
def test_calls_a_second_are_fixed_or_found_out(monkeypatch: pytest.MonkeyPatch, value: str, fixed: int | None) -> None:
    monkeypatch.setenv("DARI_CALLS_A_SECOND", value)
    assert read_settings().fixed_calls_a_second == fixed


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("DARI_TALK_LIMIT", "0"),
        ("DARI_TALK_LIMIT", "-5"),
        ("DARI_TALK_LIMIT", "long"),
        ("DARI_AMI_ADDRESS", "127.0.0.1"),
        ("DARI_AMI_ADDRESS", "127.0.0.1:abc"),
        ("DARI_AMI_ADDRESS", "127.0.0.1:70000"),
        ("DARI_AMI_ADDRESS", ":5038"),
        ("DARI_HTTP_BIND", "8050"),
        ("DARI_RTP_PORTS", "2000-1000"),
        ("DARI_NODE", "a b"),
        ("DARI_SIP_EXTERNAL_ADDRESS", "example.org"),
        ("DARI_SIP_LOCAL_NETWORKS", "10.0.0.0/33"),
        ("DARI_LOG_LEVEL", "loud"),
        ("DARI_CALLS_A_SECOND", "many"),
        ("DARI_CALLS_A_SECOND", "-1"),
        ("DARI_CALLS_A_SECOND", "2.5"),
    ],
)
def test_what_cannot_be_is_refused_naming_setting_and_value(
    monkeypatch: pytest.MonkeyPatch, name: str, value: str
) -> None:
    monkeypatch.setenv(name, value)
    with pytest.raises(Invalid, match=f"setting {name}: .*set it in the environment or unset it"):
        read_settings()


def test_a_misspelt_setting_is_refused_with_the_right_name(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DARI_SIPBIND", "127.0.0.1:5070")
    with pytest.raises(Invalid, match="DARI_SIPBIND: there is none of that name; did you mean DARI_SIP_BIND"):
        read_settings()


def test_a_name_that_is_like_no_setting_is_somebody_elses(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DARI_PORT_5060_UDP", "udp://10.0.0.7:5060")
    assert read_settings().sip_bind == "127.0.0.1:5060"


def test_an_empty_setting_is_the_default(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setenv("DARI_HOME", "")
    assert read_settings().home == tmp_path / ".local/state/dari"


def test_the_first_engine_keeps_the_plain_names_and_the_others_have_their_own(tmp_path: Path) -> None:
    settings = read_settings(home=tmp_path, node="a", engines=3)
    first, second, third = settings.all_engines
    assert (first.name, first.node, first.app_name, first.call_log) == ("engine", "a", "dari-a", "calls")
    assert first.spool == tmp_path / "spool"
    assert first.socket == settings.paths.engine_socket
    assert (first.heartbeat, first.pid_file) == (tmp_path / "run" / "engine.beat", tmp_path / "run" / "engine.pid")
    assert (second.name, second.node, second.app_name, second.call_log) == ("engine-2", "a-2", "dari-a-2", "calls-2")
    assert second.spool == tmp_path / "spool" / "engine-2"
    names = [(one.name, one.node, one.spool, one.socket, one.heartbeat, one.pid_file) for one in (first, second, third)]
    assert all(len(set(each)) == 3 for each in zip(*names, strict=True))
    longest = max(len(one.socket.name) for one in settings.all_engines)
    assert longest <= len("asterisk.ctl"), "a home whose sockets just fit must not move them"


def test_siblings_are_those_that_ever_ran_and_are_asked_while_they_run(tmp_path: Path) -> None:
    settings = read_settings(home=tmp_path)
    (tmp_path / "spool" / "engine-3").mkdir(parents=True)
    assert [one.number for one in settings.siblings(1)] == [3]
    assert [one.number for one in settings.siblings(2)] == [1, 3]
    assert list(settings.engine_sockets) == [settings.engine(1).socket]
    settings.engine(3).pid_file.parent.mkdir()
    settings.engine(3).pid_file.touch()
    assert list(settings.engine_sockets) == [settings.engine(1).socket, settings.engine(3).socket]


@pytest.mark.parametrize("engines", ["0", "5", "two"])
def test_how_many_engines_is_one_to_four(monkeypatch: pytest.MonkeyPatch, engines: str) -> None:
    monkeypatch.setenv("DARI_ENGINES", engines)
    with pytest.raises(Invalid, match=r"DARI_ENGINES: (must be 1 to 4|Input should be a valid integer)"):
        read_settings()

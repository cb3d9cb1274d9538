"""What every role and command is told of the home that it works in."""

from __future__ import annotations

from pathlib import Path

from engine.settings import read_settings
from engine.supervisor.ports import Ports, write_ports
from engine.supervisor.wiring import connected, digests, role_environment

PORTS = Ports(host="127.0.0.1", ari=1, ami=2, hep=3, gateway=4, sip="127.0.0.1:5", http="127.0.0.1:6")


def test_the_keys_of_a_home_are_made_once_and_handed_to_its_roles_but_to_no_digest(tmp_path: Path) -> None:
    settings = read_settings(home=tmp_path, database_url="postgresql://u@h/d")
    assert connected(settings).secret_key == ""
    (tmp_path / "run").mkdir()
    write_ports(tmp_path / "run" / "ports.json", PORTS)
    first, second = connected(settings), connected(settings)
    assert len(first.secret_key) == len(first.recording_key) == 44
    assert (first.secret_key, first.recording_key) == (second.secret_key, second.recording_key)
    told = role_environment(first)
    assert told["DARI_SECRET_KEY"] == first.secret_key == (tmp_path / "secret.key").read_text().strip()
    assert not {"DARI_SECRET_KEY", "DARI_RECORDING_KEY", "DARI_GATEWAY_KEY"} & digests(told).keys()
    assert first.secret_key not in repr(first)


def test_a_key_that_was_set_is_taken(tmp_path: Path) -> None:
    (tmp_path / "run").mkdir()
    write_ports(tmp_path / "run" / "ports.json", PORTS)
    key = "A" * 43 + "="
    assert connected(read_settings(home=tmp_path, secret_key=key)).secret_key == key
    assert not (tmp_path / "secret.key").exists()

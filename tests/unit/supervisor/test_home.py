"""The folder of one system."""

from __future__ import annotations

from pathlib import Path

from engine.supervisor.home import check_home


def test_the_logs_of_a_home_are_closed_to_other_users(tmp_path: Path) -> None:
    check_home(tmp_path / "home", tmp_path / "sockets")
    assert (tmp_path / "home" / "log").stat().st_mode & 0o007 == 0

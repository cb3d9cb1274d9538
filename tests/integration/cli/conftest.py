"""`dari` on a database of the test's own."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.command_line import Dari, typing_into


@pytest.fixture
def dari(
    database_url: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> Dari:
    """Runs the command with DARI_HOME in `tmp_path/home`."""
    monkeypatch.setenv("DARI_HOME", str(tmp_path / "home"))
    monkeypatch.setenv("DARI_DATABASE_URL", database_url)
    return typing_into(capsys)

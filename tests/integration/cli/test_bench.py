"""`dari bench fill` on a real database."""

from __future__ import annotations

from tests.command_line import Dari, refused


def test_it_fills_an_empty_database_once(dari: Dari) -> None:
    done = dari("bench", "fill", "--numbers", 40, "--calls", 200, "--days", 20)
    assert done.code == 0
    assert "200 of 200 old calls" in done.err
    listed = dari("calls", "--json", "--limit", 1000)
    assert len(listed.objects) == 200
    refused(dari("bench", "fill", "--numbers", 40, "--calls", 200), "only an empty database")

"""`dari audit` on a real database."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from datetime import UTC, datetime
from pathlib import Path
from typing import TypeVar

import pytest
from rich.console import Console
from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncConnection

from engine.audit.trail import write
from engine.cli import printing
from engine.cli.database import in_transaction
from engine.settings import read_settings
from tests.command_line import Dari, refused

_T = TypeVar("_T")


def done(deed: Callable[[AsyncConnection], Awaitable[_T]]) -> _T:
    return in_transaction(read_settings(), deed)


def write_down(count: int, **values: object) -> None:
    async def deed(rows: AsyncConnection) -> None:
        for number in range(count):
            await write(
                rows,
                who="user:1",
                deed="change numbers",
                account_id=None,
                object_kind="number",
                object_id=f"0507123456{number}",
                before={"personal": {"target": "01012345678"}},
                after={"personal": {"target": "0212345678"}, **values},
                peer="192.0.2.1",
                now=datetime(2026, 11, 22, 3, number, tzinfo=UTC),
            )

    done(deed)


def tamper(*statements: str) -> None:
    """As somebody who owns the tables and takes the locks off them does it."""
    tables = ("audit", "audit_chain", "audit_head")
    locks = [f"ALTER TABLE {table} {what} TRIGGER USER" for what in ("DISABLE", "ENABLE") for table in tables]

    async def deed(rows: AsyncConnection) -> None:
        for statement in (*locks[:3], *statements, *locks[3:]):
            await rows.execute(text(statement))

    done(deed)


def test_entries_are_listed_with_peoples_numbers_hidden(dari: Dari) -> None:
    assert "nothing of that kind" in dari("audit", "list").err
    write_down(3)
    listed = dari("audit", "list", "--json").objects
    assert [entry["object_id"] for entry in listed] == [f"0507123456{number}" for number in (2, 1, 0)]
    assert listed[0]["before"] == {"personal": {"target": "010-****-5678"}}
    assert dari("audit", "list", "--json", "--unmasked").objects[0]["before"]["personal"]["target"] == "01012345678"
    shown = dari("audit", "list").out
    assert "change numbers" in shown
    assert "02-****-5678" in shown
    assert "01012345678" not in shown


def test_a_narrow_terminal_shows_what_changed_and_who_did_it(dari: Dari, monkeypatch: pytest.MonkeyPatch) -> None:
    write_down(1, note="a long reason, that does not fit beside all the rest of it")
    monkeypatch.setattr(printing, "console", lambda: Console(highlight=False, color_system=None, width=80))
    lines = dari("audit", "list").out.splitlines()
    assert max(map(len, lines)) <= 80
    shown = " ".join(" ".join(lines).split())
    for told in ("user:1", "change numbers: number 05071234560", '02-****-5678"', "that does not", "the rest of it"):
        assert told in shown, shown


def test_entries_are_chosen(dari: Dari) -> None:
    write_down(3)
    for chosen, count in (
        (("--limit", "2"), 2),
        (("--of", "number/05071234561"), 1),
        (("--of", "user"), 0),
        (("--who", "user:1", "--deed", "change numbers"), 3),
        (("--since", "2026-11-22T12:01"), 2),
        (("--until", "2026-11-22T03:01Z"), 1),
        (("--account", "operator"), 3),
    ):
        assert len(dari("audit", "list", *chosen, "--json").objects) == count, chosen
    refused(dari("audit", "list", "--since", "yesterday"), "since", "yesterday")
    refused(dari("audit", "list", "--account", "nowhere"), "nowhere")


def test_what_is_whole_is_told_with_its_end(dari: Dari, tmp_path: Path) -> None:
    write_down(3)
    answer = dari("audit", "verify")
    assert answer.code == 0
    whole, end = answer.out.splitlines()
    assert whole == "the audit is whole: 3 entries are as they were written"
    noted = (tmp_path / "home/audit.head").read_text().strip()
    assert end == f"its end, to be noted elsewhere: {noted}"
    assert noted.startswith("3:")
    (as_json,) = dari("audit", "verify", "--known", noted, "--json").objects
    assert as_json == {"whole": True, "checked": 3, "waiting": 0, "head": noted, "findings": []}


def test_a_changed_entry_is_told(dari: Dari) -> None:
    write_down(3)
    assert dari("audit", "verify").code == 0
    tamper("UPDATE audit SET who = 'user:2' WHERE object_id = '05071234561'")
    answer = dari("audit", "verify")
    assert answer.code == 1
    assert answer.out.startswith("changed: entry ")
    assert "the audit is not whole: 1 faults in 3 entries" in answer.out
    (as_json,) = dari("audit", "verify", "--json").objects
    assert [finding["trouble"] for finding in as_json["findings"]] == ["changed"]
    assert dari("audit", "verify").code == 1


def test_a_tail_cut_off_whole_is_told_by_what_was_noted_here(dari: Dari, tmp_path: Path) -> None:
    write_down(3)
    assert dari("audit", "verify").code == 0
    tamper(
        "DELETE FROM audit WHERE object_id = '05071234562'",
        "DELETE FROM audit_chain WHERE number = 3",
        "UPDATE audit_head SET (number, hash) = (SELECT number, hash FROM audit_chain WHERE number = 2)",
    )
    answer = dari("audit", "verify")
    assert answer.code == 1
    assert answer.out.startswith("cut off: number 3 ")
    note = tmp_path / "home/audit.head"
    assert note.read_text().startswith("3:")  # a verdict that is not whole is no new note
    note.write_text("damaged")
    refused(dari("audit", "verify"), "audit.head is damaged")
    note.unlink()
    assert dari("audit", "verify").code == 0


@pytest.mark.parametrize("known", ["3", "x:y"])
def test_a_head_that_is_none_is_refused(dari: Dari, known: str) -> None:
    refused(dari("audit", "verify", "--known", known), "NUMBER:HASH")

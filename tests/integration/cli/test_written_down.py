"""What is typed is in the audit: every command that changes something writes that once, and says who typed it.

The commands are those of `dari` itself; one that nobody has said anything about here fails.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from datetime import UTC, datetime, timedelta
from importlib import import_module
from pathlib import Path
from typing import Any
from uuid import UUID

import pytest
import typer
from sqlalchemy.ext.asyncio import AsyncConnection, AsyncEngine

from engine.accounts.book import accounts
from engine.app.opened import archive_of
from engine.audit import trail
from engine.audit.model import Entry, Wanted
from engine.cdr import store as cdr_store
from engine.cli.database import in_transaction, with_database
from engine.cli.main import COMMANDS
from engine.events.sequencer import number_all
from engine.foundation.clock import SystemClock
from engine.foundation.database import transaction
from engine.recordings.finished import keep_recording
from engine.settings import read_settings
from tests.call_records import arrival, record
from tests.command_line import Answer, Dari
from tests.sounds_left import leave, talk
from tests.tones import tone, write_audio

_LOOKS = "it looks"
_PROCESSES = "it starts or stops processes of this machine; nothing of any account is another than before"
_ENGINE = "it asks the running engine, whose journal of the call has it"

NOTHING: Mapping[str, str] = {
    **dict.fromkeys(("up", "demo", "down", "drain", "serve"), _PROCESSES),
    "bench fill": "it fills a database with made-up calls for measuring, past everybody's deeds",
    "migrate": "it brings the tables up to date, the audit's among them",
    **dict.fromkeys(("status", "doctor", "tail", "calls", "messages", "explain", "replay", "trace"), _LOOKS),
    **dict.fromkeys(("api describe", "api client", "audit list", "audit verify"), _LOOKS),
    **dict.fromkeys(("number list", "number show", "number state", "number stock", "number history"), _LOOKS),
    **dict.fromkeys(("number transfer list", "range list", "order show", "order list"), _LOOKS),
    **dict.fromkeys(("rule list", "rule check", "rule export", "closed list", "holiday list", "group list"), _LOOKS),
    **dict.fromkeys(("account list", "account tree", "account permissions", "account grants"), _LOOKS),
    **dict.fromkeys(("account applications", "user list", "key list", "webhook list", "webhook dead"), _LOOKS),
    **dict.fromkeys(("prompt list", "prompt versions", "prompt play", "trunk list", "trunk show"), _LOOKS),
    "webhook test": "an event is sent to the receiver, and nothing is another than before",
    **dict.fromkeys(("call list", "call place", "call test", "call pause", "call record", "listen"), _ENGINE),
    **dict.fromkeys(("recording list", "recording check", "recording access"), _LOOKS),
    "recording sweep": "it does at once what the jobs do every hour; each call's record says what became of its sound",
    "recording rekey": "it changes with which key files are sealed, and whoever could hear them still can",
}
"""Commands that the audit has nothing of, and why."""


class Typist:
    """Types commands that change something, and sees to it that each is written down once."""

    def __init__(self, dari: Dari) -> None:
        self.dari = dari
        self.done: set[str] = set()
        self._known: set[UUID] = set()

    def does(self, command: str, *arguments: object, entries: int = 1) -> Answer:
        answer = self.dari(*command.split(), *arguments)
        assert answer.code == 0, (command, answer)
        new = self._new()
        assert [entry.who for entry in new] == ["operator of this machine"] * entries, (command, new)
        assert all(entry.peer.startswith("command line: ") for entry in new), (command, new)
        self.done.add(command)
        return answer

    def made(self, command: str, *arguments: object, under: str = "") -> str:
        """The id of what was made, which stands in the answer, or `under` something of it."""
        (told,) = self.does(command, *arguments, "--json").objects
        return str((told[under] if under else told)["id"])

    def _new(self) -> list[Entry]:
        async def deed(rows: AsyncConnection) -> list[Entry]:
            return await trail.entries(rows, Wanted(), limit=1000)

        found = [entry for entry in in_transaction(read_settings(), deed) if entry.id not in self._known]
        self._known.update(entry.id for entry in found)
        return found


def test_every_command_that_changes_something_is_written_once(
    dari: Dari, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("DARI_SECRET_KEY", "ZGFyaS10ZXN0LWtleS1vZi10aGlydHktdHdvLWJ5dGU=")
    typed = Typist(dari)
    monkeypatch.setenv("DARI_RECORDING_KEY", "bW1tbW1tbW1tbW1tbW1tbW1tbW1tbW1tbW1tbW1tbW0=")
    for part in (_accounts, _people, _trunks, _numbers, _rules, _prompts, _webhooks, _recordings):
        part(typed, tmp_path)
    assert set(_commands()) - typed.done == set(NOTHING), "say here what is written down of these, or why nothing is"


def _accounts(typed: Typist, folder: Path) -> None:
    """Who stands under whom, and who joins."""
    for name in ("shop", "other", "third"):
        typed.does("account open", name)
    typed.does("account open", "agency", "--kind", "agency")
    typed.does("account rename", "third", "spare")
    typed.does("account move", "spare", "--under", "agency")
    typed.does("account set", "shop", "--limit-per-day", "7")
    typed.does("account fee", "shop", "--waived")
    typed.does("account business", "shop", "--trade", "56111", "--revenue", "1000", "--evidence", "tax office")
    typed.does("account module", "other", "recording", "--off")
    paper = ("--reason", "training", "--evidence", "a letter")
    grant = typed.made("account grant", "spare", "--to", "agency", "--days", "1", *paper)
    typed.does("account take-back", grant)
    typed.does("account close", "spare")
    scan = folder / "scan.pdf"
    scan.write_bytes(b"%PDF-1.7 the papers of a shop")
    papers = ("--contact-name", "kim", "--contact", "kim@example.com", "--registration")
    application = typed.made("account apply", "다리상사", *papers, "123-45-67891")
    typed.does("account document", application, "identity", scan)
    typed.does("account reject", application, "--reason", "papers missing")
    again = typed.made("account apply", "다리상사", *papers, "123-45-67891")
    typed.does("account document", again, "business-registration", scan)
    typed.does("account approve", again, "--reason", "papers seen", entries=2)  # it decides, and opens the account


def _people(typed: Typist, folder: Path) -> None:
    """Users and keys."""
    typed.does("user add", "kim@example.com", "--role", "shop-owner", "--account", "shop")
    typed.does("user set", "kim@example.com", "--name", "김")
    typed.does("user lock", "kim@example.com")
    typed.does("user lock", "kim@example.com", "--off")
    typed.does("user reset", "kim@example.com")
    typed.does("user sessions", "kim@example.com", "--end")
    typed.does("user add", "lee@example.com", "--role", "staff", "--account", "shop")
    typed.does("user remove", "lee@example.com")
    typed.does("key add", "till", "--account", "shop", "--scope", "see-calls")
    typed.does("key revoke", typed.dari("key", "list", "--json").objects[0]["prefix"])


def _trunks(typed: Typist, folder: Path) -> None:
    """Carriers' lines."""
    typed.does("trunk add", "carrier", "--match", "192.0.2.10", "--contact", "sip:192.0.2.10")
    typed.does("trunk set", "carrier", "--max-calls", "5")
    typed.does("trunk remove", "carrier")


def _numbers(typed: Typist, folder: Path) -> None:
    """Ranges, numbers, orders, transfers."""
    typed.does("range add", "exchange", "0507-1")
    typed.does("range set", "exchange", "--quarantine", "100")
    free = folder / "free.csv"
    free.write_text("".join(f"0507-1000-000{number}\n" for number in range(8)))
    typed.does("range import", free)
    typed.does("number choose", "--reserve", "1", "--account", "shop", "--like", "0007")
    typed.does("number reserve", "0507-1000-0000", "--account", "shop")
    typed.does("number let-go", "0507-1000-0000")
    typed.does("number issue", "0507-1000-0000", "--account", "shop", "--target", "02-1234-5678")
    typed.does("number suspend", "0507-1000-0000")
    typed.does("number resume", "0507-1000-0000")
    typed.does("number release", "0507-1000-0000")
    typed.does("number issue", "0507-1000-0001", "--account", "shop", "--target", "02-1234-5678")
    typed.does("number port-out", "0507-1000-0001")
    typed.does("number return", "0507-1000-0001")
    typed.does("number add", "0507-1000-0002", "--account", "shop", "--target", "02-1234-5678")
    typed.does("number remove", "0507-1000-0002")
    number = "0507-1000-0003"
    typed.does("number add", number, "--account", "shop", "--target", "02-1234-5678")
    typed.does("number set", number, "--target", "02-1111-5678")
    for ending in ("decline", "withdraw", "accept"):
        typed.does(f"number transfer {ending}", typed.made("number transfer offer", number, "--to", "other"))
    number = "0507-1000-0004"
    typed.does("number add", number, "--account", "shop", "--target", "02-1234-5678")
    first, last, later = ((datetime.now(UTC) + timedelta(days=days)).date() for days in (30, 60, 90))
    order = typed.made("order place", "1", "--account", "shop", "--from", first, "--until", last, under="order")
    typed.does("order prolong", order, "--until", later)
    typed.does("order cancel", order)


def _rules(typed: Typist, folder: Path) -> None:
    """What calls go through."""
    number = "0507-1000-0004"
    typed.does("rule add", number, "night", "--times", "22:00-09:00", "--announcement", "ko/closed")
    typed.does("rule add", number, "sunday", "--weekdays", "sun", "--accept")
    typed.does("rule set", number, "night", "--times", "23:00-09:00")
    typed.does("rule move", number, "night", "--at", "2")
    typed.does("rule disable", number, "night")
    typed.does("rule enable", number, "night")
    rules = folder / "rules.json"
    rules.write_text(typed.dari("rule", "export", number).out)
    typed.does("rule remove", number, "night")
    typed.does("rule import", number, rules)
    typed.does("closed add", "every", "sunday", "--account", "shop")
    typed.does("closed remove", "every", "sunday", "--account", "shop")
    typed.does("closed add", "every", "monday", "--number", number)
    typed.does("holiday seed", "2027")
    typed.does("holiday add", "2027-03-09", "대통령 선거일")
    typed.does("holiday remove", "2027-03-09")
    typed.does("group add", "vip", "010-2345-6789", "--account", "shop")
    typed.does("group remove", "vip", "010-2345-6789", "--account", "shop")


def _prompts(typed: Typist, folder: Path) -> None:
    """Announcements."""
    sound = write_audio(folder / "hello.wav", tone(700, 1))
    typed.does("prompt add", "hello", sound, "--account", "shop")
    typed.does("prompt speak", "hello", "안녕하세요", "--account", "shop")
    typed.does("prompt use", "hello", "1", "--account", "shop")
    typed.does("prompt mix", "mixed", "--music", sound, "--voice-file", sound, "--account", "shop")
    typed.does("prompt remove", "hello", "--version", "2", "--account", "shop")
    typed.does("prompt remove", "hello", "--account", "shop")


def _webhooks(typed: Typist, folder: Path) -> None:
    """Receivers of events."""
    webhook = typed.made("webhook add", "https://93.184.216.34/hook", "--account", "shop", under="webhook")
    typed.does("webhook set", webhook, "--description", "till")
    typed.does("webhook pause", webhook)
    typed.does("webhook resume", webhook)
    typed.does("webhook rotate", webhook)
    with_database(read_settings(), number_all)  # so that there is something to send again
    typed.does("webhook replay", webhook)
    typed.does("webhook remove", webhook)


def _recordings(typed: Typist, folder: Path) -> None:
    """What was recorded of calls."""
    call = with_database(read_settings(), _recorded)
    typed.does("recording hold", call, "--reason", "court")
    typed.does("recording release", call, "--reason", "over")
    typed.does("recording term", "--account", "shop", "--days", "30")
    typed.does("account grant", "shop", "--days", "1", "--reason", "training", "--evidence", "a letter")
    typed.does("recording export", call, folder / "talk.wav", "--reason", "training")


async def _recorded(database: AsyncEngine) -> UUID:
    """A call of the shop whose talk is kept."""
    settings, now = read_settings(), datetime.now(UTC)
    async with transaction(database) as connection:
        (shop,) = [one for one in await accounts(connection) if one.name == "shop"]
        ended = record(arrival(now, account_id=shop.id), talk_seconds=1.0)
        await cdr_store.insert(connection, [ended])
    leave(settings.paths.asterisk_spool / "monitor" / f"{ended.call_id}.raw", talk(1.0))
    await keep_recording(archive_of(settings, database, SystemClock()), ended.call_id)
    return ended.call_id


def test_several_deeds_of_one_command_are_written_each(dari: Dari) -> None:
    """Whose account is opened on the way, and whose sender is registered, is written too."""
    sender = ("--sender", "02-1234-5678", "--sender-evidence", "a bill", "--callback", "고맙습니다")
    dari("number", "add", "0507-1234-5678", "--target", "02-1234-5678", "--account", "new shop", *sender)
    entries = dari("audit", "list", "--json").objects
    assert {entry["deed"] for entry in entries} == {"open accounts", "change messages", "issue numbers"}
    assert all(entry["peer"].startswith("command line: ") for entry in entries)
    dari("number", "add", "0507-1234-5679", "--target", "02-1234-5678", "--account", "new shop", *sender)
    assert len(dari("audit", "list", "--json").objects) == len(entries) + 1


def test_what_changes_nothing_is_not_written(dari: Dari) -> None:
    dari("trunk", "add", "carrier", "--match", "192.0.2.10", "--contact", "sip:192.0.2.10")
    dari("holiday", "seed", "2027")
    before = len(dari("audit", "list", "--json").objects)
    assert before == 2
    dari("trunk", "set", "carrier", "--contact", "sip:192.0.2.10")
    dari("holiday", "seed", "2027")
    assert dari("prompt", "list", "--account", "nobody").code == 1
    assert len(dari("audit", "list", "--json").objects) == before


def _commands() -> Iterator[str]:
    """All that can be typed."""
    for name, entry in COMMANDS.items():
        yield from _leaves(typer.main.get_command(import_module(entry.module).app), name)


def _leaves(command: Any, name: str) -> Iterator[str]:
    below = getattr(command, "commands", None)
    if not below:
        yield name
        return
    for word, one in below.items():
        yield from _leaves(one, f"{name} {word}")

"""`dari explain` and `dari replay` on a real database."""

from __future__ import annotations

import asyncio
import json
import wave
from datetime import datetime, time, timedelta
from pathlib import Path
from typing import Any
from uuid import UUID

import msgspec
import pytest
from sqlalchemy.ext.asyncio import AsyncEngine

from engine.accounts.model import LOCAL_OPERATOR
from engine.callbacks.call_ended import call_ended
from engine.cdr import store as cdr_store
from engine.cdr.model import CallRecord, Result
from engine.cli.explain import SNAPSHOT
from engine.foundation.database import transaction
from engine.foundation.ids import new_id
from engine.foundation.phone_number import PhoneNumber
from engine.numbers import inventory
from engine.numbers.treatment import Limits, Treatment, Whisper
from engine.routing import book
from engine.routing.check import Against
from engine.routing.known import Known, write_known
from engine.routing.model import AccountRouting, Condition, LastCall, Line, Rule, TimeSpan
from tests.call_records import arrival, record
from tests.command_line import Answer, Dari, refused
from tests.hand_made_line import CALLER, MORNING, SENDER, line_of
from tests.opened_shop import VIRTUAL, number_of, open_shop

EVENING = Rule(
    name="저녁",
    condition=Condition(times=(TimeSpan(start=time(18), end=time(22)),)),
    treatment=Treatment(announcement="own/closed"),
)
AGAIN = Rule(
    name="다시 건 전화",
    condition=Condition(last_call=LastCall(results=(Result.BUSY,), within_hours=1)),
    treatment=Treatment(ringback=("own/again",)),
)


@pytest.fixture
async def account(database: AsyncEngine) -> UUID:
    """A shop whose number closes in the evening, and greets those who met busy before."""
    account = await open_shop(database)
    whisper = Whisper(text="이번 주 {count_this_week} 전화")
    number = number_of(
        account, callback="감사합니다", sender=SENDER, limits=Limits(per_day=10), treatment=Treatment(whisper=whisper)
    )
    async with transaction(database) as rows:
        await inventory.add(rows, number)
        await book.replace_rules(rows, LOCAL_OPERATOR, VIRTUAL, [EVENING, AGAIN], Against(now=MORNING))
    return account


def past(account: UUID, at: datetime, result: Result = Result.ANSWERED, talk: float = 42.0) -> CallRecord:
    call = record(arrival(at, account_id=account), talk_seconds=talk)
    return msgspec.structs.replace(call, number=VIRTUAL, caller=CALLER, result=result, recording=None)


async def typed(dari: Dari, *arguments: object) -> Answer:
    """The command runs a loop of its own."""
    return await asyncio.to_thread(dari, *arguments)


async def replayed(dari: Dari, rules: Path) -> list[dict[str, Any]]:
    """The calls of those days against other rules, and the counts."""
    asked = ("replay", "--since", "2026-11-20", "--until", "2026-11-24", "--with", rules, "--json")
    return (await typed(dari, *asked)).objects


async def keep(database: AsyncEngine, *calls: CallRecord) -> None:
    async with transaction(database) as rows:
        await cdr_store.insert(rows, list(calls))


async def test_explain_reads_rules_past_load_and_message(dari: Dari, database: AsyncEngine, account: UUID) -> None:
    busy = past(account, MORNING - timedelta(minutes=30), Result.BUSY, 0)
    after = past(account, MORNING + timedelta(minutes=30), Result.ANSWERED)
    await keep(database, busy, after)
    told = (await typed(dari, "explain", VIRTUAL, "--from", CALLER, "--at", "2026-11-23T10:00", "--json")).objects[0]
    assert told["source"] == "the database"
    assert [(rule["rule"], rule["holds"]) for rule in told["rules"]] == [("저녁", False), ("다시 건 전화", True)]
    assert told["forwarding"]["ringback"] == ["own/again"]
    assert told["forwarding"]["whisper_text"] == "이번 주 두 번째 전화", "calls after that instant are not known then"
    assert told["past_calls"] == 1
    assert told["limits"]["number_load"] == [0, 1, 1]
    assert [(message["sent"], message["text"]) for message in told["messages"]] == [(True, "감사합니다")]
    assert told["at"] == "2026-11-23T10:00:00+09:00"


async def test_explain_asks_the_repeat_window(dari: Dari, database: AsyncEngine, account: UUID) -> None:
    before = past(account, MORNING - timedelta(hours=1))
    await keep(database, before)
    await call_ended(database, before.call_id, before.ended_at)
    shown = await typed(dari, "explain", VIRTUAL, "--from", CALLER, "--at", "2026-11-23T10:00")
    assert shown.code == 0
    assert "already got a message" in " ".join(shown.out.split())


def test_explain_in_words(dari: Dari, account: UUID) -> None:
    shown = dari("explain", VIRTUAL, "--at", "2026-11-23T20:00")
    assert shown.code == 0
    assert "a withheld number" in shown.out
    assert "decides announcement" in shown.out
    assert "own/closed" in shown.out


def test_a_time_without_a_zone_is_the_accounts(dari: Dari, account: UUID) -> None:
    here = dari("explain", VIRTUAL, "--at", "2026-11-23T20:00", "--json").objects[0]
    there = dari("explain", VIRTUAL, "--at", "2026-11-23T11:00:00Z", "--json").objects[0]
    assert here == there


def test_a_number_that_nobody_has(dari: Dari, account: UUID) -> None:
    told = dari("explain", "0507-9999-8888", "--json").objects[0]
    assert not told["in_service"]
    assert told["announcement"]["result"] == "not in service"


def test_a_wav_of_what_the_caller_hears(dari: Dari, account: UUID, tmp_path: Path) -> None:
    shown = dari("explain", VIRTUAL, "--at", "2026-11-23T10:00", "--wav", tmp_path / "x.wav", "--stereo")
    assert shown.code == 0
    with wave.open(str(tmp_path / "x.wav")) as file:
        assert (file.getnchannels(), file.getframerate()) == (2, 8000)
        assert file.getnframes() > 8000
    assert "ringback: ko/ringback-tone" in shown.out


@pytest.mark.parametrize(
    ("arguments", "word"),
    [
        (("explain", VIRTUAL, "--at", "yesterday"), "--at"),
        (("explain", "12345678901234"), "number"),
        (("explain", VIRTUAL, "--from", "nobody"), "--from"),
        (("explain", VIRTUAL, "--stereo"), "--wav"),
    ],
)
def test_what_explain_does_not_understand(dari: Dari, account: UUID, arguments: tuple[str, ...], word: str) -> None:
    refused(dari(*arguments), word)


def snapshot_of(line: Line, file: Path) -> None:
    file.parent.mkdir(parents=True, exist_ok=True)
    number = line.number
    write_known(
        Known(
            numbers={number.number: number},
            rules={number.number: line.rules},
            accounts={number.account_id: AccountRouting(account_id=number.account_id)},
        ),
        file,
    )


def test_without_the_database_the_engines_snapshot_answers_and_says_so(
    dari: Dari, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("DARI_DATABASE_URL", "postgresql://nobody@127.0.0.1:1/nothing")
    line = line_of(Treatment(accept=True), [EVENING], callback="감사합니다", sender=SENDER)
    refused(dari("explain", line.number.number), "snapshot")
    snapshot_of(line, tmp_path / "home" / "spool" / SNAPSHOT)
    told = dari("explain", line.number.number, "--from", CALLER, "--at", "2026-11-23T10:00", "--json").objects[0]
    assert "snapshot" in told["source"]
    assert (told["forwarding"]["press_1"], told["past_known"], told["evidence_known"]) == (True, False, False)
    assert "the database is away" in dari("explain", line.number.number).out


async def test_replay_lists_the_calls_that_would_have_gone_otherwise(
    dari: Dari, database: AsyncEngine, account: UUID, tmp_path: Path
) -> None:
    noon, evening = MORNING.replace(hour=12), MORNING.replace(hour=19)
    await keep(
        database,
        past(account, noon),
        past(account, evening, Result.CLOSED, 0),
        past(account, noon - timedelta(days=30)),
        msgspec.structs.replace(past(account, noon), call_id=new_id(noon), number=PhoneNumber("050700000000")),
    )
    other = tmp_path / "rules.json"
    lunch = changed_rule(EVENING, TimeSpan(start=time(11), end=time(13)))
    other.write_bytes(msgspec.json.encode([lunch, AGAIN]))
    asked = ("replay", "--since", "2026-11-20", "--until", "2026-11-24", "--with", other, "--number", VIRTUAL)
    *calls, summary = (await typed(dari, *asked, "--json")).objects
    assert [(datetime.fromisoformat(call["arrived_at"]), call["result"]) for call in calls] == [
        (noon, "answered"),
        (evening, "closed"),
    ]
    first = {change["setting"]: (change["before"], change["after"]) for change in calls[0]["changes"]}
    assert first["whether it rings"][1] == "own/closed, closed"
    assert first["message"] == ("“감사합니다”", "none")
    second = {change["setting"]: (change["before"], change["after"]) for change in calls[1]["changes"]}
    assert second["whether it rings"][0] == "own/closed, closed"
    assert (summary["calls"], summary["changed"], summary["changes"]["whether it rings"]) == (2, 2, 2)
    shown = await typed(dari, *asked)
    assert "2 of 2 calls would have gone otherwise" in shown.out
    assert CALLER not in shown.out
    assert "1 are listed, --limit 0 lists all" in (await typed(dari, *asked, "--limit", "1")).out


async def test_what_rule_export_wrote_is_replayed_as_it_is(
    dari: Dari, database: AsyncEngine, account: UUID, tmp_path: Path
) -> None:
    await keep(database, past(account, MORNING))
    other = tmp_path / "rules.json"
    other.write_text((await typed(dari, "rule", "export", VIRTUAL)).out)
    (summary,) = await replayed(dari, other)
    assert (summary["calls"], summary["changed"]) == (1, 0)
    other.write_text(other.read_text().replace("18:00:00", "09:00:00"))
    *calls, summary = await replayed(dari, other)
    assert (len(calls), summary["changed"]) == (1, 1)


def changed_rule(rule: Rule, span: TimeSpan) -> Rule:
    return msgspec.structs.replace(rule, condition=Condition(times=(span,)))


async def test_replay_goes_by_the_past_that_each_call_had(
    dari: Dari, database: AsyncEngine, account: UUID, tmp_path: Path
) -> None:
    """Without the rule about a call that met busy, only the call right after one is otherwise."""
    first, again, later = (MORNING + timedelta(minutes=minutes) for minutes in (0, 10, 300))
    await keep(database, past(account, first, Result.BUSY, 0), past(account, again), past(account, later))
    other = tmp_path / "rules.json"
    other.write_text(json.dumps({VIRTUAL: {"rules": json.loads(msgspec.json.encode([EVENING]))}}))
    *calls, summary = await replayed(dari, other)
    assert [[change["setting"] for change in call["changes"]] for call in calls] == [["ringback"]]
    assert (summary["calls"], calls[0]["changes"][0]["before"]) == (3, "own/again")


async def test_replay_asks_the_repeat_window_as_it_was_then(
    dari: Dari, database: AsyncEngine, account: UUID, tmp_path: Path
) -> None:
    """The second call got no message, nor would it under the other text."""
    first, second = past(account, MORNING), past(account, MORNING + timedelta(hours=1))
    await keep(database, first, second)
    await call_ended(database, first.call_id, first.ended_at)
    other = tmp_path / "rules.json"
    text = Rule(name="다른 문자", condition=Condition(), treatment=Treatment(callback="다른 문자"))
    other.write_bytes(msgspec.json.encode({VIRTUAL: {"rules": [EVENING, AGAIN, text]}}))
    *calls, summary = await replayed(dari, other)
    assert [call["call_id"] for call in calls] == [str(first.call_id)]
    assert calls[0]["changes"] == [{"setting": "message", "before": "“감사합니다”", "after": "“다른 문자”"}]
    assert summary["calls"] == 2


async def test_replay_reads_many_calls_page_by_page(
    dari: Dari, database: AsyncEngine, account: UUID, tmp_path: Path
) -> None:
    await keep(database, *(past(account, MORNING + timedelta(seconds=second)) for second in range(1100)))
    other = tmp_path / "rules.json"
    other.write_bytes(msgspec.json.encode({VIRTUAL: {"treatment": Treatment(accept=True), "rules": []}}))
    *calls, summary = await replayed(dari, other)
    assert (summary["calls"], summary["changed"], len({call["call_id"] for call in calls})) == (1100, 1100, 1100)


@pytest.mark.parametrize(
    ("content", "arguments", "words"),
    [
        ("{", (), ("--with", "cannot be read")),
        ("[]", (), ("--number",)),
        ("{}", (), ("holds no rules",)),
        ('{"0507-1234-5678": {"rules": [{"name": "", "condition": {}, "treatment": {}}]}}', (), ("rule",)),
        (
            '{"0507-1234-5678": {"treatment": {"notice": "prompt:인사말"}}}',
            (),
            ("--with", "인사말", "dari prompt list"),
        ),
        ('{"0507-9999-8888": {}}', (), ("not in service",)),
        ('{"0507-1234-5678": {}}', ("--until", "2020-01-01"), ("--until",)),
    ],
)
def test_what_replay_does_not_understand(
    dari: Dari, account: UUID, tmp_path: Path, content: str, arguments: tuple[str, ...], words: tuple[str, ...]
) -> None:
    file = tmp_path / "rules.json"
    file.write_text(content)
    refused(dari("replay", "--since", "2026-11-20", "--with", file, *arguments), *words)

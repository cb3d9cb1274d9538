"""Who edits through the API overwrites nobody's edit: not that of another request, nor of a command on the machine.

Commands know nothing of ETags. Whoever edits through the API holds the rows that the thing is made of before reading
them, so that a command's edit comes either before, and is seen, or after, and is made on what the API's edit left.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from dataclasses import dataclass

import pytest
from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncConnection, AsyncEngine

from engine.api import store
from engine.foundation.database import open_database, transaction
from tests.api_desk import Answer
from tests.bola_world import SINK
from tests.databases import Databases
from tests.eventually import eventually
from tests.trade_desk import TradeDesk, trade_desk

NUMBER = "05071234567"
NIGHT = {"condition": {"times": [{"start": "22:00", "end": "09:00"}]}, "treatment": {"announcement": "ko/closed"}}
WAITING = text(
    "SELECT count(*) FROM pg_stat_activity WHERE application_name = 'dari test' AND wait_event_type = 'Lock'"
)


@dataclass(frozen=True, slots=True)
class Edit:
    """An edit through the API, and what a command does to the same thing meanwhile."""

    read: str
    method: str
    path: str
    body: object
    meanwhile: str


EDITS = {
    "account": Edit(
        "/accounts/{account}",
        *("PATCH", "/accounts/{account}", {"name": "새 이름"}),
        "UPDATE accounts SET name = '딴 이름' WHERE id = '{account}'",
    ),
    "call settings": Edit(
        "/accounts/{account}/call-settings",
        *("PUT", "/accounts/{account}/call-settings", {"zone": "Asia/Tokyo", "limits": {}}),
        "UPDATE accounts SET zone = 'Asia/Hong_Kong' WHERE id = '{account}'",
    ),
    "closed days of account": Edit(
        "/accounts/{account}/closed-days",
        *("PUT", "/accounts/{account}/closed-days", {"days": [{"weekday": 1}]}),
        "INSERT INTO closed_days (account_id, weekday) VALUES ('{account}', 7)",
    ),
    "closed days of number": Edit(
        "/numbers/{number}/closed-days",
        *("PUT", "/numbers/{number}/closed-days", {"days": [{"weekday": 1}]}),
        "DELETE FROM closed_days WHERE number = '{number}'",
    ),
    "number": Edit(
        "/numbers/{number}",
        *("PATCH", "/numbers/{number}", {"target": "02-999-8888"}),
        "UPDATE numbers SET target = '0277776666' WHERE number = '{number}'",
    ),
    "number range": Edit(
        "/number-ranges/range 0507",
        *("PUT", "/number-ranges/range 0507/terms", {"days": 30}),
        "UPDATE number_ranges SET quarantine_days = 99 WHERE name = 'range 0507'",
    ),
    "prompt": Edit(
        "/accounts/{account}/prompts/p",
        *("PUT", "/accounts/{account}/prompts/p/current", {"version": 1}),
        "DELETE FROM prompts WHERE name = 'p'",
    ),
    "rules": Edit(
        "/numbers/{number}/rules",
        *("PUT", "/numbers/{number}/rules", {"rules": []}),
        "INSERT INTO number_rules (number, name, position, condition, treatment, enabled)"
        " SELECT number, 'added', 2, condition, treatment, enabled FROM number_rules WHERE name = 'night'",
    ),
    "trunk": Edit(
        "/trunks/t",
        *("PATCH", "/trunks/t", {"max_calls": 7}),
        "UPDATE trunks SET max_calls = 9 WHERE name = 't'",
    ),
    "user": Edit(
        "/users/{user}",
        *("PATCH", "/users/{user}", {"name": "새 이름"}),
        "UPDATE users SET name = '딴 이름' WHERE id = '{user}'",
    ),
    "webhook": Edit(
        "/webhooks/{webhook}",
        *("PUT", "/webhooks/{webhook}", {"url": SINK + "/new"}),
        "UPDATE webhooks SET url = 'http://127.0.0.1:1025/other' WHERE id = '{webhook}'",
    ),
}


class Office:
    """A shop with one of everything, and a key of the operator's and of the shop's."""

    def __init__(self, desk: TradeDesk, machine: AsyncEngine) -> None:
        self.desk = desk
        self.machine = machine
        self.ids: dict[str, str] = {"number": NUMBER}
        self.keys: dict[str, str] = {}

    async def settle(self) -> None:
        shop = (await self.desk.account("다리분식")).id
        self.ids["account"] = str(shop)
        self.keys = {"shop": await self.desk.key(shop), "operator": await self.desk.key()}
        await self.desk.stock("05079999999")
        await self.desk.number(shop, NUMBER)
        await self._made("POST", f"/numbers/{NUMBER}/rules", "shop", {"name": "night", **NIGHT})
        await self._made("PUT", f"/numbers/{NUMBER}/closed-days", "shop", {"days": [{"weekday": 3}]})
        await self._made("POST", f"/accounts/{shop}/prompts/p/speech", "shop", {"text": "안녕하세요"})
        await self._made("POST", f"/accounts/{shop}/prompts/p/speech", "shop", {"text": "어서 오세요"})
        trunk = {"name": "t", "match": ["198.18.0.1"], "contact": "sip:192.0.2.1"}
        await self._made("POST", "/trunks", "operator", trunk)
        user = {"account": str(shop), "login": "kim@example.com", "name": "김", "role": "shop owner"}
        self.ids["user"] = (await self._made("POST", "/users", "operator", user)).json["user"]["id"]
        webhook = await self._made("POST", "/webhooks", "shop", {"account": str(shop), "url": SINK})
        self.ids["webhook"] = webhook.json["webhook"]["id"]

    async def _made(self, method: str, path: str, key: str, body: object) -> Answer:
        headers = {"If-Match": "*"} if method == "PUT" else {}
        answer = await self.desk.ask(method, path, self.keys[key], body=body, headers=headers)
        assert answer.status < 300, answer
        return answer

    async def ask(self, kind: str, etag: str | None = None) -> Answer:
        """Reads the thing, or edits it as it was with that tag."""
        edit = EDITS[kind]
        key = self.keys["operator" if kind in ("number range", "trunk", "account") else "shop"]
        if etag is None:
            return await self.desk.ask("GET", edit.read.format(**self.ids), key)
        path, headers = edit.path.format(**self.ids), {"If-Match": etag}
        return await self.desk.ask(edit.method, path, key, body=edit.body, headers=headers)

    async def at_the_machine(self, kind: str, rows: AsyncConnection) -> None:
        await rows.execute(text(EDITS[kind].meanwhile.format(**self.ids)))

    async def somebody_waits(self) -> bool:
        async with transaction(self.machine) as rows:
            return bool(await rows.scalar(WAITING))


@pytest.fixture(scope="module")
async def office(databases: Databases, tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Office]:
    url = await databases.fresh()
    database, machine = (
        open_database(url, command_timeout=60.0, application_name=f"dari {name}") for name in ("test", "machine")
    )
    async with trade_desk(database, tmp_path_factory.mktemp("edits")) as desk:
        made = Office(desk, machine)
        await made.settle()
        yield made
    await database.dispose()
    await machine.dispose()
    await databases.drop(url)


def test_every_kind_of_thing_is_here() -> None:
    assert EDITS.keys() == store.KINDS


@pytest.mark.parametrize("kind", EDITS)
async def test_a_command_waits_for_an_edit_that_was_found_unchanged(office: Office, kind: str) -> None:
    identifier, owner = {
        "number range": ("range 0507", ""),
        "prompt": ("p", office.ids["account"]),
        "trunk": ("t", ""),
    }.get(kind, ("", ""))
    identifier = identifier or office.ids[_named_by(kind)]

    async def command() -> None:
        async with office.desk.database.connect() as rows:
            await office.at_the_machine(kind, rows)
            await rows.rollback()

    async with transaction(office.machine) as edit:
        await store.hold(edit, kind, identifier, owner)
        task = asyncio.ensure_future(command())
        await eventually(office.somebody_waits)
        assert not task.done()
    await task


@pytest.mark.parametrize("kind", EDITS)
async def test_what_a_command_changes_meanwhile_is_not_overwritten(office: Office, kind: str) -> None:
    read = await office.ask(kind)
    async with transaction(office.machine) as rows:
        await office.at_the_machine(kind, rows)
        edit = asyncio.ensure_future(office.ask(kind, read.etag))
        await eventually(office.somebody_waits)
        assert not edit.done()
    answer = await edit
    if kind == "prompt":
        assert answer.code == "not_found", answer
        return
    assert answer.code == "changed_meanwhile", answer
    now = await office.ask(kind)
    assert now.etag == answer.etag != read.etag
    assert (await office.ask(kind, now.etag)).status == 200


def _named_by(kind: str) -> str:
    if kind in ("account", "call settings", "closed days of account"):
        return "account"
    return kind if kind in ("user", "webhook") else "number"

"""Events and webhooks over real HTTP: pulled, streamed, pushed; each sees their own, and nobody misses any."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from typing import Any
from uuid import UUID

import aiohttp
import pytest
from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncEngine

from engine.accounts.model import LOCAL_OPERATOR, OPERATOR_ID, AccountKind, Deed, Module
from engine.accounts.modules import switch
from engine.api import events
from engine.api.app import make_api, serving
from engine.api.door import Door
from engine.api.event_desk import MOST_STREAMS_EACH, EventDesk, equip_events
from engine.api.routes import api_routers
from engine.events.sequencer import Sequencer
from engine.events.tail import Tail
from engine.foundation.clock import SystemClock
from engine.foundation.database import transaction
from engine.foundation.tasks import Tasks
from engine.webhooks import store, store_dead_letters
from engine.webhooks.egress import Egress
from engine.webhooks.model import Span
from engine.webhooks.settings import Rules
from tests.api_desk import BASE, KEY, PLENTY, TERMS, ApiDesk
from tests.eventually import PATIENCE, eventually
from tests.integration.webhooks.conftest import LOOPBACK, World
from tests.loopback import ANY_PORT
from tests.stream_written import all_numbered, event, happened, move_node, write
from tests.webhook_sink import webhook_sink


@pytest.fixture
async def desk(database: AsyncEngine, database_url: str) -> AsyncIterator[ApiDesk]:
    clock, tasks = SystemClock(), Tasks("test")
    async with AsyncExitStack() as stack:
        tail = Tail(database, database_url)
        egress = await stack.enter_async_context(Egress(LOOPBACK, timeout=5.0))
        app = make_api(api_routers(), Door(database, clock, TERMS, known=PLENTY, strangers=PLENTY))
        equip_events(app, EventDesk(tail, Rules(KEY, LOOPBACK), egress))
        stack.push_async_callback(tasks.close)
        tasks.start("tail", tail.run())
        tasks.start("sequencer", Sequencer(database, database_url).run())
        url = await stack.enter_async_context(serving(app, ANY_PORT))
        session = await stack.enter_async_context(aiohttp.ClientSession())
        yield ApiDesk(url, session, database, clock)


@dataclass(frozen=True, slots=True)
class Sent:
    """One server-sent event."""

    id: str
    event: str
    data: Any


@asynccontextmanager
async def following(desk: ApiDesk, token: str, last: str = "", **query: str) -> AsyncIterator[AsyncIterator[Sent]]:
    """The events of an open stream, as a browser reads them."""
    headers = {"Authorization": f"Bearer {token}"} | ({"Last-Event-ID": last} if last else {})
    async with desk.session.get(desk.url + BASE + "/events/stream", params=query, headers=headers) as answer:
        assert (answer.status, answer.content_type) == (200, "text/event-stream")
        assert (await answer.content.readline()).startswith(b"retry:")  # it is open: what happens now is told

        async def read() -> AsyncIterator[Sent]:
            fields: dict[str, str] = {}
            async for line in answer.content:
                text = line.decode().rstrip("\n")
                if text:
                    name, _, value = text.partition(": ")
                    fields[name] = value
                    continue
                if "data" in fields:
                    yield Sent(fields["id"], fields["event"], json.loads(fields["data"]))
                fields = {}

        yield read()


async def take(events: AsyncIterator[Sent], count: int) -> list[Sent]:
    async with asyncio.timeout(PATIENCE):
        return [await anext(events) for _ in range(count)]


def whats(items: list[dict[str, Any]]) -> list[object]:
    return [item["data"]["what"] for item in items]


async def shop_and_key(desk: ApiDesk, name: str = "치과") -> tuple[UUID, str]:
    shop = await desk.account(name)
    token = await desk.key(shop.id)
    await all_numbered(desk.database)  # a stream that is opened next does not begin with how the account came to be
    return shop.id, token


async def pulled(desk: ApiDesk, token: str, **query: str) -> dict[str, Any]:
    answer = await desk.ask("GET", "/events", token, query=query)
    assert answer.status == 200, answer
    found: dict[str, Any] = answer.json
    return found


async def test_whoever_goes_on_with_next_gets_all_of_it_once(desk: ApiDesk) -> None:
    shop, token = await shop_and_key(desk)
    found: list[object] = []
    cursor: dict[str, str] = {}
    for index in range(30):
        await write(desk.database, [event(shop, index, "call.ended")])
        page = await pulled(desk, token, limit="3", kind="call.ended", **cursor)
        found += whats(page["items"])
        cursor = {"after": page["next"]}

    async def rest() -> bool:
        page = await pulled(desk, token, limit="7", kind="call.ended", **cursor)
        found.extend(whats(page["items"]))
        cursor["after"] = page["next"]
        return len(found) >= 30

    await eventually(rest)
    assert found == list(range(30))


async def test_what_cannot_be_asked_is_told_as_a_problem(desk: ApiDesk) -> None:
    _, token = await shop_and_key(desk)
    _, others = await shop_and_key(desk, "다른 치과")
    foreign = (await pulled(desk, others))["next"]
    wrong = (
        {"after": "nonsense"},
        {"after": foreign},
        {"after": foreign.split("-")[0] + "-999999"},
        {"kind": "call.nothing"},
        {"limit": "0"},
        {"limit": "501"},
        {"account": "x"},
        {"nothing": "x"},
    )
    for query in wrong:
        answer = await desk.ask("GET", "/events", token, query=query)
        assert (answer.status, answer.code) == (422, "invalid"), query
    answer = await desk.ask("GET", "/events/stream", token, query={"after": "nonsense"})
    assert (answer.status, answer.code) == (422, "invalid")


async def test_each_reads_their_own_and_what_is_below(desk: ApiDesk) -> None:
    agency = await desk.account("대리점", AccountKind.AGENCY)
    inside = await desk.account("안", AccountKind.SHOP, agency.id)
    rival = await desk.account("남", AccountKind.AGENCY)
    await happened(desk.database, inside.id, "inside")
    await happened(desk.database, agency.id, "agency")
    await happened(desk.database, rival.id, "rival")
    tokens = {account.id: await desk.key(account.id) for account in (agency, inside, rival)}
    kind = {"kind": "number.changed"}
    assert whats((await pulled(desk, tokens[agency.id], **kind))["items"]) == ["inside", "agency"]
    assert whats((await pulled(desk, tokens[inside.id], **kind))["items"]) == ["inside"]
    assert whats((await pulled(desk, tokens[agency.id], account=str(inside.id), **kind))["items"]) == ["inside"]
    operator = await desk.key(OPERATOR_ID)
    assert whats((await pulled(desk, operator, account=str(rival.id), **kind))["items"]) == ["rival"]
    for path in ("/events", "/events/stream"):
        for account in (agency.id, rival.id):
            answer = await desk.ask("GET", path, tokens[inside.id], query={"account": str(account)})
            assert (answer.status, answer.code) == (404, "not_found")
    without = await desk.key(inside.id, scopes=[Deed.SEE_CALLS])
    assert (await desk.ask("GET", "/events", without)).status == 403


async def test_a_stream_brings_what_happens_and_goes_on_where_it_was_left(desk: ApiDesk) -> None:
    shop, token = await shop_and_key(desk)
    other = await desk.account("다른 가게")
    async with following(desk, token, kind="number.changed") as events:
        await write(desk.database, [event(shop, index) for index in range(5)])
        await write(desk.database, [event(other.id, "not theirs")])
        first = await take(events, 5)
    assert [sent.data["data"]["what"] for sent in first] == list(range(5))
    assert {sent.event for sent in first} == {"number.changed"}
    await write(desk.database, [event(shop, index) for index in range(5, 10)])
    async with following(desk, token, last=first[2].id, kind="number.changed") as events:
        again = await take(events, 7)
        await write(desk.database, [event(shop, "live")])
        again += await take(events, 1)
    assert [sent.data["data"]["what"] for sent in again] == [3, 4, 5, 6, 7, 8, 9, "live"]
    assert again[0].data == first[3].data
    page = await pulled(desk, token, after=first[2].id, kind="number.changed")
    assert whats(page["items"]) == [3, 4, 5, 6, 7, 8, 9, "live"]


async def test_a_stream_from_the_beginning_begins_with_what_is_kept(desk: ApiDesk) -> None:
    shop, token = await shop_and_key(desk)
    await happened(desk.database, shop, "old")
    cursor = (await pulled(desk, token))["next"]
    begin = cursor.rpartition("-")[0] + "-0"
    async with transaction(desk.database) as connection:
        await connection.execute(text("DELETE FROM events"))
        await connection.execute(text("UPDATE event_streams SET kept_after = last"))
    async with desk.session.get(
        desk.url + BASE + "/events/stream?seconds=1",
        headers={"Authorization": f"Bearer {token}", "Last-Event-ID": begin},
    ) as answer:
        ids = [line for line in (await answer.read()).splitlines() if line.startswith(b"id:")]
    assert set(ids) <= {b"id: " + cursor.encode()}
    assert len(ids) <= 2  # it waits; it does not repeat for ever that nothing is there


@pytest.mark.parametrize("how", ["off", "revoked"])
async def test_who_may_not_read_any_more_sees_their_stream_end(
    desk: ApiDesk, monkeypatch: pytest.MonkeyPatch, how: str
) -> None:
    monkeypatch.setattr(events, "ASKED_AGAIN", 0.2)
    shop, token = await shop_and_key(desk)
    async with following(desk, token) as open_stream:
        await happened(desk.database, shop, "seen")
        assert whats([(await take(open_stream, 1))[0].data]) == ["seen"]
        async with transaction(desk.database) as connection:
            if how == "off":
                await switch(connection, LOCAL_OPERATOR, shop, Module.API, False, desk.clock.now())
            else:
                await connection.execute(text("UPDATE api_keys SET revoked_at = now()"))
        async with asyncio.timeout(PATIENCE):
            async for sent in open_stream:
                assert sent.event == "account.changed"  # what came before it was asked again
    assert (await desk.ask("GET", "/events", token)).status == 401


async def test_a_stream_ends_in_time_and_nobody_has_too_many(desk: ApiDesk) -> None:
    shop, token = await shop_and_key(desk)
    async with following(desk, token, seconds="1") as events:
        await write(desk.database, [event(shop, "x")])
        assert len([sent async for sent in events]) == 1  # and then it ended by itself
    async with AsyncExitStack() as stack:
        for _ in range(MOST_STREAMS_EACH):
            await stack.enter_async_context(following(desk, token))
        answer = await desk.ask("GET", "/events/stream", token)
        assert (answer.status, answer.code) == (503, "try_later")

    async def room_again() -> bool:
        async with desk.session.get(
            desk.url + BASE + "/events/stream?seconds=1", headers={"Authorization": f"Bearer {token}"}
        ) as answer:
            return answer.status == 200

    await eventually(room_again)


async def test_a_webhook_from_its_adding_to_its_removal(desk: ApiDesk, database_url: str) -> None:
    shop, token = await shop_and_key(desk)
    world = World(desk.database, database_url, Rules(KEY, LOOPBACK))
    async with webhook_sink() as sink, world.office(numbering=False):
        wanted = {"account": str(shop), "url": sink.url, "kinds": ["number.changed"], "description": "CRM"}
        made = await desk.ask("POST", "/webhooks", token, body=wanted, headers={"Idempotency-Key": "once"})
        assert made.status == 201, made
        again = await desk.ask("POST", "/webhooks", token, body=wanted, headers={"Idempotency-Key": "once"})
        assert again.json == made.json
        sink.secrets.append(made.json["secret"])
        path = f"/webhooks/{made.json['webhook']['id']}"

        tried = await desk.ask("POST", f"{path}/test", token)
        assert [(one["status"], one["reason"]) for one in tried.json["answers"]] == [(204, "")]
        await write(desk.database, [event(shop, index) for index in range(3)])
        await eventually(lambda: len(sink.taken) == 4)
        assert whats(sink.taken[1:]) == [0, 1, 2]
        assert sink.unproven == []

        read = await desk.ask("GET", path, token)
        assert "secret" not in read.json
        assert (await desk.ask("GET", "/webhooks", token)).json["items"] == [read.json]
        settings = {"url": sink.url + "/moved", "kinds": ["number.*"]}
        assert (await desk.ask("PUT", path, token, body=settings)).status == 428
        wrong_tag = {"If-Match": '"other"'}
        assert (await desk.ask("PUT", path, token, body=settings, headers=wrong_tag)).status == 412
        changed = await desk.ask("PUT", path, token, body=settings, headers={"If-Match": read.etag})
        assert (changed.status, changed.json["url"], changed.json["description"]) == (200, sink.url + "/moved", "")

        rotated = await desk.ask("POST", f"{path}/rotate", token, body={"both_valid_hours": 0})
        sink.secrets.append(rotated.json["secret"])
        replay = await desk.ask("POST", f"{path}/replays", token, body={"first": 1, "last": 2})
        assert (replay.status, replay.json["sent_up_to"]) == (201, 0)
        before = len(sink.received)
        await write(desk.database, [event(shop, "new")])
        await eventually(lambda: "new" in whats(sink.taken[1:]))
        assert all(one.signed_with == 1 for one in sink.received[before:])

        async def caught_up() -> bool:
            progress = (await desk.ask("GET", f"{path}/progress", token)).json
            return bool(progress["sequence"] == progress["newest"] and progress["failures"] == 0)

        await eventually(caught_up)
        assert (await desk.ask("POST", f"{path}/pause", token)).json["status"] == "paused"
        assert (await desk.ask("POST", f"{path}/pause", token)).code == "conflict"
        assert (await desk.ask("POST", f"{path}/resume", token)).json["status"] == "active"
        assert (await desk.ask("GET", f"{path}/dead-letters", token)).json == {"items": [], "next": None}
        none = await desk.ask("POST", f"{path}/replays", token, body={"only_dead_letters": True})
        assert (none.status, none.code) == (404, "not_found")
        assert (await desk.ask("DELETE", path, token)).status == 204
        assert (await desk.ask("GET", path, token)).status == 404


async def test_events_in_batches_for_who_asked_for_them(desk: ApiDesk, database_url: str) -> None:
    shop, token = await shop_and_key(desk)
    world = World(desk.database, database_url, Rules(KEY, LOOPBACK))
    async with webhook_sink() as sink:
        settings = {"url": sink.url, "kinds": ["number.changed"]}
        made = await desk.ask("POST", "/webhooks", token, body=settings | {"account": str(shop)})
        assert made.json["webhook"]["batch"] == 1
        sink.secrets.append(made.json["secret"])
        path = f"/webhooks/{made.json['webhook']['id']}"
        for wrong in (0, 101, "5", 1.5):
            answer = await desk.ask("PUT", path, token, body=settings | {"batch": wrong}, headers={"If-Match": "*"})
            assert (answer.status, answer.json["errors"][0]["field"]) == (422, "body.batch")
        changed = await desk.ask("PUT", path, token, body=settings | {"batch": 50}, headers={"If-Match": "*"})
        assert (changed.status, changed.json["batch"]) == (200, 50)
        await happened(desk.database, shop, *range(30))
        async with world.office(numbering=False):
            await eventually(lambda: len(sink.taken) == 30)
        assert whats(sink.taken) == list(range(30))
        assert {one.body["type"] for one in sink.received} == {"batch"}
        assert sink.unproven == []
        page = await pulled(desk, token, kind="number.changed")
        assert page["items"] == sink.taken  # each as it is told alone


async def test_dead_letters_are_paged_and_name_their_stream(desk: ApiDesk) -> None:
    agency = await desk.account("대리점", AccountKind.AGENCY)
    other = await desk.account("다른 대리점", AccountKind.AGENCY)
    shop = await desk.account("안", AccountKind.SHOP, agency.id)
    token = await desk.key(shop.id)
    body = {"account": str(shop.id), "url": "https://example.com/x", "kinds": ["number.changed"]}
    made = (await desk.ask("POST", "/webhooks", token, body=body)).json["webhook"]
    await happened(desk.database, shop.id, 1, 2)
    await move_node(desk.database, shop.id, other.id)
    await happened(desk.database, shop.id, 3, 4)
    async with transaction(desk.database) as connection:
        webhook = await store.find(connection, UUID(made["id"]))
        assert webhook is not None
        for top in (agency.id, other.id):
            await store_dead_letters.bury(connection, webhook, Span(top, 0, 100), "it answered 422", desk.clock.now())
    path, found, cursor = f"/webhooks/{made['id']}/dead-letters", [], None
    while True:
        query = {"limit": "1"} | ({"cursor": cursor} if cursor else {})
        page = (await desk.ask("GET", path, token, query=query)).json
        found += page["items"]
        if (cursor := page["next"]) is None:
            break
    assert len(found) == len({one["id"] for one in found}) == 4
    streams = [one["stream"] for one in found]
    assert {stream: streams.count(stream) for stream in streams} == {agency.id.hex[-12:]: 2, other.id.hex[-12:]: 2}
    again = await desk.ask("POST", f"/webhooks/{made['id']}/replays", token, body={"only_dead_letters": True})
    assert again.status == 201
    ranges = (await desk.ask("GET", f"/webhooks/{made['id']}/replays", token)).json["items"]
    assert {one["stream"] for one in ranges} == set(streams)
    assert again.json in ranges


async def test_what_may_be_secret_in_an_address_is_not_written_down(desk: ApiDesk) -> None:
    shop, token = await shop_and_key(desk)
    base = "https://example.com:8443/hush-path"
    body = {"url": f"{base}?token=hush", "fallback_url": "https://example.org/hush"}
    made = await desk.ask("POST", "/webhooks", token, body=body | {"account": str(shop)})
    path = f"/webhooks/{made.json['webhook']['id']}"
    changed = body | {"url": f"{base}?token=hush2"}
    assert (await desk.ask("PUT", path, token, body=changed, headers={"If-Match": "*"})).status == 200
    looking = await desk.key(shop, scopes=[Deed.SEE_WEBHOOKS])
    for where in (path, "/webhooks"):
        assert "hush2" in str((await desk.ask("GET", where, token)).json)
        seen = await desk.ask("GET", where, looking)
        assert "https://example.com:8443/…" in str(seen.json)
        assert "hush" not in str(seen.json)
    assert (await desk.ask("DELETE", path, token)).status == 204
    async with transaction(desk.database) as connection:
        rows = await connection.execute(
            text("SELECT before, after FROM audit WHERE object_kind = 'webhook' ORDER BY id")
        )
        entries = [(row.before or {}, row.after or {}) for row in rows]
        told = await connection.execute(text("SELECT body FROM events"))
        assert "hush" not in str(entries) + str(told.all())
    assert len(entries) == 3
    urls = [entry[which]["url"] for entry, which in zip(entries, (1, 1, 0), strict=True)]
    assert all(url.startswith("https://example.com:8443/… #") for url in urls)
    assert urls[0] != urls[1] == urls[2]  # that it was changed is to be seen
    assert entries[1][0]["url"] == urls[0]


async def test_a_webhook_that_cannot_be_is_refused_by_field(desk: ApiDesk) -> None:
    shop, token = await shop_and_key(desk)
    base = {"account": str(shop), "url": "https://example.com/x"}
    for field, change in (
        ("url", {"url": "https://169.254.169.254/latest"}),
        ("url", {"url": "ftp://example.com"}),
        ("fallback_url", {"fallback_url": "https://10.0.0.1/"}),
        ("fallback_url", {"fallback_url": "https://example.com/x"}),
        ("kinds", {"kinds": ["call.nothing"]}),
        ("secret", {"secret": "hunter2"}),
        ("after", {"after": 10**9}),
        ("description", {"description": "a\nb"}),
    ):
        answer = await desk.ask("POST", "/webhooks", token, body=base | change)
        assert (answer.status, answer.code) == (422, "invalid"), change
        assert answer.json["errors"][0]["field"].endswith(field), answer.json
        assert "hunter2" not in answer.raw.decode()


async def test_nobody_touches_anothers_webhook(desk: ApiDesk) -> None:
    shop, token = await shop_and_key(desk)
    _, stranger = await shop_and_key(desk, "남의 가게")
    body = {"account": str(shop), "url": "https://example.com/x"}
    assert (await desk.ask("POST", "/webhooks", stranger, body=body)).status == 404
    made = (await desk.ask("POST", "/webhooks", token, body=body)).json["webhook"]
    path = f"/webhooks/{made['id']}"
    some = {"If-Match": "*"}
    asked = [
        ("GET", path, None),
        ("PUT", path, {"url": "https://example.com/y"}),
        ("DELETE", path, None),
        ("POST", f"{path}/rotate", {}),
        ("POST", f"{path}/pause", None),
        ("POST", f"{path}/resume", None),
        ("POST", f"{path}/test", None),
        ("POST", f"{path}/replays", {"first": 1, "last": 1}),
        ("GET", f"{path}/replays", None),
        ("GET", f"{path}/dead-letters", None),
        ("GET", f"{path}/progress", None),
    ]
    for method, where, sent in asked:
        answer = await desk.ask(method, where, stranger, body=sent, headers=some)
        assert (answer.status, answer.code) == (404, "not_found"), (method, where)
    looking = await desk.key(shop, scopes=[Deed.SEE_WEBHOOKS])
    for method, where, sent in asked:
        answer = await desk.ask(method, where, looking, body=sent, headers=some)
        assert answer.status == (200 if method == "GET" else 403), (method, where)
    assert (await desk.ask("GET", "/webhooks", stranger)).json["items"] == []

from __future__ import annotations

import asyncio
import errno
import json
import os
from collections import deque
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from pathlib import Path
from typing import Any
from uuid import UUID, uuid4

import aiohttp
import pytest
from aiohttp import web
from structlog.testing import capture_logs

from engine.foundation.clock import SystemClock
from engine.foundation.errors import Conflict, Invalid
from engine.messages.gateways.gateway import Delivered, Undelivered
from engine.messages.gateways.sandbox import read_receipts
from engine.sandbox.gateway import GatewaySetup, gateway, run_gateway
from engine.sandbox.gateway_faults import Faults
from tests.eventually import eventually
from tests.hand_clock import HandClock
from tests.loopback import ANY_PORT

KEY = "test-key"


def order(message_id: UUID, **changes: object) -> dict[str, object]:
    body = {"id": str(message_id), "to": "01023456789", "from": "0212345678", "text": "다리꽃집입니다", "callback": ""}
    return {**body, **changes}


class Client:
    """Speaks to a gateway as a customer's program would."""

    def __init__(self, session: aiohttp.ClientSession, url: str) -> None:
        self._session = session
        self._url = url

    async def post(self, *messages: dict[str, object], key: str = KEY) -> tuple[int, Any]:
        """The status, and what is said of each message, or why they were refused together."""
        status, body = await self._answer("POST", "/messages", key, json={"messages": messages})
        return status, body["answers"] if status == 200 else body

    async def get(self, path: str, key: str = KEY) -> tuple[int, Any]:
        return await self._answer("GET", path, key)

    async def _answer(self, method: str, path: str, key: str, **body: Any) -> tuple[int, Any]:
        headers = {"Authorization": f"Bearer {key}"}
        async with self._session.request(method, self._url + path, headers=headers, **body) as answer:
            return answer.status, await answer.json()


@asynccontextmanager
async def running(setup: GatewaySetup) -> AsyncIterator[Client]:
    async with gateway(ANY_PORT, setup) as url, aiohttp.ClientSession() as session:
        yield Client(session, url)


@asynccontextmanager
async def receiver(answers: list[int]) -> AsyncIterator[tuple[str, asyncio.Queue[tuple[dict[str, str], bytes]]]]:
    """A callback URL that answers with `answers`, the last one for good, and what came to it."""
    received: asyncio.Queue[tuple[dict[str, str], bytes]] = asyncio.Queue()
    left = deque(answers)

    async def take(request: web.Request) -> web.Response:
        await received.put(({name.lower(): value for name, value in request.headers.items()}, await request.read()))
        return web.Response(status=left.popleft() if len(left) > 1 else left[0])

    application = web.Application()
    application.router.add_post("/receipts", take)
    runner = web.AppRunner(application)
    await runner.setup()
    host, port = ANY_PORT.split(":")
    await web.TCPSite(runner, host, int(port)).start()
    try:
        bound = runner.addresses[0]
        yield f"http://{bound[0]}:{bound[1]}/receipts", received
    finally:
        await runner.cleanup()


def accepted_in(folder: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in (folder / "messages.jsonl").read_text().splitlines()]


async def test_a_message_is_accepted_kept_and_found_again(tmp_path: Path) -> None:
    message_id = uuid4()
    async with running(GatewaySetup(key=KEY, folder=tmp_path)) as client:
        status, [body] = await client.post(order(message_id))
        assert (status, body["id"], body["status"]) == (200, str(message_id), "accepted")
        assert await client.get(f"/messages/{message_id}") == (200, body)
        _, everything = await client.get("/messages")
    assert "nothing is sent on" in everything["note"]
    assert everything["messages"][0]["text"] == "다리꽃집입니다"
    assert accepted_in(tmp_path)[0]["order"]["to"] == "01023456789"


async def test_it_serves_until_it_is_cancelled_and_says_that_nothing_is_sent_on(tmp_path: Path) -> None:
    with capture_logs() as logs:
        serving = asyncio.ensure_future(run_gateway(ANY_PORT, KEY, tmp_path / "gateway"))
        await eventually(lambda: bool(logs))
        async with aiohttp.ClientSession() as session:
            assert (await Client(session, logs[0]["url"]).post(order(uuid4())))[0] == 200
        serving.cancel()
        with pytest.raises(asyncio.CancelledError):
            await serving
    assert "nothing is sent on" in logs[0]["event"]
    assert len(accepted_in(tmp_path / "gateway")) == 1


async def test_the_same_id_again_is_the_same_message_also_at_the_same_time(tmp_path: Path) -> None:
    message_id = uuid4()
    async with running(GatewaySetup(key=KEY, folder=tmp_path, delivery_seconds=60)) as client:
        answers = await asyncio.gather(*(client.post(order(message_id)) for _ in range(5)))
    assert all(answer == answers[0] for answer in answers)
    assert len(accepted_in(tmp_path)) == 1


async def test_the_same_id_with_another_text_is_refused(tmp_path: Path) -> None:
    message_id = uuid4()
    async with running(GatewaySetup(key=KEY, folder=tmp_path)) as client:
        await client.post(order(message_id))
        _, told = await client.post(order(message_id, text="다른 글"))
    assert told == [{"id": str(message_id), "code": "id-used"}]
    assert len(accepted_in(tmp_path)) == 1


async def test_messages_that_come_together_are_each_taken_or_refused_for_themselves(tmp_path: Path) -> None:
    first, refused, twice = uuid4(), uuid4(), uuid4()
    async with running(GatewaySetup(key=KEY, folder=tmp_path)) as client:
        orders = [order(first), order(refused, text=" "), order(twice), order(twice), order(first, text="다른 글")]
        status, told = await client.post(*orders)
        assert (status, [one["id"] for one in told]) == (200, [one["id"] for one in orders])
        states = [one.get("code") or one["status"] for one in told]
        assert states == ["accepted", "text-empty", "accepted", "accepted", "id-used"]
        assert told[2] == told[3]
        assert await client.post() == (200, [])
        assert (await client.post(*[order(uuid4())] * 101))[1]["code"] == "malformed"
    assert [line["order"]["id"] for line in accepted_in(tmp_path)] == [str(first), str(twice)]


@pytest.mark.parametrize(
    ("change", "code"),
    [
        ({"to": "0212345678"}, "recipient-not-mobile"),
        ({"to": "01012345"}, "recipient-not-mobile"),
        ({"from": "050712345678"}, "sender-is-050"),
        ({"from": "114"}, "sender-not-registered"),
        ({"text": " "}, "text-empty"),
        ({"text": "가" * 45 + "a"}, "text-too-long"),
        ({"text": "🙂"}, "text-not-cp949"),
        ({"callback": "file:///etc/passwd"}, "callback-not-http"),
    ],
)
async def test_what_no_carrier_takes_is_refused_with_its_code(
    tmp_path: Path, change: dict[str, object], code: str
) -> None:
    message_id = uuid4()
    async with running(GatewaySetup(key=KEY, folder=tmp_path)) as client:
        assert await client.post(order(message_id, **change)) == (200, [{"id": str(message_id), "code": code}])
        assert (await client.get(f"/messages/{message_id}"))[0] == 404
    assert accepted_in(tmp_path) == []


async def test_strangers_and_broken_requests_are_refused(tmp_path: Path) -> None:
    async with running(GatewaySetup(key=KEY, folder=tmp_path)) as client:
        assert (await client.post(order(uuid4()), key="wrong"))[0] == 401
        assert (await client.get("/messages", key="wrong"))[0] == 401
        assert (await client.get("/messages/none"))[0] == 404
        assert (await client.post({"id": "none"}))[1]["code"] == "malformed"
        assert "nothing is sent on" in (await client.get("/", key="wrong"))[1]["note"]


async def test_a_restart_forgets_nothing_and_cuts_off_a_torn_line(tmp_path: Path) -> None:
    message_id = uuid4()
    setup = GatewaySetup(key=KEY, folder=tmp_path)
    async with running(setup) as client:
        before = await client.post(order(message_id))
    with (tmp_path / "messages.jsonl").open("ab") as file:
        file.write(b'{"at":"2026-')
    async with running(setup) as client:
        status, [after] = await client.post(order(message_id))
        assert (status, after["reference"]) == (200, before[1][0]["reference"])
        await client.post(order(uuid4()))
    assert len(accepted_in(tmp_path)) == 2


async def test_a_disk_that_takes_nothing_accepts_nothing_and_leaves_no_torn_line(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    message_id = uuid4()

    def full(_descriptor: int) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    async with running(GatewaySetup(key=KEY, folder=tmp_path)) as client:
        with monkeypatch.context() as patch:
            patch.setattr(os, "fsync", full)
            status, body = await client.post(order(message_id))
            assert (status, body["code"]) == (503, "storage")
        assert accepted_in(tmp_path) == []
        assert (await client.get(f"/messages/{message_id}"))[0] == 404
        assert (await client.post(order(message_id)))[0] == 200
    assert len(accepted_in(tmp_path)) == 1


@pytest.mark.parametrize("content", ["something else\n", "something else", '{"torn\nsomething else'])
async def test_a_file_that_is_no_journal_is_refused_and_left_alone(tmp_path: Path, content: str) -> None:
    (tmp_path / "messages.jsonl").write_text(content)
    with pytest.raises(Invalid, match=r"messages\.jsonl: not a journal"):
        async with running(GatewaySetup(key=KEY, folder=tmp_path)):
            pass
    assert (tmp_path / "messages.jsonl").read_text() == content


async def test_a_second_gateway_gets_neither_the_folder_nor_the_address(tmp_path: Path) -> None:
    async with gateway(ANY_PORT, GatewaySetup(key=KEY, folder=tmp_path)) as url:
        with pytest.raises(Conflict, match="another message gateway uses this folder"):
            async with gateway(ANY_PORT, GatewaySetup(key=KEY, folder=tmp_path)):
                pass
        address = url.removeprefix("http://")
        with pytest.raises(Conflict, match=f"{address} cannot be bound"):
            async with gateway(address, GatewaySetup(key=KEY, folder=tmp_path / "other")):
                pass


@pytest.mark.parametrize(
    ("recipient", "result"),
    [("01023456789", Delivered), ("01023450000", Undelivered)],
)
async def test_a_signed_receipt_follows_and_says_what_the_look_up_says(
    tmp_path: Path, recipient: str, result: type[Delivered | Undelivered]
) -> None:
    message_id = uuid4()
    setup = GatewaySetup(key=KEY, folder=tmp_path, delivery_seconds=0.02)
    async with receiver([204]) as (url, received), running(setup) as client:
        await client.post(order(message_id, to=recipient, callback=url))
        headers, body = await asyncio.wait_for(received.get(), 10)
        looked_up = await client.get(f"/messages/{message_id}")
    [receipt] = read_receipts(KEY, headers, body, SystemClock().now())
    assert receipt.message_id == message_id
    assert isinstance(receipt.result, result)
    assert json.loads(body) == {"receipts": [looked_up[1]]}


async def test_a_receipt_tells_the_end_though_the_clock_has_not_quite_come_to_it(tmp_path: Path) -> None:
    clock = HandClock()  # stands still, as if the timer were short of it
    setup = GatewaySetup(key=KEY, folder=tmp_path, clock=clock, delivery_seconds=0.02)
    async with receiver([204]) as (url, received), running(setup) as client:
        await client.post(order(uuid4(), callback=url))
        _headers, body = await asyncio.wait_for(received.get(), 10)
    assert json.loads(body)["receipts"][0]["status"] == "delivered"


async def test_a_receipt_that_nobody_took_is_sent_again_after_a_restart_and_then_never(tmp_path: Path) -> None:
    setup = GatewaySetup(key=KEY, folder=tmp_path, delivery_seconds=0.01)
    async with AsyncExitStack() as stack:
        url, received = await stack.enter_async_context(receiver([500, 204]))
        async with running(setup) as client:
            await client.post(order(uuid4(), callback=url))
            first = await asyncio.wait_for(received.get(), 10)
        async with running(setup):
            second = await asyncio.wait_for(received.get(), 10)
            while not (tmp_path / "receipts.jsonl").read_text():
                await asyncio.sleep(0.01)
        async with running(setup):
            await asyncio.sleep(0.1)
        assert received.empty()
    assert first[0]["webhook-id"] == second[0]["webhook-id"]


async def test_receipts_are_doubled_or_left_out_on_demand(tmp_path: Path) -> None:
    async with receiver([204]) as (url, received):
        setup = GatewaySetup(key=KEY, folder=tmp_path, delivery_seconds=0.01, faults=Faults(receipt_copies=2))
        async with running(setup) as client:
            await client.post(order(uuid4(), callback=url))
            copies = [await asyncio.wait_for(received.get(), 10) for _ in range(2)]
    assert copies[0][1] == copies[1][1]


def _told_of(body: bytes) -> list[str]:
    return [receipt["id"] for receipt in json.loads(body)["receipts"]]


@pytest.mark.parametrize(
    ("answers", "posts"),
    [
        ([204], ["ab"]),
        ([404, 204], ["ab", "a", "b"]),  # one of them may be at fault
        ([503, 204], ["ab", "ab"]),  # the receiver is: they are sent again later
    ],
)
async def test_receipts_of_messages_that_came_together_go_together_and_apart_when_they_are_refused(
    tmp_path: Path, answers: list[int], posts: list[str]
) -> None:
    names = {str(uuid4()): name for name in "ab"}
    setup = GatewaySetup(key=KEY, folder=tmp_path, delivery_seconds=0.01)
    async with receiver(answers) as (url, received), running(setup) as client:
        await client.post(*[order(UUID(message_id), callback=url) for message_id in names])
        got = [await asyncio.wait_for(received.get(), 10) for _ in posts]
        await eventually(lambda: len((tmp_path / "receipts.jsonl").read_text().splitlines()) == 2)
        assert received.empty()
    assert ["".join(names[one] for one in _told_of(body)) for _, body in got] == posts
    same_id = got[0][0]["webhook-id"] == got[-1][0]["webhook-id"]
    assert same_id == (posts[0] == posts[-1])

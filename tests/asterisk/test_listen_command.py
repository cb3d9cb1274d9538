"""`dari listen` on the whole system: its link is heard over Dari's own HTTP, and who listened is in the database."""

from __future__ import annotations

from collections.abc import AsyncIterator
from urllib.parse import urlsplit

import aiohttp
import pytest

from engine.sandbox.ear import tones
from tests.eventually import eventually
from tests.listening_post import Ear
from tests.real_asterisk import loopback
from tests.running_shop import CALLER, NUMBER, PLAIN, PLAIN_TARGET, SHOP, TARGET, RunningShop, running_shop

DARI, CARRIER_IP = loopback(61, 1), loopback(61, 2)
FROM = "01087654321"


@pytest.fixture(scope="module")
async def shop() -> AsyncIterator[RunningShop]:
    async with running_shop(DARI, CARRIER_IP) as running:
        yield running


async def test_link_is_heard_once_and_written_down(shop: RunningShop) -> None:
    caller, target = await shop.connected_call(FROM, NUMBER, TARGET)
    (live,) = await shop.objects("call", "list")
    code, _, errors = await shop.home.run("listen", live["call_id"], "--reason", "a complaint")
    assert code == 1
    assert "listening grant" in errors
    await shop.dari("account", "grant", "main", "--days", "1", "--reason", "training", "--evidence", "form of today")
    (link,) = await shop.objects("listen", live["call_id"][-8:], "--reason", "a complaint", "--minutes", "2")
    assert (link["call_id"], link["mode"], link["minutes"]) == (live["call_id"], "listen", 2)
    address = urlsplit(link["url"])
    assert address.path == "/listen"
    async with aiohttp.ClientSession(f"http://{address.netloc}") as session:
        async with session.get(address.path) as page:
            assert page.status == 200
        async with session.ws_connect("/listen/sound") as line:
            ear = Ear(line)
            await line.send_str(address.fragment)
            await ear.live()
            await eventually(lambda: {one.what for one in tones(ear.recording, [CALLER, SHOP])} == both())
            await ear.leave()
        async with session.ws_connect("/listen/sound") as line:
            await line.send_str(address.fragment)
            assert (await line.receive_json())["why"] == "refused"
    await shop.talk(caller, target)
    record = await shop.record(caller)
    assert [step["kind"] for step in record["steps"]].count("listening") == 1


async def test_talk_that_was_not_announced_is_refused_in_one_sentence(shop: RunningShop) -> None:
    caller, target = await shop.connected_call(FROM, PLAIN, PLAIN_TARGET)
    (live,) = await shop.objects("call", "list")
    await shop.dari("account", "grant", "plain", "--days", "1", "--reason", "training", "--evidence", "form of today")
    code, output, errors = await shop.home.run("listen", live["call_id"], "--reason", "a complaint")
    assert (code, output) == (1, "")
    assert "did not both hear the recording notice" in errors
    code, _, errors = await shop.home.run("listen", live["call_id"], "--reason", "a complaint", "--barge")
    assert code == 1
    assert "DARI_LISTENING" in errors
    await shop.talk(caller, target)


def both() -> set[str]:
    return {f"{CALLER} Hz", f"{SHOP} Hz"}

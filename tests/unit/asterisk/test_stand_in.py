"""Whoever stands in for a program has its application until somebody takes it, or says that it has it no more."""

from __future__ import annotations

import asyncio
from contextlib import aclosing

import aiohttp
import pytest

from engine.asterisk.events import ApplicationReplaced, BridgeDestroyed
from engine.asterisk.stand_in import stand_in
from engine.foundation.errors import TryLater
from tests.eventually import PATIENCE
from tests.fake_ari import FakeAri

BRIDGE = '{"type":"BridgeDestroyed","application":"dari-n1","bridge":{"id":"b","technology":"","bridge_type":""}}'
REPLACED = '{"type":"ApplicationReplaced","application":"dari-n1"}'
UNKNOWN = '{"type":"ChannelVarset","application":"dari-n1"}'


async def test_it_tells_what_happens_and_leaves_to_whoever_takes_the_application() -> None:
    async with FakeAri() as server, asyncio.timeout(PATIENCE):
        told = []
        async with aclosing(stand_in(server.url, "dari-n1", "dari", "secret")) as happenings:
            first = asyncio.ensure_future(anext(happenings))
            socket = await server.connected()
            for text in (UNKNOWN, BRIDGE, REPLACED):
                await socket.send_str(text)
            told = [await first, *[event async for event in happenings]]
        assert [type(event) for event in told] == [BridgeDestroyed, ApplicationReplaced]
        [opened] = server.seen
        assert opened.address == "/ari/events?app=dari-n1", "and nothing else is asked of Asterisk"
        assert opened.authorization == aiohttp.encode_basic_auth("dari", "secret")


async def test_a_socket_that_ends_is_no_application_any_more() -> None:
    async with FakeAri() as server, asyncio.timeout(PATIENCE):
        happenings = stand_in(server.url, "dari-n1", "dari", "secret")
        first = asyncio.ensure_future(anext(happenings))
        await (await server.connected()).close()
        with pytest.raises(TryLater, match="closed the event socket for dari-n1"):
            await first


async def test_a_socket_that_is_refused_or_not_there_says_so() -> None:
    async with FakeAri() as server, asyncio.timeout(PATIENCE):
        server.event_status = 503
        with pytest.raises(TryLater, match="gives no event socket for dari-n1"):
            await anext(stand_in(server.url, "dari-n1", "dari", "secret"))
        url = server.url
    with pytest.raises(TryLater, match="is it running"):
        await anext(stand_in(url, "dari-n1", "dari", "secret"))

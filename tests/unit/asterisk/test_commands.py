"""How requests leave and what comes back as which error."""

from __future__ import annotations

import asyncio

import aiohttp
import pytest

from engine.asterisk import commands
from engine.asterisk.commands import (
    Ari,
    AsteriskFailed,
    ChannelGone,
    NotInApplication,
    OutcomeUnknown,
    PreconditionFailed,
    WrongState,
)
from engine.asterisk.http import AT_ONCE
from engine.foundation.errors import DariError, Invalid, NotAllowed, NotFound, TryLater
from tests.eventually import eventually
from tests.fake_ari import FakeAri


def client(server: FakeAri, timeout: float = 5.0) -> Ari:
    return Ari(server.url, "dari-n1", "dari", "secret-password", timeout=timeout)


@pytest.mark.parametrize(
    ("status", "message", "error"),
    [
        (400, "Invalid parameter", Invalid),
        (401, "Authentication required", NotAllowed),
        (403, "Write access denied", NotAllowed),
        (404, "Channel not found", ChannelGone),
        (409, "Channel not in Stasis application", WrongState),
        (412, "Channel in invalid state", PreconditionFailed),
        (422, "Channel not in Stasis application", NotInApplication),
        (500, "Allocation failed", AsteriskFailed),
        (503, "Unavailable", AsteriskFailed),
    ],
)
async def test_status_becomes_its_own_error_with_asterisks_reason(
    status: int, message: str, error: type[DariError]
) -> None:
    async with FakeAri(status=status, answer={"message": message}) as server, client(server) as ari:
        with pytest.raises(error, match=message) as raised:
            await ari.ring("c1")
        assert type(raised.value) is error


@pytest.mark.parametrize("status", [404, 500])
async def test_error_without_a_readable_reason_is_still_the_right_one(status: int) -> None:
    async with FakeAri(status=status) as server, client(server) as ari:
        with pytest.raises((ChannelGone, AsteriskFailed), match="no reason given"):
            await ari.ring("c1")


async def test_missing_bridge_is_not_told_as_a_missing_channel() -> None:
    async with FakeAri(status=404, answer={"message": "Bridge not found"}) as server, client(server) as ari:
        with pytest.raises(NotFound) as raised:
            await ari.add_to_bridge("b1", "c1")
        assert not isinstance(raised.value, ChannelGone)


async def test_answer_that_fails_because_the_caller_left_is_told_as_gone() -> None:
    async with FakeAri(status=500, answer={"message": "Failed to answer channel"}) as server, client(server) as ari:
        with pytest.raises(ChannelGone):
            await ari.answer("c1")


async def test_no_answer_in_time_leaves_the_outcome_unknown() -> None:
    async with FakeAri(silent=True) as server, client(server, timeout=0.05) as ari:
        with pytest.raises(OutcomeUnknown, match="may or may not have been done"):
            await ari.answer("c1")


async def test_an_end_that_asterisk_forgot_is_asked_for_again_until_nothing_is_recorded() -> None:
    async with FakeAri() as server, client(server) as ari:
        ending = asyncio.ensure_future(ari.end_recording("r1"))
        await eventually(lambda: [one.method for one in server.seen].count("POST") >= 2)
        server.status = 404
        await ending
        assert {one.address for one in server.seen} == {
            "/ari/recordings/live/r1",
            "/ari/recordings/live/r1/stop",
        }


async def test_a_recording_that_nothing_ends_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(commands, "_BETWEEN_ENDINGS", 0.0)
    async with FakeAri() as server, client(server) as ari:
        with pytest.raises(AsteriskFailed, match="recording r1: Asterisk does not end it"):
            await ari.end_recording("r1")


async def test_new_connections_are_never_more_than_asterisk_lets_wait() -> None:
    async with FakeAri(silent=True) as server, client(server) as ari:
        commands = [asyncio.ensure_future(ari.answer(f"c{number}")) for number in range(30)]
        await eventually(lambda: server.waiting >= AT_ONCE)
        await asyncio.sleep(0.1)  # more would have come by now
        server.release()
        await asyncio.gather(*commands)
        assert (len(server.seen), server.most_waiting) == (30, AT_ONCE)


async def test_a_new_connection_that_is_given_up_makes_room_for_the_next() -> None:
    async with FakeAri(silent=True) as server, client(server) as ari:
        commands = [asyncio.ensure_future(ari.answer("c")) for _ in range(AT_ONCE)]
        await eventually(lambda: server.waiting == AT_ONCE)
        for command in commands:
            command.cancel()
        await asyncio.gather(*commands, return_exceptions=True)
        server.release()
        await ari.answer("c")
        assert len(server.seen) == AT_ONCE + 1


async def test_asterisk_that_is_not_there_is_named_and_nothing_was_done() -> None:
    async with FakeAri() as server:
        url = server.url
    async with Ari(url, "dari-n1", "dari", "secret-password") as ari:
        with pytest.raises(TryLater, match=url) as raised:
            await ari.answer("c1")
        assert not isinstance(raised.value, OutcomeUnknown)


async def test_password_and_numbers_travel_in_no_address() -> None:
    async with FakeAri() as server, client(server) as ari:
        await ari.originate(
            "t/1 ü",
            "PJSIP/0212345678@carrier",
            app_args="target,1",
            caller_id="01012345678",
            ring_seconds=30,
            originator="c1",
            variables={"REDIRECTING(from-num,i)": "05012345678"},
        )
        await ari.play("c1", "/sounds/a,b", "p1")
        await ari.set_variables("t/1 ü", {"A": "01012345678"})
    assert [seen.address for seen in server.seen] == [
        "/ari/channels",
        "/ari/channels/c1/play/p1",
        "/ari/channels/t%2F1%20%C3%BC/variables",
    ]
    assert {seen.authorization for seen in server.seen} == {aiohttp.encode_basic_auth("dari", "secret-password")}
    assert server.seen[0].body == {
        "channelId": "t/1 ü",
        "endpoint": "PJSIP/0212345678@carrier",
        "app": "dari-n1",
        "appArgs": "target,1",
        "callerId": "01012345678",
        "timeout": 30,
        "originator": "c1",
        "variables": {"REDIRECTING(from-num,i)": "05012345678"},
    }
    assert server.seen[1].body == {"media": ["sound:/sounds/a,b"]}


async def test_what_is_not_given_is_not_sent() -> None:
    async with FakeAri() as server, client(server) as ari:
        await ari.originate("t1", "PJSIP/1@carrier", caller_id=None, ring_seconds=1)
        await ari.continue_in_dialplan("t1")
    assert {"callerId", "originator", "variables"}.isdisjoint(server.seen[0].body)
    assert server.seen[1].body is None


async def test_answer_that_cannot_be_read_is_an_error_of_ours() -> None:
    async with FakeAri(status=200, answer={"system": 7}) as server, client(server) as ari:
        with pytest.raises(AsteriskFailed, match="cannot be read"):
            await ari.version()

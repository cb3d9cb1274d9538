from __future__ import annotations

import asyncio
import json
from collections import deque
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path
from uuid import uuid4

import aiohttp
import pytest

from engine.foundation.errors import Invalid, NotAllowed
from engine.foundation.phone_number import PhoneNumber
from engine.messages.gateways.gateway import (
    Accepted,
    Away,
    Delivered,
    NeverSeen,
    Outgoing,
    Rejected,
    Undelivered,
    Unknown,
)
from engine.messages.gateways.sandbox import RECEIPT_WINDOW, SandboxGateway, read_receipt
from engine.sandbox.gateway import GatewaySetup, gateway
from engine.sandbox.gateway_faults import Fault, Faults
from engine.sandbox.gateway_receipts import signed_headers
from tests.loopback import ANY_PORT

KEY = "test-key"
NOW = datetime(2026, 11, 21, 3, 0, tzinfo=UTC)


def outgoing(recipient: str = "01023456789", text: str = "다리꽃집입니다") -> Outgoing:
    return Outgoing(uuid4(), PhoneNumber(recipient), PhoneNumber("0212345678"), text)


@asynccontextmanager
async def adapter(
    folder: Path, *faults: Fault, delivery_seconds: float = 60.0, timeout: float = 10.0, key: str = KEY
) -> AsyncIterator[tuple[SandboxGateway, Faults]]:
    """An adapter and the real gateway behind it, which does `faults` first."""
    plan = Faults(posts=deque(faults))
    setup = GatewaySetup(key=KEY, folder=folder, delivery_seconds=delivery_seconds, faults=plan)
    async with gateway(ANY_PORT, setup) as url, aiohttp.ClientSession() as session:
        yield SandboxGateway(session, url, key, "", timeout), plan
        plan.go_on.set()


async def test_an_accepted_message_has_a_reference_and_is_found(tmp_path: Path) -> None:
    async with adapter(tmp_path) as (gateway_, _):
        message = outgoing()
        assert await gateway_.look_up(message.id) == NeverSeen()
        answer = await gateway_.submit(message)
        assert isinstance(answer, Accepted)
        assert await gateway_.look_up(message.id) == answer
        assert await gateway_.submit(message) == answer


@pytest.mark.parametrize(("recipient", "result"), [("01023456789", Delivered), ("01011110000", Undelivered)])
async def test_a_look_up_tells_the_final_result(
    tmp_path: Path, recipient: str, result: type[Delivered | Undelivered]
) -> None:
    async with adapter(tmp_path, delivery_seconds=0.0) as (gateway_, _):
        message = outgoing(recipient)
        await gateway_.submit(message)
        assert isinstance(await gateway_.look_up(message.id), result)


async def test_a_refused_message_is_rejected_with_the_gateways_code(tmp_path: Path) -> None:
    async with adapter(tmp_path) as (gateway_, _):
        assert await gateway_.submit(outgoing("0212345678")) == Rejected("the gateway refused it: recipient-not-mobile")


@pytest.mark.parametrize("fault", [Fault.CUT_AFTER, Fault.BROKEN, Fault.GARBAGE])
async def test_a_message_that_was_taken_without_an_answer_is_unknown_and_then_found(
    tmp_path: Path, fault: Fault
) -> None:
    async with adapter(tmp_path, fault) as (gateway_, faults):
        message = outgoing()
        assert isinstance(await gateway_.submit(message), Unknown)
        assert faults.happened == [fault]
        assert isinstance(await gateway_.look_up(message.id), Accepted)


async def test_no_answer_in_time_is_unknown(tmp_path: Path) -> None:
    async with adapter(tmp_path, Fault.LATE, timeout=0.1) as (gateway_, faults):
        assert await gateway_.submit(outgoing()) == Unknown("the gateway did not answer in time")
        assert faults.happened == [Fault.LATE]


async def test_a_connection_cut_before_it_was_taken_is_unknown_and_then_never_seen(tmp_path: Path) -> None:
    async with adapter(tmp_path, Fault.CUT_BEFORE) as (gateway_, faults):
        message = outgoing()
        assert isinstance(await gateway_.submit(message), Unknown)
        assert faults.happened == [Fault.CUT_BEFORE]
        assert await gateway_.look_up(message.id) == NeverSeen()


async def test_a_busy_gateway_surely_took_nothing(tmp_path: Path) -> None:
    async with adapter(tmp_path, Fault.BUSY) as (gateway_, _):
        assert await gateway_.submit(outgoing()) == Away("the gateway is busy")


async def test_nobody_listening_is_away_for_sending_and_unknown_for_asking(tmp_path: Path) -> None:
    async with gateway(ANY_PORT, GatewaySetup(key=KEY, folder=tmp_path)) as url:
        pass
    async with aiohttp.ClientSession() as session:
        gone = SandboxGateway(session, url, KEY, "", 5.0)
        assert await gone.submit(outgoing()) == Away("the gateway cannot be reached")
        assert await gone.look_up(uuid4()) == Unknown("the gateway cannot be reached")


async def test_a_wrong_key_is_our_fault_and_never_the_messages(tmp_path: Path) -> None:
    async with adapter(tmp_path, key="wrong") as (gateway_, _):
        answer = await gateway_.submit(outgoing())
        assert isinstance(answer, Away)
        assert "DARI_GATEWAY_KEY" in answer.reason
        assert isinstance(await gateway_.look_up(uuid4()), Unknown)


@pytest.mark.parametrize("code", ["01023456789", "다리꽃집입니다", "x" * 65, ""])
async def test_only_a_code_of_the_gateway_gets_into_a_reason(code: str) -> None:
    async def refuse(_reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        body = json.dumps({"code": code}).encode()
        writer.write(b"HTTP/1.1 422 X\r\nContent-Length: %d\r\nConnection: close\r\n\r\n" % len(body) + body)
        await writer.drain()
        writer.close()

    host, port = ANY_PORT.split(":")
    server = await asyncio.start_server(refuse, host, int(port))
    async with server, aiohttp.ClientSession() as session:
        bound = server.sockets[0].getsockname()
        answer = await SandboxGateway(session, f"http://{bound[0]}:{bound[1]}", KEY, "", 5.0).submit(outgoing())
    assert answer == Rejected("the gateway refused it: 422")


async def test_an_answer_in_pieces_is_put_together(tmp_path: Path) -> None:
    message = outgoing()
    body = json.dumps({"id": str(message.id), "reference": "r", "status": "accepted"}).encode()

    async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"}")
        writer.write(b"HTTP/1.1 202 X\r\nContent-Length: %d\r\nConnection: close\r\n\r\n" % len(body) + body[:20])
        await writer.drain()
        await asyncio.sleep(0.05)
        writer.write(body[20:])
        await writer.drain()
        writer.close()

    host, port = ANY_PORT.split(":")
    server = await asyncio.start_server(answer, host, int(port))
    async with server, aiohttp.ClientSession() as session:
        bound = server.sockets[0].getsockname()
        gateway_ = SandboxGateway(session, f"http://{bound[0]}:{bound[1]}", KEY, "", 5.0)
        assert await gateway_.submit(message) == Accepted("r")


def receipt(**changes: str) -> bytes:
    body = {"id": "0190a8a0-0000-7000-8000-000000000001", "reference": "r", "status": "delivered", "reason": ""}
    return json.dumps({**body, **changes}).encode()


def signed(body: bytes, key: str = KEY, at: datetime = NOW) -> dict[str, str]:
    return signed_headers(key, "receipt-1", int(at.timestamp()), body)


def test_a_signed_receipt_is_read() -> None:
    body = receipt()
    read = read_receipt(KEY, signed(body), body, NOW + RECEIPT_WINDOW)
    assert read is not None
    assert read.result == Delivered("r")
    failed = receipt(status="failed", reason="recipient-switched-off")
    read = read_receipt(KEY, signed(failed), failed, NOW)
    assert read is not None
    assert read.result == Undelivered("r", "not delivered: recipient-switched-off")


def test_a_receipt_without_a_final_result_says_nothing() -> None:
    body = receipt(status="accepted")
    assert read_receipt(KEY, signed(body), body, NOW) is None


def test_one_right_signature_among_several_is_enough() -> None:
    body = receipt()
    headers = signed(body)
    headers["webhook-signature"] = "v1,AAAA " + headers["webhook-signature"]
    assert read_receipt(KEY, headers, body, NOW) is not None


@pytest.mark.parametrize(
    "change",
    [
        {"webhook-signature": "v1,AAAA"},
        {"webhook-signature": ""},
        {"webhook-signature": "v1,é"},
        {"webhook-id": "receipt-2"},
        {"webhook-timestamp": str(int(NOW.timestamp()) + 1)},
        {"webhook-timestamp": ""},
        {"webhook-timestamp": "²"},
    ],
)
def test_a_receipt_changed_on_the_way_is_refused(change: dict[str, str]) -> None:
    body = receipt()
    with pytest.raises(NotAllowed):
        read_receipt(KEY, {**signed(body), **change}, body, NOW)


def test_another_body_or_key_is_refused() -> None:
    body = receipt()
    with pytest.raises(NotAllowed, match="signature is wrong"):
        read_receipt(KEY, signed(body), body + b" ", NOW)
    with pytest.raises(NotAllowed, match="signature is wrong"):
        read_receipt("other", signed(body), body, NOW)


@pytest.mark.parametrize("late", [timedelta(seconds=301), timedelta(seconds=-301)])
def test_an_old_or_early_receipt_is_refused(late: timedelta) -> None:
    body = receipt()
    with pytest.raises(NotAllowed, match="300 s"):
        read_receipt(KEY, signed(body), body, NOW + late)


@pytest.mark.parametrize("body", [b"", b"{}", b"\xff", receipt(id="x"), receipt(status="read")])
def test_a_signed_body_that_is_no_receipt_is_invalid(body: bytes) -> None:
    with pytest.raises(Invalid):
        read_receipt(KEY, signed(body), body, NOW)

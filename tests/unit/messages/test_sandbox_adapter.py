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
    Answer,
    Away,
    Delivered,
    NeverSeen,
    Outgoing,
    Rejected,
    Undelivered,
    Unknown,
)
from engine.messages.gateways.sandbox import RECEIPT_WINDOW, SandboxGateway, read_receipts
from engine.sandbox.gateway import GatewaySetup, gateway
from engine.sandbox.gateway_faults import Fault, Faults
from engine.sandbox.gateway_receipts import signed_headers
from tests.loopback import ANY_PORT

KEY = "test-key"
NOW = datetime(2026, 11, 21, 3, 0, tzinfo=UTC)


def outgoing(recipient: str = "01023456789", text: str = "다리꽃집입니다") -> Outgoing:
    return Outgoing(uuid4(), PhoneNumber(recipient), PhoneNumber("0212345678"), text)


async def submit(adapter_: SandboxGateway, message: Outgoing) -> Answer:
    """The answer for a message that goes alone."""
    (answer,) = await adapter_.submit([message])
    return answer


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
        answer = await submit(gateway_, message)
        assert isinstance(answer, Accepted)
        assert await gateway_.look_up(message.id) == answer
        assert await submit(gateway_, message) == answer


@pytest.mark.parametrize(("recipient", "result"), [("01023456789", Delivered), ("01011110000", Undelivered)])
async def test_a_look_up_tells_the_final_result(
    tmp_path: Path, recipient: str, result: type[Delivered | Undelivered]
) -> None:
    async with adapter(tmp_path, delivery_seconds=0.0) as (gateway_, _):
        message = outgoing(recipient)
        await submit(gateway_, message)
        assert isinstance(await gateway_.look_up(message.id), result)


async def test_a_refused_message_is_rejected_with_the_gateways_code(tmp_path: Path) -> None:
    async with adapter(tmp_path) as (gateway_, _):
        assert await submit(gateway_, outgoing("0212345678")) == Rejected(
            "the gateway refused it: recipient-not-mobile"
        )


@pytest.mark.parametrize("fault", [Fault.CUT_AFTER, Fault.BROKEN, Fault.GARBAGE])
async def test_a_message_that_was_taken_without_an_answer_is_unknown_and_then_found(
    tmp_path: Path, fault: Fault
) -> None:
    async with adapter(tmp_path, fault) as (gateway_, faults):
        message = outgoing()
        assert isinstance(await submit(gateway_, message), Unknown)
        assert faults.happened == [fault]
        assert isinstance(await gateway_.look_up(message.id), Accepted)


async def test_no_answer_in_time_is_unknown(tmp_path: Path) -> None:
    async with adapter(tmp_path, Fault.LATE, timeout=0.1) as (gateway_, faults):
        assert await submit(gateway_, outgoing()) == Unknown("the gateway did not answer in time")
        assert faults.happened == [Fault.LATE]


async def test_a_connection_cut_before_it_was_taken_is_unknown_and_then_never_seen(tmp_path: Path) -> None:
    async with adapter(tmp_path, Fault.CUT_BEFORE) as (gateway_, faults):
        message = outgoing()
        assert isinstance(await submit(gateway_, message), Unknown)
        assert faults.happened == [Fault.CUT_BEFORE]
        assert await gateway_.look_up(message.id) == NeverSeen()


async def test_a_busy_gateway_surely_took_nothing(tmp_path: Path) -> None:
    async with adapter(tmp_path, Fault.BUSY) as (gateway_, _):
        assert await submit(gateway_, outgoing()) == Away("the gateway is busy")


async def test_nobody_listening_is_away_for_sending_and_unknown_for_asking(tmp_path: Path) -> None:
    async with gateway(ANY_PORT, GatewaySetup(key=KEY, folder=tmp_path)) as url:
        pass
    async with aiohttp.ClientSession() as session:
        gone = SandboxGateway(session, url, KEY, "", 5.0)
        assert await submit(gone, outgoing()) == Away("the gateway cannot be reached")
        assert await gone.look_up(uuid4()) == Unknown("the gateway cannot be reached")


async def test_a_wrong_key_is_our_fault_and_never_the_messages(tmp_path: Path) -> None:
    async with adapter(tmp_path, key="wrong") as (gateway_, _):
        answer = await submit(gateway_, outgoing())
        assert isinstance(answer, Away)
        assert "DARI_GATEWAY_KEY" in answer.reason
        assert isinstance(await gateway_.look_up(uuid4()), Unknown)


async def test_messages_that_go_together_get_each_its_own_answer(tmp_path: Path) -> None:
    async with adapter(tmp_path) as (gateway_, _):
        first, refused, last = messages = [outgoing(), outgoing("0212345678"), outgoing()]
        answers = await gateway_.submit(messages)
        assert answers[1] == Rejected("the gateway refused it: recipient-not-mobile")
        assert [answers[0], answers[2]] == [await gateway_.look_up(one.id) for one in (first, last)]
        assert await gateway_.look_up(refused.id) == NeverSeen()
        assert await gateway_.submit(messages[::-1]) == answers[::-1]


async def test_what_the_gateway_refuses_together_goes_one_by_one(tmp_path: Path) -> None:
    async with adapter(tmp_path) as (gateway_, _):
        messages = [outgoing() for _ in range(gateway_.at_once)]
        assert {type(answer) for answer in await gateway_.submit(messages)} == {Accepted}
        answers = await gateway_.submit([*messages, outgoing("0212345678"), outgoing()])
        assert [type(answer) for answer in answers] == [*[Accepted] * len(messages), Rejected, Accepted]
    assert len((tmp_path / "messages.jsonl").read_text().splitlines()) == len(messages) + 1


@asynccontextmanager
async def answering(status: int, *pieces: bytes) -> AsyncIterator[SandboxGateway]:
    """An adapter to a gateway that answers everything with these pieces of one body."""

    async def answer(_reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        length = sum(map(len, pieces))
        writer.write(b"HTTP/1.1 %d X\r\nContent-Length: %d\r\nConnection: close\r\n\r\n" % (status, length))
        for piece in pieces:
            writer.write(piece)
            await writer.drain()
            await asyncio.sleep(0.05)
        writer.close()

    host, port = ANY_PORT.split(":")
    server = await asyncio.start_server(answer, host, int(port))
    async with server, aiohttp.ClientSession() as session:
        bound = server.sockets[0].getsockname()
        yield SandboxGateway(session, f"http://{bound[0]}:{bound[1]}", KEY, "", 5.0)


@pytest.mark.parametrize("code", ["01023456789", "다리꽃집입니다", "x" * 65, ""])
async def test_only_a_code_of_the_gateway_gets_into_a_reason(code: str) -> None:
    async with answering(422, json.dumps({"code": code}).encode()) as gateway_:
        assert await submit(gateway_, outgoing()) == Rejected("the gateway refused it: 422")


@pytest.mark.parametrize("code", ["01023456789", "다리꽃집입니다", "x" * 65])
async def test_nor_does_anything_else_that_it_says_of_one_message(code: str) -> None:
    message = outgoing()
    async with answering(200, json.dumps({"answers": [{"id": str(message.id), "code": code}]}).encode()) as gateway_:
        assert await submit(gateway_, message) == Rejected("the gateway refused it: no reason given")


async def test_a_message_that_the_gateway_does_not_speak_of_is_unknown() -> None:
    left_out, taken = outgoing(), outgoing()
    body = json.dumps({"answers": [{"id": str(taken.id), "reference": "r"}, {"id": str(uuid4()), "reference": "x"}]})
    async with answering(200, body.encode()) as gateway_:
        answers = await gateway_.submit([left_out, taken])
    assert answers == [Unknown("the gateway's answer cannot be read"), Accepted("r")]


async def test_an_answer_in_pieces_is_put_together() -> None:
    message = outgoing()
    body = json.dumps({"answers": [{"id": str(message.id), "reference": "r", "status": "accepted"}]}).encode()
    async with answering(200, body[:20], body[20:]) as gateway_:
        assert await submit(gateway_, message) == Accepted("r")


def receipt(**changes: str) -> bytes:
    state = {"id": "0190a8a0-0000-7000-8000-000000000001", "reference": "r", "status": "delivered", "reason": ""}
    return json.dumps({"receipts": [{**state, **changes}]}).encode()


def signed(body: bytes, key: str = KEY, at: datetime = NOW) -> dict[str, str]:
    return signed_headers(key, "receipt-1", int(at.timestamp()), body)


def test_a_signed_receipt_is_read() -> None:
    body = receipt()
    [read] = read_receipts(KEY, signed(body), body, NOW + RECEIPT_WINDOW)
    assert read.result == Delivered("r")
    failed = receipt(status="failed", reason="recipient-switched-off")
    [read] = read_receipts(KEY, signed(failed), failed, NOW)
    assert read.result == Undelivered("r", "not delivered: recipient-switched-off")


def test_a_receipt_without_a_final_result_says_nothing() -> None:
    body = receipt(status="accepted")
    assert read_receipts(KEY, signed(body), body, NOW) == []


def test_one_right_signature_among_several_is_enough() -> None:
    body = receipt()
    headers = signed(body)
    headers["webhook-signature"] = "v1,AAAA " + headers["webhook-signature"]
    assert read_receipts(KEY, headers, body, NOW)


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
        read_receipts(KEY, {**signed(body), **change}, body, NOW)


def test_another_body_or_key_is_refused() -> None:
    body = receipt()
    with pytest.raises(NotAllowed, match="signature is wrong"):
        read_receipts(KEY, signed(body), body + b" ", NOW)
    with pytest.raises(NotAllowed, match="signature is wrong"):
        read_receipts("other", signed(body), body, NOW)


@pytest.mark.parametrize("late", [timedelta(seconds=301), timedelta(seconds=-301)])
def test_an_old_or_early_receipt_is_refused(late: timedelta) -> None:
    body = receipt()
    with pytest.raises(NotAllowed, match="300 s"):
        read_receipts(KEY, signed(body), body, NOW + late)


@pytest.mark.parametrize("body", [b"", b"{}", b"\xff", receipt(id="x"), receipt(status="read")])
def test_a_signed_body_that_is_no_receipt_is_invalid(body: bytes) -> None:
    with pytest.raises(Invalid):
        read_receipts(KEY, signed(body), body, NOW)

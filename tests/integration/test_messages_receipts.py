"""Delivery receipts over real HTTP, into a real database."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from datetime import UTC, datetime, timedelta
from uuid import UUID, uuid4

import aiohttp
import msgspec
import pytest
from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncEngine

from engine.api.app import make_api, serving
from engine.api.receipts import receipts_router
from engine.callbacks.call_ended import call_ended
from engine.foundation.clock import SystemClock
from engine.foundation.database import open_database, transaction
from engine.messages.gateways.sandbox import SANDBOX_RECEIPTS
from engine.messages.model import Message, Status
from engine.messages.outbox import MESSAGE_FAILED, keep_messages
from engine.messages.search import message, messages
from engine.sandbox.gateway_receipts import signed_headers
from tests.answered_call import answered_call
from tests.eventually import eventually
from tests.loopback import ANY_PORT
from tests.message_system import waiting_for_a_lock
from tests.shop import jobs_in_queue, keep_call, open_shop

KEY = "test-key"


class Sender:
    """Sends receipts as a gateway would, or as somebody would who pretends to be one."""

    def __init__(self, session: aiohttp.ClientSession, url: str) -> None:
        self._session = session
        self._url = url + SANDBOX_RECEIPTS

    async def send(
        self, message_id: UUID, status: str = "delivered", key: str = KEY, at: datetime | None = None
    ) -> tuple[int, str]:
        return await self.send_all([message_id], status, key, at)

    async def send_all(
        self, message_ids: Sequence[UUID], status: str = "delivered", key: str = KEY, at: datetime | None = None
    ) -> tuple[int, str]:
        """One POST with a receipt for each."""
        receipt = {"reference": "sandbox-1", "status": status, "reason": ""}
        body = json.dumps({"receipts": [{"id": str(one), **receipt} for one in message_ids]}).encode()
        return await self.post(body, signed_headers(key, "r-1", int((at or datetime.now(UTC)).timestamp()), body))

    async def post(self, body: bytes, headers: dict[str, str]) -> tuple[int, str]:
        """The status of the answer, and the sentence in it."""
        async with self._session.post(self._url, data=body, headers=headers) as answer:
            if answer.status < 300:
                return answer.status, await answer.text()
            assert answer.content_type == "application/problem+json"
            problem = await answer.json(content_type=None)
            assert problem["status"] == answer.status
            return answer.status, problem["detail"]


@asynccontextmanager
async def receiving(database: AsyncEngine) -> AsyncIterator[Sender]:
    api = make_api([receipts_router(database, KEY, SystemClock())])
    async with serving(api, ANY_PORT) as url, aiohttp.ClientSession() as session:
        yield Sender(session, url)


async def sent_message(database: AsyncEngine, status: Status = Status.ACCEPTED) -> Message:
    shop = await open_shop(database)
    now = datetime.now(UTC)
    call = await keep_call(database, answered_call(now), shop)
    await call_ended(database, call.call_id, now)
    async with transaction(database) as connection:
        await connection.execute(text("UPDATE messages SET status = :status, attempt = 1"), {"status": status.value})
    [kept] = await messages(database)
    return kept


@pytest.mark.parametrize("before", [Status.QUEUED, Status.SENDING, Status.UNKNOWN, Status.ACCEPTED])
async def test_a_receipt_closes_a_message_in_every_open_state(database: AsyncEngine, before: Status) -> None:
    kept = await sent_message(database, before)
    async with receiving(database) as sender:
        assert await sender.send(kept.id) == (204, "")
    done = await message(database, kept.id)
    assert (done.status, done.gateway_reference, done.gateway) == (Status.DELIVERED, "sandbox-1", "sandbox")
    assert done.accepted_at == done.finished_at is not None


async def test_a_second_receipt_changes_nothing_whatever_it_says(database: AsyncEngine) -> None:
    kept = await sent_message(database)
    async with receiving(database) as sender:
        await sender.send(kept.id)
        done = await message(database, kept.id)
        assert await sender.send(kept.id) == (204, "")
        assert await sender.send(kept.id, "failed") == (204, "")
    assert await message(database, kept.id) == done
    assert MESSAGE_FAILED not in await jobs_in_queue(database)


async def test_a_failure_is_written_and_followed_up(database: AsyncEngine) -> None:
    kept = await sent_message(database)
    async with receiving(database) as sender:
        assert await sender.send(kept.id, "failed") == (204, "")
    done = await message(database, kept.id)
    assert (done.status, done.reason) == (Status.FAILED, "not delivered: no reason given")
    assert MESSAGE_FAILED in await jobs_in_queue(database)


async def test_a_receipt_that_tells_no_result_changes_nothing(database: AsyncEngine) -> None:
    kept = await sent_message(database)
    async with receiving(database) as sender:
        assert await sender.send(kept.id, "accepted") == (204, "")
    assert await message(database, kept.id) == kept


async def test_strangers_and_old_receipts_are_refused(database: AsyncEngine) -> None:
    kept = await sent_message(database)
    async with receiving(database) as sender:
        status, told = await sender.send(kept.id, key="guessed")
        assert (status, told) == (401, "receipt: the signature is wrong; sign it with the gateway's key")
        assert (await sender.send(kept.id, at=datetime.now(UTC) - timedelta(seconds=310)))[0] == 401
        assert (await sender.post(b"{}", {}))[0] == 401
        assert (await sender.post(b"x" * 70_000, {}))[0] == 413
        assert (await sender.post(b"{}", signed_headers(KEY, "r", int(datetime.now(UTC).timestamp()), b"{}")))[0] == 422
    assert await message(database, kept.id) == kept


async def test_a_receipt_for_a_message_of_nobody_is_not_found(database: AsyncEngine) -> None:
    async with receiving(database) as sender:
        status, told = await sender.send(uuid4())
    assert status == 404
    assert "there is none" in told


async def test_without_a_database_the_gateway_is_told_to_come_again(tmp_path: object) -> None:
    nowhere = open_database(f"postgresql+asyncpg://nobody@{ANY_PORT.split(':')[0]}:9/none", command_timeout=1.0)
    async with receiving(nowhere) as sender:
        status, told = await sender.send(uuid4())
    await nowhere.dispose()
    assert status == 503
    assert "database" in told


async def accepted_messages(database: AsyncEngine, count: int) -> list[Message]:
    """Messages of calls to one shop."""
    kept = await sent_message(database)
    more = [msgspec.structs.replace(kept, id=uuid4(), call_id=uuid4(), status=Status.QUEUED) for _ in range(count - 1)]
    async with transaction(database) as connection:
        await keep_messages(connection, more)
        await connection.execute(text("UPDATE messages SET status = 'accepted', attempt = 1"))
    return [kept, *more]


async def _never_delivered(database: AsyncEngine, bad: Message) -> None:
    """The table does not take this message as delivered."""
    async with transaction(database) as connection:
        rule = f"CHECK (id <> '{bad.id}' OR status <> 'delivered')"
        await connection.execute(text(f"ALTER TABLE messages ADD CONSTRAINT not_so {rule}"))


async def test_receipts_that_come_together_are_each_answered_for_themselves(database: AsyncEngine) -> None:
    kept = await accepted_messages(database, 8)
    async with receiving(database) as sender:
        answers = await asyncio.gather(
            *(sender.send(one.id) for one in kept),
            *(sender.send(one.id) for one in kept[:3]),
            sender.send(uuid4()),
            sender.send(kept[0].id, key="guessed"),
        )
    assert [status for status, _ in answers] == [204] * 11 + [404, 401]
    for one in await messages(database):
        assert one.status is Status.DELIVERED
    async with transaction(database) as connection:
        assert await connection.scalar(text("SELECT count(*) FROM events WHERE kind = 'message.delivered'")) == 8


async def test_of_receipts_in_one_post_each_is_written_whatever_is_wrong_with_another(database: AsyncEngine) -> None:
    bad, *others = kept = await accepted_messages(database, 6)
    await _never_delivered(database, bad)
    async with receiving(database) as sender:
        status, told = await sender.send_all([others[0].id, (nobodys := uuid4()), others[1].id])
        assert (status, f"message {nobodys}: there is none" in told) == (404, True)
        assert await sender.send_all([others[0].id] * 2) == (204, "")
        assert await sender.send_all([]) == (204, "")
        assert (await sender.send_all([one.id for one in kept]))[0] == 500
    assert (await message(database, bad.id)).status is Status.ACCEPTED
    for one in others:
        assert (await message(database, one.id)).status is Status.DELIVERED
    async with transaction(database) as connection:
        assert await connection.scalar(text("SELECT count(*) FROM events WHERE kind = 'message.delivered'")) == 5


async def test_a_receipt_is_answered_when_it_is_written_and_not_before(database: AsyncEngine) -> None:
    one, other = await accepted_messages(database, 2)
    async with receiving(database) as sender:
        async with transaction(database) as connection:
            await connection.execute(text("SELECT FROM messages WHERE id = :id FOR UPDATE"), {"id": one.id})
            sending = [asyncio.ensure_future(sender.send(each.id)) for each in (one, other)]
            await eventually(lambda: waiting_for_a_lock(database, 1))
            assert not any(each.done() for each in sending)
        assert [status for status, _ in await asyncio.gather(*sending)] == [204, 204]


async def test_a_receipt_that_cannot_be_written_spoils_no_other(database: AsyncEngine) -> None:
    bad, *others = await accepted_messages(database, 6)
    await _never_delivered(database, bad)
    async with receiving(database) as sender:
        answers = await asyncio.gather(*(sender.send(one.id) for one in (bad, *others)))
    assert [status for status, _ in answers] == [500] + [204] * 5
    for one in others:
        assert (await message(database, one.id)).status is Status.DELIVERED


async def test_senders_that_do_not_wait_for_their_answers_spoil_no_other(database: AsyncEngine) -> None:
    kept = await accepted_messages(database, 6)
    async with receiving(database) as sender:
        sending = [asyncio.ensure_future(sender.send(one.id)) for one in kept]
        await asyncio.sleep(0.02)
        for leaves in sending[:3]:
            leaves.cancel()
        answers = await asyncio.gather(*sending, return_exceptions=True)
    assert answers[3:] == [(204, "")] * 3
    for one in kept[3:]:
        assert (await message(database, one.id)).status is Status.DELIVERED

"""The listening log on the real database."""

from __future__ import annotations

from datetime import timedelta
from typing import Any
from uuid import uuid4

from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncEngine

from engine.calls.listening_log import KEPT, ListeningLog, forget_old_listening
from engine.calls.listening_rules import Ended, Mode, Wish
from engine.foundation.database import transaction
from tests.hand_clock import HandClock
from tests.opened_shop import open_shop

WISH = Wish(call="ab12cd34", who="operator", reason="a complaint", mode=Mode.WHISPER, minutes=3)


async def rows(database: AsyncEngine) -> list[dict[str, Any]]:
    async with transaction(database) as connection:
        found = await connection.execute(text("SELECT * FROM listening_log ORDER BY asked_at"))
        return [dict(row._mapping) for row in found]


async def test_a_listening_from_its_wish_to_its_end(database: AsyncEngine) -> None:
    account, call = await open_shop(database), uuid4()
    clock = HandClock()
    now = clock.now()
    log = ListeningLog(database, clock)
    entry = await log.asked(WISH, call, account)
    clock.advance(timedelta(seconds=5))
    until = clock.now() + timedelta(minutes=3)
    await log.began(entry, until)
    end = now + timedelta(seconds=65)
    for _ in range(2):
        await log.ended(entry, end, Ended.LEFT)
    (row,) = await rows(database)
    assert row == {
        "id": entry,
        "call_id": call,
        "account_id": account,
        "who": "operator",
        "reason": "a complaint",
        "mode": "whisper",
        "minutes": 3,
        "asked_at": now,
        "refused": None,
        "began_at": now + timedelta(seconds=5),
        "until_at": until,
        "ended_at": end,
        "ended": "left",
    }


async def test_first_end_stands(database: AsyncEngine) -> None:
    clock = HandClock()
    now = clock.now()
    log = ListeningLog(database, clock)
    entry = await log.asked(WISH, uuid4(), None)
    await log.began(entry, now + timedelta(minutes=3))
    await log.ended(entry, now, Ended.CALL_OVER)
    await log.ended(entry, now + timedelta(hours=1), Ended.LEFT)
    (row,) = await rows(database)
    assert (row["ended"], row["ended_at"]) == ("call over", now)


async def test_who_was_turned_away_is_written_down_with_the_reason(database: AsyncEngine) -> None:
    await ListeningLog(database, HandClock()).asked(WISH, uuid4(), None, refused="not allowed here")
    (row,) = await rows(database)
    assert (row["refused"], row["began_at"], row["ended"]) == ("not allowed here", None, None)


async def test_kept_for_two_years_and_no_longer(database: AsyncEngine) -> None:
    clock = HandClock()
    log = ListeningLog(database, clock)
    await log.asked(WISH, uuid4(), None)
    clock.advance(timedelta(days=1))
    await log.asked(WISH, uuid4(), None)
    clock.advance(KEPT - timedelta(days=1))
    await forget_old_listening(database, clock)
    assert len(await rows(database)) == 2
    clock.advance(timedelta(seconds=1))
    await forget_old_listening(database, clock)
    assert len(await rows(database)) == 1

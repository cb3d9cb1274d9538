"""The chain has no gap however many write at once, and whoever tampers with the audit is found out."""

from __future__ import annotations

import asyncio
import re
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta

import pytest
from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncEngine

from engine.audit.chaining import chain_some, chain_waiting
from engine.audit.model import START, Head
from engine.audit.trail import write
from engine.audit.verify import Trouble, Verdict, verify
from engine.foundation.database import transaction
from engine.foundation.errors import GaveUp

NOW = datetime(2026, 11, 22, 3, tzinfo=UTC)


async def wrote(database: AsyncEngine, number: int) -> None:
    async with transaction(database) as connection:
        await write(
            connection,
            who=f"user:{number}",
            deed="change users",
            account_id=None,
            object_kind="user",
            object_id=number,
            before={"name": "a"},
            after={"name": f"b{number}"},
            now=NOW + timedelta(seconds=number),
        )


async def undone(database: AsyncEngine) -> None:
    """A deed that fails after it was written down."""
    async with transaction(database) as connection:
        await write(connection, who="x", deed="y", account_id=None, object_kind="z", object_id=1, now=NOW)
        raise ZeroDivisionError


async def verdict_on(database: AsyncEngine, known: Head | None = None) -> Verdict:
    async with transaction(database) as connection:
        return await verify(connection, [known] if known else ())


async def ten_chained(database: AsyncEngine) -> Head:
    for number in range(1, 11):
        await wrote(database, number)
    assert await chain_waiting(database) == 10
    verdict = await verdict_on(database)
    assert verdict.whole
    return verdict.head


async def by_hand(database: AsyncEngine, *statements: str) -> None:
    """As somebody who owns the tables and takes the locks off them does it. NUMBER_5: the id of the fifth entry."""
    tables = ("audit", "audit_chain", "audit_head")
    async with database.begin() as connection:
        for table in tables:
            await connection.execute(text(f"ALTER TABLE {table} DISABLE TRIGGER USER"))
        for statement in statements:
            named = re.sub(r"NUMBER_(\d+)", r"(SELECT entry FROM audit_chain WHERE number = \1)", statement)
            assert (await connection.execute(text(named))).rowcount > 0
        for table in tables:
            await connection.execute(text(f"ALTER TABLE {table} ENABLE TRIGGER USER"))


def troubles(verdict: Verdict) -> Sequence[tuple[Trouble, str]]:
    return [(finding.trouble, finding.what) for finding in verdict.findings]


async def test_nothing_at_all_is_whole(database: AsyncEngine) -> None:
    verdict = await verdict_on(database)
    assert verdict.whole
    assert (verdict.checked, verdict.waiting, verdict.head) == (0, 0, START)


async def test_a_hundred_who_write_at_once_make_one_chain_without_a_gap(database: AsyncEngine) -> None:
    stop = asyncio.Event()

    async def chaining() -> int:
        done = 0
        while not stop.is_set():
            done += await chain_waiting(database)
            await asyncio.sleep(0)
        return done

    chainers = [asyncio.create_task(chaining()) for _ in range(2)]
    line = asyncio.Semaphore(6)  # connections; the writers are there all at once

    async def one(number: int) -> None:
        for turn in range(3):
            async with line:
                await wrote(database, number * 3 + turn)

    await asyncio.gather(*(one(number) for number in range(100)))
    stop.set()
    done = sum(await asyncio.gather(*chainers)) + await chain_waiting(database)
    verdict = await verdict_on(database)
    assert verdict.whole
    assert (done, verdict.checked, verdict.head.number, verdict.waiting) == (300, 300, 300, 0)


async def test_a_deed_that_is_long_under_way_holds_nobody_up_and_is_chained_later(database: AsyncEngine) -> None:
    async with transaction(database) as slow:
        await write(slow, who="slow", deed="import", account_id=None, object_kind="range", object_id=1, now=NOW)
        await wrote(database, 1)
        assert await chain_waiting(database) == 1
        assert (await verdict_on(database)).whole
    assert await chain_waiting(database) == 1
    verdict = await verdict_on(database)
    assert verdict.whole
    assert verdict.head.number == 2


async def test_a_deed_that_is_undone_leaves_no_gap(database: AsyncEngine) -> None:
    await wrote(database, 1)
    with pytest.raises(ZeroDivisionError):
        await undone(database)
    await wrote(database, 2)
    assert await chain_waiting(database) == 2
    assert (await verdict_on(database)).whole


async def test_what_waits_is_told_and_nothing_is_wrong_with_it(database: AsyncEngine) -> None:
    await ten_chained(database)
    await wrote(database, 11)
    verdict = await verdict_on(database)
    assert verdict.whole
    assert (verdict.checked, verdict.waiting) == (10, 1)


async def test_chaining_goes_on_where_a_batch_ended(database: AsyncEngine) -> None:
    for number in range(5):
        await wrote(database, number)
    for expected in (2, 2, 1, 0):
        async with transaction(database) as connection:
            assert await chain_some(connection, 2) == expected
    assert (await verdict_on(database)).head.number == 5


async def test_progress_is_told_up_to_the_end(database: AsyncEngine) -> None:
    await ten_chained(database)
    told: list[tuple[int, int]] = []
    async with transaction(database) as connection:
        await verify(connection, told=lambda done, of: told.append((done, of)))
    assert told[-1] == (10, 10)


@pytest.mark.parametrize(
    "change",
    [
        "who = 'user:somebody else'",
        "at = at + interval '1 microsecond'",
        'after = \'{"name": "c"}\'',
        "after = NULL",
        "peer = '192.0.2.9'",
        "account_id = '00000000-0000-0000-0000-000000000001'",
    ],
)
async def test_a_changed_entry_is_found(database: AsyncEngine, change: str) -> None:
    await ten_chained(database)
    await by_hand(database, " ".join(("UPDATE audit SET", change, "WHERE id = NUMBER_5")))
    assert troubles(await verdict_on(database)) == [(Trouble.CHANGED, "5")]


async def test_a_removed_entry_is_found(database: AsyncEngine) -> None:
    await ten_chained(database)
    await by_hand(database, "DELETE FROM audit WHERE id = NUMBER_5")
    assert troubles(await verdict_on(database)) == [(Trouble.REMOVED, "5")]


async def test_an_entry_removed_with_its_place_is_found(database: AsyncEngine) -> None:
    await ten_chained(database)
    await by_hand(database, "DELETE FROM audit WHERE id = NUMBER_5", "DELETE FROM audit_chain WHERE number = 5")
    assert troubles(await verdict_on(database)) == [(Trouble.GAP, "6")]


async def test_a_gap_that_was_closed_is_found(database: AsyncEngine) -> None:
    await ten_chained(database)
    await by_hand(
        database,
        "DELETE FROM audit WHERE id = NUMBER_5",
        "DELETE FROM audit_chain WHERE number = 5",
        "UPDATE audit_chain SET number = number + 99 WHERE number > 5",
        "UPDATE audit_chain SET number = number - 100 WHERE number > 99",
        "UPDATE audit_head SET number = 9",
    )
    verdict = await verdict_on(database)
    assert (Trouble.MOVED, "5") in troubles(verdict)


async def test_entries_that_changed_their_contents_are_found(database: AsyncEngine) -> None:
    await ten_chained(database)
    await by_hand(
        database,
        """
        UPDATE audit SET who = other.who, after = other.after, object_id = other.object_id, at = other.at
        FROM audit other
        WHERE (audit.id, other.id) IN ((NUMBER_5, NUMBER_6), (NUMBER_6, NUMBER_5))
        """,
    )
    assert troubles(await verdict_on(database)) == [(Trouble.CHANGED, "5"), (Trouble.CHANGED, "6")]


async def test_entries_that_changed_places_are_found(database: AsyncEngine) -> None:
    await ten_chained(database)
    await by_hand(
        database,
        "UPDATE audit_chain SET number = 99 WHERE number = 5",
        "UPDATE audit_chain SET number = 5 WHERE number = 6",
        "UPDATE audit_chain SET number = 6 WHERE number = 99",
    )
    found = troubles(await verdict_on(database))
    assert (Trouble.MOVED, "5") in found
    assert (Trouble.MOVED, "6") in found


async def test_a_tail_cut_off_is_found(database: AsyncEngine) -> None:
    await ten_chained(database)
    await by_hand(
        database,
        "DELETE FROM audit WHERE id IN (SELECT entry FROM audit_chain WHERE number > 7)",
        "DELETE FROM audit_chain WHERE number > 7",
    )
    assert troubles(await verdict_on(database)) == [(Trouble.CUT, "7")]


async def test_a_tail_cut_off_with_its_note_is_found_by_whoever_noted_the_head(database: AsyncEngine) -> None:
    noted = await ten_chained(database)
    await by_hand(
        database,
        "DELETE FROM audit WHERE id IN (SELECT entry FROM audit_chain WHERE number > 7)",
        "DELETE FROM audit_chain WHERE number > 7",
        "UPDATE audit_head SET (number, hash) = (SELECT number, hash FROM audit_chain WHERE number = 7)",
    )
    assert (await verdict_on(database)).whole
    assert troubles(await verdict_on(database, noted)) == [(Trouble.CUT, "10")]


async def test_everything_taken_away_is_found(database: AsyncEngine) -> None:
    await ten_chained(database)
    await by_hand(database, "DELETE FROM audit", "DELETE FROM audit_chain")
    assert troubles(await verdict_on(database)) == [(Trouble.CUT, "0")]


async def test_a_chain_made_anew_is_found_by_whoever_noted_the_head(database: AsyncEngine) -> None:
    noted = await ten_chained(database)
    await by_hand(
        database,
        "UPDATE audit SET who = 'user:somebody else' WHERE id = NUMBER_5",
        "INSERT INTO audit_waiting SELECT entry FROM audit_chain",
        "DELETE FROM audit_chain",
        "UPDATE audit_head SET number = 0, hash = decode(repeat('00', 32), 'hex')",
    )
    await chain_waiting(database)
    assert (await verdict_on(database)).whole
    assert troubles(await verdict_on(database, noted)) == [(Trouble.REWRITTEN, "10")]


async def test_an_entry_put_in_by_hand_is_found(database: AsyncEngine) -> None:
    await ten_chained(database)
    await by_hand(
        database,
        "INSERT INTO audit SELECT gen_random_uuid(), at, who, deed, account_id, object_kind, object_id, before, after,"
        " peer FROM audit WHERE id = NUMBER_5",
    )
    assert [trouble for trouble, _ in troubles(await verdict_on(database))] == [Trouble.ADRIFT]


async def test_an_entry_taken_away_before_it_was_chained_is_found(database: AsyncEngine) -> None:
    await ten_chained(database)
    await wrote(database, 11)
    await by_hand(database, "DELETE FROM audit WHERE id = (SELECT id FROM audit_waiting)")
    await chain_waiting(database)
    assert troubles(await verdict_on(database)) == [(Trouble.REMOVED, "11")]


async def test_a_lost_note_of_the_end_stops_chaining_and_is_told(database: AsyncEngine) -> None:
    await ten_chained(database)
    await by_hand(database, "DELETE FROM audit_head")
    await wrote(database, 11)
    with pytest.raises(GaveUp, match="dari audit verify"):
        await chain_waiting(database)
    verdict = await verdict_on(database)
    assert troubles(verdict) == [(Trouble.CUT, "10")]
    assert verdict.waiting == 1


async def test_one_fault_does_not_hide_another(database: AsyncEngine) -> None:
    await ten_chained(database)
    await by_hand(
        database,
        "UPDATE audit SET who = 'x' WHERE id = (SELECT entry FROM audit_chain WHERE number = 2)",
        "DELETE FROM audit WHERE id = (SELECT entry FROM audit_chain WHERE number = 9)",
    )
    assert troubles(await verdict_on(database)) == [(Trouble.CHANGED, "2"), (Trouble.REMOVED, "9")]

"""Asterisk's own database is kept equal to what routing knows."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from datetime import timedelta
from uuid import UUID

import msgspec

from engine.calls.causes import CAUSE_TOWARDS_CALLER
from engine.calls.fallback import Fallback, Means
from engine.foundation.errors import NotFound, TryLater
from engine.foundation.phone_number import PhoneNumber
from engine.foundation.tasks import Tasks
from engine.numbers.treatment import Treatment
from engine.routing.alone import kind_name
from engine.routing.model import Condition, Line
from engine.routing.model import Rule as RoutingRule
from engine.trunks.model import Trunk
from tests.eventually import eventually
from tests.hand_clock import HandClock
from tests.hand_numbers import HandNumbers
from tests.routing_lines import ACCOUNT, BAD, VIP, line, rule, span

FIRST, SECOND = PhoneNumber("050712345678"), PhoneNumber("05071234501")
OTHER_ACCOUNT = UUID("0190a8a0-0000-7000-8000-000000000002")
CLOSED = Treatment(announcement="ko/closed")


@dataclass(slots=True)
class HandDatabase:
    """Asterisk's own database; `away` refuses everything, `fails_after` so many writes the next one."""

    values: dict[str, str] = field(default_factory=dict)
    writes: list[str] = field(default_factory=list)
    away: bool = False
    fails_after: int | None = None
    before_write: asyncio.Event | None = None

    async def database_tree(self, family: str) -> dict[str, str]:
        self._check()
        folder = f"{family.removeprefix('dari/')}/"
        return {key.removeprefix(folder): value for key, value in self.values.items() if key.startswith(folder)}

    async def database_put(self, family: str, key: str, value: str) -> None:
        await self._write(family, key)
        self.values[key] = value

    async def database_delete(self, family: str, key: str) -> None:
        await self._write(family, key)
        del self.values[key]

    async def _write(self, family: str, key: str) -> None:
        assert family == "dari"
        if self.before_write is not None:
            await self.before_write.wait()
        self._check()
        if self.fails_after is not None:
            self.fails_after -= 1
            if self.fails_after < 0:
                self.fails_after = None
                raise TryLater("the connection broke", after=0.0)
        self.writes.append(key)

    def _check(self) -> None:
        if self.away:
            raise TryLater("the manager is away", after=0.0)


@dataclass(slots=True)
class Desk:
    """A fallback at work."""

    database: HandDatabase
    numbers: HandNumbers
    clock: HandClock
    fallback: Fallback
    trunks: list[Trunk]
    sizes: dict[str, int | None]

    async def settled(self) -> None:
        """Until everything is written, and nothing is waiting."""
        await eventually(lambda: self.fallback.idle)

    def told(self) -> list[str]:
        """What was written since the last time."""
        writes, self.database.writes = self.database.writes, []
        return sorted(writes)


def of(number: PhoneNumber, *rules: RoutingRule, account: UUID = ACCOUNT, treatment: Treatment | None = None) -> Line:
    found = line(*rules, number=number, treatment=treatment or Treatment())
    changed = msgspec.structs.replace(found.number, account_id=account)
    return Line(changed, found.rules, msgspec.structs.replace(found.account, account_id=account), (), found.holidays)


@asynccontextmanager
async def at_work(*lines: Line, database: HandDatabase | None = None, known: bool = True) -> AsyncIterator[Desk]:
    numbers = HandNumbers({line.number.number: line for line in lines}, known)
    desk_database, clock = database or HandDatabase(), HandClock()
    sizes: dict[str, int | None] = {}
    trunks = [Trunk(name="carrier", match=("127.0.0.9",), contact="sip:127.0.0.9:5060")]

    async def music_class(sounds: tuple[str, ...]) -> str:
        if sounds == ("own/gone",):
            raise NotFound("sound own/gone: it is not there")
        return "list-1"

    means = Means(
        music_class, lambda _text: None, CAUSE_TOWARDS_CALLER.__getitem__, 30, lambda sound: sizes.get(sound, 1000)
    )
    fallback = Fallback(desk_database, numbers, lambda: trunks, means, clock, a_second=1_000_000)
    tasks = Tasks("test")
    tasks.start("fallback", fallback.keep())
    try:
        yield Desk(desk_database, numbers, clock, fallback, trunks, sizes)
    finally:
        await tasks.close()


async def test_everything_is_written_and_then_that_it_is_whole() -> None:
    async with at_work(of(FIRST), of(SECOND)) as desk:
        await desk.settled()
        writes = list(desk.database.writes)
    assert sorted(desk.database.values) == [
        f"c00/{ACCOUNT}.{BAD}",
        f"n01/{SECOND}",
        f"n78/{FIRST}",
        "state/notices",
        "state/trunks",
        "state/whole",
        "trunk/carrier",
    ]
    assert writes[-1] == "state/whole"


async def test_live_calls_have_their_turn_while_fourteen_days_of_many_rules_are_planned() -> None:
    hours = [(f"{hour:02}:{minute:02}", f"{hour:02}:{minute + 7:02}") for hour in range(12) for minute in (5, 25, 45)]
    rules = [rule(begin, Condition(times=(span(f"{begin}-{end}"),)), CLOSED) for begin, end in hours]
    async with at_work(known=False) as desk:
        desk.numbers.lines[FIRST] = of(FIRST, *rules)
        turns = 0
        desk.numbers.known = True
        desk.fallback.changed("")
        while not desk.fallback.idle:
            await asyncio.sleep(0)
            turns += 1
    instants = 14 * 2 * len(rules)
    assert turns > instants / 20


async def test_notices_of_a_recording_that_are_not_whole_are_not_there() -> None:
    async with at_work(of(FIRST)) as desk:
        await desk.settled()
        assert desk.database.values["state/notices"] == "1000&1000"
        desk.sizes["ko/recording-notice-target"] = None
        desk.fallback.changed("")
        await desk.settled()
        assert "state/notices" not in desk.database.values


async def test_another_life_writes_only_what_differs() -> None:
    async with at_work(of(FIRST), of(SECOND)) as desk:
        await desk.settled()
    database = HandDatabase(values=dict(desk.database.values))
    async with at_work(of(FIRST), of(SECOND, treatment=CLOSED), database=database) as desk:
        await desk.settled()
        assert desk.told() == [f"n01/{SECOND}"]


async def test_what_nobody_has_any_more_disappears() -> None:
    night = rule("night", Condition(times=(span("22:00-08:00"),)), CLOSED)
    stale = {"n99/05071239999": "x", f"c99/{OTHER_ACCOUNT}.0109999": "blocked", "trunk/old": "x"}
    async with at_work(of(FIRST, night), of(SECOND), database=HandDatabase(values=dict(stale))) as desk:
        await desk.settled()
        assert not stale.keys() & desk.database.values.keys()
        assert {f"n78/{FIRST}", f"n78/{FIRST}.0", f"n78/{FIRST}.1"} <= desk.database.values.keys()
        del desk.numbers.lines[FIRST]
        desk.fallback.changed(FIRST)
        await desk.settled()
        assert not any(FIRST in key for key in desk.database.values)


async def test_routes_are_there_before_the_entries_that_name_them() -> None:
    night = rule("night", Condition(times=(span("22:00-08:00"),)), CLOSED)
    async with at_work(of(FIRST, night)) as desk:
        await desk.settled()
        writes = desk.database.writes
        assert writes.index(f"n78/{FIRST}.1") < writes.index(f"n78/{FIRST}")


async def test_a_changed_number_is_written_alone() -> None:
    async with at_work(of(FIRST), of(SECOND)) as desk:
        await desk.settled()
        desk.told()
        desk.numbers.lines[FIRST] = of(FIRST, treatment=CLOSED)
        desk.fallback.changed(FIRST)
        await desk.settled()
        assert desk.told() == [f"n78/{FIRST}"]
        assert "ko/closed" in desk.database.values[f"n78/{FIRST}"]


async def test_a_changed_account_is_written_with_its_callers_and_numbers() -> None:
    with_vips = rule("v", Condition(callers=("vip",)), CLOSED)
    async with at_work(of(FIRST, with_vips), of(SECOND, account=OTHER_ACCOUNT)) as desk:
        await desk.settled()
        desk.told()
        kind = kind_name(frozenset({"vip"}))
        assert desk.database.values[f"c00/{ACCOUNT}.{VIP}"] == kind
        assert "ko/closed" in desk.database.values[f"n78/{FIRST}.{kind}"]
        before = desk.numbers.lines[FIRST]
        newcomer = PhoneNumber("01077778888")
        groups = {"vip": frozenset({newcomer}), "blocked": frozenset[PhoneNumber]()}
        account = msgspec.structs.replace(before.account, groups=groups)
        desk.numbers.lines[FIRST] = Line(before.number, before.rules, account, (), before.holidays)
        desk.fallback.changed(str(ACCOUNT))
        await desk.settled()
        assert desk.told() == sorted([f"c88/{ACCOUNT}.{newcomer}", f"c00/{ACCOUNT}.{VIP}", f"c00/{ACCOUNT}.{BAD}"])


async def test_a_number_that_asks_for_a_new_group_brings_its_callers() -> None:
    async with at_work(of(FIRST)) as desk:
        await desk.settled()
        assert f"c00/{ACCOUNT}.{VIP}" not in desk.database.values
        desk.numbers.lines[FIRST] = of(FIRST, rule("v", Condition(callers=("vip",)), CLOSED))
        desk.fallback.changed(FIRST)
        await desk.settled()
        assert f"c00/{ACCOUNT}.{VIP}" in desk.database.values
        assert f"n78/{FIRST}.{kind_name(frozenset({'vip'}))}" in desk.database.values


async def test_another_trunk() -> None:
    async with at_work(of(FIRST)) as desk:
        await desk.settled()
        desk.trunks[:] = [Trunk(name="other", match=("127.0.0.8",), contact="sip:127.0.0.8:5060")]
        desk.fallback.trunks_changed()
        await desk.settled()
        assert desk.database.values["state/trunks"] == "other"
        assert "trunk/carrier" not in desk.database.values


async def test_after_a_reconnect_what_was_lost_is_written_again() -> None:
    async with at_work(of(FIRST), of(SECOND)) as desk:
        await desk.settled()
        desk.told()
        del desk.database.values[f"n01/{SECOND}"]
        desk.fallback.reconnected()
        await eventually(lambda: f"n01/{SECOND}" in desk.database.values)
        await desk.settled()
        assert desk.told() == [f"n01/{SECOND}", "state/whole"][:1]


async def test_what_fails_is_tried_again() -> None:
    database = HandDatabase(fails_after=2)
    async with at_work(of(FIRST), of(SECOND), database=database) as desk:
        await desk.settled()
        assert database.fails_after is None
        assert {f"n78/{FIRST}", f"n01/{SECOND}", "state/whole"} <= database.values.keys()


async def test_nothing_is_written_before_the_numbers_are_known() -> None:
    async with at_work(known=False) as desk:
        desk.fallback.reconnected()
        await asyncio.sleep(0)
        await asyncio.sleep(0)
        assert not desk.database.values
        desk.numbers.known = True
        desk.fallback.changed("")
        await desk.settled()
        assert "state/whole" in desk.database.values


async def test_days_are_appended() -> None:
    night = rule("night", Condition(times=(span("22:00-08:00"),)), CLOSED)
    async with at_work(of(FIRST, night), of(SECOND)) as desk:
        await desk.settled()
        desk.told()
        before = desk.database.values[f"n78/{FIRST}"]
        desk.clock.advance(timedelta(days=1))
        desk.fallback.changed("")
        await desk.settled()
        assert f"n01/{SECOND}" not in desk.told()
        assert desk.database.values[f"n78/{FIRST}"] != before


async def test_what_changes_during_a_pass_does_not_wait_for_its_end() -> None:
    lines = [of(PhoneNumber(f"0507123{n:04}")) for n in range(400)]
    hold = asyncio.Event()
    async with at_work(*lines, database=HandDatabase(before_write=hold)) as desk:
        last = PhoneNumber("05071230399")
        desk.numbers.lines[last] = of(last, treatment=CLOSED)
        desk.fallback.changed(last)
        hold.set()
        await desk.settled()
        writes = desk.database.writes
        assert writes.index(f"n99/{last}") < 200
        assert len(desk.database.values) == 400 + 5


async def test_a_ringback_that_is_not_there_is_the_plain_tone() -> None:
    async with at_work(of(FIRST, treatment=Treatment(ringback=("own/gone",)))) as desk:
        await desk.settled()
        assert "=f|||" in desk.database.values[f"n78/{FIRST}"]

"""Reception on FakeAsterisk with a real spool: whole calls in virtual time, and what must hold after each."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from uuid import UUID

from engine.calls.reception import Reception
from engine.calls.strays import Elsewhere
from engine.calls.switchboard import Switchboard
from engine.cdr.call_file import CallFile
from engine.cdr.model import Arrival, CallRecord, StepKind
from engine.cdr.spool import Spool
from engine.events.call_log_writer import CallLog
from engine.foundation.clock import LoopClock
from engine.foundation.phone_number import PhoneNumber
from engine.foundation.tasks import Tasks
from engine.numbers.model import NumberKind, ServiceNumber
from engine.routing.model import Rule
from engine.trunks.model import Trunk
from tests.fake_asterisk import FakeAsterisk
from tests.fake_parties import FakeCaller
from tests.planning import HandPlanner, HandTrunks, treatment_of
from tests.virtual_time import run_virtual

NODE = "n1"
NUMBER, SHOP = "050712345678", "0212345678"
RING_SECONDS = 20
TALK_LIMIT = 3600.0
ACCOUNT = UUID("01900000-0000-7000-8000-000000000001")
CARRIER = Trunk(name="carrier", match=("127.0.0.2",), contact="sip:127.0.0.2")
START = datetime(2026, 1, 1, tzinfo=UTC)

SECONDS = {
    "ko/recording-notice": 1.5,
    "test/whisper": 1.0,
    "ko/recording-notice-target": 0.7,
    "ko/not-in-service": 2.0,
    "test/long-notice": 8.0,
}


def service_number(**changes: object) -> ServiceNumber:
    """NUMBER, which rings SHOP, whispers and is recorded."""
    values: dict[str, object] = {
        "number": PhoneNumber(NUMBER),
        "kind": NumberKind.VIRTUAL,
        "account_id": ACCOUNT,
        "target": PhoneNumber(SHOP),
        "ringback": "test/ringback",
        "whisper": "test/whisper",
        "record": True,
    }
    values |= changes
    treatment = treatment_of(values)
    return ServiceNumber(treatment=treatment, **values)  # type: ignore[arg-type]


class WatchedAsterisk(FakeAsterisk):
    """Writes every verb into `journal`; a verb in `hanging` gets no answer for that many seconds.

    So it is with `music_class` and `speech`, which are not Asterisk's.
    """

    journal: list[str]
    hanging: dict[str, float]

    async def _arrive(self, verb: str) -> None:
        self.journal.append(verb)
        await asyncio.sleep(self.hanging.get(verb, 0.0))
        await super()._arrive(verb)


class WatchedSpool(Spool):
    """Writes what is asked of it into `journal`; syncs take `sync_seconds`."""

    journal: list[str]
    sync_seconds: float = 0.0

    def arrived(self, arrival: Arrival) -> None:
        super().arrived(arrival)
        self.journal.append("arrived")

    async def arrival_synced(self, call_id: UUID) -> None:
        await asyncio.sleep(self.sync_seconds)
        await super().arrival_synced(call_id)
        self.journal.append("synced")


@dataclass(slots=True)
class Desk:
    """An engine's reception at work."""

    asterisk: WatchedAsterisk
    spool: WatchedSpool
    reception: Reception
    numbers: dict[str, ServiceNumber]
    planner: HandPlanner
    trunks: HandTrunks
    journal: list[str]
    """The verbs that Asterisk got and what was asked of the spool, in order."""
    tasks_at_rest: frozenset[str] = frozenset()
    _records: list[CallRecord] = field(default_factory=list)

    def call(self, exten: str = NUMBER, caller: str = "01012345678") -> FakeCaller:
        """Somebody calls; the dialplan tells that the number is not withheld."""
        return self.asterisk.incoming(exten, caller, args=["allowed_not_screened"])

    async def records(self) -> list[CallRecord]:
        """Every record closed so far, oldest first."""
        while self.spool.waiting:
            batch = await self.spool.next_batch(100)
            self._records += batch
            await self.spool.drained([record.call_id for record in batch])
        return list(self._records)

    async def record(self) -> CallRecord:
        """The only record."""
        (record,) = await self.records()
        return record

    async def at_rest(self, within: float = 120.0) -> None:
        """Waits until no call lives, Asterisk has nothing of ours and no task of a call runs.

        That must come within so many seconds.
        """
        async with asyncio.timeout(within):
            while self.reception.live_calls or self.asterisk.left_over() or _task_names() != self.tasks_at_rest:
                await asyncio.sleep(0.05)

    async def one_call(self, caller: FakeCaller) -> CallRecord | None:
        """Waits for the end of the only call and checks what holds after every call; None: it never came to us."""
        seen = len(self._records)
        await self.at_rest()
        records = (await self.records())[seen:]
        assert len(records) == self.journal.count("arrived")
        check_order(self.journal)
        check_heard(caller)
        self.journal.clear()
        if not records:
            return None
        (record,) = records
        check_record(record, caller)
        return record


def check_order(journal: list[str]) -> None:
    """`arrived` is in the spool before the INVITE goes out, and synced before the caller is answered."""
    if "originate" in journal:
        assert journal.index("arrived") < journal.index("originate")
    if "answer" in journal:
        assert journal.index("synced") < journal.index("answer")


def check_heard(caller: FakeCaller) -> None:
    """The caller hears nothing of the target's, and nothing but the target once they are connected."""
    assert not [heard for heard in caller.heard if "whisper" in heard.what or "notice-target" in heard.what]
    talks = [heard for heard in caller.heard if heard.what.startswith("bridge:")]
    assert len(talks) <= 1
    for talk in talks:
        others = [other for other in caller.heard if other is not talk]
        assert all((other.ended or 1e9) <= talk.began or other.began >= (talk.ended or 1e9) for other in others)


def check_record(record: CallRecord, caller: FakeCaller) -> None:
    """The record agrees with what the caller's side saw."""
    assert record.sip_call_id == caller.leg.sip_call_id
    assert record.arrived_at <= record.ended_at
    if record.answered_at is not None:
        assert 200 in {code for _, code in caller.answers}
    if record.talk_seconds:
        assert record.answered_at is not None
    assert all(step.ended_at is not None and step.started_at <= step.ended_at for step in record.steps)
    assert all(leg.ended_at is not None for leg in record.legs)
    assert all(leg.cause != 32 for leg in record.legs), "32 is no Q.850 cause"
    assert bool(record.recording) <= any(step.kind is StepKind.RECORDING for step in record.steps)


def _task_names() -> frozenset[str]:
    return frozenset(task.get_name() for task in asyncio.all_tasks())


@asynccontextmanager
async def desk_at(
    folder: Path,
    *numbers: ServiceNumber,
    grace: float = 0.0,
    asterisk: WatchedAsterisk | None = None,
    rules: tuple[Rule, ...] = (),
    node: str = NODE,
    call_file: CallFile | None = None,
    elsewhere: Elsewhere | None = None,
) -> AsyncIterator[Desk]:
    """A desk with these numbers in service (NUMBER as it comes, if none is given). Runs in virtual time.

    `rules` are those of NUMBER.

    With `asterisk` it joins one that is there already and leaves it there. `call_file` and `elsewhere` as Reception's.
    """
    journal: list[str] = []
    own = asterisk is None
    asterisk = asterisk or WatchedAsterisk(f"dari-{NODE}", sounds=SECONDS, clock=LoopClock(START))
    clock = asterisk.clock
    asterisk.journal, asterisk.hanging = journal, {}
    spool = WatchedSpool.open(folder / "spool", node, clock)
    assert isinstance(spool, WatchedSpool)
    spool.journal = journal
    in_service = {str(number.number): number for number in numbers or (service_number(),)}

    async def music_class(sounds: tuple[str, ...]) -> str:
        await asyncio.sleep(asterisk.hanging.get("music_class", 0.0))
        return "+".join(sounds)

    async def speech(text: str) -> str:
        await asyncio.sleep(asterisk.hanging.get("speech", 0.0))
        return f"spoken/{text}"

    trunks = HandTrunks([CARRIER], clock.monotonic)
    board = Switchboard(
        ari=asterisk,
        recorder=asterisk,
        trunks=trunks,
        music_class=music_class,
        speech=speech,
        spool=spool,
        sounds=Path("/sounds"),
        monitor=folder / "monitor",
        node=node,
        talk_limit=TALK_LIMIT,
    )
    planner = HandPlanner(in_service, RING_SECONDS, rules={NUMBER: rules})
    log = CallLog(folder / "log", "calls", mask=False, max_bytes=10_000_000, files=2)
    reception = Reception(board, asterisk.connection, planner, log, clock, call_file=call_file, elsewhere=elsewhere)
    tasks = Tasks("desk")
    tasks.start("reception", reception.run())
    await asyncio.sleep(0.1)
    desk = Desk(asterisk, spool, reception, in_service, planner, trunks, journal, _task_names())
    journal.clear()
    try:
        yield desk
    finally:
        await reception.close(grace)
        await tasks.close()
        await spool.close()
        log.close()
        if own:
            await asterisk.close()


def play(folder: Path, scenario: Callable[[Desk], Awaitable[None]], **number: object) -> None:
    """Runs a scenario on a desk with NUMBER set so."""

    async def run() -> None:
        async with desk_at(folder, service_number(**number)) as desk:
            await scenario(desk)

    run_virtual(run())


async def the_call(desk: Desk) -> CallRecord:
    """One call to NUMBER, to its end."""
    record = await desk.one_call(desk.call())
    assert record is not None
    return record

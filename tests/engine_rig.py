"""The call engine on a real Asterisk, with a carrier and its telephones, and numbers given by the test."""

from __future__ import annotations

import asyncio
import os
from collections.abc import AsyncIterator, Collection
from contextlib import AbstractAsyncContextManager, asynccontextmanager, nullcontext
from dataclasses import dataclass, field
from pathlib import Path
from uuid import UUID

import numpy as np
from numpy.typing import NDArray

from engine.asterisk.call_door import call_door, door_key
from engine.asterisk.commands import Ari
from engine.asterisk.connection import Connection
from engine.asterisk.manager import Manager
from engine.calls.comparison import COMPARED_EVERY
from engine.calls.reception import EVENTS_USED, Reception
from engine.calls.switchboard import Switchboard
from engine.cdr.call_file import CallFile
from engine.cdr.model import CallRecord, StepKind
from engine.cdr.spool import Spool
from engine.events.call_log_writer import CallLog
from engine.foundation.clock import SystemClock
from engine.foundation.phone_number import PhoneNumber
from engine.foundation.tasks import Tasks
from engine.numbers.model import NumberKind, ServiceNumber
from engine.prompts.music import Music
from engine.sandbox.carrier import Carrier
from engine.sandbox.leg import Leg
from engine.settings import PRODUCT_FILES
from engine.trunks.model import Trunk
from tests.eventually import PATIENCE, eventually
from tests.planning import HandPlanner, HandTrunks, treatment_of
from tests.real_asterisk import CallLine, RunningAsterisk
from tests.tones import tone, write_audio

NODE = "n1"
_GOES_WITHIN = 50
"""Tenths of a second in which what was let go is gone, on a busy machine too."""
RING_SECONDS = 8

TONES = {
    "ko/not-in-service": 700,
    "ko/recording-notice": 800,
    "ko/recording-notice-target": 900,
    "ko/ringback-tone": 1500,
    "test/ringback": 1700,
    "test/whisper": 2100,
    "ko/closed": 640,
    "ko/store-info-notice": 2600,
    "ko/fee-notice": 2500,
    "ko/connecting": 960,
    "ko/press-1-to-accept": 1240,
    "ko/voicemail-greeting": 1340,
    "ko/beep": 1440,
    "ko/voicemail-thanks": 1580,
    "ko/consent-offer": 1640,
    "ko/consent-thanks": 1760,
    "ko/text-only": 1860,
    "test/notice": 1960,
    "test/busy": 2200,
    "test/second-ringback": 2300,
    "test/spoken": 2400,
    "ko/over-limit": 2700,
    "ko/blocked": 2800,
}
"""What each sound is in tests, in Hz; callers say 500, shops 1100."""

SECONDS = {"test/ringback": 3.0, "ko/connecting": 0.6, "ko/beep": 0.4, "test/second-ringback": 0.5}
"""How long sounds are that do not last one second."""


def network() -> str:
    """127.0.x of this test worker: workers on one machine do not meet."""
    return f"127.0.{160 + int(os.environ.get('PYTEST_XDIST_WORKER', 'gw0').removeprefix('gw'))}"


def carrier_trunk() -> Trunk:
    """The carrier at the rig's second address."""
    return Trunk(name="carrier", match=(f"{network()}.2",), contact=f"sip:{network()}.2:5070")


def second_trunk() -> Trunk:
    """Another carrier, at the rig's fourth address."""
    return Trunk(name="second", match=(f"{network()}.4",), contact=f"sip:{network()}.4:5070", provisional_seconds=1.0)


def untrusted_trunk() -> Trunk:
    """A carrier that is told no more of a caller than its telephones may show, at the rig's fifth address."""
    return Trunk(name="untrusted", match=(f"{network()}.5",), contact=f"sip:{network()}.5:5070", trusted=False)


def make_sounds(folder: Path, seconds: float | None = None) -> None:
    """Every sound as its tone; with `seconds` all of them last so long, but for the looping ringback."""
    for name, frequency in TONES.items():
        file = folder / f"{name}.wav"
        file.parent.mkdir(parents=True, exist_ok=True)
        usual = SECONDS.get(name, 1.0)
        samples: NDArray[np.int16] = tone(frequency, usual if seconds is None or name == "test/ringback" else seconds)
        write_audio(file, samples)


@dataclass(slots=True)
class Rig:
    """An engine that takes calls, and what it has written down."""

    reception: Reception
    connection: Connection
    manager: Manager
    carrier: Carrier
    numbers: dict[PhoneNumber, ServiceNumber]
    planner: HandPlanner
    trunks: HandTrunks
    monitor: Path
    sounds: Path
    records: list[CallRecord] = field(default_factory=list)
    news: asyncio.Event = field(default_factory=asyncio.Event)

    async def record(self, sip_call_id: str) -> CallRecord:
        """The closed record of a call, when it comes."""
        async with asyncio.timeout(PATIENCE):
            while True:
                for record in self.records:
                    if record.sip_call_id == sip_call_id:
                        return record
                self.news.clear()
                await self.news.wait()

    async def until_step(self, leg: Leg, kind: StepKind, call_id: UUID | None = None) -> None:
        """Waits until the call that `leg` began, or the one with that id, has come to such a step, or is over."""

        def come() -> bool:
            calls = self.reception.calls()
            live = [call for call in calls if call.id == call_id or call.notes.arrival.sip_call_id == leg.call_id]
            return leg.is_over or any(step.kind is kind for call in live for step in call.notes.steps)

        await eventually(come)

    async def collect(self, spool: Spool) -> None:
        while True:
            batch = await spool.next_batch(100)
            self.records += batch
            await spool.drained([record.call_id for record in batch])
            self.news.set()


async def lines_of(asterisk: RunningAsterisk, rig: Rig, call_ids: Collection[str]) -> dict[str, CallLine]:
    """Asterisk's own line of each call that came in, by its SIP Call-ID, once all are there.

    Of a call that an engine took the line names only the channel, as the call's record does.
    """

    def lines() -> list[tuple[str, CallLine]]:
        taken = {one.legs[0].channel: one.sip_call_id or "" for one in rig.records if one.sip_call_id in call_ids}
        named = ((line.call_id or taken.get(line.unique, ""), line) for line in asterisk.lines())
        return [(call_id, line) for call_id, line in named if call_id in call_ids]

    await eventually(lambda: len(lines()) >= len(call_ids))
    found = dict(lines())
    assert len(found) == len(lines()), "not one line of Asterisk's for each call"
    return found


@asynccontextmanager
async def engine_on(
    asterisk: RunningAsterisk,
    home: Path,
    numbers: list[ServiceNumber],
    carrier: Carrier,
    *,
    grace: float = 5.0,
    compared_every: float = COMPARED_EVERY,
    patience: float = 5.0,
    node: str = NODE,
    talk_limit: float = 60.0,
) -> AsyncIterator[Rig]:
    """The engine, connected; on leaving it waits `grace` seconds for its calls. All are seconds.

    `patience`: how long it waits for Asterisk's answers, and between two looks whether Asterisk is there.
    """
    clock = SystemClock()
    spool = Spool.open(home / "spool", node, clock)
    schema = (PRODUCT_FILES / "asterisk-conf/music.sql").read_text()
    music = Music(asterisk.settings.music, asterisk.settings.sounds, schema)
    ami_host, _, ami_port = asterisk.ami_address.partition(":")
    tasks = Tasks("rig")
    own = {number.number: number for number in numbers}
    async with (
        Ari(asterisk.ari_url, f"dari-{node}", asterisk.ari_user, asterisk.ari_password, timeout=patience) as ari,
        Manager(
            ami_host, int(ami_port), asterisk.ami_user, asterisk.ami_password, timeout=patience, heartbeat=patience
        ) as manager,
    ):
        trunks = HandTrunks([carrier_trunk()], clock.monotonic)
        board = Switchboard(
            ari=ari,
            recorder=manager,
            trunks=trunks,
            music_class=music.music_class,
            speech=_spoken,
            spool=spool,
            sounds=asterisk.settings.sounds,
            monitor=asterisk.settings.spool / "monitor",
            node=node,
            talk_limit=talk_limit,
        )
        planner = HandPlanner(own, RING_SECONDS)  # type: ignore[arg-type]
        connection = Connection(
            asterisk.ari_url,
            f"dari-{node}",
            asterisk.ari_user,
            asterisk.ari_password,
            event_types=EVENTS_USED,
            heartbeat=patience,
        )
        log = CallLog(home / "log", "calls", mask=False, max_bytes=10_000_000, files=2)
        file = CallFile(asterisk.call_records)
        reception = Reception(board, connection, planner, log, clock, compared_every, call_file=file)
        rig = Rig(reception, connection, manager, carrier, own, planner, trunks, board.monitor, board.sounds)
        tasks.start("reception", reception.run())
        tasks.start("records", rig.collect(spool))
        async with asyncio.timeout(PATIENCE):
            while not reception.connected:
                await asyncio.sleep(0.01)
        try:
            async with _door(asterisk, reception):
                yield rig
        finally:
            await reception.close(grace)
            await tasks.close()
            await spool.close()
            log.close()


def _door(asterisk: RunningAsterisk, reception: Reception) -> AbstractAsyncContextManager[None]:
    """Where that Asterisk asks about calls, if it does."""
    host, _, port = asterisk.settings.call_door.rpartition(":")
    if not port:
        return nullcontext()
    return call_door(host, int(port), door_key(asterisk.ari_password), reception.asked)


async def _spoken(text: str) -> str:
    """In tests a whisper's text is the name of its sound."""
    return text


async def left_over(asterisk: RunningAsterisk) -> tuple[list[str], list[str]]:
    """Channels and bridges of ours that stay in Asterisk.

    It lets them go a moment after it says so; the engine's own sweep of what was forgotten comes much later.
    """
    async with Ari(asterisk.ari_url, f"dari-{NODE}", asterisk.ari_user, asterisk.ari_password) as ari:
        for _ in range(_GOES_WITHIN):
            left = [channel.name for channel in await ari.channels()], [bridge.id for bridge in await ari.bridges()]
            if left == ([], []):
                break
            await asyncio.sleep(0.1)
        return left


def number_set(account: UUID, **changes: object) -> ServiceNumber:
    """A 050 number with a whisper and its own ringback."""
    values: dict[str, object] = {
        "number": PhoneNumber("050712345678"),
        "kind": NumberKind.VIRTUAL,
        "account_id": account,
        "target": PhoneNumber("0212345678"),
        "ringback": "test/ringback",
        "whisper": "test/whisper",
    }
    values |= changes
    treatment = treatment_of(values)
    return ServiceNumber(treatment=treatment, **values)  # type: ignore[arg-type]

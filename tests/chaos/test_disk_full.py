"""Disks are full, under the spool and under the recordings, while calls come: nobody on the line hears of it."""

from __future__ import annotations

import asyncio
import os
import time
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import AsyncExitStack
from dataclasses import dataclass
from errno import ENOSPC
from pathlib import Path

import pytest
from sqlalchemy import text

from engine.cdr.drain import KEEP_RECORDING, KEEP_VOICEMAIL
from engine.cdr.model import StepKind
from engine.foundation.database import transaction
from tests.call_oracle import seconds_of
from tests.chaos import oracle
from tests.chaos.field import Field, field_at
from tests.chaos.figures import Figures
from tests.chaos.oracle import Verdict
from tests.chaos.processes import STRIKING, Hand, back, killed, vacuous
from tests.chaos.proof import landed
from tests.chaos.scene import PHASES, PLAIN, Scene, install_telephones, numbers, recovered
from tests.chaos.size import CALLS, INSTANTS, SECONDS, seeds
from tests.chaos.small_disk import SmallDisk, full, small_disk
from tests.eventually import eventually
from tests.real_asterisk import loopback

DARI, CARRIER = (loopback(36, host) for host in (1, 2))
RATE = CALLS / 5
"""New calls a second meanwhile: 20 with 100 calls."""
RECORDING = next(phase for phase in PHASES if phase.name == "recording")
UNRECORDED = CALLS // 4 if CALLS >= 100 else 0
"""Calls that talk already when Asterisk's disk fills, besides those that come then."""
NO_ROOM = os.strerror(ENOSPC)


@dataclass(frozen=True, slots=True)
class Disks:
    """The whole system, with small disks under three of its folders."""

    field: Field
    spool: SmallDisk
    """Call records on their way to the database."""
    recordings: SmallDisk
    """Where recordings are kept."""
    monitor: SmallDisk
    """Where Asterisk writes them down first."""


@pytest.fixture(scope="module")
async def disks() -> AsyncIterator[Disks | None]:
    """None on a machine that allows no namespaces."""
    async with AsyncExitStack() as stack:
        three = [disk for _ in range(3) if (disk := stack.enter_context(small_disk()))]
        if len(three) < 3:
            yield None
            return
        under = dict(zip(("spool", "recordings", "asterisk/spool/monitor"), three, strict=True))

        def furnish(home: Path) -> None:
            for name, disk in under.items():
                (home / name).parent.mkdir(parents=True, exist_ok=True)
                (home / name).symlink_to(disk.folder)

        field = await stack.enter_async_context(field_at(DARI, CARRIER, furnish=furnish, DARI_CLAIM_MILLISECONDS="500"))
        install_telephones(field.carrier)
        await field.put_into_service(numbers())
        yield Disks(field, *three)


async def test_calls_at_a_rate_notice_nothing_of_full_disks(
    disks: Disks | None, figures_of: Callable[[str], Figures]
) -> None:
    figures = figures_of("disks full under the spool and under the recordings, calls in every phase, and others come")
    if disks is None:
        print("no namespaces here: a full disk was tried in tests/unit/cdr/test_spool.py only")
        return
    await vacuous(lambda hand: full_under_calls(disks, figures, seed=1, calls=0, hand=hand))
    oracle.must_be_clean([await full_under_calls(disks, figures, seed=seed, calls=CALLS) for seed in seeds(INSTANTS)])


async def full_under_calls(disks: Disks, figures: Figures, *, seed: int, calls: int, hand: Hand = STRIKING) -> Verdict:
    """Live calls go on, and the dialplan runs those that come: what it writes down has a disk of its own.

    It is told meanwhile; afterwards everything is where it belongs, once, and an engine that dies then finds it.
    """
    field = disks.field
    async with Scene(field, seed, calls) as scene:
        fault_at, said_before = time.monotonic(), len(_jobs_log(field))
        async with full(disks.spool, hand) as spool, full(disks.recordings, hand) as recordings:
            landed(spool.proof, recordings.proof)
            came = scene.expect([PLAIN, RECORDING], RATE, SECONDS, 0.3)
            await eventually(lambda: _is_told(field, "the spool cannot be written"))
            await asyncio.sleep(fault_at + SECONDS - time.monotonic())
            await eventually(lambda: all(call.talk() for call in came))
            # Of one that it tries to keep.
            await eventually(lambda: NO_ROOM in _jobs_log(field)[said_before:])
            proofs = [spool.proof, recordings.proof]
        freed = time.monotonic()
        await eventually(lambda: _is_well(field))
        figures.add("after there is room, all written down s", time.monotonic() - freed)
        engine, known = field.home.parts()["engine"], await scene.known()
        proofs.append(await killed(engine))
        proofs.append(await back(field.home, "engine", engine))
        unknown = await recovered(scene, known, figures, freed)
        await _try_again_now(field)
        verdict = await oracle.at_rest(scene, proofs, figures, fault_at)
    verdict.wrong += unknown
    return verdict


async def test_what_asterisk_cannot_write_is_told_in_the_record(
    disks: Disks | None, figures_of: Callable[[str], Figures]
) -> None:
    figures = figures_of("disk full under Asterisk's own recordings")
    if disks is None:
        return
    await vacuous(lambda hand: unrecorded(disks, figures, seed=1, calls=0, hand=hand))
    oracle.must_be_clean([await unrecorded(disks, figures, seed=seed, calls=UNRECORDED) for seed in seeds(INSTANTS)])


async def unrecorded(disks: Disks, figures: Figures, *, seed: int, calls: int, hand: Hand = STRIKING) -> Verdict:
    """Talks go on, and the record of each says why it has no recording, or not all of it."""
    field = disks.field
    async with Scene(field, seed, calls, [RECORDING]) as scene:
        fault_at = time.monotonic()
        async with full(disks.monitor, hand) as monitor:
            landed(monitor.proof)
            came = scene.expect([RECORDING], RATE / 4, SECONDS)
            await asyncio.sleep(fault_at + SECONDS - time.monotonic())
            await eventually(lambda: all(call.talk() for call in came))
            proofs = [monitor.proof]
            await scene.over()
            proofs.append(monitor.proof)
        for path in disks.monitor.folder.glob("*.raw"):
            os.utime(path, (0, 0))  # nothing has come for long: nobody waits for more
        verdict = await oracle.at_rest(scene, proofs, figures, fault_at)
    verdict.wrong[:] = [wrong for wrong in verdict.wrong if not wrong.startswith("I5")]
    _judge_reasons(verdict)
    return verdict


def _judge_reasons(verdict: Verdict) -> None:
    for record in verdict.records.values():
        if seconds_of(record, StepKind.RECORDING) > oracle.CLOSE:
            verdict.figures.add("recordings cut short, or none, and told so", float(bool(record.recording_reason)))
            verdict.holds(bool(record.recording_reason), "I5", f"{record.call_id}: no word on what is not recorded")


async def _is_told(field: Field, what: str) -> bool:
    """Whether the engine says that there is no room."""
    status = await field.status()
    return status is not None and what in status.reason and NO_ROOM in status.reason


async def _is_well(field: Field) -> bool:
    status = await field.status()
    return status is not None and status.state == "ready"


def _jobs_log(field: Field) -> str:
    """What the part that keeps recordings has said so far."""
    return (field.settings.paths.log / "jobs.log").read_text()


async def _try_again_now(field: Field) -> None:
    """What waits half a minute for room is tried at once."""
    names: Sequence[str] = (KEEP_RECORDING, KEEP_VOICEMAIL)
    soon = text("UPDATE pgqueuer SET execute_after = now() WHERE status = 'queued' AND entrypoint = ANY(:names)")
    async with transaction(field.database) as connection:
        await connection.execute(soon, {"names": list(names)})

"""One Asterisk for all call tests of a worker; an engine and a carrier for each test."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path
from uuid import UUID

import pytest

from engine.numbers.model import ServiceNumber
from engine.sandbox.carrier import Carrier
from tests.engine_rig import (
    Rig,
    carrier_trunk,
    engine_on,
    left_over,
    make_sounds,
    network,
    number_set,
    second_trunk,
    untrusted_trunk,
)
from tests.real_asterisk import RunningAsterisk, start_asterisk

ACCOUNT = UUID("01900000-0000-7000-8000-000000000001")


@pytest.fixture(scope="session")
async def call_asterisk(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[RunningAsterisk]:
    folder = tmp_path_factory.mktemp("ast")
    make_sounds(folder / "sounds")
    trunks = [carrier_trunk(), second_trunk(), untrusted_trunk()]
    running = await start_asterisk(folder, f"{network()}.1", trunks, call_door=f"{network()}.1:4574")
    yield running
    await running.stop()


@pytest.fixture
async def carrier() -> AsyncIterator[Carrier]:
    async with Carrier(f"{network()}.2", 5070, (f"{network()}.1", 5060)) as carrier:
        yield carrier


@pytest.fixture
def numbers() -> list[ServiceNumber]:
    """The numbers in service; a test may change the list's only entry by a fixture of its own."""
    return [number_set(ACCOUNT)]


@pytest.fixture
async def rig(
    call_asterisk: RunningAsterisk, tmp_path: Path, numbers: list[ServiceNumber], carrier: Carrier
) -> AsyncIterator[Rig]:
    """Whatever a test does, nothing of it may stay in Asterisk."""
    async with engine_on(call_asterisk, tmp_path, numbers, carrier) as rig:
        yield rig
    assert await left_over(call_asterisk) == ([], [])

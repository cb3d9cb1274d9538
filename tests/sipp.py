"""SIPp, a SIP implementation that is not ours, as caller and as shop; its own statistics say how it went."""

from __future__ import annotations

import asyncio
import csv
import os
import shutil
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path

from engine.settings import read_settings
from engine.supervisor.ports import Transport, is_free
from tests.eventually import eventually

_SCENARIOS = Path(__file__).parent / "asterisk" / "sipp"
_LONGEST = 60  # seconds; SIPp ends itself then, and that is a failure


def find_sipp() -> str:
    """The one unpacked beside Asterisk, else the system's."""
    unpacked = read_settings().asterisk_files / "sipp"
    found = str(unpacked) if unpacked.is_file() else shutil.which("sipp")
    assert found, f"no SIPp: {unpacked} is not there; run asterisk-conf/get-asterisk"
    return found


@dataclass(frozen=True, slots=True)
class Side:
    """One SIPp that plays a scenario so many times from an address of its own."""

    scenario: str
    address: str
    calls: int
    folder: Path
    options: tuple[str, ...] = ()

    def file(self, kind: str) -> Path:
        return self.folder / f"{self.scenario}-{self.address.rpartition(':')[2]}.{kind}"


@dataclass(frozen=True, slots=True)
class Told:
    """What SIPp says of itself when it has ended."""

    code: int
    output: str
    """Its first errors and its last screen."""
    figures: dict[str, str]
    messages: str
    """Every SIP message that it sent and received."""

    def went_well(self, calls: int) -> None:
        """Fails unless every one of `calls` went through its scenario to the end."""
        counted = {name: self.figures.get(name) for name in ("TotalCallCreated", "SuccessfulCall(C)", "FailedCall(C)")}
        assert counted == {
            "TotalCallCreated": str(calls),
            "SuccessfulCall(C)": str(calls),
            "FailedCall(C)": "0",
        }, self.output
        assert self.code == 0, self.output


class Running:
    """A SIPp that plays; `told` waits for its end."""

    def __init__(self, side: Side, process: asyncio.subprocess.Process) -> None:
        self.process = process
        self._side = side

    async def told(self) -> Told:
        """What it says of itself, once it has ended."""
        async with asyncio.timeout(_LONGEST + 10):
            code = await self.process.wait()
        side = self._side
        errors = side.file("errors")
        with side.file("csv").open(newline="") as file:
            figures = list(csv.DictReader(file, delimiter=";"))[-1]
        return Told(
            code=code,
            output=(errors.read_text()[:1500] if errors.exists() else "") + side.file("screen").read_text(),
            figures=figures,
            messages=side.file("messages").read_text(),
        )


@asynccontextmanager
async def playing(side: Side, *options: str) -> AsyncIterator[Running]:
    """`side` plays its scenario while the block runs."""
    with side.file("screen").open("wb") as screen:
        process = await asyncio.create_subprocess_exec(
            find_sipp(),
            *_arguments(side),
            *options,
            cwd=side.folder,
            env=os.environ | {"TERM": "dumb"},
            stdin=asyncio.subprocess.DEVNULL,
            stdout=screen,
            stderr=screen,
        )
    try:
        yield Running(side, process)
    finally:
        if process.returncode is None:
            process.kill()
            await process.wait()


async def calls_from(side: Side, *, to: str, number: str, rate: int) -> Told:
    """`side` calls `number` at the address `to`, `rate` calls a second, and tells when all are over."""
    async with playing(side, "-s", number, "-r", str(rate), to) as caller:
        return await caller.told()


@asynccontextmanager
async def shop(side: Side) -> AsyncIterator[Running]:
    """`side` takes calls from when the block begins."""
    host, _, port = side.address.partition(":")
    async with playing(side) as answering:
        await eventually(lambda: not is_free(host, int(port), Transport.UDP) or bool(answering.process.returncode))
        yield answering


def _arguments(side: Side) -> tuple[str, ...]:
    host, _, port = side.address.partition(":")
    played = ("-sf", str(_SCENARIOS / f"{side.scenario}.xml"), "-i", host, "-mi", host, "-p", port, "-nostdin")
    limits = ("-m", str(side.calls), "-timeout", f"{_LONGEST}s", "-timeout_error")
    statistics = ("-trace_stat", "-stf", str(side.file("csv")), "-trace_err", "-error_file", str(side.file("errors")))
    return (*played, *limits, *statistics, "-trace_msg", "-message_file", str(side.file("messages")), *side.options)

"""A real Asterisk for tests: rendered from the product's own templates, on addresses that the test names."""

from __future__ import annotations

import asyncio
import csv
import os
import re
import subprocess
import wave
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

import aiohttp
import numpy as np

from engine.settings import PRODUCT_FILES, read_settings
from engine.supervisor import asterisk
from engine.supervisor.asterisk_files import AsteriskSettings, render
from engine.trunks.model import Trunk
from engine.trunks.provisioning import write_trunks
from tests.eventually import eventually

PASSWORD = "made-for-tests"

UNHURRIED = 5000
"""Milliseconds in which an engine claims a call on the busiest machine: what is not about that limit never meets it."""


def loopback(subject: int, host: int) -> str:
    """127.0.subject.host; each test file takes its own subject, each parallel test worker another second number."""
    worker = re.sub(r"\D", "", os.environ.get("PYTEST_XDIST_WORKER", "")) or "0"
    return f"127.{worker}.{subject}.{host}"


def write_tone(file: Path, *tones: tuple[int, float]) -> None:
    """A sound for Asterisk: each tone in Hz for its seconds, one after the other."""
    file.parent.mkdir(parents=True, exist_ok=True)
    parts = [np.sin(2 * np.pi * hertz * np.arange(round(8000 * seconds)) / 8000) for hertz, seconds in tones]
    with wave.open(str(file), "wb") as sound:
        sound.setparams((1, 2, 8000, 0, "NONE", ""))
        sound.writeframes((8000 * np.concatenate(parts)).astype(np.int16).tobytes())


class CallLine(NamedTuple):
    """A line of Asterisk's own CSV, columns and their parts as asterisk-conf/README.md names them."""

    unique: str
    linked: str
    call_id: str
    channel: str
    caller: str
    number: str
    start: str
    answer: str
    end: str
    duration: str
    talk: str
    disposition: str
    cause: str
    engine: str
    presentation: str
    unused: str
    alone: str
    alone_number: str
    alone_result: str
    alone_target: str
    alone_account: str
    alone_recording: str
    alone_notices: str


_COLUMNS = 15  # a line that is just being written has fewer


def _call_line(columns: list[str]) -> CallLine:
    *asterisks, ended, unused, alone = columns
    of_end = ended.split(" ") if ended else [""] * 3
    of_end[1] = of_end[1].partition("|")[0]
    of_call_alone = (alone.split("|") + [""] * 7)[:7]
    return CallLine._make([*asterisks, *of_end, unused, *of_call_alone])


@dataclass(frozen=True, slots=True)
class RunningAsterisk:
    """An Asterisk that takes calls. Stop it with `stop`."""

    settings: AsteriskSettings
    etc: Path
    process: asyncio.subprocess.Process

    @property
    def sip_address(self) -> str:
        return self.settings.sip_address

    @property
    def ari_url(self) -> str:
        return f"http://{self.settings.ari_address}"

    @property
    def ari_user(self) -> str:
        return self.settings.ari_user

    @property
    def ari_password(self) -> str:
        return self.settings.ari_password

    @property
    def ami_address(self) -> str:
        return self.settings.ami_address

    @property
    def ami_user(self) -> str:
        return self.settings.ami_user

    @property
    def ami_password(self) -> str:
        return self.settings.ami_password

    @property
    def call_records(self) -> Path:
        """Asterisk's own CSV, a line per channel."""
        return self.settings.home / "log" / "cdr-custom" / "calls.csv"

    def lines(self) -> list[CallLine]:
        """The lines of all calls so far."""
        if not self.call_records.exists():
            return []
        with self.call_records.open(newline="") as lines:
            return [_call_line(line) for line in csv.reader(lines) if len(line) == _COLUMNS]

    def lines_of(self, call_id: str) -> list[CallLine]:
        """The lines so far of the call with this SIP Call-ID, which no engine took."""
        return [line for line in self.lines() if line.call_id == call_id]

    async def record_of(self, call_id: str) -> CallLine:
        """The one line of such a call that is over; Asterisk writes it a moment after the caller's last message."""
        await eventually(lambda: bool(self.lines_of(call_id)))
        [line] = self.lines_of(call_id)
        return line

    async def line_of_channel(self, channel: str) -> CallLine:
        """The one line of a channel that is over."""

        def lines() -> list[CallLine]:
            return [line for line in self.lines() if line.unique == channel]

        await eventually(lambda: bool(lines()))
        [line] = lines()
        return line

    @property
    def log(self) -> str:
        """Warnings and errors so far."""
        file = self.settings.home / "log" / "messages.log"
        return file.read_text() if file.exists() else ""

    def ari(self) -> aiohttp.ClientSession:
        """Plain HTTP to its ARI, for tests that need no engine."""
        login = aiohttp.encode_basic_auth(self.ari_user, self.ari_password)
        return aiohttp.ClientSession(self.ari_url, headers={"Authorization": login})

    async def ask(self, request: str) -> str:
        """What its console answers to `request`."""
        return await asterisk.ask(self.settings.program, self.etc, request)

    async def change_trunks(self, trunks: Iterable[Trunk]) -> None:
        """Other trunks from now on, without a restart."""
        if write_trunks(self.etc, trunks, self.settings.rtp_address):
            await self.ask("module reload res_pjsip.so")

    async def stop(self) -> None:
        if self._alive():
            await self.ask("core stop now")
            try:
                await asyncio.wait_for(self.process.wait(), 5)
            except TimeoutError:
                self.process.kill()
        await self.process.wait()

    def _alive(self) -> bool:
        return self.process.returncode is None


async def start_asterisk(folder: Path, ip: str, trunks: Iterable[Trunk], **changes: Any) -> RunningAsterisk:
    """Starts Asterisk with its files under `folder` and SIP, ARI and AMI on `ip` (ports 5060, 8088, 5038).

    The program is what DARI_ASTERISK and DARI_ASTERISK_FILES name. `changes` are fields of AsteriskSettings.
    """
    settings = asterisk_settings(folder, ip, **changes)
    etc = folder / "etc"
    render(etc, settings, trunks)
    output = (folder / "output.log").open("wb")
    with output:
        process = await asyncio.create_subprocess_exec(
            *asterisk.command_line(settings.program, etc), stdin=subprocess.DEVNULL, stdout=output, stderr=output
        )
    running = RunningAsterisk(settings, etc, process)
    try:
        await asterisk.wait_until_booted(settings.program, etc, running._alive)
    except BaseException:
        await running.stop()
        raise
    return running


def asterisk_settings(folder: Path, ip: str, **changes: Any) -> AsteriskSettings:
    """The values that `start_asterisk` renders."""
    chosen = read_settings()
    values: dict[str, Any] = {
        "claim_milliseconds": UNHURRIED,
        "program": asterisk.find_asterisk(os.environ.get("DARI_ASTERISK", ""), chosen.asterisk_files),
        "product_files": PRODUCT_FILES,
        "home": folder,
        "run": folder / "run",
        "spool": folder / "spool",
        "sounds": folder / "sounds",
        "music": folder / "music.sqlite3",
        "sip_address": f"{ip}:5060",
        "ari_address": f"{ip}:8088",
        "ari_user": "dari",
        "ari_password": PASSWORD,
        "ami_address": f"{ip}:5038",
        "ami_user": "dari",
        "ami_password": PASSWORD,
    }
    return AsteriskSettings(**(values | changes))

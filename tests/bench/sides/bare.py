"""Sides without the product: the same Asterisk with the same files, another dialplan, at most one program beside it."""

from __future__ import annotations

import asyncio
import os
import shutil
import sys
import tempfile
from collections.abc import AsyncIterator, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from pathlib import Path

from engine.foundation.errors import GaveUp
from engine.settings import PRODUCT_FILES
from engine.trunks.model import Trunk
from tests.bench.sides.probe import PORT
from tests.bench.sides.programs.bare_loop import APP, EVENTS, RING_SECONDS
from tests.bench.sides.taker import LOAD, PROBE, STANDING, Opens, Room, Taker
from tests.real_asterisk import RunningAsterisk, start_asterisk

_CHECKOUT = Path(__file__).resolve().parents[3]
_PROGRAMS = "tests.bench.sides.programs"
_READY_WITHIN = 30.0
_AGI_PORT = 4573
RTP_PORTS = (10000, 29999)
"""Enough for 1,900 calls of two parties."""

_DIAL = f"Dial(PJSIP/02345$${{EXTEN:-4}}@$${{CHANNEL(endpoint)}},{RING_SECONDS})"
_DIALPLAN = """\
[general]
static = yes
writeprotect = yes

[dari-incoming]
exten => _[+0-9]!,1,{does}
 same => n,Hangup()
"""
_MODULES = "\nload = res_speech.so\nload = res_agi.so\nload = bridge_holding.so\n"
"""What AGI and a dial over ARI need beside what the product does."""


@dataclass(frozen=True, slots=True)
class Program:
    """What runs beside Asterisk: a module of `programs`, over AGI or ARI."""

    module: str
    over_ari: bool
    python: Path = Path(sys.executable)
    options: tuple[str, ...] = ()


def bare(program: Program | None = None) -> Opens:
    """Asterisk alone, or with that program; calls ring `target_of` the number behind the trunk they came by."""

    @asynccontextmanager
    async def opens(room: Room) -> AsyncIterator[Taker]:
        folder = Path(tempfile.mkdtemp(prefix="dari-bench-"))
        async with AsyncExitStack() as ends:
            ends.callback(shutil.rmtree, folder, ignore_errors=True)
            room.say("Asterisk")
            asterisk = await _asterisk(folder, room, program)
            ends.push_async_callback(asterisk.stop)
            parts = {"asterisk": asterisk.process.pid}
            if program:
                beside = await ends.enter_async_context(_running(program, asterisk, folder))
                parts["engine"] = beside.pid
                if program.over_ari:
                    await _filter_events(asterisk)
            yield Taker(room.network, (room.address, 5060), folder, lambda: parts)

    return opens


async def _asterisk(folder: Path, room: Room, program: Program | None) -> RunningAsterisk:
    files = folder / "files"
    shutil.copytree(PRODUCT_FILES / "asterisk-conf", files / "asterisk-conf", ignore=shutil.ignore_patterns("get-*"))
    with (files / "asterisk-conf" / "modules.conf").open("a") as modules:
        modules.write(_MODULES)
    does = _DIAL
    if program:
        does = f"Stasis({APP})" if program.over_ari else f"AGI(agi://{room.address}:{_AGI_PORT}/dial)"
    (files / "dialplan").mkdir()
    (files / "dialplan" / "extensions.conf").write_text(_DIALPLAN.format(does=does))
    load, probe, standing = (room.address_of(who) for who in (LOAD, PROBE, STANDING))
    trunks = (
        Trunk(name="carrier", match=(load, standing), contact=f"sip:{load}:5070"),
        Trunk(name="probe", match=(probe,), contact=f"sip:{probe}:{PORT}"),
    )
    return await start_asterisk(
        folder / "asterisk",
        room.address,
        trunks,
        product_files=files,
        rtp_first=RTP_PORTS[0],
        rtp_last=RTP_PORTS[1],
    )


@asynccontextmanager
async def _running(
    program: Program, asterisk: RunningAsterisk, folder: Path
) -> AsyncIterator[asyncio.subprocess.Process]:
    said = folder / "program.log"
    arguments: Sequence[str] = (asterisk.ari_url, asterisk.ari_user, asterisk.ari_password, *program.options)
    if not program.over_ari:
        arguments = (f"{asterisk.sip_address.partition(':')[0]}:{_AGI_PORT}",)
    with said.open("wb") as errors:
        process = await asyncio.create_subprocess_exec(
            *(str(program.python), "-m", f"{_PROGRAMS}.{program.module}", *arguments),
            cwd=_CHECKOUT,
            env={name: value for name, value in os.environ.items() if not name.startswith("PYTHON")},
            stdin=asyncio.subprocess.DEVNULL,
            stdout=asyncio.subprocess.PIPE,
            stderr=errors,
            start_new_session=True,
        )
    try:
        assert process.stdout is not None
        try:
            async with asyncio.timeout(_READY_WITHIN):
                ready = await process.stdout.readline()
        except TimeoutError:
            ready = b""
        if ready != b"READY\n":
            raise GaveUp(f"{program.module} did not start: {_last_words(said)}")
        yield process
    finally:
        if process.returncode is None:
            process.kill()
        await process.wait()


def _last_words(file: Path) -> str:
    lines = file.read_text(errors="replace").strip().splitlines()
    return lines[-1][:300] if lines else "it said nothing"


async def _filter_events(asterisk: RunningAsterisk) -> None:
    """Asterisk tells the application what the loop looks at, and nothing else: 68 events a call would be told."""
    wanted = {"allowed": [{"type": kind} for kind in EVENTS]}
    async with asterisk.ari() as session:
        for _ in range(100):
            async with session.put(f"/ari/applications/{APP}/eventFilter", json=wanted) as answer:
                if answer.status == 200:
                    return
            await asyncio.sleep(0.1)
    raise GaveUp(f"the ARI application {APP} did not register")

"""Two machines in one: Asterisk in a network namespace of its own, joined to ours by two wires; one can be cut.

`join` is for a process that `run_inside` has started in a namespace of its own. SIP and sound go over the one wire, ARI
and AMI over the other. Both namespaces, and all that is in them, go with the processes that are in them: nothing is
left to be cleaned up.

What is wanted of the machine: Linux, `ip`, `unshare`, and leave to make a user namespace (or root). Packets are dropped
by the kernel's `blackhole` queueing discipline, which counts them; iptables or nftables are not asked for.
"""

from __future__ import annotations

import asyncio
import ctypes
import os
import re
import subprocess
import sys
from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from dataclasses import dataclass, field
from pathlib import Path

from tests.chaos.processes import STRIKING, Hand
from tests.chaos.proof import Proof

_LONGEST = 60.0
"""Seconds that a command may take."""
_NEWNET = 0x40000000
SPEECH, CONTROL = "10.77.1", "10.77.2"
"""The two wires' networks: the engine's side is .1, Asterisk's .2."""
_WIRES = {SPEECH: ("speech0", "speech1"), CONTROL: ("control0", "control1")}

_libc = ctypes.CDLL(None, use_errno=True)


def missing() -> str:
    """Why this machine cannot do it; empty: it can."""
    probe = (
        "ip link add speech0 type veth peer name speech1 && ip link set speech0 up && "
        "tc qdisc replace dev speech0 root blackhole"
    )
    try:
        tried = _run("unshare", "--user", "--map-root-user", "--net", "sh", "-c", probe, check=False)
    except FileNotFoundError as error:
        return f"there is no {error.filename}"
    return "" if tried.returncode == 0 else tried.stderr.strip() or "namespaces are not allowed here"


def command_line(*program: str) -> list[str]:
    """How a program is started in a namespace of its own, as its root."""
    return ["unshare", "--user", "--map-root-user", "--net", "--kill-child", *program]


@dataclass(slots=True)
class Wires:
    """What joins the two namespaces. Used by the one process for which `command_line` made the first."""

    here: int
    there: int
    """File descriptors of the namespaces."""
    keeper: subprocess.Popen[bytes]
    """Whose end is the end of the second."""
    hand: Hand = STRIKING
    _dropped: dict[str, int] = field(default_factory=dict)

    @contextmanager
    def asterisks_side(self) -> Iterator[None]:
        """Whatever this thread starts or opens meanwhile is over there."""
        _enter(self.there)
        try:
            yield
        finally:
            _enter(self.here)

    async def drop(self, *, to_asterisk: bool, from_asterisk: bool) -> Proof:
        """From now on ARI's and AMI's packets that way vanish, and nobody is told. Returns once the first ones did."""
        self._dropped.clear()
        if to_asterisk and self.hand.strikes:
            _run("tc", "qdisc", "replace", "dev", "control0", "root", "blackhole")
        if from_asterisk and self.hand.strikes:
            with self.asterisks_side():
                _run("tc", "qdisc", "replace", "dev", "control1", "root", "blackhole")
        await self.hand.sees(lambda: self.proof.measured > 0)
        return self.proof

    def heal(self) -> None:
        """Everything arrives again; what was dropped stays lost."""
        self._look()
        for wire in [wire for wire in ("control0", "control1") if wire in self._dropped]:
            with self._side_of(wire):
                _run("tc", "qdisc", "del", "dev", wire, "root")

    @property
    def proof(self) -> Proof:
        """How many packets were dropped since `drop`, as the kernel counts them."""
        self._look()
        return Proof("packets dropped by the kernel", sum(self._dropped.values()), "packets")

    def close(self) -> None:
        self.keeper.kill()
        self.keeper.wait()
        os.close(self.here)
        os.close(self.there)

    def _look(self) -> None:
        for wire in ("control0", "control1"):
            with self._side_of(wire):
                told = _run("tc", "-s", "qdisc", "show", "dev", wire).stdout
            if "blackhole" in told and (found := re.search(r"dropped (\d+)", told)):
                self._dropped[wire] = int(found[1])

    def _side_of(self, wire: str) -> AbstractContextManager[None]:
        return self.asterisks_side() if wire == "control1" else nullcontext()


def join() -> Wires:
    """Makes Asterisk's namespace and the wires to it."""
    keeper = subprocess.Popen(["unshare", "--net", "sleep", str(int(_LONGEST * 10))])
    ours = Path("/proc/self/ns/net").readlink()
    while Path(f"/proc/{keeper.pid}/ns/net").readlink() == ours:
        os.sched_yield()
    wires = Wires(os.open("/proc/self/ns/net", os.O_RDONLY), os.open(f"/proc/{keeper.pid}/ns/net", os.O_RDONLY), keeper)
    _run("ip", "link", "set", "lo", "up")
    for network, (near, far) in _WIRES.items():
        _run("ip", "link", "add", near, "type", "veth", "peer", "name", far, "netns", str(keeper.pid))
        _plug_in(near, f"{network}.1")
    with wires.asterisks_side():
        _run("ip", "link", "set", "lo", "up")
        for network, (_, far) in _WIRES.items():
            _plug_in(far, f"{network}.2")
    return wires


def _plug_in(wire: str, address: str) -> None:
    _run("ip", "address", "add", f"{address}/24", "dev", wire)
    _run("ip", "link", "set", wire, "up")


def _enter(namespace: int) -> None:
    if _libc.setns(namespace, _NEWNET) != 0:
        raise OSError(ctypes.get_errno(), "setns")


def _run(*command: str, check: bool = True) -> subprocess.CompletedProcess[str]:
    return subprocess.run(command, check=check, capture_output=True, text=True, timeout=_LONGEST)


async def run_inside(module: str, folder: Path, *arguments: str, longest: float) -> str:
    """Runs `python -m module folder …` in namespaces of its own; its output. Fails when it fails, or takes too long."""
    python = sys.executable
    process = await asyncio.create_subprocess_exec(
        *command_line(python, "-m", module, str(folder), *arguments),
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
    )
    try:
        async with asyncio.timeout(longest):
            output, _ = await process.communicate()
    finally:
        if process.returncode is None:
            process.kill()
            await process.wait()
    told = output.decode(errors="replace")
    assert process.returncode == 0, told[-4000:]
    return told

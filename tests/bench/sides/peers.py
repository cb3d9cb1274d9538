"""Other people's libraries, in an environment of their own: what cannot be installed is absent and named."""

from __future__ import annotations

import json
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

from tests.bench.sides.bare import Program, bare
from tests.bench.sides.taker import Holds, Side

_WITHIN = 300


@dataclass(frozen=True, slots=True)
class Peer:
    """A library and the program that uses it."""

    package: str
    module: str
    over_ari: bool


PEERS = (
    Peer("aioari", "peer_aioari", over_ari=True),
    Peer("asyncari", "peer_asyncari", over_ari=True),
    Peer("ari_client", "peer_ari_client", over_ari=True),
    Peer("panoramisk", "peer_panoramisk", over_ari=False),
)


class Environment:
    """A virtual environment in `folder`, made when it is missing."""

    def __init__(self, folder: Path) -> None:
        self.python = folder / "bin" / "python"
        self._folder = folder

    def side(self, peer: Peer) -> Side | str:
        """The peer as a side, or why it is absent."""
        if why := self._install(peer.package):
            return why
        opens = bare(Program(peer.module, peer.over_ari, self.python))
        first_rate = 100.0 if peer.over_ari else 150.0
        return Side(peer.package, self._version(peer.package), opens, first_rate, holds=Holds.NONE)

    def _install(self, package: str) -> str:
        if not self.python.exists():
            made = _run(sys.executable, "-m", "venv", str(self._folder))
            if made.returncode:
                return f"no environment: {_last(made)}"
        if self._version(package):
            return ""
        pip = (str(self.python), "-m", "pip", "--disable-pip-version-check", "--no-input", "-q")
        done = _run(*pip, "install", package)
        return f"not installed: {_last(done)}" if done.returncode else ""

    def _version(self, package: str) -> str:
        ask = f"from importlib.metadata import version; print(version({json.dumps(package)}))"
        done = _run(str(self.python), "-c", ask)
        return "" if done.returncode else done.stdout.strip()


def _run(*command: str) -> subprocess.CompletedProcess[str]:
    try:
        return subprocess.run(
            command, capture_output=True, text=True, check=False, timeout=_WITHIN, stdin=subprocess.DEVNULL
        )
    except subprocess.TimeoutExpired:
        return subprocess.CompletedProcess(command, 1, "", f"not done after {_WITHIN} s")


def _last(done: subprocess.CompletedProcess[str]) -> str:
    lines = done.stderr.strip().splitlines()
    return lines[-1][:200] if lines else f"code {done.returncode}"

"""What processes have used, from /proc: processor time in steps of 10 ms, memory, and how busy the machine was."""

from __future__ import annotations

import os
from collections import defaultdict
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

_TICKS = os.sysconf("SC_CLK_TCK")
_PARENT, _OWN, _CHILDREN = 1, slice(11, 13), slice(13, 15)  # of /proc/PID/stat, counted after the name in brackets
_IDLE, _GUEST = slice(3, 5), 8  # of the cpu line of /proc/stat


@dataclass(frozen=True, slots=True)
class Used:
    """Processor seconds since the start, of some processes and of the whole machine."""

    processes: Mapping[str, float]
    """By name; with all descendants that have no name themselves, those that have ended among them."""
    machine: float
    resident: Mapping[str, float]
    """Megabytes of the process itself, by name."""


def used(processes: Mapping[str, int]) -> Used:
    """By now, by name of each process id; one that has ended is left out."""
    stats = _stats()
    named = set(processes.values())
    children: dict[int, list[int]] = defaultdict(list)
    for pid, stat in stats.items():
        if pid not in named:
            children[int(stat[_PARENT])].append(pid)
    living = {name: pid for name, pid in processes.items() if pid in stats}
    return Used(
        processes={name: _whole(pid, stats, children) for name, pid in living.items()},
        machine=_machine(),
        resident={name: _resident(pid) for name, pid in living.items()},
    )


def _whole(pid: int, stats: Mapping[int, list[str]], children: Mapping[int, list[int]]) -> float:
    ended = sum(map(int, stats[pid][_CHILDREN]))
    own = sum(map(int, stats[pid][_OWN]))
    return (own + ended) / _TICKS + sum(_whole(child, stats, children) for child in children.get(pid, ()))


def _stats() -> dict[int, list[str]]:
    found = {}
    for folder in Path("/proc").iterdir():
        if folder.name.isdigit():
            try:
                line = (folder / "stat").read_text(errors="replace")
            except OSError:
                continue  # ended meanwhile
            found[int(folder.name)] = line.rpartition(")")[2].split()
    return found


def _machine() -> float:
    fields = [int(value) for value in Path("/proc/stat").read_text().partition("\n")[0].split()[1:]]
    return (sum(fields[:_GUEST]) - sum(fields[_IDLE])) / _TICKS


def _resident(pid: int) -> float:
    try:
        pages = int(Path(f"/proc/{pid}/statm").read_text().split()[1])
    except OSError:
        return 0.0
    return pages * os.sysconf("SC_PAGE_SIZE") / 1e6


def with_mark(mark: bytes) -> Iterator[int]:
    """The processes of this machine whose environment holds exactly this NAME=VALUE, ours left out."""
    for folder in Path("/proc").iterdir():
        if folder.name.isdigit() and int(folder.name) != os.getpid():
            try:
                if mark in (folder / "environ").read_bytes().split(b"\0"):
                    yield int(folder.name)
            except OSError:
                continue

"""What the doctor looks at on this machine; nothing needs to run for it."""

from __future__ import annotations

import os
import resource
import shutil
import sys
import time
from collections.abc import Iterator
from pathlib import Path

from engine.foundation.errors import DariError
from engine.foundation.process import read_pid_file
from engine.settings import Settings
from engine.supervisor.check import Check, bad, ok, refused, warn
from engine.supervisor.home import check_home, check_writable
from engine.supervisor.ports import check_sound_ports, choose_ports, read_ports
from engine.supervisor.preparation import program_of
from engine.supervisor.up import ORDER

_ENOUGH_FILES = 10_000  # a bridged call takes ten
_LITTLE_SPACE, _NO_SPACE = 5_000_000_000, 500_000_000  # bytes
_CLOCK_TOLERANCE = 2.0


def machine_checks(settings: Settings) -> Iterator[Check]:
    yield _python()
    yield _user()
    yield _open_files()
    yield _clock()
    yield _home(settings)
    yield from _space(settings)
    if not settings.ari_url:
        yield _asterisk_program(settings)
    yield _ports(settings)


def _python() -> Check:
    return ok("python", f"{'.'.join(map(str, sys.version_info[:3]))}, {sys.executable}")


def _user() -> Check:
    if os.geteuid() == 0:
        return warn("user", "root", "run Dari as a user of its own; only ports below 1024 need root")
    return ok("user", f"uid {os.geteuid()}")


def _open_files() -> Check:
    hard = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
    if hard != resource.RLIM_INFINITY and hard < _ENOUGH_FILES:
        return warn("open files", f"at most {hard}, enough for {hard // 10} calls", "raise the limit with `ulimit -n`")
    return ok("open files", "no limit" if hard == resource.RLIM_INFINITY else f"at most {hard}")


def _clock() -> Check:
    """A clock before the files of this very program is wrong."""
    newest_file = max(path.stat().st_mtime for path in Path(__file__).parent.glob("*.py"))
    if time.time() < newest_file - _CLOCK_TOLERANCE:
        return bad("clock", time.strftime("%Y-%m-%d %H:%M:%S %Z"), "set it, for example with chrony")
    return ok("clock", time.strftime("%Y-%m-%d %H:%M:%S %Z"))


def _home(settings: Settings) -> Check:
    try:
        check_home(settings.home, settings.paths.sockets)
        check_writable(settings.paths.sounds, "DARI_SOUNDS")
    except DariError as error:
        return refused("folders", error)
    return ok("folders", str(settings.home))


def _space(settings: Settings) -> Iterator[Check]:
    paths = settings.paths
    for name, folder in (("space for call records", paths.spool), ("space for recordings", paths.recordings)):
        there = next(parent for parent in (folder, *folder.parents) if parent.exists())
        free = shutil.disk_usage(there).free
        found = f"{free / 1e9:.1f} GB free for {folder}"
        if free < _NO_SPACE:
            yield bad(name, found, "free some, or set DARI_HOME to a larger disk")
        elif free < _LITTLE_SPACE:
            yield warn(name, found, "free some; an hour of recorded talk takes 115 MB")
        else:
            yield ok(name, found)


def _asterisk_program(settings: Settings) -> Check:
    if read_pid_file(settings.paths.pid_file("asterisk")):
        return ok("asterisk program", "runs")
    try:
        program = program_of(settings)
    except DariError as error:
        return refused("asterisk program", error)
    return ok("asterisk program", f"{program.path}, {'.'.join(map(str, program.version))}")


def _ports(settings: Settings) -> Check:
    paths = settings.paths
    living = frozenset(name for name in ORDER if read_pid_file(paths.pid_file(name)))
    sip, http = str(settings.sip_bind), str(settings.http_bind)
    former = read_ports(paths.run / "ports.json")
    try:
        if former is None or not {"asterisk", "web"} <= living:
            choose_ports(sip, http, former, living, any_port=False)
        if not settings.ari_url and "asterisk" not in living:
            check_sound_ports(settings.rtp_bind or settings.sip_bind.host, settings.rtp_ports)
    except DariError as error:
        return refused("ports", error)
    return ok("ports", f"SIP {former.sip if former else sip}, HTTP {former.http if former else http}")

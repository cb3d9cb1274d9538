"""The files of Dari's own Asterisk, rendered from values and the templates in `asterisk-conf/` and `dialplan/`.

Nothing is rewritten that did not change, and nothing half-written is ever read.
"""

from __future__ import annotations

import os
import re
import resource
import sqlite3
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from string import Template

from engine.asterisk.call_door import door_key
from engine.foundation.errors import Invalid
from engine.foundation.files import write_if_changed
from engine.supervisor.asterisk import Program
from engine.trunks.model import Trunk
from engine.trunks.provisioning import write_trunks

_SECRET = frozenset({"ari.conf", "manager.conf", "extensions.conf"})
_SOCKET_PATH_BYTES = 107
_MOST_OPEN_FILES = 200_000
_TRACE_MODULES = "\n; Copies of SIP messages\nload = res_hep.so\nload = res_hep_pjsip.so"


@dataclass(frozen=True, slots=True, kw_only=True)
class AsteriskSettings:
    """What the rendered files say. Addresses are `host:port`."""

    program: Program
    product_files: Path
    """Folder that holds `asterisk-conf/` and `dialplan/`."""
    home: Path
    """Asterisk's own folder: log, lib and db are made in it."""
    run: Path
    """Folder of its control socket."""
    spool: Path
    sounds: Path
    music: Path
    """The sqlite3 file with the ringback classes."""
    sip_address: str
    external_address: str = ""
    local_networks: tuple[str, ...] = ()
    rtp_first: int = 16000
    rtp_last: int = 19999
    rtp_address: str = ""
    """IPv4 address offered for sound; empty: the SIP address."""
    ari_address: str
    ari_user: str
    ari_password: str
    ami_address: str
    ami_user: str
    ami_password: str
    hep_address: str | None = None
    """Where copies of SIP messages go; None: they are not made."""
    call_door: str = ""
    """Where the dialplan asks an engine about each call; empty: nowhere, and it offers every call to the engines."""
    claim_milliseconds: int = 500
    longest_call: int = 15_000
    """Seconds from the INVITE after which any call ends."""
    app_filter: str = "^dari-"
    """Regular expression of the ARI applications that may claim calls."""


def render(folder: Path, settings: AsteriskSettings, trunks: Iterable[Trunk]) -> bool:
    """Writes every Asterisk file into `folder` and makes the folders that it needs. True when any file changed.

    Files with passwords, Asterisk's logs and recordings are for their owner only. Raises Invalid for a value that
    Asterisk would misread.
    """
    values = _values(folder, settings)
    _check(values, settings)
    for made in (folder, *(settings.home / name for name in ("run", "lib"))):
        made.mkdir(parents=True, exist_ok=True)
    # What people said, and who called whom, is for this user alone; Asterisk writes files that all may read.
    for closed in (
        *(settings.home / name for name in ("log", "db")),
        *(settings.spool / name for name in ("monitor", "recording")),
    ):
        closed.mkdir(mode=0o700, parents=True, exist_ok=True)
    (settings.home / "log" / "cdr-custom").mkdir(exist_ok=True)
    _make_music(settings)
    changed = [
        _write(folder / template.name, Template(template.read_text()).substitute(values))
        for template in _templates(settings)
    ]
    changed.append(write_trunks(folder, trunks, settings.rtp_address))
    return any(changed)


def _values(folder: Path, settings: AsteriskSettings) -> dict[str, str]:
    ari_host, _, ari_port = settings.ari_address.rpartition(":")
    ami_host, _, ami_port = settings.ami_address.rpartition(":")
    return {
        "etc": str(folder),
        "home": str(settings.home),
        "run": str(settings.run),
        "spool": str(settings.spool),
        "sounds": str(settings.sounds),
        "music": str(settings.music),
        "program_folders": _program_folders(settings.program),
        "open_files": str(_open_files()),
        "sip_address": settings.sip_address,
        "nat": _nat(settings),
        "rtp_first": str(settings.rtp_first),
        "rtp_last": str(settings.rtp_last),
        "ari_host": ari_host,
        "ari_port": ari_port,
        "ari_user": settings.ari_user,
        "ari_password": settings.ari_password,
        "ami_host": ami_host,
        "ami_port": ami_port,
        "ami_user": settings.ami_user,
        "ami_password": settings.ami_password,
        "hep_address": settings.hep_address or "",
        "trace_modules": _TRACE_MODULES if settings.hep_address else "",
        "ask": _ask(settings),
        "claim_milliseconds": str(settings.claim_milliseconds),
        "claim_seconds": f"{settings.claim_milliseconds / 1000:.3f}",
        "longest_call": str(settings.longest_call),
        "app_filter": settings.app_filter,
    }


_COMPOSED = frozenset({"program_folders", "nat", "trace_modules", "ask"})


def _check(values: dict[str, str], settings: AsteriskSettings) -> None:
    """A value may not break out of its line, and the control socket's path has the system's limit."""
    for name, value in values.items():
        if name not in _COMPOSED and (re.search(r"[\r\n;]", value) or value != value.strip()):
            raise Invalid(f"{name}: no line break, semicolon or outer space can stand in Asterisk's files; change it")
    if "," in values["app_filter"] or re.search(r"[,&|]", values["sounds"]):
        raise Invalid("app_filter and sounds: no comma, & or | can stand in Asterisk's dialplan; change it")
    socket = settings.run / "asterisk.ctl"
    if len(os.fsencode(socket)) > _SOCKET_PATH_BYTES:
        raise Invalid(f"DARI_HOME: {socket} is longer than {_SOCKET_PATH_BYTES} bytes; choose a shorter path")


def _program_folders(program: Program) -> str:
    folders = {"astmoddir": program.modules, "astdatadir": program.data}
    return "\n".join(f"{name} => {path}" for name, path in folders.items() if path is not None)


def _nat(settings: AsteriskSettings) -> str:
    if not settings.external_address:
        return ""
    lines = [f"external_{what}_address = {settings.external_address}" for what in ("signaling", "media")]
    return "\n".join(lines + [f"local_net = {network}" for network in settings.local_networks])


def _ask(settings: AsteriskSettings) -> str:
    """The dialplan's question at the door."""
    if not settings.call_door:
        return "NoOp()"
    return f"AGI(agi://{settings.call_door}/{door_key(settings.ari_password)},${{INSTANT}})"


def _open_files() -> int:
    hard = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
    return _MOST_OPEN_FILES if hard == resource.RLIM_INFINITY else min(hard, _MOST_OPEN_FILES)


def _templates(settings: AsteriskSettings) -> list[Path]:
    templates = sorted((settings.product_files / "asterisk-conf").glob("*.conf"))
    templates.append(settings.product_files / "dialplan" / "extensions.conf")
    return [template for template in templates if settings.hep_address or template.name != "hep.conf"]


def _make_music(settings: AsteriskSettings) -> None:
    settings.music.parent.mkdir(parents=True, exist_ok=True)
    schema = (settings.product_files / "asterisk-conf" / "music.sql").read_text()
    connection = sqlite3.connect(settings.music)
    try:
        connection.executescript(schema)
    finally:
        connection.close()


def _write(path: Path, text: str) -> bool:
    return write_if_changed(path, text.encode(), 0o600 if path.name in _SECRET else 0o644)

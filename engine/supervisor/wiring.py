"""How the processes of one home find each other: the addresses and keys of what it runs itself, filled in."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Mapping

from engine.settings import Address, Settings
from engine.supervisor.ports import Ports, read_ports
from engine.supervisor.postgres import Embedded
from engine.supervisor.secrets import load_recording_key, load_secret_key, load_secrets

_PASSED_ON = ("PATH", "HOME", "USER", "LOGNAME", "LANG", "LC_ALL", "TZ", "TMPDIR", "SSL_CERT_FILE", "PYTHONPATH")
_SECRET = frozenset(
    {"DARI_ARI_PASSWORD", "DARI_AMI_PASSWORD", "DARI_GATEWAY_KEY", "DARI_RECORDING_KEY", "DARI_SECRET_KEY"}
)


def connected(settings: Settings) -> Settings:
    """`settings` with the addresses and keys of what this home runs itself: what every role and command works with.

    Before the first `dari up` only the database's address is known, the others stay as they are.
    """
    changes: dict[str, object] = {}
    if not settings.database_url:
        changes["database_url"] = embedded_database(settings).url
    if ports := read_ports(settings.paths.run / "ports.json"):
        changes |= _addresses(settings, ports)
    return settings.model_copy(update=changes)


def embedded_database(settings: Settings) -> Embedded:
    return Embedded(settings.paths.postgres, settings.paths.run)


def role_environment(settings: Settings) -> dict[str, str]:
    """Everything that a role of ours is told: each setting by name, and the little that any program needs."""
    values = settings.model_dump(mode="json")
    return program_environment(settings) | {f"DARI_{name.upper()}": _written(values[name]) for name in values}


def program_environment(settings: Settings) -> dict[str, str]:
    """What a program that is not ours is told: no secrets, but DARI_HOME, by which it is found again."""
    passed_on = {name: os.environ[name] for name in _PASSED_ON if name in os.environ}
    return passed_on | {"DARI_HOME": str(settings.home)}


def digests(told: Mapping[str, str]) -> dict[str, str]:
    """By name of the setting a digest of its value, to see later whether it is another; secrets are left out."""
    return {
        name: hashlib.sha256(value.encode()).hexdigest()[:16]
        for name, value in told.items()
        if name.startswith("DARI_") and name not in _SECRET
    }


def _addresses(settings: Settings, ports: Ports) -> dict[str, object]:
    secrets = load_secrets(settings.paths.secrets)
    changes: dict[str, object] = {"http_bind": Address(ports.http)}
    if not settings.ari_url:
        changes |= {
            "hep_address": Address(f"{ports.host}:{ports.hep}"),
            "sip_bind": Address(ports.sip),
            "call_door": Address(f"{ports.host}:{ports.door}" if ports.door else ""),
            "ari_url": f"http://{ports.host}:{ports.ari}",
            "ari_password": secrets.ari,
            "ami_address": f"{ports.host}:{ports.ami}",
            "ami_password": secrets.ami,
        }
    if not settings.recording_key:
        changes["recording_key"] = load_recording_key(settings.paths.recording_key, settings.paths.recordings)
    if not settings.secret_key:
        changes["secret_key"] = load_secret_key(settings.paths.secret_key, settings.paths.documents)
    if not settings.gateway_url:
        changes |= {"gateway_url": f"http://{ports.host}:{ports.gateway}", "gateway_key": secrets.gateway}
    return changes


def _written(value: object) -> str:
    return str(value).lower() if isinstance(value, bool) else str(value)

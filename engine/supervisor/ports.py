"""Which addresses the parts of one home use: the public ones as set, the internal ones as free."""

from __future__ import annotations

import errno
import socket
from collections.abc import Iterator
from contextlib import suppress
from enum import Enum
from ipaddress import IPv4Address
from pathlib import Path

import msgspec

from engine.foundation.errors import Invalid
from engine.foundation.files import replace_file

_INTERNAL = {"ari": 8088, "ami": 5038, "hep": 9060, "gateway": 8051, "door": 4574}
_LAST_PORT = 65535
_ENOUGH_FOR_SOUND = 4  # ports: two parties with RTP and RTCP each


class Transport(Enum):
    TCP = socket.SOCK_STREAM
    UDP = socket.SOCK_DGRAM


class Ports(msgspec.Struct, frozen=True, kw_only=True):
    """Addresses in use by one home. `host` is the loopback address of the internal ones."""

    host: str
    ari: int
    ami: int
    hep: int
    gateway: int
    sip: str
    http: str
    door: int = 0
    """0: a home of an earlier version, whose Asterisk asks nobody."""


def read_ports(path: Path) -> Ports | None:
    """The addresses that the living parts of this home use; None before the first start."""
    with suppress(FileNotFoundError, NotADirectoryError, msgspec.DecodeError):
        return msgspec.json.decode(path.read_bytes(), type=Ports)
    return None


def write_ports(path: Path, ports: Ports) -> None:
    replace_file(path, msgspec.json.encode(ports))


def choose_ports(sip: str, http: str, former: Ports | None, living: frozenset[str], *, any_port: bool) -> Ports:
    """The addresses for this start. `former` ones stay with the parts in `living`, whatever else changed.

    `sip` and `http` are taken as they are or, with `any_port`, moved to the next free port; otherwise Invalid is
    raised when one is taken. Internal ports move silently: nobody outside knows them.
    """
    host = sip.rpartition(":")[0]
    host = host if IPv4Address(host).is_loopback else "127.0.0.1"
    asterisk = former if former and "asterisk" in living else None
    web = former if former and "web" in living else None
    gateway = former if former and "gateway" in living else None
    sip = _public(sip, "DARI_SIP_BIND", Transport.UDP, asterisk.sip if asterisk else "", any_port)
    http = _public(http, "DARI_HTTP_BIND", Transport.TCP, web.http if web else "", any_port)
    taken = {int(http.rpartition(":")[2])}

    def internal(name: str, holder: Ports | None, transport: Transport = Transport.TCP) -> int:
        first = getattr(holder or former, name, 0) or _INTERNAL[name]
        port = first if holder else _next_free(host, first, transport, taken)
        taken.add(port)
        return port

    return Ports(
        host=asterisk.host if asterisk else host,
        sip=sip,
        http=http,
        ari=internal("ari", asterisk),
        ami=internal("ami", asterisk),
        # Jobs listens here, Asterisk sends: it stays as it is while either lives.
        hep=internal("hep", former if former and living & {"asterisk", "jobs"} else None, Transport.UDP),
        gateway=internal("gateway", gateway),
        door=asterisk.door if asterisk else internal("door", None),
    )


def check_sound_ports(host: str, ports: str) -> None:
    """Raises Invalid when hardly any port of the range FIRST-LAST is free on `host`."""
    first, last = (int(port) for port in ports.split("-"))
    free = 0
    for port in range(first, last + 1):
        free += is_free(host, port, Transport.UDP)
        if free >= min(_ENOUGH_FOR_SOUND, last - first + 1):
            return
    holder = holder_of(host, first, Transport.UDP)
    by = f" ({holder} has {first})" if holder else ""
    raise Invalid(f"DARI_RTP_PORTS: no free ports for sound in {ports} on {host}{by}; set another range")


def is_free(host: str, port: int, transport: Transport) -> bool:
    """Whether this address can be listened on now. Raises Invalid when this machine does not have `host`."""
    with socket.socket(socket.AF_INET, transport.value) as probe:
        if transport is Transport.TCP:
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)  # past connections do not hold it
        try:
            probe.bind((host, port))
        except PermissionError:
            raise Invalid(f"port {port} on {host} needs root; choose one above 1023") from None
        except OSError as error:
            if error.errno != errno.EADDRINUSE:
                raise Invalid(
                    f"{host} is no address of this machine; set its DARI_…_BIND to one that `ip address` shows"
                ) from None
            return False
    return True


def holder_of(host: str, port: int, transport: Transport) -> str:
    """Who listens there, as `name (pid N)`; empty when /proc does not tell, as for other users' processes."""
    inodes = set(_inodes(host, port, transport))
    for links in Path("/proc").glob("[0-9]*/fd"):
        with suppress(OSError):
            for link in links.iterdir():
                with suppress(OSError):
                    if inodes and str(link.readlink()) in inodes:
                        return f"{(links.parent / 'comm').read_text().strip()} (pid {links.parent.name})"
    return ""


def _public(address: str, setting: str, transport: Transport, held_by_us: str, any_port: bool) -> str:
    host, _, port = address.rpartition(":")
    if held_by_us and (any_port or held_by_us == address):
        return held_by_us
    if is_free(host, int(port), transport):
        return address
    if any_port:
        return f"{host}:{_next_free(host, int(port) + 1, transport, set())}"
    holder = holder_of(host, int(port), transport)
    raise Invalid(
        f"{setting}: {transport.name} port {port} on {host} is taken{f' by {holder}' if holder else ''}; "
        f"stop that program or set {setting} to another port"
    )


def _next_free(host: str, first: int, transport: Transport, taken: set[int]) -> int:
    for port in range(first, _LAST_PORT + 1):
        if port not in taken and is_free(host, port, transport):
            return port
    raise Invalid(f"no free {transport.name} port from {first} up on {host}; stop what holds them")


def _inodes(host: str, port: int, transport: Transport) -> Iterator[str]:
    """The sockets that listen on this address or on every address, as /proc/PID/fd names them."""
    packed = IPv4Address(host).packed[::-1].hex().upper()
    everywhere = ("0" * 8, "0" * 32)
    name = transport.name.lower()
    for table in (Path(f"/proc/net/{name}"), Path(f"/proc/net/{name}6")):
        if not table.exists():
            continue
        for line in table.read_text().splitlines()[1:]:
            fields = line.split()
            local, _, hexadecimal = fields[1].partition(":")
            listens = transport is Transport.UDP or fields[3] == "0A"
            same_host = local == packed or local in everywhere or packed == everywhere[0]
            if listens and int(hexadecimal, 16) == port and same_host:
                yield f"socket:[{fields[9]}]"

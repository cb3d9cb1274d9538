"""SIP messages as Asterisk copies them: HEP version 3."""

from __future__ import annotations

import struct
from datetime import UTC, datetime
from ipaddress import IPv4Address

NOON = datetime(2026, 11, 21, 12, 0, 0, 250_000, tzinfo=UTC)
INVITE = "INVITE sip:05071234567@127.0.0.1 SIP/2.0\r\nVia: SIP/2.0/UDP 127.0.0.2\r\nCall-ID: one@carrier\r\n\r\nv=0\r\n"


def hep(text: str = INVITE, at: datetime = NOON, **instead: bytes) -> bytes:
    """A packet as Asterisk sends it; `instead` replaces chunks, as c3=…, and an empty one leaves its chunk out."""
    chunks = {
        1: b"\x02",
        2: b"\x11",
        3: IPv4Address("127.0.0.2").packed,
        4: IPv4Address("127.0.0.1").packed,
        7: struct.pack("!H", 5070),
        8: struct.pack("!H", 5060),
        9: struct.pack("!I", int(at.timestamp())),
        10: struct.pack("!I", at.microsecond),
        11: b"\x01",
        15: text.encode(),
        17: b"PJSIP/carrier-00000001",
    }
    chunks |= {int(name[1:]): value for name, value in instead.items()}
    body = b"".join(struct.pack("!HHH", 0, kind, 6 + len(value)) + value for kind, value in chunks.items() if value)
    return b"HEP3" + struct.pack("!H", 6 + len(body)) + body


def between(source: str, destination: str) -> dict[str, bytes]:
    """The chunks of `hep` that say from which IPv4 host:port to which a message went."""
    (from_host, _, from_port), (to_host, _, to_port) = source.partition(":"), destination.partition(":")
    return {
        "c3": IPv4Address(from_host).packed,
        "c4": IPv4Address(to_host).packed,
        "c7": struct.pack("!H", int(from_port)),
        "c8": struct.pack("!H", int(to_port)),
    }

"""Which addresses events may be sent to: public ones. Pure.

A name is no proof: what it stands for is asked of the address that is connected to (`egress`). What can be seen in the
text already is refused when it is set.
"""

from __future__ import annotations

import socket
from collections.abc import Sequence
from contextlib import suppress
from hashlib import sha256
from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network, ip_address, ip_network

from yarl import URL

from engine.foundation.errors import Invalid

Network = IPv4Network | IPv6Network
LONGEST_URL = 2000
_SMALL_PORTS = (80, 443)
_DIGITS = 8

# IANA's special-purpose registries, beside what `is_global` says, which differs from one Python to another; and
# addresses at which clouds tell their machines' secrets.
_NEVER = tuple(
    ip_network(network)
    for network in (
        "0.0.0.0/8",
        "10.0.0.0/8",
        "100.64.0.0/10",
        "127.0.0.0/8",
        "168.63.129.16/32",
        "169.254.0.0/16",
        "172.16.0.0/12",
        "192.0.0.0/24",
        "192.0.2.0/24",
        "192.31.196.0/24",
        "192.52.193.0/24",
        "192.88.99.0/24",
        "192.168.0.0/16",
        "192.175.48.0/24",
        "198.18.0.0/15",
        "198.51.100.0/24",
        "203.0.113.0/24",
        "224.0.0.0/4",
        "240.0.0.0/4",
        "::/96",
        "64:ff9b:1::/48",
        "100::/64",
        "2001::/23",
        "2001:db8::/32",
        "3fff::/20",
        "5f00::/16",
        "fc00::/7",
        "fe80::/10",
        "fec0::/10",
        "ff00::/8",
    )
)
_NAT64 = IPv6Network("64:ff9b::/96")


def is_allowed(address: str, opened: Sequence[Network] = ()) -> bool:
    """Whether an IP address, as a socket names it, may be connected to: a public one, or one in a network `opened`."""
    try:
        found = ip_address(address.partition("%")[0])
    except ValueError:
        return False
    inside = [found, *_carried(found)]
    if all(_is_in(one, opened) for one in inside):
        return True
    return all(one.is_global and not _is_in(one, _NEVER) for one in inside)


def is_opened(address: str, opened: Sequence[Network]) -> bool:
    """Whether it is in one of these networks."""
    try:
        found = ip_address(address.partition("%")[0])
    except ValueError:
        return False
    return all(_is_in(one, opened) for one in (found, *_carried(found)))


def check_url(text: str, opened: Sequence[Network] = (), field: str = "url") -> str:
    """The address as it is kept. Raises Invalid naming `field`; never repeats what may be a secret in it.

    https only; http where a network was opened, which then is all that http reaches.
    """
    url = _parsed(text, field)
    if url.scheme != "https" and not (url.scheme == "http" and opened):
        raise Invalid(f"{field}: it must begin with https://, so that nobody reads or changes events on their way")
    if url.user is not None or url.password is not None:
        raise Invalid(f"{field}: it must not hold a user or password; prove events by their signature")
    if url.fragment:
        raise Invalid(f"{field}: it must not have a part after #, which no server ever sees")
    if url.port not in _SMALL_PORTS and (url.port or 0) < 1024:
        raise Invalid(f"{field}: port {url.port} is no web server's; use 443, 80, or one from 1024 on")
    _check_host(url.host or "", opened, field)
    return str(url)


def shown_url(url: str) -> str:
    """Scheme, host and port: paths and queries may hold secrets, which stay out of logs, lists and the audit."""
    try:
        parsed = URL(url)
    except ValueError:
        return "-"
    return f"{parsed.origin()}/…" if parsed.absolute else "-"


def told_apart(url: str, salt: str) -> str:
    """As `shown_url`, with a few digits that are others for another address; `salt` is whose address it is."""
    return f"{shown_url(url)} #{sha256(f'{salt} {url}'.encode()).hexdigest()[:_DIGITS]}"


def _parsed(text: str, field: str) -> URL:
    text = text.strip()
    if len(text) > LONGEST_URL or not text.isprintable() or " " in text or "\\" in text:
        raise Invalid(f"{field}: it must be a web address of at most {LONGEST_URL} characters, without spaces")
    try:
        url = URL(text)
        if url.host and url.absolute and url.port is not None:
            return url
    except ValueError:
        pass
    raise Invalid(f"{field}: it is no web address; write one like https://example.com/dari-events")


def _check_host(host: str, opened: Sequence[Network], field: str) -> None:
    literal = host.strip("[]")
    with suppress(ValueError):
        ip_address(literal.partition("%")[0])
        if not is_allowed(literal, opened):
            raise Invalid(f"{field}: {literal} is not a public address; events are sent to public ones only")
        return
    if _looks_like_an_address(host):
        raise Invalid(f"{field}: {host[:60]} is an address in an odd writing; write a name, or four decimal numbers")
    name = host.rstrip(".").lower()
    local = name == "localhost" or name.endswith((".localhost", ".local", ".internal", ".home.arpa"))
    if (local or "." not in name) and not opened:
        raise Invalid(f"{field}: {host[:60]} is a name of some local network; events are sent to public ones only")


def _looks_like_an_address(host: str) -> bool:
    """Decimal, octal, hexadecimal and short forms, which resolvers read as addresses: 2130706433, 0177.1, 0x7f.1."""
    with suppress(OSError, UnicodeEncodeError):
        socket.inet_aton(host.rstrip("."))
        return True
    return False


def _is_in(address: IPv4Address | IPv6Address, networks: Sequence[Network]) -> bool:
    return any(address.version == network.version and address in network for network in networks)


def _carried(address: IPv4Address | IPv6Address) -> list[IPv4Address | IPv6Address]:
    """The IPv4 addresses that an IPv6 address leads to: mapped, 6to4, Teredo, NAT64."""
    if not isinstance(address, IPv6Address):
        return []
    carried = [address.ipv4_mapped, address.sixtofour, *(address.teredo or ())]
    if address in _NAT64:
        carried.append(IPv4Address(int(address) & 0xFFFFFFFF))
    return [one for one in carried if one is not None]

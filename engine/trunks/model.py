"""What a trunk is."""

from __future__ import annotations

from enum import Enum

import msgspec


class NumberFormat(Enum):
    """How a trunk wants called numbers written; what it sends is understood in every one of these."""

    NATIONAL = "national"
    """0212345678"""
    E164 = "e164"
    """+82212345678"""
    INTERNATIONAL = "international"
    """82212345678"""


class Trunk(msgspec.Struct, frozen=True, kw_only=True):
    """A carrier's line: calls from `match` are its calls, calls to it go to `contact`."""

    name: str
    """Letters, digits, hyphens; the PJSIP endpoint's name."""
    match: tuple[str, ...]
    """IPv4 addresses or networks that its INVITEs come from."""
    contact: str
    """SIP URI for outgoing calls: sip:host[:port]."""
    number_format: NumberFormat = NumberFormat.NATIONAL
    trusted: bool = True
    """Whether P-Asserted-Identity is believed and sent."""

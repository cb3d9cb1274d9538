"""What a trunk may be: every field's range, and what Asterisk would misread. Pure."""

from __future__ import annotations

import math
import re
from ipaddress import IPv4Network

from engine.foundation.errors import Invalid
from engine.trunks.model import Trunk

_NAME = re.compile(r"[A-Za-z0-9-]{1,32}")
_CONTACT = re.compile(r"sip:[A-Za-z0-9.-]{1,253}(?::(?P<port>[0-9]{1,5}))?")
_SIP_PORT = 5060
_WIDEST = 16
"""The shortest network prefix that a trunk may match."""
_PREFIX = re.compile(r"[0-9*#]{0,8}")
_USER_PART = re.compile(r"[A-Za-z0-9.+_~*-]{1,64}")
_TEXT = re.compile(r"[!-~](?:[ -~]{0,126}[!-~])?")
"""Printable ASCII without outer spaces: more, Asterisk's file would not give back as it was."""

LONGEST_RINGING = (3, 120)
OPTIONS_SECONDS = (2, 3600)
PRIORITY = (0, 1000)
MAX_CALLS = (1, 100_000)
MOST_CALLS_PER_SECOND = 10_000.0
PROVISIONAL_SECONDS = (0.5, 30.0)


def check(trunk: Trunk) -> None:
    """Raises Invalid, naming the field, when `trunk` cannot be one."""
    _check_addresses(trunk)
    _check_login(trunk)
    _check_limits(trunk)
    if not _PREFIX.fullmatch(trunk.prefix):
        raise Invalid(f"trunk {trunk.name}: prefix {trunk.prefix!r} must be at most 8 digits, * or #")


def network_of(trunk: Trunk, match: str) -> IPv4Network:
    """One of the trunk's matches as a network. Raises Invalid."""
    try:
        return IPv4Network(match)
    except ValueError:
        raise Invalid(
            f"trunk {trunk.name}: match {match!r} must be an IPv4 address or network, like 203.0.113.0/28"
        ) from None


def _check_addresses(trunk: Trunk) -> None:
    if not _NAME.fullmatch(trunk.name):
        raise Invalid(f"trunk name: {trunk.name!r} must be 1 to 32 letters, digits or hyphens")
    contact = _CONTACT.fullmatch(trunk.contact)
    if not contact or not 1 <= int(contact["port"] or _SIP_PORT) <= 65535:
        raise Invalid(
            f"trunk {trunk.name}: contact {trunk.contact!r} must be a SIP URI without user, like sip:203.0.113.5:5060"
        )
    if not trunk.match:
        raise Invalid(f"trunk {trunk.name}: match is empty; name the addresses that its calls come from")
    for match in trunk.match:
        if network_of(trunk, match).prefixlen < _WIDEST:
            raise Invalid(
                f"trunk {trunk.name}: match {match!r} takes in strangers; name a network of /{_WIDEST} or smaller"
            )


def _check_login(trunk: Trunk) -> None:
    login = trunk.login
    if login is None:
        if trunk.register:
            raise Invalid(f"trunk {trunk.name}: it cannot register without a user and a password; name both")
    else:
        for field, text in (("user", login.user), ("password", login.password), ("realm", login.realm or "any")):
            if not _TEXT.fullmatch(text):
                shown = "" if field == "password" else f" {text!r}"
                raise Invalid(
                    f"trunk {trunk.name}: {field}{shown} must be 1 to 128 printable ASCII characters without space at "
                    "the ends"
                )
    for field, part in (("user", login.user if login else ""), ("registered-as", trunk.registered_user)):
        if trunk.register and not _USER_PART.fullmatch(part):
            raise Invalid(
                f"trunk {trunk.name}: {field} {part!r} must be letters, digits or one of . + _ ~ * - to stand in the "
                "address that is registered"
            )
    if trunk.registered_as and not trunk.register:
        raise Invalid(f"trunk {trunk.name}: registered-as says nothing without registration; turn that on or leave it")


def _check_limits(trunk: Trunk) -> None:
    _check_range(trunk, "max-calls", trunk.max_calls, *MAX_CALLS)
    _check_range(trunk, "longest-ringing", trunk.longest_ringing, *LONGEST_RINGING)
    _check_range(trunk, "provisional-seconds", trunk.provisional_seconds, *PROVISIONAL_SECONDS)
    _check_range(trunk, "priority", trunk.priority, *PRIORITY)
    _check_range(trunk, "options-seconds", trunk.options_seconds or None, *OPTIONS_SECONDS)
    rate = trunk.calls_per_second
    if rate is not None and not (math.isfinite(rate) and 0 < rate <= MOST_CALLS_PER_SECOND):
        raise Invalid(
            f"trunk {trunk.name}: calls-per-second {rate:g} must be above 0 and at most {MOST_CALLS_PER_SECOND:g}"
        )


def _check_range(trunk: Trunk, field: str, value: float | None, least: float, most: float) -> None:
    if value is not None and not least <= value <= most:
        raise Invalid(f"trunk {trunk.name}: {field} {value:g} must be {least:g} to {most:g}")

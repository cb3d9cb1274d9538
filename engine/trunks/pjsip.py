"""Trunks as Asterisk reads them: the text of pjsip_trunks.conf. Pure; never writes it."""

from __future__ import annotations

import re
from collections.abc import Iterable
from ipaddress import IPv4Network
from itertools import combinations

from engine.foundation.errors import Invalid
from engine.trunks.model import Trunk

CONTEXT = "dari-incoming"
"""The dialplan context that calls from trunks enter."""

_NAME = re.compile(r"[A-Za-z0-9-]{1,32}")
_CONTACT = re.compile(r"sip:[A-Za-z0-9.-]{1,253}(?::(?P<port>[0-9]{1,5}))?")
_SIP_PORT = 5060
_WIDEST = 16
"""The shortest network prefix that a trunk may match."""

_HEAD = """\
; Written by Dari from `dari trunk`; changes made here are lost.
[dari_trunk](!)
type = endpoint
transport = transport-udp
context = {context}
disallow = all
allow = alaw,ulaw
language = ko
tone_zone = kr
; Sound always goes through Asterisk: recording and ringback need it.
direct_media = no
rtp_symmetric = yes
force_rport = yes
rewrite_contact = no
send_diversion = yes
send_connected_line = no
timers = no
allow_transfer = no
allow_subscribe = no
; Seconds without sound after which a party counts as gone: longer than the longest ringing, because a caller's
; telephone may send nothing before it is answered.
rtp_timeout = 150
rtp_timeout_hold = 600
"""

_TRUNK = """
[{name}](dari_trunk)
aors = {name}
trust_id_inbound = {trusted}
trust_id_outbound = {trusted}
send_pai = {trusted}

[{name}]
type = aor
contact = {contact}

[{name}]
type = identify
endpoint = {name}
srv_lookups = no
{matches}
"""

_STRANGERS = """
; Whoever is no trunk is turned away before anything of his message is looked at.
[strangers]
type = acl
deny = 0.0.0.0/0
{permits}"""


def check(trunk: Trunk) -> None:
    """Raises Invalid when a field of `trunk` cannot be written into Asterisk's file."""
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
        if _network(trunk, match).prefixlen < _WIDEST:
            raise Invalid(
                f"trunk {trunk.name}: match {match!r} takes in strangers; name a network of /{_WIDEST} or smaller"
            )


def pjsip_text(trunks: Iterable[Trunk], media_address: str = "") -> str:
    """The whole of pjsip_trunks.conf. `media_address` is the IPv4 address offered for sound; empty: the SIP address.

    Strangers are turned away by the access list at the end, which no trunk at all closes to everybody. Raises Invalid
    for a trunk that `check` refuses, and for addresses that two trunks claim.
    """
    trunks = sorted(trunks, key=lambda trunk: trunk.name)
    for trunk in trunks:
        check(trunk)
    _check_matches(trunks)
    media = f"media_address = {media_address}\nbind_rtp_to_media_address = yes\n" if media_address else ""
    permits = "".join(f"permit = {match}\n" for trunk in trunks for match in trunk.match)
    return (
        _HEAD.format(context=CONTEXT) + media + "".join(map(_trunk_text, trunks)) + _STRANGERS.format(permits=permits)
    )


def _trunk_text(trunk: Trunk) -> str:
    return _TRUNK.format(
        name=trunk.name,
        contact=trunk.contact,
        trusted="yes" if trunk.trusted else "no",
        matches="\n".join(f"match = {match}" for match in trunk.match),
    )


def _network(trunk: Trunk, match: str) -> IPv4Network:
    try:
        return IPv4Network(match)
    except ValueError:
        raise Invalid(
            f"trunk {trunk.name}: match {match!r} must be an IPv4 address or network, like 203.0.113.0/28"
        ) from None


def _check_matches(trunks: Iterable[Trunk]) -> None:
    """An address may belong to one trunk only: Asterisk would take whichever it finds first."""
    claims = [(trunk.name, _network(trunk, match)) for trunk in trunks for match in trunk.match]
    for (name, network), (other, others) in combinations(claims, 2):
        if name != other and network.overlaps(others):
            raise Invalid(f"trunks {name} and {other} both match {network}; calls from there need one trunk")

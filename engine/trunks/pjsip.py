"""Trunks as Asterisk reads them: the text of pjsip_trunks.conf. Pure; never writes it."""

from __future__ import annotations

from collections.abc import Iterable
from itertools import combinations

from engine.foundation.errors import Invalid
from engine.trunks.model import Login, Trunk
from engine.trunks.terms import check, network_of

CONTEXT = "dari-incoming"
"""The dialplan context that calls from trunks enter."""

_REGISTRATION_SECONDS = 300
"""How long a registration holds; it is renewed before."""
_ASKED_AGAIN = 30
"""Seconds after which a registration that failed, for whatever reason, is tried again."""
_ANSWERED_WITHIN = 3
"""Seconds within which OPTIONS are to be answered."""
_FOR_EVER = 1_000_000

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
{outbound_auth}trust_id_inbound = {trusted}
trust_id_outbound = {trusted}
send_pai = {trusted}

[{name}]
type = aor
contact = {contact}
{qualify}
[{name}]
type = identify
endpoint = {name}
srv_lookups = no
{matches}
"""

_QUALIFY = """\
; Any answer counts: many carriers refuse OPTIONS and are there all the same.
qualify_frequency = {every}
qualify_timeout = {within}
"""

_LOGIN = """
[{name}]
type = auth
auth_type = digest
username = {user}
password = {password}
realm = {realm}
"""

_REGISTRATION = """
[{name}]
type = registration
transport = transport-udp
outbound_auth = {name}
server_uri = {contact}
client_uri = sip:{user}@{host}
contact_user = {contact_user}
expiration = {seconds}
max_random_initial_delay = 0
; A registration is never given up: Asterisk alone would stop at the first refusal.
retry_interval = {again}
forbidden_retry_interval = {again}
fatal_retry_interval = {again}
max_retries = {for_ever}
auth_rejection_permanent = no
"""

_STRANGERS = """
; Whoever is no trunk is turned away before anything of his message is looked at.
[strangers]
type = acl
deny = 0.0.0.0/0
{permits}"""


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
    text = _TRUNK.format(
        name=trunk.name,
        contact=trunk.contact,
        trusted="yes" if trunk.trusted else "no",
        outbound_auth=f"outbound_auth = {trunk.name}\n" if trunk.login else "",
        qualify=_QUALIFY.format(every=trunk.options_seconds, within=min(trunk.options_seconds, _ANSWERED_WITHIN))
        if trunk.options_seconds
        else "",
        matches="\n".join(f"match = {match}" for match in trunk.match),
    )
    if trunk.login is None:
        return text
    text += _LOGIN.format(
        name=trunk.name,
        user=_escaped(trunk.login.user),
        password=_escaped(trunk.login.password),
        realm=_escaped(trunk.login.realm),
    )
    return text + _registration_text(trunk, trunk.login) if trunk.register else text


def _registration_text(trunk: Trunk, login: Login) -> str:
    return _REGISTRATION.format(
        name=trunk.name,
        contact=trunk.contact,
        user=login.user,
        host=trunk.contact.removeprefix("sip:"),
        contact_user=trunk.registered_user,
        seconds=_REGISTRATION_SECONDS,
        again=_ASKED_AGAIN,
        for_ever=_FOR_EVER,
    )


def _escaped(text: str) -> str:
    """A semicolon would begin a comment."""
    return text.replace(";", "\\;")


def _check_matches(trunks: Iterable[Trunk]) -> None:
    """An address may belong to one trunk only: Asterisk would take whichever it finds first."""
    claims = [(trunk.name, network_of(trunk, match)) for trunk in trunks for match in trunk.match]
    for (name, network), (other, others) in combinations(claims, 2):
        if name != other and network.overlaps(others):
            raise Invalid(f"trunks {name} and {other} both match {network}; calls from there need one trunk")

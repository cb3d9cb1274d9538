"""Trunks written as Asterisk reads them."""

from __future__ import annotations

import re

import pytest

from engine.foundation.errors import Invalid
from engine.trunks.model import Login, Trunk
from engine.trunks.pjsip import pjsip_text
from engine.trunks.terms import check

CARRIER = Trunk(name="carrier", match=("203.0.113.5", "203.0.113.16/28"), contact="sip:203.0.113.5:5060")


def sections(text: str) -> dict[tuple[str, str], dict[str, list[str]]]:
    """By name and type: each key's values."""
    found: dict[tuple[str, str], dict[str, list[str]]] = {}
    for name, parent, body in re.findall(r"^\[([\w-]+)\](\([\w!]+\))?\n((?:[^\[\n].*\n|\n)*)", text, re.MULTILINE):
        keys: dict[str, list[str]] = {}
        for line in body.splitlines():
            if line and not line.startswith(";"):
                key, _, value = line.partition(" = ")
                keys.setdefault(key, []).append(value)
        found[name, keys.get("type", [parent])[0]] = keys
    return found


def test_a_trunk_is_an_endpoint_known_by_address_with_one_contact() -> None:
    written = sections(pjsip_text([CARRIER]))
    assert written["carrier", "(dari_trunk)"]["aors"] == ["carrier"]
    assert written["carrier", "aor"]["contact"] == ["sip:203.0.113.5:5060"]
    assert written["carrier", "identify"]["endpoint"] == ["carrier"]
    assert written["carrier", "identify"]["match"] == ["203.0.113.5", "203.0.113.16/28"]


def test_every_trunk_speaks_the_korean_codecs_and_enters_the_dialplan_of_dari() -> None:
    shared = sections(pjsip_text([]))["dari_trunk", "endpoint"]
    assert (shared["disallow"], shared["allow"], shared["context"]) == (["all"], ["alaw,ulaw"], ["dari-incoming"])
    assert (shared["direct_media"], shared["allow_transfer"], shared["timers"]) == (["no"], ["no"], ["no"])


@pytest.mark.parametrize(("trusted", "written"), [(True, "yes"), (False, "no")])
def test_the_callers_identity_is_believed_and_told_only_to_a_trusted_trunk(trusted: bool, written: str) -> None:
    trunk = Trunk(name="t", match=("203.0.113.5",), contact="sip:203.0.113.5", trusted=trusted)
    endpoint = sections(pjsip_text([trunk]))["t", "(dari_trunk)"]
    assert {key: endpoint[key] for key in ("trust_id_inbound", "trust_id_outbound", "send_pai")} == {
        "trust_id_inbound": [written],
        "trust_id_outbound": [written],
        "send_pai": [written],
    }


def test_strangers_are_turned_away() -> None:
    strangers = sections(pjsip_text([CARRIER]))["strangers", "acl"]
    assert strangers["deny"] == ["0.0.0.0/0"]
    assert strangers["permit"] == ["203.0.113.5", "203.0.113.16/28"]


def test_without_trunks_everybody_is_a_stranger() -> None:
    assert "permit" not in sections(pjsip_text([]))["strangers", "acl"]


def test_the_order_in_which_trunks_come_does_not_matter() -> None:
    other = Trunk(name="another", match=("198.51.100.1",), contact="sip:198.51.100.1")
    assert pjsip_text([CARRIER, other]) == pjsip_text([other, CARRIER])


def test_the_address_offered_for_sound_is_written_when_set() -> None:
    assert "media_address = 192.0.2.7\n" in pjsip_text([], media_address="192.0.2.7")
    assert "media_address" not in pjsip_text([])


def test_a_trunk_without_login_has_no_password_registers_nowhere_and_is_not_asked() -> None:
    text = pjsip_text([CARRIER])
    for word in ("auth", "registration", "qualify", "password"):
        assert word not in text


def test_a_login_is_for_calls_and_with_registration_for_that_too() -> None:
    values = {"match": ("203.0.113.5",), "contact": "sip:203.0.113.5:5070", "login": Login(user="u1", password="p;1")}
    called = sections(pjsip_text([Trunk(name="t", **values)]))  # type: ignore[arg-type]
    assert called["t", "(dari_trunk)"]["outbound_auth"] == ["t"]
    assert called["t", "auth"]["username"] == ["u1"]
    assert called["t", "auth"]["password"] == [r"p\;1"]
    assert ("t", "registration") not in called
    registered = sections(pjsip_text([Trunk(name="t", register=True, **values)]))  # type: ignore[arg-type]
    registration = registered["t", "registration"]
    assert registration["server_uri"] == ["sip:203.0.113.5:5070"]
    assert registration["client_uri"] == ["sip:u1@203.0.113.5:5070"]
    assert registration["contact_user"] == ["u1"]
    assert registration["outbound_auth"] == ["t"]
    other = Trunk(name="t", register=True, registered_as="0701234567", **values)  # type: ignore[arg-type]
    assert sections(pjsip_text([other]))["t", "registration"]["contact_user"] == ["0701234567"]


@pytest.mark.parametrize(("seconds", "within"), [(2, "2"), (60, "3")])
def test_a_trunk_that_is_asked_has_its_beat(seconds: int, within: str) -> None:
    trunk = Trunk(name="t", match=("203.0.113.5",), contact="sip:203.0.113.5", options_seconds=seconds)
    written = sections(pjsip_text([trunk]))["t", "aor"]
    assert (written["qualify_frequency"], written["qualify_timeout"]) == ([str(seconds)], [within])


@pytest.mark.parametrize(
    ("change", "named"),
    [
        ({"name": ""}, "trunk name"),
        ({"name": "a b"}, "trunk name"),
        ({"name": "a\n[b]"}, "trunk name"),
        ({"name": "a_b"}, "trunk name"),
        ({"name": "x" * 33}, "trunk name"),
        ({"contact": "203.0.113.5"}, "contact"),
        ({"contact": "sip:user@203.0.113.5"}, "contact"),
        ({"contact": "sip:203.0.113.5\ntype=global"}, "contact"),
        ({"contact": "sip:203.0.113.5;x"}, "contact"),
        ({"contact": "sip:203.0.113.5:99999"}, "contact"),
        ({"contact": "sip:203.0.113.5:0"}, "contact"),
        ({"match": ()}, "match"),
        ({"match": ("carrier.example",)}, "match"),
        ({"match": ("203.0.113.5/24",)}, "match"),
        ({"match": ("203.0.113.5\nmatch=0.0.0.0/0",)}, "match"),
        ({"match": ("0.0.0.0/0",)}, "match"),
        ({"match": ("::1",)}, "match"),
        ({"login": Login(user="", password="p")}, "user"),
        ({"login": Login(user="u", password="")}, "password"),
        ({"login": Login(user="u", password="a\nb")}, "password"),
        ({"login": Login(user="u", password=" a")}, "password"),
        ({"login": Login(user="u", password="비밀")}, "password"),
        ({"login": Login(user="u\n[x]", password="p")}, "user"),
        ({"login": Login(user="u", password="p", realm="a\nb")}, "realm"),
        ({"register": True}, "without a user"),
        ({"register": True, "login": Login(user="u@carrier", password="p")}, "user"),
        ({"register": True, "login": Login(user="u", password="p"), "registered_as": "a b"}, "registered-as"),
        ({"registered_as": "0701234567"}, "registered-as"),
        ({"prefix": "9;"}, "prefix"),
        ({"prefix": "123456789"}, "prefix"),
        ({"max_calls": 0}, "max-calls"),
        ({"calls_per_second": 0.0}, "calls-per-second"),
        ({"calls_per_second": float("inf")}, "calls-per-second"),
        ({"calls_per_second": float("nan")}, "calls-per-second"),
        ({"longest_ringing": 2}, "longest-ringing"),
        ({"longest_ringing": 121}, "longest-ringing"),
        ({"provisional_seconds": 0.1}, "provisional-seconds"),
        ({"provisional_seconds": float("nan")}, "provisional-seconds"),
        ({"priority": -1}, "priority"),
        ({"options_seconds": 1}, "options-seconds"),
    ],
)
def test_what_asterisk_would_misread_is_refused_by_name(change: dict[str, object], named: str) -> None:
    values: dict[str, object] = {"name": "t", "match": ("203.0.113.5",), "contact": "sip:203.0.113.5"}
    trunk = Trunk(**(values | change))  # type: ignore[arg-type]
    with pytest.raises(Invalid, match=named):
        check(trunk)
    with pytest.raises(Invalid, match=named):
        pjsip_text([trunk])


def test_a_password_that_is_refused_is_not_told() -> None:
    login = Login(user="u", password="geheim ")
    with pytest.raises(Invalid) as refused:
        check(Trunk(name="t", match=("203.0.113.5",), contact="sip:203.0.113.5", login=login))
    assert "geheim" not in str(refused.value)


def test_overlapping_trunks_are_refused_by_name() -> None:
    other = Trunk(name="other", match=("203.0.113.0/24",), contact="sip:203.0.113.9")
    with pytest.raises(Invalid, match=r"carrier and other both match"):
        pjsip_text([CARRIER, other])

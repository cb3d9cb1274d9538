"""What of a trunk may be seen."""

from __future__ import annotations

import msgspec

from engine.trunks.model import Login, Trunk, TrunkShown, shown

SECRET = "made-for-tests"
TRUNK = Trunk(name="t", match=("192.0.2.1",), contact="sip:192.0.2.1", login=Login(user="u", password=SECRET))


def test_a_password_is_in_no_text_about_a_trunk() -> None:
    assert SECRET not in repr(TRUNK)
    assert SECRET not in f"{TRUNK} {TRUNK.login!r}"
    assert SECRET not in msgspec.json.encode(shown(TRUNK)).decode()


def test_everything_else_of_a_trunk_is_shown() -> None:
    assert set(TrunkShown.__struct_fields__) == set(Trunk.__struct_fields__) - {"login"} | {"user", "realm"}
    seen = shown(TRUNK)
    assert (seen.name, seen.match, seen.user, seen.realm) == ("t", ("192.0.2.1",), "u", "")


def test_calls_of_a_registration_come_to_its_user_unless_another_is_named() -> None:
    assert TRUNK.registered_user == ""
    registered = msgspec.structs.replace(TRUNK, register=True)
    assert registered.registered_user == "u"
    assert msgspec.structs.replace(registered, registered_as="0701234567").registered_user == "0701234567"

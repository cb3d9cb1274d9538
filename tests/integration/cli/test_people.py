"""`dari user` and `dari key` on a real database."""

from __future__ import annotations

import io
import sys
from datetime import UTC, datetime

import pytest

from engine.accounts import keys, users
from engine.accounts.model import Deed
from engine.accounts.new_password import set_password
from engine.accounts.sessions import SignedIn, sign_in
from engine.accounts.user import UserStatus
from engine.cli.database import in_transaction, with_database
from engine.cli.this_machine import operator
from engine.foundation.errors import NotAllowed
from engine.settings import read_settings
from tests.command_line import Dari, refused
from tests.signed_in import PASSWORD, PEER, TERMS

LOGIN = "kim@example.com"


@pytest.fixture
def shop(dari: Dari) -> str:
    answer = dari("number", "add", "0507-1234-5678", "--target", "02-1234-5678", "--account", "가게")
    assert answer.code == 0
    return "가게"


def invited(dari: Dari, shop: str, *more: str, login: str = LOGIN, role: str = "shop-owner") -> str:
    """The token."""
    answer = dari("user", "add", login, "--account", shop, "--role", role, *more, "--json")
    assert answer.code == 0, answer.err
    return str(answer.objects[0]["token"])


def entered(password: str = PASSWORD) -> SignedIn:
    now = datetime.now(UTC)
    return with_database(
        read_settings(), lambda database: sign_in(database, LOGIN, password, None, peer=PEER, now=now, terms=TERMS)
    )


def sets(token: str, password: str = PASSWORD) -> None:
    in_transaction(read_settings(), lambda rows: set_password(rows, token, password, datetime.now(UTC)))


def test_somebody_is_invited_and_listed(dari: Dari, shop: str) -> None:
    answer = dari("user", "add", LOGIN, "--account", shop, "--role", "shop-owner", "--name", "김사장")
    assert answer.code == 0
    told, token = answer.out.splitlines()
    assert told.startswith(f"user {LOGIN} invited; the password is set once, until ")
    assert len(token) == 43
    sets(token)
    assert entered().user.name == "김사장"
    (listed,) = dari("user", "list", "--json").objects
    assert (listed["login"], listed["role"], listed["status"]) == (LOGIN, "shop owner", "active")
    shown = dari("user", "list", "--account", shop).out
    assert LOGIN in shown
    assert "김사장" in shown
    assert "no users yet" in dari("user", "list", "--account", "operator").err


def test_the_first_operator_is_invited_without_naming_an_account(dari: Dari) -> None:
    assert dari("user", "add", "operator@example.com", "--role", "operator").code == 0
    refused(dari("user", "add", "staff@example.com", "--role", "shop-owner"), "role", "operator")


def test_what_cannot_be_is_told(dari: Dari, shop: str) -> None:
    invited(dari, shop)
    refused(dari("user", "add", LOGIN, "--account", shop, "--role", "staff"), LOGIN, "another user's")
    refused(dari("user", "add", "kim", "--account", shop, "--role", "staff"), "login", "e-mail")
    refused(dari("user", "add", "a@b.kr", "--account", "nowhere", "--role", "staff"), "nowhere")
    refused(dari("user", "lock", "lee@example.com"), "lee@example.com", "none")
    refused(dari("user", "set", LOGIN), "nothing to change")
    answer = dari("user", "add", "a@b.kr", "--account", shop, "--role", "king")
    assert answer.code == 2
    assert "shop-owner" in answer.err


def test_what_staff_are_allowed_is_changed(dari: Dari, shop: str) -> None:
    invited(dari, shop, "--allow", "change-rules", role="staff")
    assert "change rules" in dari("user", "list").out
    answer = dari("user", "set", LOGIN, "--allow", "change-prompts", "--allow", "see-audit", "--name", "새 이름")
    assert answer == (0, f"user {LOGIN} changed: staff, change prompts, see audit\n", "")
    answer = dari("user", "set", LOGIN, "--allow-nothing")
    assert answer == (0, f"user {LOGIN} changed: staff, nothing allowed beyond it\n", "")
    refused(dari("user", "set", LOGIN, "--allow-nothing", "--allow", "see-audit"), "not both")
    (listed,) = dari("user", "list", "--json").objects
    assert (listed["name"], listed["allowed"]) == ("새 이름", [])


def test_somebody_is_locked_out_and_let_in_again(dari: Dari, shop: str) -> None:
    sets(invited(dari, shop))
    entered()
    assert dari("user", "lock", LOGIN) == (0, f"user {LOGIN} is locked\n", "")
    with pytest.raises(NotAllowed):
        entered()
    refused(dari("user", "lock", LOGIN), "locked already")
    assert dari("user", "lock", LOGIN, "--off") == (0, f"user {LOGIN} is active\n", "")
    entered()


def test_sessions_are_shown_and_ended(dari: Dari, shop: str) -> None:
    sets(invited(dari, shop))
    assert "not signed in" in dari("user", "sessions", LOGIN).err
    entered()
    (shown,) = dari("user", "sessions", LOGIN, "--json").objects
    assert shown["peer"] == PEER
    assert PEER in dari("user", "sessions", LOGIN).out
    assert dari("user", "sessions", LOGIN, "--end").out == f"1 sessions of {LOGIN} ended\n"
    assert dari("user", "sessions", LOGIN, "--json").objects == []


def test_a_password_is_reset_by_token_or_typed(dari: Dari, shop: str, monkeypatch: pytest.MonkeyPatch) -> None:
    sets(invited(dari, shop))
    token = dari("user", "reset", LOGIN).out.splitlines()[-1]
    sets(token, "사람은 나면 서울로")
    entered("사람은 나면 서울로")
    monkeypatch.setattr(sys, "stdin", io.StringIO("말은 나면 강원도로\n"))
    answer = dari("user", "reset", LOGIN, "--password")
    assert answer == (0, f"user {LOGIN} has the new password; their sessions ended\n", "")
    entered("말은 나면 강원도로")
    monkeypatch.setattr(sys, "stdin", io.StringIO("1234567890\n"))
    refused(dari("user", "reset", LOGIN, "--password"), "password")
    entered("말은 나면 강원도로")
    refused(dari("user", "reset", LOGIN, "--codes"), "not on")
    refused(dari("user", "reset", LOGIN, "--codes", "--password"), "not both")


def test_somebody_is_removed_for_good(dari: Dari, shop: str) -> None:
    invited(dari, shop)
    assert dari("user", "remove", LOGIN) == (0, f"user {LOGIN} removed\n", "")
    assert dari("user", "list", "--json").objects == []
    (listed,) = dari("user", "list", "--removed", "--json").objects
    assert listed["status"] == UserStatus.REMOVED.value
    refused(dari("user", "remove", LOGIN), "none")


def test_a_key_is_shown_once_and_revoked(dari: Dari, shop: str) -> None:
    answer = dari("key", "add", "계산대", "--account", shop, "--scope", "see-calls", "--scope", "read-events")
    assert answer.code == 0
    secret = answer.out.splitlines()[-1]
    actor = in_transaction(read_settings(), lambda rows: keys.actor_of(rows, secret, datetime.now(UTC)))
    assert actor.scopes == frozenset({Deed.SEE_CALLS, Deed.READ_EVENTS})
    (listed,) = dari("key", "list", "--json").objects
    assert (listed["name"], listed["scopes"]) == ("계산대", ["read events", "see calls"])
    shown = dari("key", "list", "--account", shop).out
    assert listed["prefix"] in shown
    assert secret not in shown
    assert dari("key", "revoke", listed["prefix"]) == (0, f"key {listed['prefix']} revoked\n", "")
    with pytest.raises(NotAllowed):
        in_transaction(read_settings(), lambda rows: keys.actor_of(rows, secret, datetime.now(UTC)))
    assert "no keys yet" in dari("key", "list").err
    assert "revoked" in dari("key", "list", "--revoked").out
    refused(dari("key", "revoke", listed["prefix"]), "revoked before")
    refused(dari("key", "revoke", "abcdefgh"), "abcdefgh")


def test_a_key_may_end_in_time(dari: Dari, shop: str) -> None:
    answer = dari("key", "add", "x", "--account", shop, "--scope", "see-calls", "--days", "7", "--json")
    (made,) = answer.objects
    assert made["key"]["expires_at"] is not None
    assert made["secret"].startswith(f"dari_{made['key']['prefix']}_")


def test_nobody_at_the_machine_gives_a_key_to_hear_a_shops_calls(dari: Dari, shop: str) -> None:
    refused(dari("key", "add", "x", "--account", shop, "--scope", "hear-recordings"), "hear recordings")


def test_who_types_is_written_down(dari: Dari, shop: str) -> None:
    invited(dari, shop)
    assert operator().peer.startswith("command line: ")
    found = in_transaction(read_settings(), lambda rows: users.find_by_login(rows, operator(), LOGIN))
    (entry,) = dari("audit", "list", "--of", f"user/{found.id}", "--json").objects
    assert (entry["who"], entry["peer"]) == ("operator of this machine", operator().peer)

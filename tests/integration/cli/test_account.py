"""`dari account` on a real database: the tree, functions, grants and sign-ups, as typed."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.command_line import Dari, refused

REGISTRATION = "220-81-62517"


@pytest.fixture
def line(dari: Dari) -> dict[str, str]:
    """The ids of an agency, a branch under it, and a shop under that, by name."""
    made = {}
    for name, kind, under in (("대행사", "agency", "operator"), ("지사", "branch", "대행사"), ("가게", "shop", "지사")):
        answer = dari("account", "open", name, "--kind", kind, "--under", under, "--json")
        assert answer.code == 0, answer.err
        made[name] = answer.objects[0]["id"]
    return made


def test_the_tree_is_opened_shown_and_rearranged(dari: Dari, line: dict[str, str]) -> None:
    shown = dari("account", "tree").out
    assert [name for name in ("operator", "대행사", "지사", "가게") if name in shown] == ["operator", *line]
    below = dari("account", "tree", "--under", "대행사", "--json").objects
    assert {one["name"] for one in below} == set(line)
    assert [one["fee_waived"] for one in below if one["name"] == "지사"] == [True]
    assert dari("account", "fee", "지사", "--due").out == "account 지사: the base fee is due\n"
    assert dari("account", "rename", "가게", "꽃집").code == 0
    assert dari("account", "move", line["가게"], "--under", "대행사").code == 0
    (shop,) = [one for one in dari("account", "tree", "--json").objects if one["name"] == "꽃집"]
    assert shop["path"][1:] == [line["대행사"], line["가게"]]
    refused(dari("account", "close", "대행사"), "under it")
    assert "closed" in dari("account", "close", "대행사/꽃집").out
    assert {one["name"] for one in dari("account", "list", "--json").objects} == {"대행사", "지사", "꽃집"}


def test_what_cannot_be_is_refused_in_one_sentence(dari: Dari, line: dict[str, str]) -> None:
    refused(dari("account", "open", "x", "--kind", "agency", "--under", "가게"), "kind", "shop")
    refused(dari("account", "open", "지사", "--under", "대행사"), "지사")
    refused(dari("account", "open", "x", "--zone", "Mars"), "zone")
    refused(dari("account", "move", "지사", "--under", "가게"), "under itself")
    refused(dari("account", "rename", "nobody", "x"), "nobody", "dari account list")
    refused(dari("account", "close", "operator"), "operator")
    assert dari("account", "open", "x", "--kind", "planet").code == 2


def test_functions_are_switched_for_an_account_and_all_below(dari: Dari, line: dict[str, str]) -> None:
    assert dari("account", "module", "대행사", "store-message", "--off").code == 0
    assert "store message: off (" in dari("account", "module", "가게").out
    (functions,) = dari("account", "module", "가게", "--json").objects
    assert [name for name, on in functions.items() if not on] == ["store message"]
    refused(dari("account", "module", "가게", "store-message", "--on"), "off for 지사")
    refused(dari("account", "module", "가게", "store-message"), "--on or --off")
    assert "off: store message" in dari("account", "tree").out


def test_a_grant_is_written_down_listed_and_taken_back(dari: Dari, line: dict[str, str]) -> None:
    paper = ("--reason", "training", "--evidence", "form of today")
    (grant,) = dari("account", "grant", "가게", "--to", "대행사", "--days", "3", *paper, "--json").objects
    assert grant["to_account"] == line["대행사"]
    (listed,) = dari("account", "grants", "가게", "--json").objects
    assert (listed["runs"], listed["evidence"]) == (True, "form of today")
    assert "대행사" in dari("account", "grants", "가게").out
    assert dari("account", "take-back", grant["id"]).code == 0
    assert "taken back" in dari("account", "grants", "가게").out
    refused(dari("account", "take-back", grant["id"]), "does not run")
    refused(dari("account", "grant", "대행사", "--days", "3", *paper), "only a shop")
    assert dari("account", "grant", "가게", "--days", "32", *paper).code == 2


def test_whether_a_shop_may_take_the_message_is_said_with_the_reasons(dari: Dari, line: dict[str, str]) -> None:
    assert "may not be taken" in dari("account", "business", "가게").out
    named = ("--trade", "56111", "--revenue", "1000000000", "--evidence", "tax office")
    (answer,) = dari("account", "business", "가게", *named, "--json").objects
    assert (answer["eligible"], len(answer["reasons"])) == (True, 3)
    told = dari("account", "business", "가게", "--revenue", "1000000001").out
    assert "may not be taken" in told
    assert "한도 1,000,000,000원을 넘습니다" in told
    refused(dari("account", "business", "가게", "--trade", "5"), "trade")


def test_a_sign_up_from_the_form_to_the_account(dari: Dari, tmp_path: Path) -> None:
    contact = ("--contact-name", "김다리", "--contact", "owner@shop.example")
    form = ("account", "apply", "다리꽃집", "--registration", REGISTRATION, *contact, "--trade", "47851")
    (application,) = dari(*form, "--revenue", "1000", "--json").objects
    refused(dari(*form), "waits already")
    refused(dari("account", "approve", application["id"], "--reason", "complete"), "business registration")
    scan = tmp_path / "scan.pdf"
    scan.write_bytes(b"%PDF")
    assert dari("account", "document", application["id"], "business-registration", scan, "--came-by", "fax").code == 0
    (waiting,) = dari("account", "applications", "--json").objects
    assert (waiting["documents"][0]["came_by"], waiting["eligible"]) == ("fax", False)
    assert "다리꽃집" in dari("account", "applications").out
    assert "opened" in dari("account", "approve", application["id"], "--reason", "complete").out
    refused(dari("account", "reject", application["id"], "--reason", "late"), "approved already")
    assert dari("account", "applications", "--json").objects == []
    assert [one["status"] for one in dari("account", "applications", "--all", "--json").objects] == ["approved"]
    assert [one["name"] for one in dari("account", "list", "--json").objects] == ["다리꽃집"]


def test_the_permission_table_is_shown(dari: Dari) -> None:
    assert "| listen live | granted |" in dari("account", "permissions").out

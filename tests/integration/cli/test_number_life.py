"""`dari number`, `dari range` and `dari order`: the life of numbers as an operator types it."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from rich.console import Console

from engine.cli import printing
from tests.command_line import Dari, refused

FREE, NEXT = "0507-1000-0000", "0507-1000-0001"


@pytest.fixture
def stocked(dari: Dari, tmp_path: Path) -> None:
    """Five free numbers, two shops."""
    for shop in ("kim", "lee"):
        assert dari("account", "open", shop).code == 0
    assert dari("range", "add", "main", "0507-10").code == 0
    file = tmp_path / "numbers.csv"
    file.write_text("number\n" + "".join(f"0507-1000-000{place}\n" for place in range(5)))
    answer = dari("range", "import", file)
    assert answer == (0, "5 numbers taken into the stock\n", "")


pytestmark = pytest.mark.usefixtures("stocked")


def test_a_number_goes_its_whole_way(dari: Dari) -> None:
    assert dari("number", "reserve", FREE, "--account", "kim").out.startswith(f"number {FREE} reserved until ")
    refused(dari("number", "reserve", FREE, "--account", "kim"), "reserved already")
    refused(dari("number", "issue", FREE, "--account", "lee", "--target", "02-1234-5678"), "reserved")
    issued = dari("number", "issue", FREE, "--account", "kim", "--target", "02-1234-5678")
    assert issued.out == f"number {FREE} in service\n"
    assert dari("number", "state", FREE).out == f"number {FREE} in service, kim\n"
    refused(dari("number", "suspend", FREE, "--announcement", "prompt:none"), "no prompt of the account")
    assert dari("number", "suspend", FREE, "--note", "moving").out == f"number {FREE} suspended (barred)\n"
    assert "ko/not-in-service" in dari("number", "show", FREE).out
    assert dari("number", "resume", FREE).out == f"number {FREE} in service\n"
    assert dari("number", "release", FREE).out.startswith(f"number {FREE} quarantined until ")
    refused(dari("number", "issue", FREE, "--account", "lee", "--target", "02-1234-5678"), "last holder")
    (state,) = dari("number", "state", FREE, "--json").objects
    assert (state["state"], state["stray_calls"]) == ("quarantined", {})
    told = dari("number", "history", FREE, "--json").objects
    assert [one["move"] for one in told] == [
        *("released", "resumed", "suspended", "issued", "reserved"),
        "added",
    ]
    assert "last kim" in dari("number", "stock", "--state", "quarantined").out
    assert {one["who"] for one in told} == {"operator of this machine"}
    assert "moving" in dari("number", "history", FREE).out


def test_add_set_and_remove_go_by_the_stock_and_are_written_down(dari: Dari) -> None:
    assert dari("number", "add", FREE, "--target", "02-1234-5678", "--account", "kim").code == 0
    assert dari("number", "set", FREE, "--target", "010-1234-5678").code == 0
    assert dari("number", "remove", FREE).out == f"number {FREE} out of service\n"
    refused(dari("number", "add", FREE, "--target", "02-1234-5678", "--account", "lee"), "kept back")
    assert dari("number", "add", "02-555-6666", "--target", "010-1234-5678", "--account", "lee").code == 0
    (own,) = dari("number", "stock", "--account", "lee", "--json").objects
    assert (own["state"], own["range_id"]) == ("in service", None)
    assert dari("number", "port-out", "02-555-6666").out == "number 02-555-6666 ported out\n"


def test_the_stock_is_listed_by_state(dari: Dari) -> None:
    dari("number", "issue", FREE, "--account", "kim", "--target", "02-1234-5678")
    assert len(dari("number", "stock", "--state", "available", "--json").objects) == 4
    assert len(dari("number", "stock", "--after", "0507-1000-0002", "--json").objects) == 2
    shown = dari("number", "stock", "--state", "in-service").out
    assert FREE in shown
    assert "kim" in shown
    empty = dari("number", "stock", "--state", "quarantined")
    assert (empty.code, empty.out) == (0, "")


def test_a_transfer_is_offered_and_accepted(dari: Dari) -> None:
    dari("number", "issue", FREE, "--account", "kim", "--target", "02-1234-5678")
    offered = dari("number", "transfer", "offer", FREE, "--to", "lee", "--clear", "--json")
    (transfer,) = offered.objects
    assert (transfer["status"], transfer["keep_settings"]) == ("offered", False)
    refused(dari("number", "transfer", "accept", transfer["id"]), "target")
    accepted = dari("number", "transfer", "accept", transfer["id"], "--target", "010-1234-5678")
    assert accepted.out.startswith(f"number {FREE} accepted")
    assert "accepted" in dari("number", "transfer", "list").out
    refused(dari("number", "transfer", "withdraw", transfer["id"]), "not open")
    refused(dari("number", "transfer", "decline", "x"), "dari number transfer list")
    (listed,) = dari("number", "list", "--json").objects
    assert listed["target"] == "01012345678"


def test_an_import_with_bad_lines_tells_each_and_takes_nothing(dari: Dari, tmp_path: Path) -> None:
    file = tmp_path / "bad.csv"
    file.write_text("0507-1000-0000\n0507-1000-0009\nhello\n0509-1234-5678\n")
    answer = dari("range", "import", file)
    assert answer.code == 1
    assert answer.out.splitlines() == [
        "line 1: 050710000000: it is in the stock already (available)",
        "line 3: hello: it is no number: only digits, hyphens and spaces may stand there",
        "line 4: 0509-1234-5678: it must begin with 0502 to 0508",
    ]
    assert answer.err == "3 of 4 lines refused; nothing is taken in\n"
    (one,) = dari("range", "list", "--json").objects
    assert one["numbers"]["available"] == 5
    refused(dari("range", "import", tmp_path / "none.csv"), "none.csv")


def test_ranges_are_added_changed_and_listed(dari: Dari) -> None:
    refused(dari("range", "add", "again", "0507"), "some of its numbers")
    refused(dari("range", "set", "main"), "nothing to change")
    assert dari("range", "set", "main", "--quarantine", "30").out.endswith("kept back for 30 days\n")
    assert dari("range", "add", "short", "0502", "--digits", "11", "--quiet-calls", "0").code == 0
    shown = dari("range", "list").out
    assert "main" in shown
    assert "short" in shown


def test_numbers_are_ordered_for_a_time(dari: Dari) -> None:
    placed = dari("order", "place", "3", "--account", "kim", "--target", "02-1234-5678", "--until", "2099-01-31")
    assert placed.out.splitlines() == [f"0507-1000-000{place}" for place in range(3)]
    assert "until 2099-01-31" in placed.err
    (order,) = dari("order", "list", "--json").objects
    assert (order["status"], order["ends_at"]) == ("begun", "2099-01-31T15:00:00Z")
    assert len(dari("order", "show", order["id"], "--json").objects[0]["numbers"]) == 3
    assert dari("order", "prolong", order["id"], "--no-end").out == f"order {order['id']} begun: 3 numbers\n"
    refused(dari("order", "cancel", order["id"]), "release its numbers")
    refused(dari("order", "place", "3", "--account", "kim"), "only 2 of 3")
    refused(dari("order", "prolong", order["id"]), "until")
    refused(dari("order", "place", "1", "--account", "kim", "--from", "0001-01-01"), "from: 0001-01-01")
    refused(dari("order", "place", "1", "--account", "kim", "--from", "2020-01-01"), "must be today or within a year")
    next_week = f"{datetime.now(UTC) + timedelta(days=7):%Y-%m-%d}"
    (made,) = dari("order", "place", "1", "--account", "lee", "--from", next_week, "--json").objects
    assert dari("order", "cancel", made["order"]["id"]).code == 0
    assert "kim" in dari("order", "list").out


@pytest.mark.parametrize(
    "arguments",
    [
        ("number", "reserve", FREE, "--account", "kim", "--minutes", "99999999999"),
        ("number", "reserve", FREE, "--account", "kim", "--minutes", "0"),
        ("number", "transfer", "offer", FREE, "--to", "kim", "--days", "99999999999"),
        ("number", "stock", "--limit", "99999999999999999999"),
        ("number", "history", FREE, "--limit", "99999999999999999999"),
        ("number", "transfer", "list", "--limit", "99999999999999999999"),
        ("order", "list", "--limit", "99999999999999999999"),
    ],
)
def test_figures_that_nobody_means_are_not_understood(dari: Dari, arguments: tuple[str, ...]) -> None:
    answer = dari(*arguments)
    assert (answer.code, answer.out) == (2, "")
    assert arguments[-2] in answer.err


def test_what_nobody_holds_is_told_so(dari: Dari) -> None:
    refused(dari("number", "suspend", FREE), "it is available and nobody's")
    refused(dari("number", "suspend", "0507-2000-0000"), "not in the stock")


def test_on_a_narrow_terminal_ids_stay_whole(dari: Dari, monkeypatch: pytest.MonkeyPatch) -> None:
    for shop in ("a shop with a long name", "another shop with a long name"):
        dari("account", "open", shop)
    dari("order", "place", "1", "--account", "a shop with a long name", "--target", "02-1234-5678")
    dari("number", "issue", NEXT, "--account", "kim", "--target", "02-1234-5678")
    dari("number", "transfer", "offer", FREE, "--to", "another shop with a long name")
    monkeypatch.setattr(printing, "console", lambda: Console(highlight=False, color_system=None, width=80))
    for listed in (("order", "list"), ("number", "transfer", "list")):
        (one,) = dari(*listed, "--json").objects
        assert one["id"] in dari(*listed).out


def test_the_list_says_which_are_suspended(dari: Dari) -> None:
    for number in (FREE, NEXT):
        assert dari("number", "issue", number, "--account", "kim", "--target", "02-1234-5678").code == 0
    assert dari("number", "suspend", FREE).code == 0
    shown = dari("number", "list").out.splitlines()
    assert [("suspended" in line, "in service" in line) for line in shown if "0507-" in line] == [
        (True, False),
        (False, True),
    ]
    assert [one["state"] for one in dari("number", "list", "--json").objects] == ["suspended", "in service"]
    (only,) = dari("number", "list", "--state", "suspended", "--json").objects
    assert (only["number"], only["suspended"]) == (FREE.replace("-", ""), "ko/not-in-service")
    assert NEXT in dari("number", "list", "--state", "in-service").out
    assert dari("number", "resume", FREE).code == 0
    assert dari("number", "list", "--state", "suspended").err == "no number is suspended\n"


def test_another_announcement_leaves_it_suspended(dari: Dari) -> None:
    assert dari("number", "issue", FREE, "--account", "kim", "--target", "02-1234-5678").code == 0
    refused(dari("number", "set", FREE, "--while-suspended", "ko/closed"), "it is not suspended")
    assert dari("number", "suspend", FREE).code == 0
    refused(dari("number", "set", FREE, "--while-suspended", "prompt:none"), "no prompt of the account")
    assert dari("number", "set", FREE, "--while-suspended", "ko/closed").code == 0
    (listed,) = dari("number", "list", "--json").objects
    assert (listed["state"], listed["suspended"]) == ("suspended", "ko/closed")


def test_a_number_is_served_as_what_is_said(dari: Dari) -> None:
    own = ("--target", "02-9999-5678", "--account", "kim")
    assert dari("number", "add", "02-345-6789", *own, "--kind", "mo").code == 0
    assert dari("number", "add", "02-345-6780", *own).code == 0
    assert [one["kind"] for one in dari("number", "list", "--json").objects] == ["own", "mo"]
    refused(dari("number", "add", FREE, *own, "--kind", "mo"), "cannot be of kind mo, only 050")


def test_only_numbers_of_so_many_digits_are_chosen(dari: Dari) -> None:
    assert [one["number"] for one in dari("number", "choose", "--digits", "12", "--limit", "1", "--json").objects]
    assert dari("number", "choose", "--digits", "11", "--json").objects == []
    refused(dari("number", "choose", "--digits", "10"), "digits: 10 must be 11 or 12")

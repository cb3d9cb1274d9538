"""Who may listen to which call, how, and why not."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import UUID

import msgspec
import pytest

from engine.calls.listening_door import Tickets
from engine.calls.listening_rules import OPENED_WITHIN, Mode, Wish, may_listen
from engine.foundation.errors import Conflict, DariError, Invalid, NotAllowed, NotFound

OWNER, OTHER = UUID(int=1), UUID(int=2)
WISH = Wish(call="ab12cd34", who="operator", reason="a complaint")
NOW = datetime(2026, 11, 21, tzinfo=UTC)


def ask(wish: Wish = WISH, **state: Any) -> None:
    values: dict[str, Any] = {"owner": OWNER, "talking": True, "announced": True, "allowed": {Mode.LISTEN}}
    may_listen(wish, **(values | state))


def test_operator_with_a_reason_may_listen_to_an_announced_talk() -> None:
    ask()


def test_owner_may_and_nobody_else() -> None:
    ask(msgspec.structs.replace(WISH, account_id=OWNER))
    with pytest.raises(NotAllowed, match="organisation"):
        ask(msgspec.structs.replace(WISH, account_id=OTHER))
    with pytest.raises(NotAllowed, match="organisation"):
        ask(owner=None)


@pytest.mark.parametrize(
    ("state", "error", "words"),
    [
        ({"talking": False}, Conflict, "nobody talks"),
        ({"announced": False}, NotAllowed, "did not both hear"),
        ({"allowed": {Mode.WHISPER}}, NotAllowed, "DARI_LISTENING"),
    ],
)
def test_call_that_may_not_be_listened_to(state: dict[str, Any], error: type[DariError], words: str) -> None:
    with pytest.raises(error, match=words):
        ask(**state)


@pytest.mark.parametrize(
    "change", [{"reason": "  "}, {"who": ""}, {"minutes": 0}, {"minutes": 61}, {"reason": "x" * 501}], ids=str
)
def test_wish_that_cannot_be_granted_to_anybody(change: dict[str, Any]) -> None:
    with pytest.raises(Invalid):
        ask(msgspec.structs.replace(WISH, **change))


@pytest.mark.parametrize("mode", [Mode.WHISPER, Mode.BARGE])
def test_speaking_is_allowed_only_where_it_is_set(mode: Mode) -> None:
    wish = msgspec.structs.replace(WISH, mode=mode)
    ask(wish, allowed={mode})
    with pytest.raises(NotAllowed):
        ask(wish)


def test_ticket_is_good_once() -> None:
    tickets = Tickets()
    ticket = tickets.issue(UUID(int=9), WISH, OWNER, NOW).ticket
    granted = tickets.redeem(ticket, NOW + OPENED_WITHIN - timedelta(seconds=1))
    assert (granted.entry, granted.wish, granted.call_id) == (UUID(int=9), WISH, OWNER)
    with pytest.raises(NotFound):
        tickets.redeem(ticket, NOW)


def test_ticket_is_too_old_after_its_time() -> None:
    tickets = Tickets()
    ticket = tickets.issue(UUID(int=9), WISH, OWNER, NOW).ticket
    with pytest.raises(NotFound):
        tickets.redeem(ticket, NOW + OPENED_WITHIN)


def test_tickets_are_random_and_long() -> None:
    tickets = Tickets()
    issued = {tickets.issue(UUID(int=9), WISH, OWNER, NOW).ticket for _ in range(100)}
    assert len(issued) == 100
    assert all(len(ticket) >= 32 for ticket in issued)
    with pytest.raises(NotFound):
        tickets.redeem("guessed", NOW)

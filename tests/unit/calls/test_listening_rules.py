"""Who may listen to which call, how, and why not."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import UUID

import msgspec
import pytest

from engine.accounts.model import (
    ALL_MODULES,
    LOCAL_OPERATOR,
    OPERATOR_ID,
    Account,
    AccountKind,
    Actor,
    Deed,
    ListeningGrant,
    Module,
    Place,
    Role,
    Standing,
)
from engine.calls.listening_door import Tickets
from engine.calls.listening_rules import OPENED_WITHIN, Mode, Wish, may_listen
from engine.foundation.errors import Conflict, DariError, Invalid, NotAllowed, NotFound

NOW = datetime(2026, 11, 21, tzinfo=UTC)
AGENCY, SHOP, CALL = UUID(int=2), UUID(int=3), UUID(int=7)
ACCOUNT = Account(id=SHOP, name="shop", parent=AGENCY, path=(OPERATOR_ID, AGENCY, SHOP))
OWNER = Actor(who="user:1", place=ACCOUNT.place, role=Role.OWNER)
MANAGER = Actor(
    who="user:2",
    place=Place(account=AGENCY, path=(OPERATOR_ID, AGENCY), kind=AccountKind.AGENCY),
    role=Role.AGENCY,
)
WISH = Wish(call="ab12cd34", who="the owner", reason="a complaint", actor=OWNER)


def grant(to: UUID, until: datetime) -> ListeningGrant:
    return ListeningGrant(
        id=UUID(int=9), shop=SHOP, to_account=to, by="user:1", reason="training", begins=NOW, until=until
    )


def ask(wish: Wish = WISH, *, owner: Standing | None = None, **state: Any) -> datetime:
    values: dict[str, Any] = {"talking": True, "announced": True, "allowed": {Mode.LISTEN}, "now": NOW}
    return may_listen(wish, owner or Standing(account=ACCOUNT), **(values | state))


def by(actor: Actor) -> Wish:
    return msgspec.structs.replace(WISH, actor=actor)


def test_owner_with_a_reason_may_listen_to_an_announced_talk_for_as_long_as_asked() -> None:
    assert ask() == NOW + timedelta(minutes=5)


def test_nobody_else_may_without_a_grant() -> None:
    for other in (LOCAL_OPERATOR, MANAGER, msgspec.structs.replace(OWNER, role=Role.STAFF)):
        with pytest.raises(NotAllowed, match="listen live"):
            ask(by(other))
    stranger = msgspec.structs.replace(OWNER, place=Place(account=UUID(int=8), path=(OPERATOR_ID, UUID(int=8))))
    with pytest.raises(NotFound):
        ask(by(stranger))
    with pytest.raises(NotAllowed, match="belongs to nobody"):
        may_listen(WISH, None, talking=True, announced=True, allowed={Mode.LISTEN}, now=NOW)


def test_auditor_may_and_the_wish_tells_the_reason() -> None:
    assert ask(by(msgspec.structs.replace(OWNER, role=Role.AUDITOR))) > NOW


@pytest.mark.parametrize("actor", [LOCAL_OPERATOR, MANAGER], ids=lambda actor: actor.role.value)
def test_account_above_may_with_a_grant_and_not_longer_than_it_runs(actor: Actor) -> None:
    def given(lasts: timedelta) -> Standing:
        return Standing(account=ACCOUNT, grants=(grant(actor.place.account, NOW + lasts),))

    assert ask(by(actor), owner=given(timedelta(days=1))) == NOW + timedelta(minutes=5)
    assert ask(by(actor), owner=given(timedelta(minutes=2))) == NOW + timedelta(minutes=2)
    with pytest.raises(NotAllowed, match="grant"):
        ask(by(actor), owner=given(timedelta(0)))


def test_nobody_listens_where_the_function_is_off() -> None:
    off = msgspec.structs.replace(ACCOUNT, modules=ALL_MODULES - {Module.LISTENING})
    with pytest.raises(NotAllowed, match="listening"):
        ask(owner=Standing(account=off))


def test_a_wish_keeps_its_actor_on_the_way_to_the_engine() -> None:
    wish = by(msgspec.structs.replace(MANAGER, allowed=frozenset({Deed.LISTEN_LIVE}), scopes=frozenset()))
    assert msgspec.json.decode(msgspec.json.encode(wish), type=Wish) == wish


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
    ticket = tickets.issue(UUID(int=9), WISH, CALL, NOW).ticket
    granted = tickets.redeem(ticket, NOW + OPENED_WITHIN - timedelta(seconds=1))
    assert (granted.entry, granted.wish, granted.call_id) == (UUID(int=9), WISH, CALL)
    with pytest.raises(NotFound):
        tickets.redeem(ticket, NOW)


def test_ticket_is_too_old_after_its_time() -> None:
    tickets = Tickets()
    ticket = tickets.issue(UUID(int=9), WISH, CALL, NOW).ticket
    with pytest.raises(NotFound):
        tickets.redeem(ticket, NOW + OPENED_WITHIN)


def test_tickets_are_random_and_long() -> None:
    tickets = Tickets()
    issued = {tickets.issue(UUID(int=9), WISH, CALL, NOW).ticket for _ in range(100)}
    assert len(issued) == 100
    assert all(len(ticket) >= 32 for ticket in issued)
    with pytest.raises(NotFound):
        tickets.redeem("guessed", NOW)

"""The permission table, asked about every actor, deed and place of a whole tree."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from itertools import product
from uuid import UUID

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as some

from engine.accounts.model import (
    LOCAL_OPERATOR,
    LONGEST_GRANT,
    MANAGERS,
    OPERATOR_ID,
    OPERATOR_PLACE,
    AccountKind,
    Actor,
    Deed,
    ListeningGrant,
    Place,
    Role,
)
from engine.accounts.permissions import (
    AUDIO,
    LOOKING,
    ROLES_AT,
    TABLE,
    WHEN_ALLOWED,
    Reach,
    check,
    check_giving,
    check_scopes,
    may,
    reach,
    written_table,
)
from engine.foundation.errors import DariError, Invalid, NotAllowed, NotFound

NOW = datetime(2026, 11, 22, 3, tzinfo=UTC)


def _place(number: int, above: Place, kind: AccountKind) -> Place:
    identifier = UUID(int=number)
    return Place(account=identifier, path=(*above.path, identifier), kind=kind)


AGENCY = _place(10, OPERATOR_PLACE, AccountKind.AGENCY)
REGION = _place(11, AGENCY, AccountKind.REGION)
BRANCH = _place(12, REGION, AccountKind.BRANCH)
SHOP = _place(13, BRANCH, AccountKind.SHOP)
NEIGHBOUR = _place(14, BRANCH, AccountKind.SHOP)
AGENCY_SHOP = _place(15, AGENCY, AccountKind.SHOP)
OTHER_AGENCY = _place(20, OPERATOR_PLACE, AccountKind.AGENCY)
OTHER_SHOP = _place(21, OTHER_AGENCY, AccountKind.SHOP)
LONE_SHOP = _place(30, OPERATOR_PLACE, AccountKind.SHOP)
TREE = (
    OPERATOR_PLACE,
    AGENCY,
    REGION,
    BRANCH,
    SHOP,
    NEIGHBOUR,
    AGENCY_SHOP,
    OTHER_AGENCY,
    OTHER_SHOP,
    LONE_SHOP,
)
EVERY_DEED = frozenset(Deed)


def actor(place: Place, role: Role | None = None, **more: object) -> Actor:
    """Somebody of that account; its manager, unless said otherwise, with a reason at hand."""
    values: dict[str, object] = {"reason": "a complaint", **more}
    return Actor(who="user:1", place=place, role=role or MANAGERS[place.kind], **values)  # type: ignore[arg-type]


def grant(to: Place, shop: Place = SHOP, **change: object) -> ListeningGrant:
    running = ListeningGrant(
        id=UUID(int=99),
        shop=shop.account,
        to_account=to.account,
        by="user:2",
        reason="training",
        begins=NOW - timedelta(days=1),
        until=NOW + timedelta(days=1),
    )
    return msgspec.structs.replace(running, **change)


actors = some.builds(
    lambda place, role, allowed, scopes, read_only: actor(
        place, role, allowed=allowed, scopes=scopes, read_only=read_only
    ),
    some.sampled_from(TREE),
    some.sampled_from(Role),
    some.frozensets(some.sampled_from(Deed)),
    some.none() | some.frozensets(some.sampled_from(Deed)),
    some.booleans(),
)
deeds = some.sampled_from(Deed)
places = some.sampled_from(TREE)
grants = some.lists(
    some.builds(
        lambda to, shop, begins, lasts, taken: grant(
            to, shop, begins=NOW + begins, until=NOW + begins + lasts, taken_back_at=NOW if taken else None
        ),
        places,
        places,
        some.timedeltas(timedelta(days=-40), timedelta(days=40)),
        some.timedeltas(timedelta(seconds=1), LONGEST_GRANT),
        some.booleans(),
    ),
    max_size=4,
)


def test_the_table_has_an_answer_for_each_role_and_deed() -> None:
    assert set(TABLE) == set(Role)
    for role in Role:
        assert set(TABLE[role]) == set(Deed)


@given(actors, deeds, places, grants)
def test_nobody_does_anything_outside_their_own_subtree(
    who: Actor, deed: Deed, of: Place, running: list[ListeningGrant]
) -> None:
    if may(who, deed, of, grants=running, now=NOW):
        assert who.place.account in of.path


@given(actors, deeds, places)
def test_what_is_foreign_is_told_like_what_does_not_exist(who: Actor, deed: Deed, of: Place) -> None:
    if who.place.account not in of.path:
        with pytest.raises(NotFound):
            check(who, deed, of)


@given(actors, some.sampled_from(sorted(AUDIO, key=lambda deed: deed.value)), places, grants)
def test_sound_is_heard_by_the_shops_own_or_with_its_running_grant(
    who: Actor, deed: Deed, of: Place, running: list[ListeningGrant]
) -> None:
    if not may(who, deed, of, grants=running, now=NOW):
        return
    if who.place.account == of.account:
        assert who.role is Role.OWNER or (who.place.kind is AccountKind.SHOP and who.role in (Role.STAFF, Role.AUDITOR))
        assert who.role is not Role.STAFF or deed in who.allowed
    else:
        held = [one for one in running if one.shop == of.account and one.to_account == who.place.account]
        assert any(one.begins <= NOW < one.until and one.taken_back_at is None for one in held)


@pytest.mark.parametrize("of", TREE, ids=lambda place: str(place.account.int))
def test_not_even_the_operator_hears_anything_without_a_grant(of: Place) -> None:
    for deed in AUDIO:
        assert not may(LOCAL_OPERATOR, deed, of, now=NOW)


@pytest.mark.parametrize("above", [OPERATOR_PLACE, AGENCY, REGION, BRANCH], ids=lambda place: place.kind.value)
def test_a_grant_opens_the_sound_to_the_account_it_names_while_it_runs(above: Place) -> None:
    who = actor(above)
    for deed in AUDIO:
        check(who, deed, SHOP, grants=[grant(above)], now=NOW)
        assert not may(who, deed, NEIGHBOUR, grants=[grant(above)], now=NOW)
        assert not may(who, deed, SHOP, grants=[grant(above)])
        for over in (
            grant(above, until=NOW),
            grant(above, begins=NOW + timedelta(seconds=1)),
            grant(above, taken_back_at=NOW),
            grant(OTHER_AGENCY),
            grant(above, shop=NEIGHBOUR),
        ):
            with pytest.raises(NotAllowed, match="grant"):
                check(who, deed, SHOP, grants=[over], now=NOW)


def test_a_grant_to_the_agency_is_for_its_manager_and_allowed_staff() -> None:
    given_to_agency = [grant(AGENCY)]
    assert not may(actor(AGENCY, Role.STAFF), Deed.LISTEN_LIVE, SHOP, grants=given_to_agency, now=NOW)
    allowed = actor(AGENCY, Role.STAFF, allowed=AUDIO)
    assert may(allowed, Deed.LISTEN_LIVE, SHOP, grants=given_to_agency, now=NOW)
    assert not may(actor(AGENCY, Role.AUDITOR), Deed.LISTEN_LIVE, SHOP, grants=given_to_agency, now=NOW)


@given(actors, deeds, places, grants)
def test_staff_content_centre_and_auditor_do_no_more_than_their_manager(
    who: Actor, deed: Deed, of: Place, running: list[ListeningGrant]
) -> None:
    if who.role in (Role.STAFF, Role.CONTENT, Role.AUDITOR) and may(who, deed, of, grants=running, now=NOW):
        assert may(actor(who.place), deed, of, grants=running, now=NOW)


@given(actors, deeds, places)
def test_staff_change_only_what_was_allowed(who: Actor, deed: Deed, of: Place) -> None:
    if who.role is Role.STAFF and deed in WHEN_ALLOWED and may(who, deed, of):
        assert deed in who.allowed


@given(actors, deeds, places, grants)
def test_a_key_does_nothing_beyond_its_scopes_nor_beyond_its_account(
    who: Actor, deed: Deed, of: Place, running: list[ListeningGrant]
) -> None:
    if may(who, deed, of, grants=running, now=NOW):
        assert who.scopes is None or deed in who.scopes
        assert may(msgspec.structs.replace(who, scopes=None), deed, of, grants=running, now=NOW)


@given(actors, deeds, places)
def test_who_only_reads_changes_nothing(who: Actor, deed: Deed, of: Place) -> None:
    if (who.read_only or who.role is Role.AUDITOR) and may(who, deed, of):
        assert deed in LOOKING | AUDIO


@given(actors, deeds, places)
def test_a_list_shows_exactly_what_may_be_seen_one_by_one(who: Actor, deed: Deed, of: Place) -> None:
    if deed not in LOOKING:
        return
    try:
        root = reach(who, deed)
    except DariError:
        assert not may(who, deed, of)
    else:
        fits = who.role in ROLES_AT[who.place.kind]
        assert not fits or may(who, deed, of) == (root in of.path)


def test_an_auditor_needs_a_reason_each_time() -> None:
    check(actor(SHOP, Role.AUDITOR), Deed.HEAR_RECORDINGS, SHOP)
    silent = actor(SHOP, Role.AUDITOR, reason=" ")
    with pytest.raises(Invalid, match="reason"):
        check(silent, Deed.SEE_CALLS, SHOP)
    with pytest.raises(Invalid, match="reason"):
        reach(silent, Deed.SEE_CALLS)
    with pytest.raises(NotAllowed):
        check(silent, Deed.CHANGE_NUMBERS, SHOP)


@pytest.mark.parametrize("deed", [Deed.SWITCH_MODULES, Deed.CLOSE_ACCOUNTS, Deed.MOVE_ACCOUNTS])
def test_an_agency_does_to_those_below_what_it_may_not_do_to_itself(deed: Deed) -> None:
    check(actor(AGENCY), deed, SHOP)
    with pytest.raises(NotAllowed):
        check(actor(AGENCY), deed, AGENCY)


@pytest.mark.parametrize("deed", [Deed.CHANGE_USERS, Deed.CHANGE_KEYS, Deed.CHANGE_WEBHOOKS])
def test_an_office_above_a_shop_keeps_out_of_what_the_shop_keeps_itself(deed: Deed) -> None:
    for of in (AGENCY, REGION, BRANCH):
        check(actor(AGENCY), deed, of)
    for of in (SHOP, AGENCY_SHOP):
        with pytest.raises(NotAllowed):
            check(actor(AGENCY), deed, of)
    check(actor(SHOP), deed, SHOP)


def test_a_key_is_told_which_scope_it_lacks() -> None:
    key = actor(SHOP, scopes=frozenset({Deed.SEE_CALLS}))
    check(key, Deed.SEE_CALLS, SHOP)
    for deed in EVERY_DEED - {Deed.SEE_CALLS}:
        with pytest.raises(NotAllowed, match=deed.value):
            check(key, deed, SHOP)
    with pytest.raises(NotFound):
        check(key, Deed.SEE_CALLS, NEIGHBOUR)


def test_a_grant_to_oneself_opens_nothing() -> None:
    assert not may(actor(AGENCY), Deed.LISTEN_LIVE, AGENCY, grants=[grant(AGENCY, shop=AGENCY)], now=NOW)


def test_the_users_of_a_shop_are_the_shops_own_matter() -> None:
    for above in (AGENCY, REGION, BRANCH):
        with pytest.raises(NotAllowed):
            check_giving(actor(above), SHOP, Role.STAFF)
        with pytest.raises(NotAllowed):
            check_giving(actor(above), SHOP, Role.OWNER)
        check_giving(actor(above), SHOP, Role.OWNER, first=True)
        with pytest.raises(NotAllowed):
            check_giving(actor(above), SHOP, Role.AUDITOR, first=True)
    check_giving(actor(SHOP), SHOP, Role.OWNER)
    check_giving(actor(SHOP), SHOP, Role.AUDITOR)
    check_giving(actor(SHOP), SHOP, Role.STAFF, {Deed.HEAR_RECORDINGS, Deed.CHANGE_NUMBERS})
    check_giving(actor(AGENCY), BRANCH, Role.BRANCH)
    check_giving(actor(AGENCY), AGENCY, Role.CONTENT)
    with pytest.raises(NotFound):
        check_giving(actor(AGENCY), OTHER_SHOP, Role.OWNER, first=True)


def test_the_operator_makes_nobody_who_hears_a_shops_calls() -> None:
    check_giving(LOCAL_OPERATOR, SHOP, Role.STAFF, {Deed.CHANGE_NUMBERS})
    for role, allowed in ((Role.OWNER, frozenset()), (Role.AUDITOR, frozenset()), (Role.STAFF, AUDIO)):
        with pytest.raises(NotAllowed):
            check_giving(LOCAL_OPERATOR, SHOP, role, allowed)
    with pytest.raises(NotAllowed):
        check_scopes(LOCAL_OPERATOR, SHOP, {Deed.HEAR_RECORDINGS})
    check_scopes(LOCAL_OPERATOR, SHOP, {Deed.SEE_CALLS})


@given(actors, places, some.sampled_from(Role), some.frozensets(some.sampled_from(Deed), max_size=4), deeds, places)
def test_nobody_gives_more_than_they_have(
    who: Actor, of: Place, role: Role, allowed: frozenset[Deed], deed: Deed, where: Place
) -> None:
    try:
        check_giving(who, of, role, allowed)
    except DariError:
        return
    if may(actor(of, role, allowed=allowed), deed, where):
        assert may(who, deed, where)


def test_a_role_that_an_account_cannot_have_is_refused() -> None:
    with pytest.raises(Invalid, match="shop owner"):
        check_giving(LOCAL_OPERATOR, SHOP, Role.AGENCY)
    with pytest.raises(Invalid, match="cannot be allowed"):
        check_giving(actor(SHOP), SHOP, Role.STAFF, {Deed.CHANGE_USERS})


def test_the_written_table_names_every_role_and_deed() -> None:
    lines = written_table().splitlines()
    assert len(lines) == len(Deed) + 2
    for role in Role:
        assert role.value in lines[0]
    for deed, line in zip(Deed, lines[2:], strict=True):
        assert line.startswith(f"| {deed.value} |")
    assert "| hear recordings | granted | granted | granted | granted | own | below, if allowed | - | own |" in lines


def test_only_the_root_has_an_operator_who_reaches_all() -> None:
    impostor = actor(AGENCY, Role.OPERATOR)
    for deed, of in product(Deed, TREE):
        if TABLE[Role.OPERATOR][deed] is Reach.ALL:
            assert not may(impostor, deed, of)
            assert may(actor(OPERATOR_PLACE), deed, of)
    assert OPERATOR_PLACE.account == OPERATOR_ID

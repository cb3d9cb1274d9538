"""Who may do what, where: one table, and the only place that asks it. Pure.

Doors and deeds call `check`; lists filter by `reach`. A thing that somebody may not even see is told like one that does
not exist.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from datetime import datetime
from enum import Enum
from types import MappingProxyType
from uuid import UUID

from engine.accounts.model import (
    MANAGERS,
    OPERATOR_ID,
    Account,
    AccountKind,
    Actor,
    Deed,
    ListeningGrant,
    Module,
    Place,
    Role,
)
from engine.foundation.errors import DariError, Invalid, NotAllowed, NotFound


class Reach(Enum):
    """How far a role's deed reaches from the account that the actor belongs to."""

    NONE = "-"
    OWN = "own"
    """That account itself."""
    UNDER = "under"
    """Everything under it, not itself."""
    OFFICES = "offices"
    """Itself and everything under it that is no shop."""
    BELOW = "below"
    """Itself and everything under it."""
    GRANTED = "granted"
    """Shops under it that gave it a listening grant, while that runs."""
    ALL = "all"


_LETTERS = {
    "-": Reach.NONE,
    "O": Reach.OWN,
    "U": Reach.UNDER,
    "F": Reach.OFFICES,
    "B": Reach.BELOW,
    "G": Reach.GRANTED,
    "A": Reach.ALL,
}

# A letter for each role in the order of `Role`. Small: only when the manager of the account allowed it.
_GRID = {
    # operator, agency, region, branch, owner, staff, content, auditor
    Deed.SEE_NUMBERS: "A B B B O B B B",
    Deed.CHANGE_NUMBERS: "A B B B O b - -",
    Deed.ISSUE_NUMBERS: "A B B B O b - -",
    Deed.RELEASE_NUMBERS: "A B B B O b - -",
    Deed.TRANSFER_NUMBERS: "A B - - O b - -",
    Deed.SEE_RANGES: "A - - - - B - B",
    Deed.MANAGE_RANGES: "A - - - - b - -",
    Deed.SEE_CALLS: "A B B B O B - B",
    Deed.SEE_FIGURES: "A B B B O B - B",
    Deed.HEAR_RECORDINGS: "G G G G O b - O",
    Deed.CHANGE_RECORDINGS: "A - - - O b - -",
    Deed.LISTEN_LIVE: "G G G G O b - O",
    Deed.GRANT_LISTENING: "- - - - O - - -",
    Deed.RECORD_GRANTS: "A - - - - - - -",
    Deed.PLACE_CALLS: "A - - - O B - -",
    Deed.SEE_MESSAGES: "A B B B O B B B",
    Deed.CHANGE_MESSAGES: "A B B B O b B -",
    Deed.SEE_PROMPTS: "A B B B O B B B",
    Deed.CHANGE_PROMPTS: "A B B B O b B -",
    Deed.SEE_RULES: "A B B B O B B B",
    Deed.CHANGE_RULES: "A B B B O b - -",
    Deed.SIMULATE: "A B B B O B B B",
    Deed.SEE_ACCOUNTS: "A B B B O B B B",
    Deed.OPEN_ACCOUNTS: "A B B B - b - -",
    Deed.CHANGE_ACCOUNTS: "A B B B O b - -",
    Deed.MOVE_ACCOUNTS: "A U - - - b - -",
    Deed.CLOSE_ACCOUNTS: "A U U U - b - -",
    Deed.REVIEW_ACCOUNTS: "A - - - - b - -",
    Deed.SWITCH_MODULES: "A U - - - b - -",
    Deed.WAIVE_FEES: "A - - - - b - -",
    Deed.SEE_USERS: "A B B B O b - B",
    Deed.CHANGE_USERS: "A F F F O - - -",
    Deed.INVITE_OWNER: "A U U U - b - -",
    Deed.SEE_KEYS: "A B B B O b - B",
    Deed.CHANGE_KEYS: "A F F F O - - -",
    Deed.SEE_AUDIT: "A B B B O b - B",
    Deed.VERIFY_AUDIT: "A - - - - b - B",
    Deed.SEE_WEBHOOKS: "A B B B O b - B",
    Deed.CHANGE_WEBHOOKS: "A F F F O b - -",
    Deed.READ_EVENTS: "A B B B O b - B",
    Deed.SEE_TRUNKS: "A - - - - B - B",
    Deed.CHANGE_TRUNKS: "A - - - - b - -",
}


def _column(place: int) -> Mapping[Deed, Reach]:
    return MappingProxyType({deed: _LETTERS[letters.split()[place].upper()] for deed, letters in _GRID.items()})


TABLE: Mapping[Role, Mapping[Deed, Reach]] = MappingProxyType({role: _column(place) for place, role in enumerate(Role)})
"""What each role may do. Staff, content centre and auditor never do more than the manager of the same account may."""

WHEN_ALLOWED = frozenset(
    deed for deed, letters in _GRID.items() if letters.split()[list(Role).index(Role.STAFF)].islower()
)
"""What staff may do only when it is in `Actor.allowed`."""

AUDIO = frozenset({Deed.HEAR_RECORDINGS, Deed.LISTEN_LIVE})
LOOKING = frozenset(
    deed
    for deed in Deed
    if deed.value.startswith("see ") or deed in {Deed.SIMULATE, Deed.READ_EVENTS, Deed.VERIFY_AUDIT}
)
"""What changes nothing and sounds nothing."""

_UNDER_A_MANAGER = (Role.STAFF, Role.CONTENT, Role.AUDITOR)

ROLES_AT: Mapping[AccountKind, frozenset[Role]] = MappingProxyType(
    {
        kind: frozenset({MANAGERS[kind], Role.STAFF, Role.AUDITOR})
        | (frozenset({Role.CONTENT}) if kind in (AccountKind.OPERATOR, AccountKind.AGENCY) else frozenset())
        for kind in AccountKind
    }
)
"""Which users an account of each kind can have."""


def check(
    actor: Actor,
    deed: Deed,
    of: Place,
    *,
    grants: Collection[ListeningGrant] = (),
    now: datetime | None = None,
    what: str = "",
) -> None:
    """Returns when `actor` may do `deed` with a thing of the account at `of`.

    `grants` are that account's listening grants, judged at `now`; without `now` none of them runs. `what` names the
    thing in the error. Raises NotFound for what the actor may not even see, NotAllowed for what they see and may not
    do, Invalid for an auditor without a reason.
    """
    if not _covers(actor, Deed.SEE_ACCOUNTS, of, grants, now):
        raise NotFound(f"{what or f'account {of.account}'}: there is none that you may see")
    if actor.scopes is not None and deed not in actor.scopes:
        raise NotAllowed(f"{deed.value}: this key has no such scope; make one that has it")
    if actor.read_only and deed not in LOOKING and deed not in AUDIO:
        raise NotAllowed(f"{deed.value}: you may only look here; nothing is changed")
    if not _covers(actor, deed, of, grants, now):
        raise NotAllowed(_refusal(actor, deed))
    if actor.role is Role.AUDITOR and not actor.reason.strip():
        raise Invalid("reason: an auditor reads nothing without one; say why")


def may(
    actor: Actor, deed: Deed, of: Place, *, grants: Collection[ListeningGrant] = (), now: datetime | None = None
) -> bool:
    """Whether `check` would return."""
    try:
        check(actor, deed, of, grants=grants, now=now)
    except DariError:
        return False
    return True


def check_on(account: Account, module: Module) -> None:
    """Raises NotAllowed when the function is switched off for the account or above it, whoever asks."""
    if module not in account.modules:
        raise NotAllowed(
            f"{module.value}: this function is off for {account.name}; ask who is above it to switch it on"
        )


def granted_until(actor: Actor, of: Place, grants: Collection[ListeningGrant], now: datetime) -> datetime | None:
    """Until when the actor hears the calls of `of` by grants that run; None: they need no grant."""
    if actor.place.account == of.account:
        return None
    return max((grant.until for grant in grants if _opens(grant, actor.place, of, now)), default=now)


def reach(actor: Actor, deed: Deed) -> UUID:
    """The account whose subtree (itself included) a list for this actor shows: `accounts.path @> ARRAY[it]`.

    For deeds of looking. Raises NotAllowed when nothing is to be shown, Invalid for an auditor without a reason.
    """
    check(actor, deed, actor.place)
    return actor.place.account


def check_giving(actor: Actor, of: Place, role: Role, allowed: Collection[Deed] = (), *, first: bool = False) -> None:
    """Returns when `actor` may make somebody a user of the account at `of` with that role.

    Nobody gives what they may not do themselves; only the `first` user of a shop is made its owner from above. Raises
    NotFound, NotAllowed or Invalid.
    """
    if role not in ROLES_AT[of.kind]:
        raise Invalid(f"role: a {of.kind.value} has no {role.value}; choose {_listed(ROLES_AT[of.kind])}")
    if first and role is MANAGERS[of.kind] and may(actor, Deed.INVITE_OWNER, of):
        return
    check(actor, Deed.CHANGE_USERS, of)
    if surplus := [deed for deed in allowed if deed not in WHEN_ALLOWED]:
        raise Invalid(f"allowed: {surplus[0].value!r} cannot be allowed to staff; leave it away")
    _check_no_more_than_own(actor, of, _given(role, allowed, of))


def check_scopes(actor: Actor, of: Place, scopes: Collection[Deed]) -> None:
    """Returns when `actor` may make an API key of the account at `of` with these scopes: none beyond their own."""
    check(actor, Deed.CHANGE_KEYS, of)
    _check_no_more_than_own(actor, of, scopes)


def _check_no_more_than_own(actor: Actor, of: Place, deeds: Collection[Deed]) -> None:
    for deed in sorted(deeds, key=lambda deed: deed.value):
        if not may(actor, deed, of):
            raise NotAllowed(f"{deed.value}: you may not do this yourself, so you cannot let others; leave it away")


def _given(role: Role, allowed: Collection[Deed], of: Place) -> frozenset[Deed]:
    """What a user with that role may do in their own account."""
    newcomer = Actor(who="newcomer", place=of, role=role, allowed=frozenset(allowed), reason="giving")
    return frozenset(deed for deed in Deed if may(newcomer, deed, of))


def _covers(actor: Actor, deed: Deed, of: Place, grants: Collection[ListeningGrant], now: datetime | None) -> bool:
    """Whether the table lets the actor do it there, whatever key or mode they came with."""
    if actor.role is Role.STAFF and deed in WHEN_ALLOWED and deed not in actor.allowed:
        return False
    roles = [actor.role]
    if actor.role in _UNDER_A_MANAGER:
        roles.append(MANAGERS[actor.place.kind])
    return all(_reaches(TABLE[role][deed], actor.place, of, grants, now) for role in roles)


def _reaches(how_far: Reach, own: Place, of: Place, grants: Collection[ListeningGrant], now: datetime | None) -> bool:
    itself = of.account == own.account
    under = own.account in of.path and not itself
    match how_far:
        case Reach.NONE:
            return False
        case Reach.OWN:
            return itself
        case Reach.UNDER:
            return under
        case Reach.OFFICES:
            return itself or (under and of.kind is not AccountKind.SHOP)
        case Reach.BELOW:
            return itself or under
        case Reach.GRANTED:
            return under and now is not None and any(_opens(grant, own, of, now) for grant in grants)
        case Reach.ALL:
            return own.account == OPERATOR_ID


def _opens(grant: ListeningGrant, own: Place, of: Place, now: datetime) -> bool:
    return grant.shop == of.account and grant.to_account == own.account and grant.runs(now)


def _refusal(actor: Actor, deed: Deed) -> str:
    if deed in AUDIO:
        return (
            f"{deed.value}: only the shop's own users and its auditor hear its calls; "
            "ask the shop for a listening grant"
        )
    if actor.role is Role.STAFF and deed in WHEN_ALLOWED:
        return f"{deed.value}: staff may do this only when it was allowed to them; ask the manager of your account"
    return f"{deed.value}: not for a {actor.role.value} here; ask the manager of an account above yours"


def _listed(roles: Collection[Role]) -> str:
    return ", ".join(sorted(role.value for role in roles))


def written_table() -> str:
    """The table as Markdown."""
    roles = list(Role)
    lines = ["| | " + " | ".join(role.value for role in roles) + " |", "|---" * (len(roles) + 1) + "|"]
    for deed in Deed:
        cells = (_cell(role, deed) for role in roles)
        lines.append(f"| {deed.value} | " + " | ".join(cells) + " |")
    return "\n".join(lines)


def _cell(role: Role, deed: Deed) -> str:
    how_far = TABLE[role][deed]
    conditional = role is Role.STAFF and deed in WHEN_ALLOWED and how_far is not Reach.NONE
    return f"{how_far.value}, if allowed" if conditional else how_far.value

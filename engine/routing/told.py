"""What is changed of what calls go by, rules, days off, groups, holidays and call settings, is written down in its own
transaction: in the audit, and where it is a number's, as an event for whoever takes the events of its account.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from datetime import date, datetime
from uuid import UUID

import msgspec
from sqlalchemy.ext.asyncio import AsyncConnection

from engine.accounts.model import OPERATOR_ID, Actor, Deed
from engine.accounts.told import Thing, write_down
from engine.audit.model import PERSONAL
from engine.foundation.phone_number import PhoneNumber
from engine.numbers import inventory
from engine.numbers import told as numbers_told
from engine.numbers.model import ServiceNumber
from engine.numbers.treatment import Treatment
from engine.routing.model import AccountRouting, ClosedDay, Rule

_TEXTS = frozenset({"callback", "consent", "whisper"})
"""Settings that hold what is said to somebody: the audit knows that there is something, not what."""
_TARGETS = frozenset({"targets", "fallbacks"})
_SETTINGS = ("zone", "limits")


async def tell_rules(
    connection: AsyncConnection,
    actor: Actor,
    owner: ServiceNumber,
    before: Sequence[Rule],
    after: Sequence[Rule],
    now: datetime,
) -> None:
    """The names in their order, and the rules that are others now."""
    if tuple(before) == tuple(after):
        return
    told = {"before": _rules(before, after), "after": _rules(after, before)}
    await _tell_number(connection, actor, owner, now, ["rules"], **told)


async def tell_closed_days(
    connection: AsyncConnection,
    actor: Actor,
    of: UUID | PhoneNumber,
    gone: Sequence[ClosedDay],
    new: Sequence[ClosedDay],
    now: datetime,
) -> None:
    """Of an account, or of a number of its own."""
    if isinstance(of, UUID):
        thing = Thing("closed days", of, of)
        told = {"before": {"days": gone}, "after": {"days": new}}
        await write_down(connection, actor, Deed.CHANGE_RULES, thing, **told, now=now)
    else:
        owner = await inventory.find(connection, of)
        told = {"before": {"closed_days": gone}, "after": {"closed_days": new}}
        await _tell_number(connection, actor, owner, now, ["closed_days"], **told)


async def tell_group(
    connection: AsyncConnection,
    actor: Actor,
    account: UUID,
    group: str,
    now: datetime,
    *,
    added: Collection[PhoneNumber] = (),
    removed: Collection[PhoneNumber] = (),
) -> None:
    """Who came into a group of callers, or went out of it."""
    before = {"callers": len(removed), PERSONAL: {"removed": sorted(removed)}} if removed else None
    after = {"callers": len(added), PERSONAL: {"added": sorted(added)}} if added else None
    thing = Thing("group of callers", account, group)
    await write_down(connection, actor, Deed.CHANGE_RULES, thing, before=before, after=after, now=now)


async def tell_holiday(
    connection: AsyncConnection,
    actor: Actor,
    day: date | str,
    now: datetime,
    *,
    before: Mapping[str, object] | None = None,
    after: Mapping[str, object] | None = None,
) -> None:
    """Of a day, or of the whole calendar."""
    thing = Thing("holiday", OPERATOR_ID, day)
    await write_down(connection, actor, Deed.CHANGE_RULES, thing, before=before, after=after, now=now)


async def tell_settings(
    connection: AsyncConnection, actor: Actor, before: AccountRouting, after: AccountRouting, now: datetime
) -> None:
    """Of an account: what all its numbers have in common."""
    fields = [field for field in _SETTINGS if getattr(before, field) != getattr(after, field)]
    if fields:
        thing = Thing("call settings", before.account_id, before.account_id)
        old, new = ({field: getattr(one, field) for field in fields} for one in (before, after))
        await write_down(connection, actor, Deed.CHANGE_ACCOUNTS, thing, before=old, after=new, now=now)


async def _tell_number(
    connection: AsyncConnection,
    actor: Actor,
    owner: ServiceNumber,
    now: datetime,
    fields: Sequence[str],
    *,
    before: Mapping[str, object],
    after: Mapping[str, object],
) -> None:
    """The event names what was changed, not how: that is for whoever may see the number."""
    deed, number, account = Deed.CHANGE_RULES, owner.number, owner.account_id
    await numbers_told.write(connection, actor, deed, number, account, now, before=before, after=after)
    await numbers_told.tell_of(connection, account, number, deed.value, now, fields=fields)


def _rules(rules: Sequence[Rule], others: Sequence[Rule]) -> dict[str, object]:
    """The names of `rules`, and what those say that are not among the `others`."""
    own = [rule for rule in rules if rule not in others]
    targets = {rule.name: said for rule in own if (said := _targets(rule.treatment))}
    told: dict[str, object] = {"rules": [rule.name for rule in rules]}
    if own:
        told["changed"] = {rule.name: _rule(rule) for rule in own}
    return told | ({PERSONAL: targets} if targets else {})


def _rule(rule: Rule) -> dict[str, object]:
    said = {
        field: "set" if field in _TEXTS and value else value
        for field, value in msgspec.structs.asdict(rule.treatment).items()
        if value is not None and field not in _TARGETS
    }
    return {"condition": rule.condition, "treatment": said, "enabled": rule.enabled}


def _targets(treatment: Treatment) -> list[PhoneNumber]:
    links = treatment.fallbacks or ()
    targets = [*(treatment.targets or ()), *(target for link in links for target in link.targets)]
    return [target.number for target in targets]

"""A deed on a number is told twice in its own transaction: to the audit, and to whoever takes the holder's events."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from datetime import datetime
from uuid import UUID

from sqlalchemy.ext.asyncio import AsyncConnection

from engine.accounts.model import Actor, Deed
from engine.audit import trail
from engine.audit.model import PERSONAL
from engine.events.kinds import EventKind
from engine.events.outbox import Event, append
from engine.foundation.phone_number import PhoneNumber
from engine.numbers.model import ServiceNumber
from engine.numbers.states import Move, StockNumber
from engine.numbers.stock import Moved
from engine.numbers.transfer_model import Transfer

_NOT_TOLD = frozenset({"number", "kind", "version", "changed_at"})
_PERSONAL = frozenset({"target", "sender", "treatment"})
"""Settings that name people's numbers."""
_TEXTS = frozenset({"callback"})
SETTINGS_CHANGED = "settings changed"
"""The change of an event that tells of no move."""


async def tell_move(
    connection: AsyncConnection,
    actor: Actor,
    deed: Deed,
    moved: Moved,
    now: datetime,
    *,
    more: Mapping[str, object] | None = None,
) -> None:
    """Writes down that the actor moved a number; `more` is what else there is after it."""
    before, after = _differing(moved.before, moved.after)
    await write(
        connection, actor, deed, moved.after.number, moved.whose, now, before=before, after={**after, **(more or {})}
    )
    await append(connection, events_of(moved, now))


async def tell_settings(
    connection: AsyncConnection, actor: Actor, deed: Deed, old: ServiceNumber, new: ServiceNumber, now: datetime
) -> None:
    """Writes down which settings of a number are others now. Message texts stand nowhere."""
    fields = [field for field in ServiceNumber.__struct_fields__ if getattr(old, field) != getattr(new, field)]
    if not fields:
        return
    await write(
        connection,
        actor,
        deed,
        new.number,
        new.account_id,
        now,
        before=_settings(old, fields),
        after=_settings(new, fields),
    )
    body = {"number": new.number, "change": SETTINGS_CHANGED, "fields": fields}
    await append(connection, [_event(new.account_id, now, body)])


async def write(
    connection: AsyncConnection,
    actor: Actor,
    deed: Deed,
    number: PhoneNumber,
    account: UUID | None,
    now: datetime,
    *,
    before: Mapping[str, object] | None,
    after: Mapping[str, object] | None,
) -> None:
    """An entry of the audit about a number."""
    await trail.write(
        connection,
        who=actor.who,
        deed=deed.value,
        account_id=account,
        object_kind="number",
        object_id=number,
        before=before,
        after=after,
        peer=actor.peer,
        now=now,
    )


def events_of(moved: Moved, now: datetime) -> list[Event]:
    """What the holder is told, and of a transfer both sides."""
    move, before, after, withdrawn = moved
    given = before.held_by if move is Move.TRANSFERRED and before else None
    body: dict[str, object] = {"number": after.number, "change": move.value, "state": after.state.value}
    for field, until in (("reserved_until", after.reserved_until), ("quarantined_until", after.quarantined_until)):
        if until is not None:
            body[field] = until.isoformat()
    if after.suspended_for is not None:
        body["suspended_for"] = after.suspended_for.value
    if given is not None:
        return [_event(given, now, {**body, "side": "giver"}), _event(moved.whose, now, {**body, "side": "receiver"})]
    ended = events_of_transfer(withdrawn, now) if withdrawn else []
    return [*ended, _event(moved.whose, now, body)]


def events_of_transfer(transfer: Transfer, now: datetime) -> list[Event]:
    """What both sides are told of an offer, as it is now."""
    body = {"number": transfer.number, "change": f"transfer {transfer.status.value}", "transfer": str(transfer.id)}
    sides = (("giver", transfer.from_account), ("receiver", transfer.to_account))
    return [_event(account, now, {**body, "side": side}) for side, account in sides]


async def tell_transfer(connection: AsyncConnection, transfer: Transfer, now: datetime) -> None:
    """The events alone."""
    await append(connection, events_of_transfer(transfer, now))


async def tell_holders(connection: AsyncConnection, moves: Iterable[Moved], now: datetime) -> None:
    """The events alone, of moves that time has made, not somebody."""
    await append(connection, [event for moved in moves for event in events_of(moved, now)])


async def tell_of(
    connection: AsyncConnection, account: UUID, number: PhoneNumber, change: str, now: datetime, **more: object
) -> None:
    """An event about a number that was not moved."""
    await append(connection, [_event(account, now, {"number": number, "change": change, **more})])


def _event(account: UUID | None, now: datetime, body: Mapping[str, object]) -> Event:
    return Event(kind=EventKind.NUMBER_CHANGED.value, account_id=account, call_id=None, at=now, body=body)


def _differing(before: StockNumber | None, after: StockNumber) -> tuple[dict[str, object] | None, dict[str, object]]:
    if before is None:
        return None, {"state": after.state, "held_by": after.held_by}
    fields = [field for field in StockNumber.__struct_fields__ if field not in _NOT_TOLD]
    changed = [field for field in fields if getattr(before, field) != getattr(after, field)]
    return {field: getattr(before, field) for field in changed}, {field: getattr(after, field) for field in changed}


def _settings(number: ServiceNumber, fields: Iterable[str]) -> dict[str, object]:
    plain: dict[str, object] = {}
    personal: dict[str, object] = {}
    for field in fields:
        value = getattr(number, field)
        if field in _TEXTS:
            plain[field] = None if value is None else "set"
        elif field == "treatment":
            plain[field] = sorted(name for name in value.__struct_fields__ if getattr(value, name) is not None)
        elif field in _PERSONAL:
            personal[field] = value
        else:
            plain[field] = value
    return plain | ({PERSONAL: personal} if personal else {})

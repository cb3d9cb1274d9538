"""What routing goes by as last read, and how it lies on disk for the time without a database."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import TypeVar
from uuid import UUID

import msgspec

from engine.foundation.phone_number import PhoneNumber
from engine.foundation.snapshot import read_snapshot, write_snapshot
from engine.numbers.model import NumberKind, ServiceNumber
from engine.numbers.treatment import Limits, Treatment
from engine.routing.current_prompts import with_current_prompts
from engine.routing.model import AccountRouting, ClosedDay, Holidays, Line, Rule

_V = TypeVar("_V")

_NO_LIMITS = Limits()
_NO_HOLIDAYS = Holidays()
_NONE = msgspec.Raw(b"[]")


class _Played(msgspec.Struct, frozen=True, gc=False):
    """A number and its rules with the sounds of their prompts, and what they were made of: as long as that is known."""

    of: ServiceNumber
    rules_of: tuple[Rule, ...]
    account: AccountRouting | None
    number: ServiceNumber
    rules: tuple[Rule, ...]


@dataclass(slots=True)
class Known:
    """By number and by account; what has no entry has nothing of the kind."""

    numbers: dict[PhoneNumber, ServiceNumber] = field(default_factory=dict)
    rules: dict[PhoneNumber, tuple[Rule, ...]] = field(default_factory=dict)
    closed_days: dict[PhoneNumber, tuple[ClosedDay, ...]] = field(default_factory=dict)
    accounts: dict[UUID, AccountRouting] = field(default_factory=dict)
    holidays: Holidays = field(default_factory=Holidays)
    _played: dict[PhoneNumber, _Played] = field(default_factory=dict, init=False, repr=False, compare=False)

    def line(self, number: PhoneNumber) -> Line | None:
        """The number with all that decides about its calls; None: not in service."""
        found = self.numbers.get(number)
        if found is None:
            return None
        rules, account = self.rules.get(number, ()), self.accounts.get(found.account_id)
        played = self._played.get(number)
        if played is None or not (played.of is found and played.rules_of is rules and played.account is account):
            kept = Line(found, rules, account or AccountRouting(account_id=found.account_id), (), _NO_HOLIDAYS)
            made = with_current_prompts(kept)
            played = self._played[number] = _Played(found, rules, account, made.number, made.rules)
        return Line(
            number=played.number,
            rules=played.rules,
            account=account or AccountRouting(account_id=found.account_id),
            closed_days=self.closed_days.get(number, ()),
            holidays=self.holidays,
        )

    @property
    def sizes(self) -> tuple[int, int, int]:
        return len(self.numbers), len(self.rules), len(self.accounts)

    def limited(self) -> tuple[list[PhoneNumber], list[UUID]]:
        """The numbers, and the accounts, that may have only so many calls."""
        return (
            [number.number for number in self.numbers.values() if number.limits != _NO_LIMITS],
            [account.account_id for account in self.accounts.values() if account.limits != _NO_LIMITS],
        )


class _KeptNumber(msgspec.Struct, frozen=True, array_like=True, gc=False):
    """A number as it lies on disk: without the names of its fields, so that 200,000 are read in a moment.

    What many numbers share is decoded once for all of them.
    """

    number: PhoneNumber
    kind: NumberKind
    account_id: msgspec.Raw
    target: PhoneNumber
    treatment: msgspec.Raw
    limits: msgspec.Raw
    callback: str | None
    sender: PhoneNumber | None
    repeat_window_days: int
    min_talk_seconds: int
    suspended: str | None = None


class RoutingPart(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True, gc=False):
    """A line of the snapshot: the holidays, an account, or a number."""

    holidays: Holidays | None = None
    account: AccountRouting | None = None
    number: _KeptNumber | None = None
    rules: msgspec.Raw = _NONE
    """The number's, in their order."""
    closed_days: msgspec.Raw = _NONE


def write_known(known: Known, path: Path) -> None:
    """Replaces the snapshot by what is known. Blocks until it is on disk; made for a thread. Raises OSError."""
    write_snapshot(path, RoutingPart, list(_parts(known)))


def read_known(path: Path) -> Known | None:
    """What the snapshot holds; None when there is none that can be used."""
    parts = read_snapshot(path, RoutingPart)
    if parts is None:
        return None
    known = Known()
    decoders = _Decoders()
    for part in parts:
        if part.number is not None:
            kept = part.number
            known.numbers[kept.number] = decoders.number(kept)
            if part.rules is not _NONE:
                known.rules[kept.number] = decoders.rules(part.rules)
            if part.closed_days is not _NONE:
                known.closed_days[kept.number] = decoders.closed_days(part.closed_days)
        elif part.account is not None:
            known.accounts[part.account.account_id] = part.account
        elif part.holidays is not None:
            known.holidays = part.holidays
    return known


class _Decoders:
    """Equal texts give one object."""

    def __init__(self) -> None:
        self.treatment = _decoded_once(msgspec.json.Decoder(Treatment).decode)
        self.limits = _decoded_once(msgspec.json.Decoder(Limits).decode)
        self.rules = _decoded_once(msgspec.json.Decoder(tuple[Rule, ...]).decode)
        self.closed_days = _decoded_once(msgspec.json.Decoder(tuple[ClosedDay, ...]).decode)
        self.account_id = _decoded_once(msgspec.json.Decoder(UUID).decode)

    def number(self, kept: _KeptNumber) -> ServiceNumber:
        return ServiceNumber(
            number=kept.number,
            kind=kept.kind,
            account_id=self.account_id(kept.account_id),
            target=kept.target,
            treatment=self.treatment(kept.treatment),
            limits=self.limits(kept.limits),
            callback=kept.callback,
            sender=kept.sender,
            repeat_window_days=kept.repeat_window_days,
            min_talk_seconds=kept.min_talk_seconds,
            suspended=kept.suspended,
        )


def _parts(known: Known) -> Iterator[RoutingPart]:
    rules, closed_days = known.rules.copy(), known.closed_days.copy()  # in one step: they change while this is read
    yield RoutingPart(holidays=known.holidays)
    for account in list(known.accounts.values()):
        yield RoutingPart(account=account)
    encoded = _encoded_once(msgspec.json.Encoder().encode)
    for number in list(known.numbers.values()):
        kept = _KeptNumber(
            number=number.number,
            kind=number.kind,
            account_id=encoded(number.account_id),
            target=number.target,
            treatment=encoded(number.treatment),
            limits=encoded(number.limits),
            callback=number.callback,
            sender=number.sender,
            repeat_window_days=number.repeat_window_days,
            min_talk_seconds=number.min_talk_seconds,
            suspended=number.suspended,
        )
        yield RoutingPart(
            number=kept,
            rules=encoded(rules[number.number]) if number.number in rules else _NONE,
            closed_days=encoded(closed_days[number.number]) if number.number in closed_days else _NONE,
        )


def _decoded_once(decode: Callable[[bytes], _V]) -> Callable[[msgspec.Raw], _V]:
    """Equal texts give one object."""
    made: dict[bytes, _V] = {}

    def decoded(raw: msgspec.Raw) -> _V:
        key = bytes(raw)
        found = made.get(key)
        if found is None:
            found = made[key] = decode(key)
        return found

    return decoded


def _encoded_once(encode: Callable[[object], bytes]) -> Callable[[object], msgspec.Raw]:
    made: dict[object, msgspec.Raw] = {}

    def encoded(value: object) -> msgspec.Raw:
        found = made.get(value)
        if found is None:
            found = made[value] = msgspec.Raw(encode(value))
        return found

    return encoded

"""A number's rules: when it treats its calls otherwise, and what is odd about them."""

from __future__ import annotations

import re
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from datetime import date, time
from http import HTTPStatus
from typing import Annotated

import msgspec
from annotated_types import MaxLen
from fastapi import APIRouter, Depends, Response
from msgspec import UNSET
from pydantic import AfterValidator, BeforeValidator, ConfigDict, Field, WithJsonSchema
from pydantic_core import PydanticCustomError
from sqlalchemy.ext.asyncio import AsyncConnection

from engine.accounts.model import Actor, Deed
from engine.api.door import ActorDep, Now, Rows, door_router
from engine.api.equipment import EquipmentDep
from engine.api.etag import IfMatch, tagged, unchanged
from engine.api.mends import at_this_door
from engine.api.owned import allowed_number
from engine.api.treatments import Treatment
from engine.api.wire import NumberInPath, Shape
from engine.cdr.model import Result
from engine.foundation.phone_number import PhoneNumber
from engine.routing import book
from engine.routing import model as of
from engine.routing.book import Kept
from engine.routing.check import Against
from engine.routing.finding import Oddity, Severity
from engine.routing.model import DayKind
from engine.routing.rule_change import RuleChange

_MOST = 100

RuleName = Annotated[str, Field(min_length=1, max_length=60, examples=["밤"])]
Weekday = Annotated[int, Field(ge=1, le=7, description="1 Monday to 7 Sunday.")]


_WALL_TIME = r"^([01][0-9]|2[0-3]):[0-5][0-9](:[0-5][0-9])?$"


def _wall_time(value: object) -> object:
    """JSON Schema's own `time` wants a zone, and a wall clock has none."""
    if isinstance(value, time) or (isinstance(value, str) and re.fullmatch(_WALL_TIME, value)):
        return value
    raise PydanticCustomError("wall_time", "it must be a time without a zone, like 09:00 or 22:30:00")


WallTime = Annotated[
    time,
    BeforeValidator(_wall_time),
    WithJsonSchema({"type": "string", "pattern": _WALL_TIME, "examples": ["09:00", "22:30:00"]}),
]


class TimeSpan(Shape):
    """Hours on the account's wall clock; an end that is not after the start lies on the next day."""

    start: WallTime
    end: WallTime


class DateRange(Shape):
    """Days from the first to the last, both included."""

    first: date
    last: date


class LastCall(Shape):
    """How this caller's last call to the number ended, and at most how long ago."""

    results: Annotated[tuple[Result, ...], MaxLen(_MOST)]
    within_hours: Annotated[int, Field(ge=0, le=1_000_000)] = 24


class Condition(Shape):
    """When a rule holds: every part that is said must hold, of each any one of its values."""

    weekdays: Annotated[tuple[Weekday, ...], MaxLen(_MOST)] = ()
    times: Annotated[tuple[TimeSpan, ...], MaxLen(_MOST)] = ()
    dates: Annotated[tuple[DateRange, ...], MaxLen(_MOST)] = ()
    days: Annotated[tuple[DayKind, ...], MaxLen(_MOST)] = ()
    callers: Annotated[tuple[Annotated[str, Field(max_length=100)], ...], MaxLen(_MOST)] = ()
    """Names of the account's groups of callers, or `withheld`."""
    last_call: LastCall | None = None

    def as_said(self) -> of.Condition:
        return msgspec.convert(self.model_dump(), of.Condition)


class Rule(Shape):
    """One of a number's rules. Of two that say the same setting, the first decides."""

    model_config = ConfigDict(
        json_schema_extra={
            "examples": [
                {
                    "name": "밤",
                    "condition": {"times": [{"start": "22:00:00", "end": "09:00:00"}]},
                    "treatment": {"announcement": "ko/closed"},
                    "enabled": True,
                }
            ]
        }
    )

    name: RuleName
    condition: Condition = Condition()
    treatment: Treatment = Treatment()
    enabled: bool = True
    """Whether it is asked at all."""

    def as_said(self) -> of.Rule:
        return of.Rule(
            name=self.name,
            condition=self.condition.as_said(),
            treatment=self.treatment.as_said(),
            enabled=self.enabled,
        )


class NewRule(Rule):
    """A rule to be added."""

    position: Annotated[int, Field(ge=1, le=1000)] | None = None
    """Counted from 1; null: behind those that are as special as it is, or more so."""


class ChangedRule(Shape):
    """What is to be different about a rule. What is left out stays; a part or setting that is null is said no more."""

    model_config = ConfigDict(json_schema_extra={"examples": [{"treatment": {"announcement": None}, "enabled": False}]})

    name: RuleName | None = None
    condition: Condition | None = None
    treatment: Treatment | None = None
    enabled: bool | None = None
    position: Annotated[int, Field(ge=1, le=1000)] | None = None
    """Its new place, counted from 1."""

    def as_said(self) -> RuleChange:
        condition, treatment = self.condition or Condition(), self.treatment or Treatment()
        parts = [name for name in condition.model_fields_set if not getattr(condition, name)]
        return RuleChange(
            name=self.name or UNSET,
            condition=condition.as_said(),
            treatment=treatment.as_said(),
            clear=(*sorted(parts), *treatment.taken_away()),
            enabled=UNSET if self.enabled is None else self.enabled,
            position=UNSET if self.position is None else self.position,
        )


class RuleSet(Shape):
    """All rules of a number in the order in which they are asked; at most 50."""

    model_config = ConfigDict(
        json_schema_extra={
            "examples": [
                {
                    "rules": [
                        {
                            "name": "밤",
                            "condition": {"times": [{"start": "22:00:00", "end": "09:00:00"}]},
                            "treatment": {"announcement": "ko/closed"},
                        }
                    ]
                }
            ]
        }
    )

    rules: Annotated[tuple[Rule, ...], MaxLen(_MOST)]


class Finding(Shape):
    """Something odd about a number's rules or settings."""

    rule: str | None
    """Null: the number's standing settings."""
    severity: Severity
    oddity: Oddity
    sentence: Annotated[str, AfterValidator(at_this_door)]
    sentence_ko: str


class Rules(Shape):
    """A number's rules in the order in which they are asked, and what is odd about them."""

    model_config = ConfigDict(
        json_schema_extra={
            "examples": [
                {
                    "rules": [
                        {
                            "name": "밤",
                            "condition": {"times": [{"start": "22:00:00", "end": "09:00:00"}]},
                            "treatment": {"announcement": "ko/closed"},
                            "enabled": True,
                        }
                    ],
                    "findings": [],
                }
            ]
        }
    )

    rules: tuple[Rule, ...]
    findings: tuple[Finding, ...]


@dataclass(frozen=True, slots=True)
class _Editing:
    """A change of one number's rules: by whom, of which number, and on what it was made."""

    actor: Actor
    number: PhoneNumber
    if_match: str
    against: Against


def _editing(number: NumberInPath, actor: ActorDep, if_match: IfMatch, equipment: EquipmentDep, now: Now) -> _Editing:
    return _Editing(actor, number, if_match, equipment.against(now))


EditingDep = Annotated[_Editing, Depends(_editing)]


def rules_router() -> APIRouter:
    """`/numbers/{number}/rules`. Every change is for the next call."""
    router = door_router("rules")
    router.get("/numbers/{number}/rules")(get_rules)
    router.put("/numbers/{number}/rules")(replace_rules)
    router.post("/numbers/{number}/rules", status_code=HTTPStatus.CREATED)(add_rule)
    router.patch("/numbers/{number}/rules/{rule:path}")(change_rule)
    router.delete("/numbers/{number}/rules/{rule:path}")(remove_rule)
    return router


async def _read(rows: AsyncConnection, number: PhoneNumber, against: Against) -> Rules:
    kept = await book.rules(rows, number)
    return _shown(Kept(kept, await book.check_rules(rows, number, against)))


async def _edited(
    rows: AsyncConnection, editing: _Editing, deed: Callable[[], Awaitable[Kept]], response: Response
) -> Rules:
    number = editing.number
    await allowed_number(rows, editing.actor, Deed.CHANGE_RULES, number)
    await unchanged(rows, "rules", number, editing.if_match, lambda: _read(rows, number, editing.against))
    return tagged(response, _shown(await deed()))


async def get_rules(
    number: NumberInPath, actor: ActorDep, rows: Rows, equipment: EquipmentDep, now: Now, response: Response
) -> Rules:
    """The rules of a number."""
    await allowed_number(rows, actor, Deed.SEE_RULES, number)
    return tagged(response, await _read(rows, number, equipment.against(now)))


async def replace_rules(wanted: RuleSet, editing: EditingDep, rows: Rows, response: Response) -> Rules:
    """Give a number these rules and no others."""
    said = [rule.as_said() for rule in wanted.rules]
    by, number, against = editing.actor, editing.number, editing.against
    return await _edited(rows, editing, lambda: book.replace_rules(rows, by, number, said, against), response)


async def add_rule(
    number: NumberInPath,
    wanted: NewRule,
    actor: ActorDep,
    rows: Rows,
    equipment: EquipmentDep,
    now: Now,
    response: Response,
) -> Rules:
    """Add a rule."""
    await allowed_number(rows, actor, Deed.CHANGE_RULES, number)
    kept = await book.add_rule(rows, actor, number, wanted.as_said(), equipment.against(now), wanted.position)
    return tagged(response, _shown(kept))


async def change_rule(
    rule: RuleName, wanted: ChangedRule, editing: EditingDep, rows: Rows, response: Response
) -> Rules:
    """Change a rule where it stands, or move it."""
    by, number, against = editing.actor, editing.number, editing.against
    said = wanted.as_said()
    return await _edited(rows, editing, lambda: book.change_rule(rows, by, number, rule, said, against), response)


async def remove_rule(rule: RuleName, editing: EditingDep, rows: Rows, response: Response) -> Rules:
    """Remove a rule."""
    by, number, against = editing.actor, editing.number, editing.against
    return await _edited(rows, editing, lambda: book.remove_rule(rows, by, number, rule, against), response)


def _shown(kept: Kept) -> Rules:
    return Rules.model_validate(kept)

"""A planner over numbers that a test gives, and trunks that are always there: what reception needs beside Asterisk."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from datetime import datetime
from uuid import UUID

from engine.foundation.phone_number import PhoneNumber
from engine.numbers.model import ServiceNumber
from engine.numbers.treatment import RecordMode, Treatment, Whisper
from engine.routing.call_plan import CallPlan, Forward
from engine.routing.model import AccountRouting, ClosedDay, History, Holidays, Line, Load, PastCall, Rule
from engine.routing.placed import placed
from engine.routing.plan import plan
from engine.trunks.choice import candidates
from engine.trunks.load import Load as TrunkLoad
from engine.trunks.load import Taken
from engine.trunks.model import Health, Trunk


@dataclass(slots=True)
class HandPlanner:
    """Plans by the product's own `plan`; what is known of the past is what the test says."""

    numbers: Mapping[str, ServiceNumber]
    ring_seconds: int
    rules: dict[str, tuple[Rule, ...]] = field(default_factory=dict)
    accounts: dict[UUID, AccountRouting] = field(default_factory=dict)
    past: dict[str, tuple[PastCall, ...]] = field(default_factory=dict)
    """Past calls by caller."""
    histories: dict[str, History] = field(default_factory=dict)
    """By number called: all that is known of the past, in place of `past` and of what is counted here."""
    closed_days: dict[str, tuple[ClosedDay, ...]] = field(default_factory=dict)
    holidays: Holidays = field(default_factory=Holidays)
    known: bool = True
    live: Counter[PhoneNumber] = field(default_factory=Counter)

    def line(self, number: PhoneNumber) -> Line | None:
        found = self.numbers.get(number)
        if found is None:
            return None
        account = self.accounts.get(found.account_id) or AccountRouting(account_id=found.account_id)
        return Line(found, self.rules.get(number, ()), account, self.closed_days.get(number, ()), self.holidays)

    async def plan(self, line: Line | None, caller: PhoneNumber | None, instant: datetime) -> CallPlan:
        return plan(line, caller, instant, self.history(line, caller), self.ring_seconds)

    def history(self, line: Line | None, caller: PhoneNumber | None) -> History:
        """What is known now of the past of a call."""
        if line is not None and line.number.number in self.histories:
            return self.histories[line.number.number]
        live = self.live[line.number.number] if line else 0
        past = self.past.get(caller, ()) if caller else ()
        return History(calls=past, number=Load(at_once=live), account=Load(at_once=live))

    def plan_unasked(self, line: Line, caller: PhoneNumber | None, instant: datetime) -> CallPlan:
        return plan(line, caller, instant, History(known=False), self.ring_seconds)

    def placed(self, line: Line, second: PhoneNumber) -> Forward:
        return placed(line, second, self.ring_seconds)

    def begins(self, line: Line) -> None:
        self.live[line.number.number] += 1

    def ends(self, line: Line) -> None:
        self.live[line.number.number] -= 1


@dataclass(slots=True)
class HandTrunks:
    """Trunks in the order in which they are tried; `load` counts as the product does, by the clock `now`."""

    trunks: list[Trunk]
    now: Callable[[], float]
    load: TrunkLoad = field(default_factory=TrunkLoad)

    def find(self, name: str) -> Trunk | None:
        return next((trunk for trunk in self.trunks if trunk.name == name), None)

    def candidates(self, came_in_by: str | None) -> list[Trunk]:
        with_room = candidates(self.trunks, None, self.load, lambda _name: Health.UNKNOWN, self.now())
        return sorted(with_room, key=self.trunks.index)

    def taken(self, name: str) -> Taken:
        return self.load.taken(name)

    def sent(self, trunk: Trunk) -> Taken:
        return self.load.sent(trunk, self.now())


def treatment_of(changes: dict[str, object]) -> Treatment:
    """Takes the settings of a treatment out of `changes`; sounds and yes/no may be given in short."""
    if "record" in changes:
        mode = RecordMode.ALWAYS if changes.pop("record") else RecordMode.NEVER
        changes.setdefault("recording", mode)
    said = {name: changes.pop(name) for name in Treatment.__struct_fields__ if name in changes and name != "callback"}
    if isinstance(sound := said.get("ringback"), str):
        said["ringback"] = (sound,)
    if isinstance(sound := said.get("whisper"), str):
        said["whisper"] = Whisper(sound=sound)
    return Treatment(**said)  # type: ignore[arg-type]

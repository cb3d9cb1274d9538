"""The plan of a call that is over: nobody is asked, and what goes on now has no say in it."""

from __future__ import annotations

from datetime import datetime
from pathlib import Path

import msgspec

from engine.foundation.database import open_database
from engine.foundation.phone_number import PhoneNumber
from engine.numbers.treatment import Failure, Limits, TargetOrder, Treatment
from engine.routing.cache import RoutingCache
from engine.routing.call_plan import Forward
from engine.routing.history import CallHistory
from engine.routing.load import LoadBook
from engine.routing.model import AccountRouting, Holidays, Line, PastCall
from engine.routing.planner import Planner
from tests.answered_call import CALLER, NOW, number_with_text


class Asked(CallHistory):
    """Remembers the callers for whom the past was asked, and knows it of none."""

    def __init__(self) -> None:
        super().__init__(open_database("postgresql://nobody@127.0.0.1:1/none", 1.0))
        self.callers: list[PhoneNumber] = []

    async def of(self, number: PhoneNumber, caller: PhoneNumber, now: datetime) -> tuple[PastCall, ...] | None:
        self.callers.append(caller)
        return None


async def test_a_call_that_is_over_is_planned_without_the_past_and_without_the_calls_of_now(tmp_path: Path) -> None:
    treatment = Treatment(order=TargetOrder.LAST_TALKED)
    number = msgspec.structs.replace(number_with_text(), treatment=treatment, limits=Limits(at_once=1))
    line = Line(number, (), AccountRouting(account_id=number.account_id), (), Holidays())
    past = Asked()
    planner = Planner(RoutingCache(tmp_path / "kept"), past, LoadBook(), 30, lambda: 0.0)
    planner.begins(line)
    now = await planner.plan(line, CALLER, NOW)
    assert isinstance(now, Forward)
    assert (now.failed_before, past.callers) == (Failure.OVER_LIMIT, [CALLER])
    over = planner.plan_unasked(line, CALLER, NOW)
    assert isinstance(over, Forward)
    assert (over.failed_before, past.callers) == (None, [CALLER])
    await past.close()

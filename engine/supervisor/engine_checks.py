"""What the doctor asks of the engines: whether they take calls, and which calls go on without one."""

from __future__ import annotations

from engine.calls.control_all import Statuses, engine_statuses
from engine.calls.control_client import EngineStatus
from engine.foundation.errors import DariError
from engine.foundation.process import engine_name
from engine.settings import Settings
from engine.supervisor.alone import CallsAlone, calls_alone, calls_of
from engine.supervisor.check import Check, bad, ok, refused, warn
from engine.supervisor.home import supervisor_of

_BY_ROUTES = "new calls go by the routes kept in Asterisk"
_START, _WAIT = "start it with `dari up`", "`dari up` starts it again; if it does not, see log/engine.log"


async def engine_checks(whole: Settings) -> list[Check]:
    """One for each engine, and one for calls that go on without any."""
    try:
        statuses = await engine_statuses(whole.engine_sockets)
    except DariError as error:
        return [refused("engine", error)]
    alone = await calls_alone(whole)
    return judged(statuses, alone, kept=supervisor_of(whole.paths.run) is not None)


def judged(statuses: Statuses, alone: CallsAlone | None, *, kept: bool) -> list[Check]:
    """`alone` is None when Asterisk is away too: then nothing runs, and that is no fault. `kept`: `dari up` runs."""
    taken = any(status is not None and status.takes_calls for status in statuses)
    mend = _WAIT if kept else _START
    checks = [
        _one(engine_name(number), status, taken=taken, mend=mend, runs=alone is not None)
        for number, status in enumerate(statuses, 1)
    ]
    count = alone.without(any_engine=any(statuses)) if alone else 0
    if count:
        what = "they go on to their end and have their records then" if any(statuses) else mend
        checks.append(warn("calls alone", f"{calls_of(count)} without an engine now", what))
    return checks


def _one(name: str, status: EngineStatus | None, *, taken: bool, mend: str, runs: bool) -> Check:
    elsewhere = "the other engines take the calls" if taken else _BY_ROUTES
    if status is None and not runs:
        return warn(name, "does not run", mend)
    if status is None:
        return (warn if taken else bad)(name, f"does not answer; {elsewhere}", mend)
    if status.state == "ready":
        return ok(name, f"ready, {calls_of(status.live_calls)} live")
    reason = f" ({status.reason})" if status.reason else ""
    if status.state == "draining":
        return warn(name, f"draining; {elsewhere}", "`dari drain --undo` has it take calls again")
    if status.takes_calls:
        return warn(name, f"{status.state}{reason}", "see log/engine.log")
    return (warn if taken else bad)(name, f"{status.state}{reason}; {elsewhere}", "see log/engine.log")

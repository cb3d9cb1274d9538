"""What an engine says of itself."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import pytest

from engine.app.calls import engine_status
from engine.calls.control_client import EngineStatus


def told(limit: int | None) -> EngineStatus:
    """Of an engine that takes calls and misses nothing."""
    reception: Any = SimpleNamespace(draining=False, connected=True, takes_calls=True, live_calls=3, event_lag_ms=2)
    spool: Any = SimpleNamespace(reason="", waiting=0)
    trunks: Any = SimpleNamespace(states=list)
    drain: Any = SimpleNamespace(reason="")
    return engine_status(reception, spool, drain, trunks, True, limit)


@pytest.mark.parametrize(
    ("limit", "state", "reason"),
    [(None, "ready", ""), (40, "degraded", "more calls come than can be dealt with in time; the rest get 503")],
)
def test_too_many_calls_are_told(limit: int | None, state: str, reason: str) -> None:
    status = told(limit)
    assert (status.state, status.reason, status.takes_calls) == (state, reason, True)

"""Whoever comes after calls leaves them the processor."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from engine.foundation.priority import NICE, NICEST

_SESSIONS = Path("/proc/self/autogroup")


def test_who_lets_calls_pass_and_what_it_starts_waits_for_others() -> None:
    told = "import os; print(os.getpriority(os.PRIO_PROCESS, 0), os.sched_getscheduler(0))"
    script = f"""
import subprocess, sys
from engine.foundation.priority import let_calls_pass
let_calls_pass()
subprocess.run([sys.executable, "-c", {told!r}], check=True)
"""
    said = subprocess.run([sys.executable, "-c", script], check=True, capture_output=True, text=True).stdout
    assert said.split() == [str(NICE), str(os.SCHED_BATCH)]


@pytest.mark.skipif(not _SESSIONS.exists(), reason="this system does not share the processor between sessions")
@pytest.mark.parametrize("nice", [NICE, NICEST])
def test_its_session_as_a_whole_waits_too(nice: int) -> None:
    script = f"""
from engine.foundation.priority import let_calls_pass
let_calls_pass(nice={nice})
print(open({str(_SESSIONS)!r}).read())
"""
    said = subprocess.run(
        [sys.executable, "-c", script], check=True, capture_output=True, text=True, start_new_session=True
    ).stdout
    assert said.split()[-2:] == ["nice", str(nice)]

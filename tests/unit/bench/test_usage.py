"""What tests/bench/usage.py reads of processes."""

from __future__ import annotations

import os
import subprocess
import sys

from tests.bench.usage import used, with_mark

_BUSY = """
import sys, time
while time.process_time() < 0.3:
    pass
print("done", flush=True)
sys.stdin.read()
"""


def test_a_child_counts_for_its_parent_until_it_has_a_name_and_after_it_has_ended() -> None:
    me = os.getpid()
    before = used({"me": me}).processes["me"]
    with subprocess.Popen([sys.executable, "-c", _BUSY], stdin=subprocess.PIPE, stdout=subprocess.PIPE) as child:
        assert child.stdout is not None
        child.stdout.readline()
        named = used({"me": me, "child": child.pid})
        assert named.processes["child"] >= 0.2
        # Other children of this process work meanwhile, too: only the difference of two looks tells of this one.
        assert used({"me": me}).processes["me"] - named.processes["me"] >= 0.2
        assert named.resident["child"] > 1
        assert named.machine > 0
    gone = used({"me": me, "child": child.pid})
    assert "child" not in gone.processes
    assert gone.processes["me"] - before >= 0.2


def test_processes_are_found_by_their_environment() -> None:
    mark = f"DARI_HOME=/nowhere/{os.getpid()}"
    name, _, value = mark.partition("=")
    child = subprocess.Popen(
        [sys.executable, "-c", "import sys; print(1, flush=True); sys.stdin.read()"],
        env=os.environ | {name: value},
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
    )
    assert child.stdin is not None
    assert child.stdout is not None
    with child.stdin, child.stdout:
        child.stdout.readline()
        assert list(with_mark(mark.encode())) == [child.pid]
        assert list(with_mark(mark[:-1].encode())) == []
    child.wait()

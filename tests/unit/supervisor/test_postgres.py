"""What the operator is told when the embedded database cannot be made."""

from __future__ import annotations

import pytest

from engine.supervisor.postgres import reason_in


@pytest.mark.parametrize(
    ("output", "reason"),
    [
        (
            "creating configuration files ... ok\n"
            'FATAL:  could not write to file "pg_wal/xlogtemp.1": No space left on device\n'
            "child process exited with exit code 1\n"
            'initdb: removing contents of data directory "/data"',
            'FATAL:  could not write to file "pg_wal/xlogtemp.1": No space left on device',
        ),
        (
            'initdb: error: could not access directory "/data": Permission denied\ninitdb: hint: try another',
            'initdb: error: could not access directory "/data": Permission denied',
        ),
        ("exit code 139", "exit code 139"),
    ],
)
def test_the_reason_is_told_and_not_the_clearing_up_after_it(output: str, reason: str) -> None:
    assert reason_in(output) == reason

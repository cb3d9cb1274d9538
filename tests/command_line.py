"""What an operator types, and what comes back."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any, NamedTuple

import pytest

from engine.cli.main import run


class Answer(NamedTuple):
    """What a command left behind."""

    code: int
    out: str
    err: str

    @property
    def objects(self) -> list[dict[str, Any]]:
        """The lines of a --json answer."""
        return [json.loads(line) for line in self.out.splitlines()]


Dari = Callable[..., Answer]


def typing_into(capsys: pytest.CaptureFixture[str]) -> Dari:
    """Runs `dari` with these arguments in this process."""

    def typed(*arguments: object) -> Answer:
        code = run([str(argument) for argument in arguments])
        told = capsys.readouterr()
        return Answer(code, told.out, told.err)

    return typed


def refused(answer: Answer, *words: str) -> None:
    """Refused with one sentence on stderr that has these words in it, and nothing on stdout."""
    assert answer.code == 1
    assert answer.out == ""
    assert answer.err.startswith("dari: ")
    assert answer.err.count("\n") == 1
    for word in words:
        assert word in answer.err

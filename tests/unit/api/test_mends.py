"""What an error advises can be done at the door at which it is read."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

import engine
from engine.api.app import make_api
from engine.api.mends import AT_THE_MACHINE, REQUESTS, at_this_door, command_of
from engine.api.openapi import describe, operations
from engine.api.problems import problem_of
from engine.api.routes import all_routers
from engine.api.rules import Finding
from engine.foundation.errors import Invalid, NotFound
from engine.routing.finding import Oddity, Severity, finding

ENGINE = Path(engine.__file__).parent
OF_THE_MACHINE = {"cli", "demo", "supervisor", "app", "settings.py"}
"""What the API never does."""
ITSELF = ENGINE / "api" / "mends.py"


def sentences() -> Iterator[tuple[str, str]]:
    """Where a sentence of the product names a command in backquotes, and the text, whose values are written as X."""
    for file in ENGINE.rglob("*.py"):
        if file == ITSELF or file.relative_to(ENGINE).parts[0] in OF_THE_MACHINE:
            continue
        tree = ast.parse(file.read_text())
        explained = {id(node.value) for node in ast.walk(tree) if isinstance(node, ast.Expr)}
        parts = {id(part) for node in ast.walk(tree) if isinstance(node, ast.JoinedStr) for part in node.values}
        for node in ast.walk(tree):
            if id(node) not in explained | parts and "`dari " in (text := _text(node)) and "\n" not in text:
                yield f"{file.relative_to(ENGINE)}:{node.lineno}", text  # type: ignore[attr-defined]


def _text(node: ast.AST) -> str:
    if isinstance(node, ast.JoinedStr):
        return "".join(_text(part) or "X" for part in node.values)
    return node.value if isinstance(node, ast.Constant) and isinstance(node.value, str) else ""


def test_every_command_that_an_error_names_has_its_request_or_is_for_the_machine() -> None:
    found = list(sentences())
    assert len(found) > 20
    for where, text in found:
        for command in text.split("`dari ")[1:]:
            assert command_of(command.partition("`")[0]) in REQUESTS.keys() | AT_THE_MACHINE, f"{where}: {text}"
        told = at_this_door(text)
        assert "dari " not in told, f"{where}: {told}"
        assert told.strip(), where


def test_every_request_is_one_of_the_api() -> None:
    door: Any = object()
    described = describe(make_api(all_routers(), door))
    there = {f"{method.upper()} {path.removeprefix('/api/v1')}" for path, method, _ in operations(described)}
    assert set(REQUESTS.values()) - there == set()


@pytest.mark.parametrize(
    ("written", "told"),
    [
        ("trunk a: it is there; `dari trunk list` shows all", "trunk a: it is there; `GET /trunks` shows all"),
        (
            "rule 'x': it needs a sender; set one with `dari number set 0507-123-4567 --sender`",
            "rule 'x': it needs a sender; set one with `PATCH /numbers/{number}` (`sender`)",
        ),
        ("message 1: none; `dari messages --json` lists them", "message 1: none; `GET /messages` lists them"),
        ("the engine does not answer; start it with `dari up`, or see the log", "the engine does not answer"),
        ("the `up` command is not meant", "the `up` command is not meant"),
    ],
)  # fmt: skip
def test_a_command_becomes_a_request(written: str, told: str) -> None:
    assert at_this_door(written) == told


def test_a_problem_names_no_command() -> None:
    answer = bytes(problem_of(NotFound("group 'x': nobody is in it; `dari group list` shows who is")).body).decode()
    assert "dari group" not in answer
    assert "GET /accounts/{account}/groups/{group}/members" in answer
    answer = bytes(problem_of(Invalid("range: there is none; add one with `dari range add`")).body).decode()
    assert answer.count("POST /number-ranges") == 2
    assert "dari range" not in answer


def test_a_finding_in_an_answer_names_no_command() -> None:
    made = "the account has no prompt 'x'; make it with `dari prompt add`, or name another sound"
    found = finding("night", Severity.ERROR, Oddity.NO_SUCH_PROMPT, made, "x")
    shown = Finding.model_validate(found).sentence
    assert "`POST /accounts/{account}/prompts/{prompt}/upload`, or name another sound" in shown
    assert "dari " not in shown

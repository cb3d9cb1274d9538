"""The description is whole: whoever has nothing else knows what to send and what comes back."""

from __future__ import annotations

import json
import re
from collections import Counter
from collections.abc import Iterator
from typing import Any

import jsonschema_rs
import pytest

from engine.api.app import make_api
from engine.api.door import OpenRoute
from engine.api.openapi import describe, operations
from engine.api.problems import STATUS, Code
from engine.api.routes import all_routers

DOCUMENT = describe(make_api(all_routers()))
OPERATIONS = {f"{method.upper()} {path}": operation for path, method, operation in operations(DOCUMENT)}
OPEN = {
    "POST /api/v1/session",
    "POST /api/v1/password",
    "POST /api/v1/sign-up",
    "POST /api/v1/sign-up/{application}/documents",
}
NEVER_KEPT = {
    "POST /api/v1/session",
    "POST /api/v1/password",
    "POST /api/v1/session/password",
    "POST /api/v1/session/one-time-codes",
    "POST /api/v1/session/one-time-codes/off",
    "POST /api/v1/simulate/sound",
}


def schema_of(reference: str) -> dict[str, Any]:
    found: dict[str, Any] = DOCUMENT["components"]["schemas"][reference.rpartition("/")[2]]
    return found


def references(part: object) -> Iterator[str]:
    if isinstance(part, dict):
        for key, value in part.items():
            if key == "$ref":
                yield value
            else:
                yield from references(value)
    elif isinstance(part, list):
        for value in part:
            yield from references(value)


def test_it_is_openapi_3_1_and_every_reference_leads_somewhere() -> None:
    assert DOCUMENT["openapi"] == "3.1.0"
    for reference in references(DOCUMENT):
        _, *way = reference.split("/")
        place: Any = DOCUMENT
        for step in way:
            place = place[step]


def test_operations_have_names_of_their_own() -> None:
    names = Counter(operation["operationId"] for operation in OPERATIONS.values())
    assert [name for name, times in names.items() if times > 1] == []
    assert [name for name in names if not re.fullmatch(r"[a-z][a-z0-9_]*", name)] == []


@pytest.mark.parametrize("name", OPERATIONS)
def test_each_operation_says_what_it_does_and_how_it_can_fail(name: str) -> None:
    operation = OPERATIONS[name]
    assert operation["description"].strip().endswith((".", "`"))
    assert operation["tags"]
    assert {"400", "404", "422", "429", "503"} <= operation["responses"].keys()
    assert ("security" not in operation) == (name in OPEN)
    for status, answer in operation["responses"].items():
        if status[0] in "45":
            assert answer == {"$ref": f"#/components/responses/Problem{status}"}


@pytest.mark.parametrize("name", [name for name in OPERATIONS if name.startswith("POST")])
def test_every_post_takes_an_idempotency_key_but_those_whose_answers_are_secret_or_change_nothing_and_are_long(
    name: str,
) -> None:
    keyed = any(parameter["name"] == "Idempotency-Key" for parameter in OPERATIONS[name].get("parameters", []))
    if name in NEVER_KEPT:
        assert not keyed
    elif not keyed:
        assert "/webhooks" in name


@pytest.mark.parametrize("name", [name for name in OPERATIONS if name.split()[0] in ("PUT", "PATCH")])
def test_every_edit_names_what_it_was_made_on(name: str) -> None:
    assert any(parameter["name"] == "if-match" for parameter in OPERATIONS[name]["parameters"])
    assert {"412", "428"} <= OPERATIONS[name]["responses"].keys()


@pytest.mark.parametrize("name", [name for name, one in OPERATIONS.items() if "requestBody" in one])
def test_every_body_has_an_example_and_takes_no_unknown_field(name: str) -> None:
    content = OPERATIONS[name]["requestBody"]["content"]
    assert {"408", "413", "415"} <= OPERATIONS[name]["responses"].keys()
    if "application/json" not in content:
        return
    schema = content["application/json"]["schema"]
    schema = schema_of(schema["$ref"]) if "$ref" in schema else schema
    assert schema.get("examples"), "give the model an example"
    assert schema.get("additionalProperties") is False


@pytest.mark.parametrize("name", [name for name, one in DOCUMENT["components"]["schemas"].items() if "examples" in one])
def test_every_example_is_what_its_schema_says(name: str) -> None:
    schema = {"$ref": f"#/components/schemas/{name}", "components": DOCUMENT["components"]}
    check = jsonschema_rs.Draft202012Validator(schema, validate_formats=True)
    for example in schema_of(name)["examples"]:
        assert [f"{error.instance_path}: {error.message}" for error in check.iter_errors(example)] == []


def test_every_code_is_in_the_description_with_an_example() -> None:
    answers = DOCUMENT["components"]["responses"]
    for code in Code:
        described = answers[f"Problem{STATUS[code].value}"]["content"]["application/problem+json"]["examples"]
        assert described[code.value]["value"]["code"] == code.value


def test_it_tells_nothing_of_how_it_was_made() -> None:
    text = json.dumps(DOCUMENT)
    assert "x-problems" not in text
    assert "x-keeps-answers" not in text
    assert "HTTPValidationError" not in text
    assert OpenRoute.for_strangers

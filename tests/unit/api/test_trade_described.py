"""What the description says of the routes of the trade: each body and answer has an example, and words."""

from __future__ import annotations

from typing import Any

from engine.api.app import make_api
from engine.api.openapi import describe, operations
from engine.api.trade import trade_routers

_DOOR: Any = object()
DOCUMENT = describe(make_api(trade_routers(), _DOOR))
SCHEMAS: dict[str, dict[str, Any]] = DOCUMENT["components"]["schemas"]


def test_each_body_and_answer_has_an_example() -> None:
    without = set()
    for _, _, operation in operations(DOCUMENT):
        bodies = [operation.get("requestBody", {})]
        bodies += [answer for status, answer in operation["responses"].items() if status.startswith("2")]
        for body in bodies:
            for kind, content in body.get("content", {}).items():
                name = content["schema"].get("$ref", "").rpartition("/")[2]
                if kind == "application/json" and not _has_example(name):
                    without.add(name or operation["operationId"])
    assert without == set()


def test_everything_is_described_in_words() -> None:
    for path, method, operation in operations(DOCUMENT):
        assert operation.get("description"), f"{method} {path}"
    for name, schema in SCHEMAS.items():
        if schema.get("type") == "object" and not name.startswith("Page_"):
            assert schema.get("description"), name


def _has_example(name: str) -> bool:
    """A page, and a list, has those of its items."""
    schema = SCHEMAS.get(name, {})
    if schema.get("examples"):
        return True
    lists = [one for one in schema.get("properties", {}).values() if "$ref" in one.get("items", {})]
    return any(_has_example(one["items"]["$ref"].rpartition("/")[2]) for one in lists)

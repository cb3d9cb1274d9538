"""Every operation and event that we use is what the running Asterisk itself says that it has."""

from __future__ import annotations

import re
from typing import Any

import aiohttp
import msgspec
import pytest

from engine.asterisk import commands, events
from engine.asterisk.operations import Operation
from tests.real_asterisk import RunningAsterisk

RESOURCES = ("applications", "asterisk", "bridges", "channels", "events", "playbacks", "recordings")


@pytest.fixture(scope="module")
async def documents(asterisk: RunningAsterisk) -> dict[str, Any]:
    """By resource, as this Asterisk tells them."""
    login = aiohttp.encode_basic_auth(asterisk.ari_user, asterisk.ari_password)
    found = {}
    async with aiohttp.ClientSession(asterisk.ari_url, headers={"Authorization": login}) as session:
        for resource in RESOURCES:
            async with session.get(f"/ari/api-docs/{resource}.json") as response:
                response.raise_for_status()
                found[resource] = await response.json()
    return found


@pytest.mark.parametrize("operation", Operation, ids=lambda operation: operation.name)
def test_operation_exists_with_our_parameters(documents: dict[str, Any], operation: Operation) -> None:
    there = {
        (described["httpMethod"], api["path"]): described
        for document in documents.values()
        for api in document["apis"]
        for described in api["operations"]
    }
    described = there[operation.method, operation.path]
    parameters = described.get("parameters", [])
    assert set(operation.parameters) <= {one["name"] for one in parameters if one["paramType"] != "path"}
    assert set(re.findall(r"{(\w+)}", operation.path)) == {
        one["name"] for one in parameters if one["paramType"] == "path"
    }


def models(documents: dict[str, Any]) -> dict[str, Any]:
    return {name: model for document in documents.values() for name, model in document["models"].items()}


VALUES: dict[str, type[msgspec.Struct]] = {
    "Channel": events.Channel,
    "CallerID": events.Party,
    "DialplanCEP": events.DialplanPlace,
    "Bridge": events.Bridge,
    "Playback": events.Playback,
    "Application": commands.Application,
}


@pytest.mark.parametrize("name", VALUES)
def test_value_has_our_fields(documents: dict[str, Any], name: str) -> None:
    assert_described(VALUES[name], models(documents)[name]["properties"])


@pytest.mark.parametrize("name", events.EVENT_TYPES)
def test_event_has_our_fields(documents: dict[str, Any], name: str) -> None:
    described = models(documents)
    inherited = described["Event"]["properties"] | described["Message"]["properties"]
    assert name in described["Event"]["subTypes"]
    assert_described(getattr(events, name), inherited | described[name]["properties"])


def assert_described(struct: type[msgspec.Struct], properties: dict[str, Any]) -> None:
    """Every field of ours is there, and those that we count on always are."""
    for field in msgspec.structs.fields(struct):
        assert field.encode_name in properties
        if field.required:
            assert properties[field.encode_name].get("required") is True, field.name

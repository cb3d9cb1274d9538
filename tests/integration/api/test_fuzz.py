"""Whatever is sent, no answer is an unforeseen error, and each is one that the description has: found by schemathesis.

It sends from its own process over real HTTP, by the description alone, with ids of things that are there and of others.
DARI_TEST_FUZZ_SECONDS says how long; `make fuzz` takes ten minutes.
"""

from __future__ import annotations

import asyncio
import json
import os
import shutil
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path

from fastapi import APIRouter
from sqlalchemy.ext.asyncio import AsyncEngine

from engine.accounts.model import OPERATOR_ID, AccountKind, Role
from engine.api.door import Rows, door_router
from tests.api_desk import ApiDesk, api_desk
from tests.trade_desk import TradeDesk, trade_desk

SECONDS = int(os.environ.get("DARI_TEST_FUZZ_SECONDS", "60"))
SEED = os.environ.get("DARI_TEST_SEED", "0")
FREE = [f"05071{number:07}" for number in range(50)]
NUMBER = "05071234567"

SETTINGS = """
[checks]
enabled = false
not_a_server_error = {{ enabled = true, expected-statuses = ["2xx", "4xx", "503"] }}
status_code_conformance = {{ enabled = true }}
content_type_conformance = {{ enabled = true }}
response_schema_conformance = {{ enabled = true }}
response_headers_conformance = {{ enabled = true }}
negative_data_rejection = {{ enabled = true }}
missing_required_header = {{ enabled = true }}
unsupported_method = {{ enabled = true }}
ignored_auth = {{ enabled = true }}

[generation]
with-security-parameters = false
database = "none"

[phases]
stateful = {{ enabled = false }}
coverage = {{ enabled = {coverage} }}

[dictionaries]
{dictionaries}

[parameters]
{parameters}

# Else it would be waited for until nothing came for a minute.
[[operations]]
include-operation-id = "follow_events"
parameters = {{ seconds = 1 }}
generation = {{ max-examples = 1 }}
"""


async def things(desk: TradeDesk) -> Mapping[str, Sequence[str]]:
    """Something of each kind, by the name that paths and queries have for it."""
    agency = await desk.account("대리점", AccountKind.AGENCY)
    shop = await desk.account("치과", parent=agency.id)
    await desk.stock(*FREE)
    await desk.number(shop.id, NUMBER)
    call = await desk.call(shop.id, NUMBER)
    token = await desk.user(shop.id, Role.OWNER, "owner@example.com")
    user = (await desk.ask("GET", "/session", token)).json["who"].removeprefix("user:")
    return {
        "account": [str(OPERATOR_ID), str(agency.id), str(shop.id)],
        "number": [NUMBER, *FREE[:3]],
        "call": [str(call.call_id)],
        "user": [user],
    }


async def schemathesis(
    desk: ApiDesk, folder: Path, known: Mapping[str, Sequence[str]], *limits: str, coverage: bool = False
) -> tuple[int, str]:
    """Its exit code, and what it told; `limits` are its options that say when it ends."""
    settings = SETTINGS.format(
        coverage=str(coverage).lower(),
        dictionaries="\n".join(f"{name} = {{ values = {json.dumps(values)} }}" for name, values in known.items()),
        parameters="\n".join(f'{name} = {{ dictionary = "{name}", probability = 0.7 }}' for name in known),
    )
    (folder / "schemathesis.toml").write_text(settings)
    program = shutil.which("schemathesis", path=str(Path(sys.executable).parent))
    assert program is not None
    process = await asyncio.create_subprocess_exec(
        *(program, "--config-file", str(folder / "schemathesis.toml"), "run", f"{desk.url}/api/v1/openapi.json"),
        *("--seed", SEED, "--workers", "2", "--continue-on-failure", "--no-color", "--no-shrink", *limits),
        *("--request-timeout", "60", "--warnings", "off"),
        *("-H", f"Authorization: Bearer {await desk.key()}"),
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.STDOUT,
        cwd=folder,
    )
    told, _ = await process.communicate()
    assert process.returncode is not None
    return process.returncode, told.decode()


async def test_nothing_that_is_sent_is_unforeseen(database: AsyncEngine, tmp_path: Path) -> None:
    async with trade_desk(database, tmp_path) as desk:
        known = await things(desk)
        code, told = await schemathesis(desk, tmp_path, known, "--max-time", str(SECONDS), coverage=SECONDS > 120)
    assert code == 0, told


async def test_what_is_unforeseen_would_be_found(database: AsyncEngine, tmp_path: Path) -> None:
    async with api_desk(database, [_broken()]) as desk:
        code, told = await schemathesis(desk, tmp_path, {}, "--max-examples", "5")
    assert code == 1, told
    assert "Server error" in told
    assert "/api/v1/broken" in told


def _broken() -> APIRouter:
    router = door_router("broken")

    @router.get("/broken")
    async def broken(rows: Rows, divisor: int) -> float:
        """Divides."""
        assert rows is not None
        return 1 / (divisor - divisor)

    return router

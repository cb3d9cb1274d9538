"""A program that knows Dari by nothing but its OpenAPI description: the client made from it, over real HTTP."""

from __future__ import annotations

import asyncio
import importlib.util
import json
import subprocess
import sys
from collections.abc import AsyncIterator
from pathlib import Path
from types import ModuleType

import pytest
from sqlalchemy.ext.asyncio import AsyncEngine

from engine.accounts.model import OPERATOR_ID
from engine.api.python_client import python_client
from engine.foundation.errors import Invalid
from tests.api_desk import ApiDesk, api_desk
from tests.command_line import typing_into

USE = """
from client import AccountShown, Client

def names(client: Client) -> list[str]:
    shown: list[AccountShown] = client.list_accounts(limit=5)["items"]
    return [account["name"] for account in shown]

def misuse(client: Client) -> None:
    client.list_accounts(limit="five")
    client.open_account({"name": "x"})
    client.read_account("x")["nonsense"]
"""


@pytest.fixture
async def desk(database: AsyncEngine) -> AsyncIterator[ApiDesk]:
    async with api_desk(database) as opened:
        yield opened


async def made(desk: ApiDesk, folder: Path) -> ModuleType:
    """The client that is made from what the server serves."""
    served = await desk.ask("GET", "/openapi.json")
    assert served.status == 200
    file = folder / "client.py"
    file.write_text(python_client(served.json), encoding="utf-8")
    spec = importlib.util.spec_from_file_location("client", file)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


async def test_the_client_does_what_the_api_does(desk: ApiDesk, tmp_path: Path) -> None:
    module = await made(desk, tmp_path)
    token = await desk.key()

    def use() -> None:
        client = module.Client(desk.url, token)
        wanted = {"parent": str(OPERATOR_ID), "kind": "agency", "name": "가나다 대리점"}
        opened = client.open_account(wanted, idempotency_key="order-1")
        assert client.open_account(wanted, idempotency_key="order-1") == opened
        with pytest.raises(module.Problem) as taken:
            client.open_account(wanted)
        assert (taken.value.status, taken.value.code) == (409, "conflict")
        assert client.read_account(opened["id"]) == opened
        tag = client.etag
        assert client.change_account(opened["id"], {"name": "새 이름"}, if_match=tag)["name"] == "새 이름"
        with pytest.raises(module.Problem) as stale:
            client.change_account(opened["id"], {"name": "다른 이름"}, if_match=tag)
        assert stale.value.code == "changed_meanwhile"
        first = client.list_accounts(limit=1)
        second = client.list_accounts(limit=1, cursor=first["next"])
        assert [page["items"][0]["name"] for page in (first, second)] == ["operator", "새 이름"]
        with pytest.raises(module.Problem) as wrong:
            client.list_audit(from_="yesterday")
        assert [error["field"] for error in wrong.value.errors] == ["query.from"]
        user = client.invite_user(
            {"account": opened["id"], "login": "kim@example.com", "name": "김", "role": "agency manager"}
        )
        stranger = module.Client(desk.url)
        stranger.choose_password({"token": user["token"]["secret"], "password": "말은 나면 제주도로 보내라"})
        session = stranger.sign_in({"login": "KIM@example.com", "password": "말은 나면 제주도로 보내라"})
        signed_in = module.Client(desk.url, session["token"])
        assert signed_in.read_self()["account"] == opened["id"]
        auditor = {"account": opened["id"], "login": "park@example.com", "name": "박", "role": "auditor"}
        asked = signed_in.invite_user(auditor)
        stranger.choose_password({"token": asked["token"]["secret"], "password": "말은 나면 제주도로 보내라"})
        looking = stranger.sign_in({"login": "park@example.com", "password": "말은 나면 제주도로 보내라"})["token"]
        with pytest.raises(module.Problem, match="reason"):
            module.Client(desk.url, looking).list_accounts()
        assert module.Client(desk.url, looking, reason="점검 2026").list_accounts()["items"] == [
            client.read_account(opened["id"])
        ]
        signed_in.sign_out()
        with pytest.raises(module.Problem) as over:
            signed_in.read_self()
        assert over.value.status == 401

    await asyncio.to_thread(use)


async def test_a_server_that_is_away_is_told_after_the_tries(desk: ApiDesk, tmp_path: Path) -> None:
    module = await made(desk, tmp_path)
    with pytest.raises(module.Problem) as away:
        await asyncio.to_thread(module.Client("http://127.0.0.1:1", "x", tries=1).read_self)
    assert away.value.code == "no_answer"


async def test_the_client_is_typed(desk: ApiDesk, tmp_path: Path) -> None:
    await made(desk, tmp_path)
    (tmp_path / "use.py").write_text(USE)
    command = [
        sys.executable,
        "-m",
        "mypy",
        "--strict",
        "--config-file=",
        "--cache-dir=/dev/null",
        "use.py",
        "client.py",
    ]
    checked = await asyncio.to_thread(
        subprocess.run, command, cwd=tmp_path, capture_output=True, text=True, check=False
    )
    wrong = [line.rpartition("[")[2].rstrip("]") for line in checked.stdout.splitlines() if "error:" in line]
    assert wrong == ["arg-type", "typeddict-item", "typeddict-item"], checked.stdout


def test_the_command_writes_the_description_and_the_client(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    dari = typing_into(capsys)
    described, client = tmp_path / "openapi.json", tmp_path / "client.py"
    assert dari("api", "describe", "--out", str(described)).code == 0
    assert json.loads(described.read_text())["openapi"] == "3.1.0"
    assert dari("api", "client", "--of", str(described), "--out", str(client)).code == 0
    assert "class Client:" in client.read_text()
    compile(client.read_text(), "client.py", "exec")
    described.write_text("[]")
    assert "not an OpenAPI description" in dari("api", "client", "--of", str(described)).err


@pytest.mark.parametrize("document", [{}, {"openapi": "3.0.1"}, {"openapi": "3.1.0", "info": {}}])
def test_what_is_no_description_is_refused(document: dict[str, object]) -> None:
    with pytest.raises(Invalid, match="openapi"):
        python_client(document)

"""Every setting, command, table, route, shipped sound and folder is told where its users look."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
from fastapi.routing import APIRoute, APIWebSocketRoute

from engine.accounts.permissions import written_table
from engine.api.health import health_router
from engine.api.listening import listening_router
from engine.api.receipts import receipts_router
from engine.cli.main import COMMANDS
from engine.settings import Settings

ROOT = Path(__file__).parent.parent.parent
README = (ROOT / "README.md").read_text()


@pytest.mark.parametrize("name", Settings.model_fields)
def test_each_setting_is_in_the_readme_with_its_default_and_meaning(name: str) -> None:
    field = Settings.model_fields[name]
    row = next((line for line in README.splitlines() if line.startswith(f"| `DARI_{name.upper()}` |")), None)
    assert row is not None, f"README's table of settings lacks DARI_{name.upper()}"
    assert field.description is not None
    assert field.description in row


def test_the_readme_tells_of_no_setting_that_is_gone() -> None:
    told = set(re.findall(r"^\| `DARI_([A-Z_]+)` \|", README, re.MULTILINE))
    assert told == {name.upper() for name in Settings.model_fields}


@pytest.mark.parametrize("name", COMMANDS)
def test_each_command_is_in_the_readme(name: str) -> None:
    assert re.search(rf"^\| `dari {name}` \|", README, re.MULTILINE)


def test_each_table_is_in_the_readme_of_the_migrations() -> None:
    scripts = "".join(path.read_text() for path in (ROOT / "migrations/versions").glob("*.py"))
    readme = (ROOT / "migrations/README.md").read_text()
    for table in re.findall(r"CREATE TABLE (\w+)", scripts):
        assert f"`{table}`" in readme, f"migrations/README.md lacks the table {table}"


def test_each_route_is_in_the_readme() -> None:
    routers = [
        health_router((), None),  # type: ignore[arg-type]
        receipts_router(None, "key", None),  # type: ignore[arg-type]
        listening_router(()),
    ]
    for router in routers:
        for route in router.routes:
            if isinstance(route, APIWebSocketRoute):
                assert f"WebSocket `{route.path}`" in README
                continue
            assert isinstance(route, APIRoute)
            for method in route.methods or ():
                assert f"`{method} {route.path}`" in README


def test_the_readme_has_the_table_of_permissions() -> None:
    assert written_table() in README


def test_each_folder_of_the_engine_says_what_it_is() -> None:
    for folder in (ROOT / "engine").iterdir():
        if folder.is_dir() and (folder / "__init__.py").exists():
            assert (folder / "__init__.py").read_text().startswith('"""'), f"{folder.name} has no door sign"


@pytest.mark.parametrize("folder", ["asterisk-conf", "dialplan", "migrations", "prompts", "tests"])
def test_each_top_level_folder_has_a_readme(folder: str) -> None:
    assert (ROOT / folder / "README.md").stat().st_size > 100

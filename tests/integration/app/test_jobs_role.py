"""The jobs role as one: without any of its endless tasks it is none."""

from __future__ import annotations

import asyncio
import base64
from pathlib import Path

import pytest

from engine.app.jobs import run
from engine.events import store as events_store
from engine.events.tail import Tail
from engine.settings import Settings, read_settings
from engine.webhooks import store_sending
from tests.eventually import PATIENCE


def settings_of(home: Path, url: str) -> Settings:
    key = base64.b64encode(bytes(32)).decode()
    return read_settings(home=home, database_url=url, secret_key=key, recording_key=key, sip_trace=False)


async def fail(*_given: object) -> None:
    raise ZeroDivisionError


@pytest.mark.parametrize(
    ("owner", "name"),
    [(events_store, "number"), (Tail, "_hear"), (store_sending, "take")],
    ids=["sequencer", "tail", "post office"],
)
async def test_an_error_that_nobody_foresaw_ends_the_role(
    tmp_path: Path, database_url: str, monkeypatch: pytest.MonkeyPatch, owner: object, name: str
) -> None:
    monkeypatch.setattr(owner, name, fail)
    async with asyncio.timeout(PATIENCE):
        with pytest.raises(ZeroDivisionError):
            await run(settings_of(tmp_path, database_url))

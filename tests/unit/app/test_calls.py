"""The engine's process, before it opens anything, and before it has read its spool."""

from __future__ import annotations

import asyncio
from pathlib import Path

import pytest

from engine.app.calls import run
from engine.calls import takeover
from engine.cdr.spool import Spool
from engine.foundation.clock import SystemClock
from engine.foundation.errors import Invalid
from engine.settings import read_settings
from engine.watchdog.heartbeat import last_beat
from tests.eventually import eventually


@pytest.mark.parametrize("given", [{}, {"ari_url": "http://127.0.0.1:1"}, {"ami_address": "127.0.0.1:1"}])
async def test_an_engine_that_is_not_told_where_asterisk_is_says_so_and_writes_nothing(
    tmp_path: Path, given: dict[str, str]
) -> None:
    with pytest.raises(Invalid, match="DARI_ARI_URL and DARI_AMI_ADDRESS"):
        await run(read_settings(home=tmp_path, **given))
    assert not list(tmp_path.iterdir())


async def test_an_engine_beats_before_it_has_its_spool_and_until_it_gives_up(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Else the watchdog would kill it each time before it has read a large one."""
    monkeypatch.setattr(takeover, "_TAKER_IS_DONE", 3600.0)
    settings = read_settings(
        home=tmp_path,
        ari_url="http://127.0.0.1:1",
        ami_address="127.0.0.1:1",
        database_url="postgresql://nobody@127.0.0.1:1/none",
    )
    own = settings.engine(1)
    spool = Spool.open(own.spool, "another", SystemClock())
    engine = asyncio.ensure_future(run(settings))
    beats: set[int | None] = set()

    def has_beaten() -> bool:
        assert not engine.done(), engine
        beats.add(last_beat(own.heartbeat))
        return len(beats - {None}) > 2

    await eventually(has_beaten)
    assert not own.socket.exists()
    engine.cancel()
    await asyncio.wait([engine])
    assert engine.cancelled()
    await spool.close()

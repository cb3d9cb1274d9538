"""The engine's process, before it opens anything."""

from __future__ import annotations

from pathlib import Path

import pytest

from engine.app.calls import run
from engine.foundation.errors import Invalid
from engine.settings import read_settings


@pytest.mark.parametrize("given", [{}, {"ari_url": "http://127.0.0.1:1"}, {"ami_address": "127.0.0.1:1"}])
async def test_an_engine_that_is_not_told_where_asterisk_is_says_so_and_writes_nothing(
    tmp_path: Path, given: dict[str, str]
) -> None:
    with pytest.raises(Invalid, match="DARI_ARI_URL and DARI_AMI_ADDRESS"):
        await run(read_settings(home=tmp_path, **given))
    assert not list(tmp_path.iterdir())

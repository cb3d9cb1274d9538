"""A file is there whole or not at all, however many write it."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from engine.foundation.files import replace_file


def test_several_threads_write_one_file_at_once(tmp_path: Path) -> None:
    file = tmp_path / "sound.wav"

    def write(letter: str) -> None:
        for _ in range(100):
            replace_file(file, letter.encode() * 1000)

    with ThreadPoolExecutor(8) as threads:
        list(threads.map(write, "abcdefgh"))
    content = file.read_bytes()
    assert content == content[:1] * 1000
    assert list(tmp_path.iterdir()) == [file], "nothing is left beside it"


def test_what_cannot_be_put_there_leaves_the_old_file_and_nothing_beside_it(tmp_path: Path) -> None:
    in_the_way = tmp_path / "sound.wav"
    (in_the_way / "old").mkdir(parents=True)
    with pytest.raises(OSError, match=r"sound\.wav"):
        replace_file(in_the_way, b"new")
    assert list(tmp_path.rglob("*")) == [in_the_way, in_the_way / "old"]

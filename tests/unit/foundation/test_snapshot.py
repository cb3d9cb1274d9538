"""A snapshot is read whole or not at all."""

from __future__ import annotations

from pathlib import Path

import msgspec
import pytest
import structlog

from engine.foundation.snapshot import read_snapshot, write_snapshot


class Item(msgspec.Struct, frozen=True):
    name: str
    size: int = 0


class OtherItem(msgspec.Struct, frozen=True):
    name: str


ITEMS = [Item("가", number) for number in range(1203)]


def test_what_was_written_is_read(tmp_path: Path) -> None:
    path = tmp_path / "folder" / "items"
    write_snapshot(path, Item, ITEMS)
    assert read_snapshot(path, Item) == ITEMS
    assert path.stat().st_mode & 0o077 == 0
    assert [file.name for file in path.parent.iterdir()] == ["items"]


def test_nothing_is_a_snapshot_too_but_no_file_is_none(tmp_path: Path) -> None:
    assert read_snapshot(tmp_path / "items", Item) is None
    write_snapshot(tmp_path / "items", Item, [])
    assert read_snapshot(tmp_path / "items", Item) == []


def broken_ways(whole: bytes) -> list[bytes]:
    lines = whole.splitlines(keepends=True)
    return [
        b"",
        b"\n",
        b"\0" * 100,
        whole[: len(whole) // 2],
        b"".join(lines[:-1]),
        b"".join(lines[1:]),
        whole.replace(b'"size":7}', b'"size":"x"}'),
        whole.replace(b'"format":1', b'"format":2'),
        whole + b"\xff",
    ]


@pytest.mark.parametrize("way", range(9))
def test_a_broken_snapshot_is_ignored_with_a_line_in_the_log(tmp_path: Path, way: int) -> None:
    path = tmp_path / "items"
    write_snapshot(path, Item, ITEMS)
    path.write_bytes(broken_ways(path.read_bytes())[way])
    with structlog.testing.capture_logs() as lines:
        assert read_snapshot(path, Item) is None
    assert [line["log_level"] for line in lines] == ["warning"]
    assert "가" not in str(lines)


def test_a_snapshot_of_something_else_is_ignored(tmp_path: Path) -> None:
    write_snapshot(tmp_path / "items", OtherItem, [OtherItem("a")])
    assert read_snapshot(tmp_path / "items", Item) is None


def test_a_failed_write_leaves_the_former_snapshot(tmp_path: Path) -> None:
    path = tmp_path / "items"
    write_snapshot(path, Item, ITEMS)
    with pytest.raises(TypeError):
        write_snapshot(path, Item, [*ITEMS, Item(object())])  # type: ignore[arg-type]
    assert read_snapshot(path, Item) == ITEMS
    assert [file.name for file in tmp_path.iterdir()] == ["items"]

"""Writing a file whole or not at all."""

from __future__ import annotations

import os
import secrets
from pathlib import Path


def replace_file(path: Path, content: bytes, mode: int = 0o644, *, sync: bool = False) -> None:
    """Puts `content` at `path` in one step: whoever reads sees the old file or the new one, never a part.

    Several may write the same file at once, threads of one process too. With `sync` it would survive a power cut.
    Raises OSError and leaves the old file.
    """
    beside = path.with_name(f".{path.name}.{secrets.token_hex(4)}")
    try:
        with os.fdopen(os.open(beside, os.O_WRONLY | os.O_CREAT | os.O_EXCL, mode), "wb") as file:
            os.fchmod(file.fileno(), mode)
            file.write(content)
            if sync:
                file.flush()
                os.fsync(file.fileno())
        beside.replace(path)
    finally:
        beside.unlink(missing_ok=True)
    if sync:
        sync_folder(path.parent)


def write_if_changed(path: Path, content: bytes, mode: int = 0o644) -> bool:
    """As `replace_file`; False when the file already says so in that mode."""
    try:
        if path.read_bytes() == content and path.stat().st_mode & 0o777 == mode:
            return False
    except FileNotFoundError:
        pass
    replace_file(path, content, mode)
    return True


def sync_folder(folder: Path) -> None:
    """Makes names that were put into `folder` survive a power cut."""
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)

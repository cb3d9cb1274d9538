"""Where unix sockets lie: their paths may have 107 bytes, and homes are sometimes deeper than that."""

from __future__ import annotations

import hashlib
import os
import stat
from pathlib import Path

from engine.foundation.errors import Invalid

_LONGEST_PATH = 107


def socket_folder(folder: Path, longest_name: str, uid: int) -> Path:
    """`folder` itself where a socket of that name fits, else one under /tmp, the same for every process that asks.

    Not tempfile.gettempdir(): TMPDIR differs between shells, the folder must not.
    """
    if len(os.fsencode(folder / longest_name)) <= _LONGEST_PATH:
        return folder
    name = hashlib.sha256(f"{uid} {folder}".encode(errors="surrogateescape")).hexdigest()[:16]
    return Path("/tmp") / f"dari-{name}"  # noqa: S108


def make_private_folder(folder: Path, user: tuple[int, int]) -> None:
    """Makes it, for that user (uid, gid) alone; takes one that is there only if it already is so. Raises Invalid."""
    folder.parent.mkdir(parents=True, exist_ok=True)
    try:
        folder.mkdir(mode=0o700)
        os.chown(folder, *user)
    except FileExistsError:
        pass
    found = folder.lstat()
    if stat.S_ISDIR(found.st_mode) and found.st_uid == 0 == os.geteuid():
        os.chown(folder, *user)  # made by a process that was killed before its chown
        found = folder.lstat()
    if not stat.S_ISDIR(found.st_mode) or found.st_uid != user[0]:
        raise Invalid(f"{folder} is not a folder of the user who is to have it (uid {user[0]}); remove it")
    if stat.S_IMODE(found.st_mode) != 0o700:
        folder.chmod(0o700)

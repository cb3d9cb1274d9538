"""Who runs a program that refuses root, and how that user reaches the program's files without opening any folder."""

from __future__ import annotations

import os
import pwd
import shutil
import subprocess
from pathlib import Path

from engine.foundation.errors import Invalid

_USERS = ("postgres", "nobody")

# From the weakest on. Reading past permissions is not in every container's bounding set; overriding them mostly is.
_CAPABILITIES = (None, "dac_read_search", "dac_override")


def server_user(folder: Path) -> tuple[int, int]:
    """User and group id that run a server whose files are in `folder`: whoever owns it, else the one to be.

    That is ourselves, or for root the user `postgres`, else `nobody`. Raises Invalid when the folder is someone else's.
    """
    owner = folder.stat() if folder.exists() else None
    if os.geteuid() != 0:
        if owner is not None and owner.st_uid != os.geteuid():
            raise Invalid(
                f"{folder} belongs to another user; run as that user or set DARI_HOME to a folder of your own"
            )
        return os.geteuid(), os.getegid()
    if owner is not None and owner.st_uid != 0:
        return owner.st_uid, owner.st_gid
    for name in _USERS:
        try:
            entry = pwd.getpwnam(name)
        except KeyError:
            continue
        return entry.pw_uid, entry.pw_gid
    raise Invalid(
        "PostgreSQL does not run as root and there is no user postgres or nobody; add one, or run Dari as another user"
    )


def command_prefix(user: tuple[int, int], program: Path, reads: Path, folders: tuple[Path, ...]) -> list[str]:
    """What to put before a command so that it runs as `user` and can start `program`, read `reads`, enter `folders`.

    Empty unless we are root. Where ways are closed to that user (a checkout under /root), the command gets one ambient
    capability to pass them; nothing is created and no permission is changed. Raises Invalid when no way is found.
    """
    if os.geteuid() != 0:
        return []
    if shutil.which("setpriv") is None:
        raise Invalid("PostgreSQL does not run as root and the program setpriv is missing; install util-linux")
    for capability in _CAPABILITIES:
        prefix = _setpriv(user, capability)
        if _reaches(prefix, program, reads, folders):
            return prefix
    raise Invalid(
        f"user {user[0]}, who runs PostgreSQL for root, cannot reach {program} and {folders[0]}; "
        "run Dari as another user, set DARI_HOME elsewhere, or set DARI_DATABASE_URL"
    )


def _setpriv(user: tuple[int, int], capability: str | None) -> list[str]:
    prefix = ["setpriv", f"--reuid={user[0]}", f"--regid={user[1]}", "--clear-groups", "--no-new-privs"]
    if capability is None:
        return prefix
    # Without that securebit access(2), by which PostgreSQL looks for its own program, ignores capabilities.
    return [
        *prefix,
        "--securebits=+no_setuid_fixup",
        f"--inh-caps=+{capability}",
        f"--ambient-caps=+{capability}",
    ]


def _reaches(prefix: list[str], program: Path, reads: Path, folders: tuple[Path, ...]) -> bool:
    """Tries it. The shell matters: setpriv itself may start what the shell, one step further, may not."""
    script = 'p=$1; r=$2; shift 2; for f; do cd "$f" || exit; done; cd / && read -r _ <"$r" && exec "$p" --version'
    command = [*prefix, "sh", "-c", script, "sh", str(program), str(reads), *map(str, folders)]
    try:
        ended = subprocess.run(command, cwd="/", capture_output=True, check=False, timeout=10)
    except subprocess.TimeoutExpired:
        return False
    # PostgreSQL only grumbles about a program that it cannot see, and fails later.
    return ended.returncode == 0 and b"invalid binary" not in ended.stderr

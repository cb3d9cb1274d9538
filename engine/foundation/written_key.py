"""Keys as settings and files hold them: 32 bytes in base64."""

from __future__ import annotations

import base64

from engine.foundation.errors import Invalid

KEY_BYTES = 32


def is_key(written: str | bytes) -> bool:
    """Whether a text is such a key."""
    try:
        return len(base64.b64decode(written, validate=True)) == KEY_BYTES
    except ValueError:
        return False


def read_key(setting: str, written: str) -> bytes:
    """The key that the setting of that name holds. Raises Invalid."""
    if not written:
        raise Invalid(f"{setting}: it is empty; `dari up` makes one in DARI_HOME at its first start")
    if not is_key(written):
        raise Invalid(f"{setting}: it must be 32 bytes in base64, as `openssl rand -base64 32` makes them")
    return base64.b64decode(written)

"""Signatures after Standard Webhooks 1.0: HMAC-SHA256 over id, timestamp and body, one for each secret that is valid.

https://www.standardwebhooks.com — libraries for it exist in every language.
"""

from __future__ import annotations

import base64
import hmac
import secrets
from collections.abc import Iterable
from hashlib import sha256

from engine.foundation.errors import Invalid

PREFIX = "whsec_"
SECRET_BYTES = 32
_SHORTEST, _LONGEST = 24, 64


def new_secret() -> bytes:
    return secrets.token_bytes(SECRET_BYTES)


def written(secret: bytes) -> str:
    """As receivers' libraries take it."""
    return PREFIX + base64.b64encode(secret).decode()


def read_secret(text: str) -> bytes:
    """A secret that a receiver chose. Raises Invalid, and does not repeat it."""
    try:
        secret = base64.b64decode(text.strip().removeprefix(PREFIX), validate=True)
    except ValueError:
        secret = b""
    if not text.strip().startswith(PREFIX) or not _SHORTEST <= len(secret) <= _LONGEST:
        raise Invalid(
            f"secret: it must be {PREFIX} and {_SHORTEST} to {_LONGEST} random bytes in base64; leave it away, and one "
            "is made"
        )
    return secret


def headers(valid: Iterable[bytes], message_id: str, timestamp: int, body: bytes) -> dict[str, str]:
    """What a receiver proves the message by. `timestamp` is in seconds since 1970; the newest secret signs first."""
    return {
        "webhook-id": message_id,
        "webhook-timestamp": str(timestamp),
        "webhook-signature": " ".join(_signature(secret, message_id, timestamp, body) for secret in valid),
    }


def _signature(secret: bytes, message_id: str, timestamp: int, body: bytes) -> str:
    signed = f"{message_id}.{timestamp}.".encode() + body
    return "v1," + base64.b64encode(hmac.digest(secret, signed, sha256)).decode()

"""Secrets that must be read again (one-time codes, webhooks, documents of sign-ups): sealed before they are kept."""

from __future__ import annotations

import base64
import secrets
from dataclasses import dataclass, field

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

from engine.foundation.errors import Invalid

_KEY_BYTES = 32
_NONCE_BYTES = 12


@dataclass(frozen=True, slots=True)
class SealingKey:
    """DARI_SECRET_KEY (AES-256-GCM)."""

    secret: bytes = field(repr=False)

    @classmethod
    def of(cls, written: str) -> SealingKey:
        """From its setting: 32 bytes in base64. Raises Invalid."""
        if not written:
            raise Invalid("DARI_SECRET_KEY: it is empty; `dari up` makes one in DARI_HOME at its first start")
        try:
            secret = base64.b64decode(written, validate=True)
        except ValueError:
            secret = b""
        if len(secret) != _KEY_BYTES:
            raise Invalid("DARI_SECRET_KEY: it must be 32 bytes in base64, as `openssl rand -base64 32` makes them")
        return cls(secret)

    def seal(self, secret: bytes, whose: str) -> bytes:
        """Opens only for the same `whose`, so that nobody can put it in another's place."""
        nonce = secrets.token_bytes(_NONCE_BYTES)
        return nonce + AESGCM(self.secret).encrypt(nonce, secret, whose.encode())

    def open(self, sealed: bytes, whose: str) -> bytes:
        """What was sealed for `whose`. Raises Invalid when it was another key, or for somebody else."""
        try:
            return AESGCM(self.secret).decrypt(sealed[:_NONCE_BYTES], sealed[_NONCE_BYTES:], whose.encode())
        except (InvalidTag, ValueError):
            raise Invalid(
                f"{whose}: DARI_SECRET_KEY does not open its secret; set the key that it was made with, or make the "
                "secret anew"
            ) from None

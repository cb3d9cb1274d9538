"""Secrets that must be read again (one-time codes, webhooks, documents of sign-ups): sealed before they are kept."""

from __future__ import annotations

import secrets
from dataclasses import dataclass, field

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

from engine.foundation.errors import Invalid
from engine.foundation.written_key import read_key

_NONCE_BYTES = 12


def seal(key: bytes, plain: bytes, bound_to: bytes) -> bytes:
    """AES-256-GCM, the nonce first. It opens only for the same `bound_to`, so that it fits in no other's place."""
    nonce = secrets.token_bytes(_NONCE_BYTES)
    return nonce + AESGCM(key).encrypt(nonce, plain, bound_to)


def unseal(key: bytes, sealed: bytes, bound_to: bytes) -> bytes:
    """What was sealed so. Raises ValueError when it was another key, or bound to something else."""
    try:
        return AESGCM(key).decrypt(sealed[:_NONCE_BYTES], sealed[_NONCE_BYTES:], bound_to)
    except InvalidTag:
        raise ValueError("sealed with another key, or for something else") from None


@dataclass(frozen=True, slots=True)
class SealingKey:
    """DARI_SECRET_KEY (AES-256-GCM)."""

    secret: bytes = field(repr=False)

    @classmethod
    def of(cls, written: str) -> SealingKey:
        """From its setting: 32 bytes in base64. Raises Invalid."""
        return cls(read_key("DARI_SECRET_KEY", written))

    def seal(self, secret: bytes, whose: str) -> bytes:
        """Opens only for the same `whose`, so that nobody can put it in another's place."""
        return seal(self.secret, secret, whose.encode())

    def open(self, sealed: bytes, whose: str) -> bytes:
        """What was sealed for `whose`. Raises Invalid when it was another key, or for somebody else."""
        try:
            return unseal(self.secret, sealed, whose.encode())
        except ValueError:
            raise Invalid(
                f"{whose}: DARI_SECRET_KEY does not open its secret; set the key that it was made with, or make the "
                "secret anew"
            ) from None

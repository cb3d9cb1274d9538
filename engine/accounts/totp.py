"""One-time codes by time (TOTP, RFC 6238): six digits, a new one every 30 seconds, none taken twice. Pure."""

from __future__ import annotations

import hmac
import re
from datetime import datetime

import pyotp

STEP_SECONDS = 30
_ISSUER = "Dari"
_STEPS_OFF = 1
"""A clock may be so many steps off, either way."""


def new_secret() -> str:
    """160 bits in base32."""
    return pyotp.random_base32(32)


def address_of(secret: str, login: str) -> str:
    """otpauth://…, which an authenticator reads from a QR code."""
    return pyotp.TOTP(secret, interval=STEP_SECONDS).provisioning_uri(name=login, issuer_name=_ISSUER)


def step_of(secret: str, code: str, now: datetime, after: int) -> int | None:
    """The time step whose code it is, among those after step `after`; None: it is none that is taken now."""
    typed = re.sub(r"\s", "", code)
    if not re.fullmatch(r"[0-9]{6}", typed):
        return None
    generator = pyotp.TOTP(secret, interval=STEP_SECONDS)
    this = int(now.timestamp()) // STEP_SECONDS
    for step in range(this - _STEPS_OFF, this + _STEPS_OFF + 1):
        if step > after and hmac.compare_digest(generator.generate_otp(step), typed):
            return step
    return None

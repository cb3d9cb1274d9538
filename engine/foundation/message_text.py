"""How long a text is: Korean carriers count bytes of cp949, and what cp949 lacks cannot be sent."""

from __future__ import annotations

import unicodedata

from engine.foundation.errors import Invalid

SMS_BYTES = 90
"""Longest SMS, in bytes of cp949."""


def sendable(text: str, field: str = "text") -> bytes:
    """The bytes that go out for `text`. Raises Invalid, naming `field`, when it is empty or has none."""
    if not text.strip():
        raise Invalid(f"{field}: the message is empty; write a text of up to {SMS_BYTES} bytes")
    if lost := [character for character in text if not _has_bytes(character)]:
        named = ", ".join(f"{_shown(character)} U+{ord(character):04X}" for character in dict.fromkeys(lost))
        raise Invalid(f"{field}: {named} cannot be sent in a Korean text message (not in cp949); use other characters")
    return text.encode("cp949")


def check_text(text: str, field: str = "text", limit: int = SMS_BYTES) -> str:
    """The text as it is to be kept (Hangul composed). Raises Invalid when it is no SMS of `limit` bytes."""
    composed = unicodedata.normalize("NFC", text)
    length = len(sendable(composed, field))
    if length > limit:
        raise Invalid(
            f"{field}: the message has {length} bytes, {limit} fit into an SMS "
            "(a Hangul letter is 2 bytes); make it shorter"
        )
    return composed


def _has_bytes(character: str) -> bool:
    if unicodedata.category(character) == "Cc":
        return character in "\n\r"
    try:
        character.encode("cp949")
    except UnicodeEncodeError:
        return False
    return True


def _shown(character: str) -> str:
    return f"“{character}”" if character.isprintable() else "a control character"

"""What may stand in the text of a message after a call, and what it becomes for one call. Pure."""

from __future__ import annotations

import unicodedata
from datetime import UTC, datetime

from engine.foundation.message_text import check_text
from engine.foundation.phone_number import PhoneNumber, written
from engine.foundation.placeholders import check_placeholders, filled


def message_facts(number: PhoneNumber, label: str | None, called_at: datetime) -> dict[str, str]:
    """What each placeholder stands for: `{number}`, `{label}`, which is the number where it has none, `{called_at}`.

    `called_at` is written as it is given: in the zone in which it is to be read.
    """
    return {
        "number": written(number),
        "label": label or written(number),
        "called_at": f"{called_at.month}월 {called_at.day}일 {called_at:%H:%M}",
    }


_LONGEST_NUMBER = PhoneNumber("050712345678")
_LONGEST_INSTANT = datetime(2026, 12, 31, 23, 59, tzinfo=UTC)


def checked_template(text: str, field: str, label: str | None = None) -> str:
    """The text as it is to be kept. `label` is the number's, where it has one.

    Raises Invalid for an unknown placeholder, and when the longest text that it can become is no SMS.
    """
    composed = unicodedata.normalize("NFC", text)
    longest = message_facts(_LONGEST_NUMBER, label, _LONGEST_INSTANT)
    check_placeholders(composed, longest, field)
    check_text(filled(composed, longest), field)
    return composed

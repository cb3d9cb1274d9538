"""People's numbers in entries, hidden where they are shown (pure)."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import msgspec

from engine.audit.model import PERSONAL, Entry
from engine.foundation.phone_number import PhoneNumber, masked


def masked_entry(entry: Entry) -> Entry:
    """As it is, with what stands under `PERSONAL` hidden: of phone numbers the exchange, of other texts all."""
    return msgspec.structs.replace(entry, before=_outside(entry.before), after=_outside(entry.after))


def _outside(value: Any) -> Any:
    if isinstance(value, Mapping):
        return {key: _inside(each) if key == PERSONAL else _outside(each) for key, each in value.items()}
    if isinstance(value, list):
        return [_outside(each) for each in value]
    return value


def _inside(value: Any) -> Any:
    if isinstance(value, Mapping):
        return {key: _inside(each) for key, each in value.items()}
    if isinstance(value, list):
        return [_inside(each) for each in value]
    if isinstance(value, str):
        return masked(PhoneNumber(value)) if value.isascii() and value.isdigit() else "…"
    return value

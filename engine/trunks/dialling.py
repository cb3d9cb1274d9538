"""How a number is dialled on a trunk. Pure."""

from __future__ import annotations

from engine.foundation.phone_number import PhoneNumber
from engine.trunks.model import NumberFormat, Trunk

_KOREA = "82"


def on_trunk(trunk: Trunk, number: PhoneNumber) -> str:
    """`number` as the trunk wants it written; a number without trunk prefix (15xx) keeps its digits after the 82."""
    if trunk.number_format is NumberFormat.NATIONAL:
        return number
    international = _KOREA + number.removeprefix("0")
    return f"+{international}" if trunk.number_format is NumberFormat.E164 else international


def endpoint(trunk: Trunk, number: PhoneNumber) -> str:
    """What Asterisk dials."""
    return f"PJSIP/{on_trunk(trunk, number)}@{trunk.name}"

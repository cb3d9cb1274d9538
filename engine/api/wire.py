"""What requests and answers are made of: the base of every shape, and how phone numbers stand in them."""

from __future__ import annotations

from typing import Annotated, Any
from uuid import UUID

from fastapi import Path
from pydantic import BaseModel, BeforeValidator, ConfigDict, PlainSerializer, WithJsonSchema
from pydantic.config import JsonDict
from pydantic_core import PydanticCustomError

from engine.foundation.errors import Invalid
from engine.foundation.phone_number import PhoneNumber, e164, parse

_LONGEST = 40


class Shape(BaseModel):
    """An object in a request or an answer. Fields that it does not have are refused; their docstrings are published."""

    model_config = ConfigDict(extra="forbid", frozen=True, from_attributes=True, use_attribute_docstrings=True)


class Phone(Shape):
    """A phone number in both writings."""

    model_config = ConfigDict(json_schema_extra={"examples": [{"national": "050712345678", "e164": "+8250712345678"}]})

    national: str
    """Digits as they are dialled in Korea."""
    e164: str | None
    """With country code; null for a number that has none: short codes."""


def shown(number: PhoneNumber) -> Phone:
    """The number as answers have it."""
    return Phone(national=number, e164=e164(number))


def shown_or_none(number: PhoneNumber | None) -> Phone | None:
    return None if number is None else shown(number)


def _read(value: Any) -> PhoneNumber:
    if isinstance(value, dict) and set(value) <= {"national", "e164"}:
        value = value.get("national") or value.get("e164")
    if not isinstance(value, str) or not 0 < len(value) <= _LONGEST:
        raise PydanticCustomError("phone_number", "it must be a phone number in national digits or E.164")
    try:
        return parse(value)
    except Invalid:
        raise PydanticCustomError(
            "phone_number", "it must be a Korean phone number, like 050712345678, 0507-1234-5678 or +8250712345678"
        ) from None


_AS_TEXT: JsonDict = {
    "type": "string",
    "description": "National digits, as people write it, or E.164.",
    "examples": ["050712345678", "0507-1234-5678", "+8250712345678"],
    "minLength": 3,
    "maxLength": _LONGEST,
}
_AS_ANSWERED: JsonDict = {
    "type": "object",
    "properties": {"national": {"type": "string"}, "e164": {"type": ["string", "null"]}},
    "required": ["national"],
    "additionalProperties": False,
}

PhoneIn = Annotated[
    PhoneNumber,
    BeforeValidator(_read),
    WithJsonSchema(_AS_TEXT, mode="validation"),
    PlainSerializer(shown, return_type=Phone, when_used="json"),
]
"""A phone number in a request."""

PhoneBoth = Annotated[
    PhoneNumber,
    BeforeValidator(_read),
    WithJsonSchema({"anyOf": [_AS_TEXT, _AS_ANSWERED]}, mode="validation"),
    PlainSerializer(shown, return_type=Phone, when_used="json"),
]
"""One in a shape that is answered too: what was answered may be sent back as it is."""

NumberInPath = Annotated[PhoneIn, Path(description="A number of ours, in national digits or E.164.")]
AccountInPath = Annotated[UUID, Path(description="An account's id.")]

"""Which changes of a number are content, so that whoever makes content for shops may make them."""

from __future__ import annotations

from typing import Any
from uuid import UUID

import msgspec
import pytest

from engine.foundation.phone_number import PhoneNumber
from engine.numbers.content import differ_in_content_only
from engine.numbers.model import NumberKind, ServiceNumber
from engine.numbers.treatment import (
    ConsentOffer,
    Failure,
    Fallback,
    Limits,
    RecordMode,
    Target,
    Then,
    Treatment,
    Whisper,
)

LINK = Fallback(then=Then.TEXT, on=(Failure.BUSY,), sounds=("ko/busy",), text="곧 전화드립니다")
SAID = Treatment(announcement="ko/closed", fallbacks=(LINK,), consent=ConsentOffer(text="약도"))
NUMBER = ServiceNumber(
    number=PhoneNumber("050712345678"),
    kind=NumberKind.VIRTUAL,
    account_id=UUID(int=7),
    target=PhoneNumber("0212345678"),
    treatment=SAID,
    callback="고맙습니다",
    sender=PhoneNumber("0212345678"),
    suspended="ko/not-in-service",
)

CONTENT: list[dict[str, Any]] = [
    {"callback": "또 오세요"},
    {"callback": None},
    {"suspended": "prompt:이사"},
    {"treatment": {"notice": "prompt:인사", "ringback": ("prompt:노래",), "busy": ("ko/busy",), "label": "배달앱"}},
    {"treatment": {"whisper": Whisper(text="{label}")}},
    {"treatment": {"announcement": "prompt:휴무"}},
    {"treatment": {"consent": ConsentOffer(text="메뉴판", sound="prompt:메뉴")}},
    {"treatment": {"fallbacks": (msgspec.structs.replace(LINK, sounds=(), text="문자로 답합니다"),)}},
]
MORE: list[dict[str, Any]] = [
    {"target": PhoneNumber("0311112222")},
    {"sender": None},
    {"account_id": UUID(int=8)},
    {"min_talk_seconds": 0},
    {"repeat_window_days": 0},
    {"limits": Limits(at_once=1)},
    {"suspended": None},
    {"treatment": {"announcement": None}},
    {"treatment": {"targets": (Target(number=PhoneNumber("0311112222")),)}},
    {"treatment": {"recording": RecordMode.ALWAYS}},
    {"treatment": {"store_notice": True}},
    {"treatment": {"consent": None}},
    {"treatment": {"consent": ConsentOffer(text="약도", before=True)}},
    {"treatment": {"fallbacks": (msgspec.structs.replace(LINK, on=()),)}},
    {"treatment": {"fallbacks": (LINK, LINK)}},
    {"treatment": {"fallbacks": None}},
]


def changed(change: dict[str, Any]) -> ServiceNumber:
    values = dict(change)
    if "treatment" in values:
        values["treatment"] = msgspec.structs.replace(SAID, **values["treatment"])
    return msgspec.structs.replace(NUMBER, **values)


@pytest.mark.parametrize("change", CONTENT)
def test_what_is_heard_and_read_is_content(change: dict[str, Any]) -> None:
    assert changed(change) != NUMBER
    assert differ_in_content_only(NUMBER, changed(change))


@pytest.mark.parametrize("change", MORE)
def test_whom_calls_reach_and_what_is_done_is_not(change: dict[str, Any]) -> None:
    assert not differ_in_content_only(NUMBER, changed(change))


@pytest.mark.parametrize("change", MORE)
def test_content_beside_it_makes_it_no_content(change: dict[str, Any]) -> None:
    assert not differ_in_content_only(NUMBER, msgspec.structs.replace(changed(change), callback="또 오세요"))

"""What a number may be set to."""

from __future__ import annotations

from typing import Any
from uuid import UUID

import pytest

from engine.foundation.errors import DariError, Invalid, NotAllowed
from engine.foundation.phone_number import PhoneNumber
from engine.numbers.model import NumberKind
from engine.numbers.rules import checked, kind_of
from tests.opened_shop import SENDER, TARGET, VIRTUAL, number_of

ACCOUNT = UUID(int=1)


def test_a_number_within_the_rules_stays_as_it_is() -> None:
    number = number_of(
        ACCOUNT, ring_seconds=3, ringback="own/abc", whisper="demo/whisper", callback="고맙습니다", sender=SENDER
    )
    assert checked(number) == number


@pytest.mark.parametrize(
    ("number", "kind"),
    [
        ("050712345678", NumberKind.VIRTUAL),
        ("05012345678", NumberKind.VIRTUAL),
        ("0212345678", NumberKind.OWN),
        ("01012345678", NumberKind.OWN),
        ("07012345678", NumberKind.OWN),
        ("15881234", NumberKind.OWN),
        ("0801234567", NumberKind.OPT_OUT),
    ],
)
def test_the_kind_follows_from_the_prefix(number: str, kind: NumberKind) -> None:
    assert kind_of(PhoneNumber(number)) is kind


@pytest.mark.parametrize("number", ["0601234567", "112", "114", "00112345678", "0101", "0505"])
def test_a_number_that_nobody_can_own_is_not_put_into_service(number: str) -> None:
    with pytest.raises(Invalid, match="cannot be put into service"):
        kind_of(PhoneNumber(number))


@pytest.mark.parametrize(
    ("number", "kind"),
    [(VIRTUAL, NumberKind.OWN), ("0212341234", NumberKind.VIRTUAL), ("0801234567", NumberKind.MESSAGE_RECEIVING)],
)
def test_a_kind_that_the_prefix_denies_is_refused(number: str, kind: NumberKind) -> None:
    with pytest.raises(Invalid, match="kind"):
        checked(number_of(ACCOUNT, number=PhoneNumber(number), kind=kind))


def test_a_landline_may_receive_messages() -> None:
    assert checked(number_of(ACCOUNT, number=PhoneNumber("0212341234"), kind=NumberKind.MESSAGE_RECEIVING))


@pytest.mark.parametrize("target", ["0015551234567", "0601234567", "119", "1234", "050712341234", "0101", "99999999"])
def test_a_target_that_may_not_be_dialled_is_refused(target: str) -> None:
    with pytest.raises(NotAllowed, match="target"):
        checked(number_of(ACCOUNT, target=PhoneNumber(target)))


def test_a_number_is_not_forwarded_to_itself() -> None:
    with pytest.raises(Invalid, match="itself"):
        checked(number_of(ACCOUNT, number=TARGET, kind=NumberKind.OWN))


@pytest.mark.parametrize(
    ("settings", "named"),
    [
        ({"ring_seconds": 2}, "ring time"),
        ({"ring_seconds": 121}, "ring time"),
        ({"repeat_window_days": -1}, "repeat window"),
        ({"repeat_window_days": 367}, "repeat window"),
        ({"min_talk_seconds": -1}, "least talk time"),
        ({"min_talk_seconds": 3601}, "least talk time"),
        ({"ringback": "../../etc/passwd"}, "ringback"),
        ({"ringback": "own/a&Dial"}, "ringback"),
        ({"whisper": ""}, "whisper"),
        ({"callback": "hello"}, "callback"),
        ({"callback": "", "sender": SENDER}, "callback"),
        ({"callback": "가" * 46, "sender": SENDER}, "callback"),
        ({"callback": "안녕 😀", "sender": SENDER}, "callback"),
        ({"callback": "안녕\0", "sender": SENDER}, "callback"),
        ({"sender": VIRTUAL}, "sender"),
        ({"sender": PhoneNumber("119")}, "sender"),
    ],
)
def test_a_setting_outside_its_rule_is_refused_by_name(settings: dict[str, Any], named: str) -> None:
    with pytest.raises(DariError, match=f"^{named}"):
        checked(number_of(ACCOUNT, **settings))


@pytest.mark.parametrize(
    "settings",
    [
        {"ring_seconds": 3},
        {"ring_seconds": 120},
        {"repeat_window_days": 0},
        {"repeat_window_days": 366},
        {"min_talk_seconds": 0},
        {"min_talk_seconds": 3600},
        {"callback": "가" * 45, "sender": SENDER},
        {"callback": "two\nlines", "sender": SENDER},
        {"sender": PhoneNumber("15881234")},
    ],
)
def test_a_setting_at_the_edge_of_its_rule_is_taken(settings: dict[str, Any]) -> None:
    assert checked(number_of(ACCOUNT, **settings)) == number_of(ACCOUNT, **settings)


def test_a_character_outside_cp949_is_named() -> None:
    with pytest.raises(Invalid, match=r"U\+1F600"):
        checked(number_of(ACCOUNT, callback="안녕 😀", sender=SENDER))

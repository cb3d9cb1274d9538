"""What a number may be set to."""

from __future__ import annotations

from typing import Any
from uuid import UUID

import pytest

from engine.foundation.errors import DariError, Invalid, NotAllowed
from engine.foundation.phone_number import PhoneNumber
from engine.numbers.model import NumberKind
from engine.numbers.rules import checked, checked_treatment, kind_of, laid_over, without
from engine.numbers.treatment import ConsentOffer, Fallback, Limits, Target, TargetOrder, Then, Treatment, Whisper
from tests.opened_shop import SENDER, TARGET, VIRTUAL, number_of

ACCOUNT = UUID(int=1)


def test_a_number_within_the_rules_stays_as_it_is() -> None:
    number = number_of(
        ACCOUNT,
        treatment=Treatment(ring_seconds=3, ringback=("own/abc",), whisper=Whisper(sound="demo/whisper")),
        callback="고맙습니다",
        sender=SENDER,
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
        ({"repeat_window_days": -1}, "repeat window"),
        ({"repeat_window_days": 367}, "repeat window"),
        ({"min_talk_seconds": -1}, "least talk time"),
        ({"min_talk_seconds": 3601}, "least talk time"),
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
        {"limits": Limits(at_once=1, per_hour=1_000_000)},
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


FORBIDDEN = Target(number=PhoneNumber("0601234567"))
OTHERS = tuple(Target(number=PhoneNumber(f"02123456{last:02}")) for last in range(21))


@pytest.mark.parametrize(
    ("treatment", "named"),
    [
        (Treatment(ring_seconds=2), "ring time"),
        (Treatment(ring_seconds=121), "ring time"),
        (Treatment(ringback=("../../etc/passwd",)), "ringback"),
        (Treatment(ringback=("own/a&Dial",)), "ringback"),
        (Treatment(ringback=("own/a",) * 21), "ringback"),
        (Treatment(notice="own"), "notice"),
        (Treatment(announcement="own/a b"), "announcement"),
        (Treatment(busy=("",)), "busy"),
        (Treatment(whisper=Whisper(sound="")), "whisper"),
        (Treatment(whisper=Whisper(sound="own/a", text="b")), "whisper"),
        (Treatment(whisper=Whisper(text="{caller}에게서")), "whisper"),
        (Treatment(whisper=Whisper(text="{")), "whisper"),
        (Treatment(whisper=Whisper(text="가" * 201)), "whisper"),
        (Treatment(targets=()), "targets"),
        (Treatment(targets=OTHERS), "targets"),
        (Treatment(targets=(OTHERS[0], OTHERS[0])), "targets"),
        (Treatment(targets=(FORBIDDEN,)), "target"),
        (Treatment(targets=(Target(number=VIRTUAL),)), "target"),
        (Treatment(targets=(Target(number=TARGET, ring_seconds=1),)), "ring time"),
        (Treatment(targets=(Target(number=TARGET, share=101),)), "share"),
        (Treatment(targets=(Target(number=TARGET, share=99),), order=TargetOrder.BY_SHARE), "targets"),
        (Treatment(fallbacks=(Fallback(then=Then.RING),)), "fallback"),
        (Treatment(fallbacks=(Fallback(then=Then.RING, targets=(FORBIDDEN,)),)), "target"),
        (Treatment(fallbacks=(Fallback(then=Then.ANNOUNCE),)), "fallback"),
        (Treatment(fallbacks=(Fallback(then=Then.ANNOUNCE, sounds=("own/a",), text="b"),)), "fallback"),
        (Treatment(fallbacks=(Fallback(then=Then.VOICEMAIL, targets=OTHERS[:1]),)), "fallback"),
        (Treatment(fallbacks=(Fallback(then=Then.TEXT),)), "fallback"),
        (Treatment(fallbacks=(Fallback(then=Then.VOICEMAIL),) * 11), "fallback"),
        (Treatment(fallbacks=(Fallback(then=Then.TEXT, text="hello"),)), "sender"),
        (Treatment(consent=ConsentOffer(text="hello")), "sender"),
        (Treatment(consent=ConsentOffer(text="")), "consent"),
        (Treatment(label="a\nb"), "label"),
        (Treatment(callback="hello"), "callback"),
    ],
)
def test_a_treatment_outside_its_rule_is_refused_by_name(treatment: Treatment, named: str) -> None:
    with pytest.raises(DariError, match=f"^{named}"):
        checked(number_of(ACCOUNT, treatment=treatment))


@pytest.mark.parametrize("limits", [Limits(at_once=0), Limits(per_hour=-1), Limits(per_day=1_000_001)])
def test_limits_that_cannot_be_are_refused(limits: Limits) -> None:
    with pytest.raises(Invalid, match=r"^calls"):
        checked(number_of(ACCOUNT, limits=limits))


def test_a_number_that_is_told_not_to_do_a_thing_is_as_one_that_is_not_told_to() -> None:
    nothing = Treatment(
        ringback=(), whisper=Whisper(), notice="", announcement="", busy=(), fallbacks=(), label="", accept=False
    )
    assert checked(number_of(ACCOUNT, treatment=nothing)).treatment == Treatment(accept=False)


def test_texts_in_a_treatment_are_kept_as_they_can_be_sent() -> None:
    decomposed, composed = "\u1100\u1161", "가"
    given = Treatment(consent=ConsentOffer(text=decomposed), fallbacks=(Fallback(then=Then.TEXT, text=decomposed),))
    kept = checked(number_of(ACCOUNT, treatment=given, sender=SENDER)).treatment
    assert kept.consent == ConsentOffer(text=composed)
    assert kept.fallbacks == (Fallback(then=Then.TEXT, text=composed),)


def test_what_is_laid_over_says_and_the_rest_stays() -> None:
    under = Treatment(ringback=("own/a",), accept=True)
    assert laid_over(under, Treatment(ringback=())) == Treatment(ringback=(), accept=True)
    assert without(under, ["accept"]) == Treatment(ringback=("own/a",))


def test_a_character_outside_cp949_is_named() -> None:
    with pytest.raises(Invalid, match=r"U\+1F600"):
        checked(number_of(ACCOUNT, callback="안녕 😀", sender=SENDER))


def test_messages_may_name_what_is_filled_in_and_must_fit_with_it() -> None:
    text = "{label}에서 {called_at}에 주신 전화 고맙습니다"
    kept = checked(number_of(ACCOUNT, treatment=Treatment(label="배달앱"), callback=text, sender=SENDER))
    assert kept.callback == text
    with pytest.raises(Invalid, match=r"^callback"):
        checked(number_of(ACCOUNT, treatment=Treatment(label="가" * 40), callback=text, sender=SENDER))
    with pytest.raises(Invalid, match=r"^consent"):
        checked_treatment(Treatment(consent=ConsentOffer(text="{nothing}")), VIRTUAL)
    with pytest.raises(Invalid, match=r"^fallback"):
        checked_treatment(Treatment(fallbacks=(Fallback(then=Then.TEXT, text=text),)), VIRTUAL, "가" * 40)

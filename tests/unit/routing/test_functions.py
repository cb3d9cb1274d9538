"""Which functions a treatment needs."""

from __future__ import annotations

import pytest

from engine.accounts.model import Module
from engine.foundation.phone_number import PhoneNumber
from engine.numbers.treatment import ConsentOffer, Fallback, RecordMode, Target, Then, Treatment
from engine.routing.functions import functions_of

MOBILE = (Target(number=PhoneNumber("01023456789")),)
LANDLINE = (Target(number=PhoneNumber("023456789")),)


@pytest.mark.parametrize(
    ("said", "needed"),
    [
        (Treatment(), set()),
        (Treatment(recording=RecordMode.NEVER, store_notice=False, callback="", targets=LANDLINE), set()),
        (Treatment(recording=RecordMode.ALWAYS), {Module.RECORDING}),
        (Treatment(store_notice=True), {Module.STORE_MESSAGE}),
        (Treatment(callback="고맙습니다"), {Module.CALLBACK}),
        (Treatment(consent=ConsentOffer(text="약도")), {Module.CALLBACK}),
        (Treatment(fallbacks=(Fallback(then=Then.TEXT, text="약도"),)), {Module.CALLBACK}),
        (Treatment(targets=LANDLINE + MOBILE), {Module.MOBILE_TARGETS}),
        (Treatment(fallbacks=(Fallback(then=Then.RING, targets=MOBILE),)), {Module.MOBILE_TARGETS}),
    ],
)
def test_what_is_said_needs_its_function(said: Treatment, needed: set[Module]) -> None:
    assert functions_of(said) == needed

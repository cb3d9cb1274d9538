"""Which functions of an account a treatment needs. Pure."""

from __future__ import annotations

from engine.accounts.model import Module
from engine.foundation.phone_number import NumberClass, classify
from engine.numbers.treatment import RecordMode, Then, Treatment


def functions_of(said: Treatment) -> frozenset[Module]:
    """Those that have to be on for it to be followed."""
    links = said.fallbacks or ()
    targets = [*(said.targets or ()), *(target for link in links for target in link.targets)]
    needed = {
        Module.RECORDING: said.recording not in (None, RecordMode.NEVER),
        Module.STORE_MESSAGE: bool(said.store_notice),
        Module.CALLBACK: bool(said.callback or said.consent or any(link.then is Then.TEXT for link in links)),
        Module.MOBILE_TARGETS: any(classify(target.number) is NumberClass.MOBILE for target in targets),
    }
    return frozenset(module for module, is_needed in needed.items() if is_needed)

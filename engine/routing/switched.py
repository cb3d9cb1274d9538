"""What is left of a call's treatment when functions are switched off for the number's account (D10). Pure.

What was set while a function was on stays set: it holds again with the first call after the function is on again.
"""

from __future__ import annotations

import msgspec

from engine.accounts.model import Module
from engine.foundation.phone_number import NumberClass, PhoneNumber, classify
from engine.numbers.treatment import Fallback, Target, Then, Treatment
from engine.routing.functions import functions_of
from engine.routing.model import Line
from engine.routing.stages import may_ring

NOT_RECORDED = "recording is switched off for the account"
"""Why a talk is not recorded whose number would have it recorded."""


def targets_of(line: Line, treatment: Treatment) -> tuple[Target, ...]:
    """Those that may be rung; the number's own where the treatment names none."""
    named = treatment.targets or (Target(number=line.number.target),)
    allowed = (target for target in named if may_ring(target.number, line.number.number))
    return tuple(target for target in allowed if not _is_off(target.number, line.account.off))


def as_switched(line: Line, treatment: Treatment) -> tuple[Treatment, tuple[Module, ...]]:
    """The treatment without what is off for the line's account, and the functions that it asks for in vain.

    Its own targets are the matter of `targets_of`. The message after the call is that of who decides on it.
    """
    off = line.account.off
    if not off:
        return treatment, ()
    rung = treatment.targets or (Target(number=line.number.target),)
    wanted = functions_of(msgspec.structs.replace(treatment, targets=rung))
    in_vain = tuple(module for module in Module if module in wanted & off)
    for module in in_vain:
        treatment = _without(treatment, module)
    return treatment, in_vain


def _without(treatment: Treatment, module: Module) -> Treatment:
    match module:
        case Module.RECORDING:
            return msgspec.structs.replace(treatment, recording=None)
        case Module.STORE_MESSAGE:
            return msgspec.structs.replace(treatment, store_notice=None)
        case Module.CALLBACK:
            chain = tuple(link for link in treatment.fallbacks or () if link.then is not Then.TEXT)
            return msgspec.structs.replace(treatment, consent=None, fallbacks=chain)
        case Module.MOBILE_TARGETS:
            return msgspec.structs.replace(treatment, fallbacks=tuple(map(_to_landlines, treatment.fallbacks or ())))
        case _:
            return treatment


def _to_landlines(link: Fallback) -> Fallback:
    return msgspec.structs.replace(
        link, targets=tuple(target for target in link.targets if not _is_mobile(target.number))
    )


def _is_off(target: PhoneNumber, off: frozenset[Module]) -> bool:
    return Module.MOBILE_TARGETS in off and _is_mobile(target)


def _is_mobile(number: PhoneNumber) -> bool:
    return classify(number) is NumberClass.MOBILE

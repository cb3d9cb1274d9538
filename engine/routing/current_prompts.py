"""A line as calls go by it: each prompt that it names is the sound that the account plays for it now. Pure."""

from __future__ import annotations

from dataclasses import replace

import msgspec

from engine.numbers.model import ServiceNumber
from engine.numbers.sound_names import played_sound, with_sounds
from engine.routing.model import AccountRouting, Line, Rule


def with_prompts(account: AccountRouting, prompts: dict[str, str] | None) -> AccountRouting:
    """The account with the current sounds of its prompts, by name."""
    return msgspec.structs.replace(account, prompts=prompts) if prompts else account


def with_current_prompts(line: Line) -> Line:
    """The line itself when it names no prompt."""
    prompts = line.account.prompts
    number = _number_with_sounds(line.number, prompts)
    rules = tuple(_with_sounds(rule, prompts) for rule in line.rules)
    if number is line.number and all(new is old for new, old in zip(rules, line.rules, strict=True)):
        return line
    return replace(line, number=number, rules=rules)


def _number_with_sounds(number: ServiceNumber, prompts: dict[str, str]) -> ServiceNumber:
    treatment = with_sounds(number.treatment, prompts)
    suspended = None if number.suspended is None else played_sound(number.suspended, prompts)
    if treatment is number.treatment and suspended == number.suspended:
        return number
    return msgspec.structs.replace(number, treatment=treatment, suspended=suspended)


def _with_sounds(rule: Rule, prompts: dict[str, str]) -> Rule:
    treatment = with_sounds(rule.treatment, prompts)
    return rule if treatment is rule.treatment else msgspec.structs.replace(rule, treatment=treatment)

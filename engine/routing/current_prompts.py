"""A line as calls go by it: each prompt that it names is the sound that the account plays for it now. Pure."""

from __future__ import annotations

from dataclasses import replace

import msgspec

from engine.numbers.sound_names import with_sounds
from engine.routing.model import AccountRouting, Line, Rule


def with_prompts(account: AccountRouting, prompts: dict[str, str] | None) -> AccountRouting:
    """The account with the current sounds of its prompts, by name."""
    return msgspec.structs.replace(account, prompts=prompts) if prompts else account


def with_current_prompts(line: Line) -> Line:
    """The line itself when it names no prompt."""
    prompts = line.account.prompts
    treatment = with_sounds(line.number.treatment, prompts)
    rules = tuple(_with_sounds(rule, prompts) for rule in line.rules)
    if treatment is line.number.treatment and all(new is old for new, old in zip(rules, line.rules, strict=True)):
        return line
    return replace(line, number=msgspec.structs.replace(line.number, treatment=treatment), rules=rules)


def _with_sounds(rule: Rule, prompts: dict[str, str]) -> Rule:
    treatment = with_sounds(rule.treatment, prompts)
    return rule if treatment is rule.treatment else msgspec.structs.replace(rule, treatment=treatment)

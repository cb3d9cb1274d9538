"""Facts put into texts: `{name}` stands for one."""

from __future__ import annotations

import re
from collections.abc import Collection, Mapping

from engine.foundation.errors import Invalid

_PLACEHOLDER = re.compile(r"\{([^{}]*)\}")


def filled(text: str, facts: Mapping[str, str]) -> str:
    """The text with each `{name}` as its fact, in one pass; a name that has no fact stays as it is written."""
    return _PLACEHOLDER.sub(lambda found: facts.get(found[1], found[0]), text)


def check_placeholders(text: str, known: Collection[str], field: str) -> None:
    """Raises Invalid, naming `field`, when something else than a `known` name stands in braces."""
    unknown = [name for name in _PLACEHOLDER.findall(text) if name not in known]
    if unknown:
        may = ", ".join(f"{{{name}}}" for name in known)
        raise Invalid(f"{field}: nothing is known to stand for {{{unknown[0]}}}; a text may hold {may}")

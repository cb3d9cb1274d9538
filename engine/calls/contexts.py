"""The dialplan's own words for where a channel is (dialplan/extensions.conf), as far as somebody here goes by them."""

from __future__ import annotations

ALONE = "dari-alone"
"""The context in which a call goes without an engine; what it calls begins with the same word, but for TELLS."""
BACK = "dari-back"
"""The one in which a call is offered to the engine that has it, after the dialplan rang in vain."""
OF_TARGETS = ("dari-alone-leg", "dari-alone-told")
"""Those for the other leg of such a call."""
TELLS = "dari-say"
"""The one in which a caller is told something; only calls without an engine come there."""
GOES_ALONE = "alone"
"""The label, where calls come in, from which a call goes without an engine."""


def runs_alone(context: str) -> bool:
    """Whether a call that is there goes without an engine."""
    return context.startswith(ALONE) or context == TELLS

"""The lines of the call log on a terminal: the same words, with colours that tell good from bad and call from call."""

from __future__ import annotations

from rich.text import Text

from engine.events.call_log import (
    KIND_WIDTH,
    KST,
    PARTIES_WIDTH,
    CallEvent,
    CallEventKind,
    parties,
    printable,
    short_id,
)

WIDE = 140
"""Columns from which every line names its parties; on a narrower terminal only the one in which a call arrives."""

# Neighbouring calls get different colours, so that the eye follows one of several.
_CALLS = ("cyan", "magenta", "blue", "bright_cyan", "bright_magenta", "bright_blue")

_GOOD, _BAD, _PITY = "bold green", "bold red", "yellow"
_KINDS = {
    CallEventKind.ARRIVED: "bold",
    CallEventKind.ANSWERED: "green",
    CallEventKind.CONNECTED: _GOOD,
    CallEventKind.NOT_RECORDED: _PITY,
    CallEventKind.MESSAGE_DELIVERED: _GOOD,
    CallEventKind.MESSAGE_HELD: _PITY,
    CallEventKind.MESSAGE_FAILED: _BAD,
}
_RESULTS = {
    "answered": _GOOD,
    "busy": _PITY,
    "no answer": _PITY,
    "caller gave up": _PITY,
    "not in service": _PITY,
}


def coloured(event: CallEvent, width: int = WIDE) -> Text:
    """The event as one line for a terminal of so many columns: without the date, otherwise as `line` has it."""
    text = Text()
    gap = "  " if width >= WIDE else " "
    text.append(f"{event.at.astimezone(KST):%H:%M:%S.%f}"[:-3] + gap, "dim")
    text.append(short_id(event.call_id) + gap, _CALLS[event.call_id.int % len(_CALLS)])
    text.append(f"{event.kind.value:<{KIND_WIDTH}}{gap}", _kind_style(event))
    if width >= WIDE:
        text.append(f"{parties(event):<{PARTIES_WIDTH}}  ")
    elif event.kind is CallEventKind.ARRIVED:
        text.append(f"{parties(event)}  ")
    text.append(printable(event.detail), result_style(event.detail) if event.kind is CallEventKind.ENDED else "")
    text.rstrip()
    return text


def result_style(result: str) -> str:
    """The colour of how a call ended, by the words before the first comma; what is not known here is a failure."""
    return _RESULTS.get(result.partition(",")[0], _BAD)


def _kind_style(event: CallEvent) -> str:
    if event.kind is CallEventKind.ENDED:
        return result_style(event.detail)
    return _KINDS.get(event.kind, "")

"""The rungs of a call's ladder: who told whom what, and when."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from datetime import datetime

import msgspec
from rich.text import Text

from engine.asterisk.sip_trace import SipMessage
from engine.cdr.model import CallRecord, Leg, Side, Step
from engine.events.call_log import printable
from engine.foundation.phone_number import NumberClass, classify, national

_DIGITS = re.compile(r"(?<![\w.])\+?\d{8,15}(?![\w.])")
_CALL_IDS = re.compile(r"^(?:Call-ID|i)[ \t]*:.*$", re.IGNORECASE | re.MULTILINE)


class Rung(msgspec.Struct, frozen=True, kw_only=True):
    """One thing that happened. `source` and `destination` are the same for what Dari noted by itself."""

    at: datetime
    source: Side
    destination: Side
    text: str
    """For people: a SIP message's first line, or what was done."""
    sip: str = ""
    """The SIP message, whole."""


def rungs_of_sip(messages: Iterable[SipMessage], sides: Mapping[str, Side]) -> list[Rung]:
    """SIP messages as rungs between Dari and the side that each Call-ID belongs to."""
    ours: dict[str, str] = {}
    rungs = []
    for message in messages:
        other = sides[message.call_id]
        # The first message of a leg is its INVITE: from the caller to us, or from us to the target.
        ours.setdefault(message.call_id, message.destination if other is Side.CALLER else message.source)
        sent = message.source == ours[message.call_id]
        rungs.append(
            Rung(
                at=message.at,
                source=Side.DARI if sent else other,
                destination=other if sent else Side.DARI,
                text=_first_line(message.text),
                sip=message.text,
            )
        )
    return rungs


def rungs_of_record(record: CallRecord) -> list[Rung]:
    """What the record notes: when the call came and ended, its steps, and what became of its legs."""
    rungs = [_noted(record.arrived_at, f"call arrived by trunk {record.trunk}")]
    for step in record.steps:
        rungs.append(_noted(step.started_at, _told(step)))
        if step.ended_at:
            rungs.append(_noted(step.ended_at, f"{step.kind.value} {'ended' if step.whole else 'cut short'}"))
    for leg in record.legs:
        rungs += _leg(leg)
    rungs.append(_noted(record.ended_at, f"call ended by {record.ended_by.value}: {record.result.value}"))
    return rungs


def without_numbers(rung: Rung) -> Rung:
    """The rung with people's numbers as 010****5678; 050 numbers and Call-IDs stay as they were sent."""
    return msgspec.structs.replace(rung, text=_masked(rung.text), sip=_masked(rung.sip))


def coloured_rung(rung: Rung, start: datetime, *, full: bool) -> Text:
    """One line of the ladder: seconds since the call arrived, the two parties, what was said; `full`: all of it."""
    text = Text()
    text.append(f"{(rung.at - start).total_seconds():+9.3f}  ", "dim")
    text.append(f"{_lanes(rung)}  ", "" if rung.sip else "dim")
    text.append(printable(rung.text), _style(rung))
    if full and rung.sip:
        for line in rung.sip.rstrip().splitlines():
            text.append("\n" + " " * 13 + printable(line), "dim")
        text.append("\n")
    return text


def _lanes(rung: Rung) -> str:
    """`caller --> dari`, `dari --> target`, with Dari always in the middle."""
    if Side.CALLER in (rung.source, rung.destination):
        return f"caller {'-->' if rung.source is Side.CALLER else '<--'} dari            "
    if Side.TARGET in (rung.source, rung.destination):
        return f"           dari {'<--' if rung.source is Side.TARGET else '-->'} target "
    return "           dari            "


def _style(rung: Rung) -> str:
    if not rung.sip:
        return "cyan"
    if not rung.text[:3].isdigit():
        return "bold"
    return {"1": "", "2": "bold green", "3": "yellow", "4": "bold yellow"}.get(rung.text[0], "bold red")


def _first_line(message: str) -> str:
    """A request's method and URI, or a response's code and reason, and whether it carries a sound description."""
    head, _, body = message.partition("\r\n\r\n")
    line = head.partition("\r\n")[0].removesuffix(" SIP/2.0").removeprefix("SIP/2.0 ").replace(" sip:", " ", 1)
    return f"{line} (SDP)" if body.startswith("v=0") else line


def _noted(at: datetime, text: str) -> Rung:
    return Rung(at=at, source=Side.DARI, destination=Side.DARI, text=text)


def _told(step: Step) -> str:
    heard_by = " and ".join(side.value for side in step.to)
    return f"{step.kind.value} {step.sound or ''}".rstrip() + (f" to {heard_by}" if heard_by else "")


def _leg(leg: Leg) -> list[Rung]:
    moments = ((leg.ringing_at, "rings"), (leg.answered_at, "answered"))
    rungs = [_noted(at, f"{leg.side.value} {what}") for at, what in moments if at]
    if leg.ended_at:
        code = f", SIP {leg.sip_code}" if leg.sip_code else ""
        rungs.append(_noted(leg.ended_at, f"{leg.side.value}'s leg ended, cause {leg.cause}{code}"))
    return rungs


def _masked(text: str) -> str:
    kept = _CALL_IDS.findall(text)
    masked = _DIGITS.sub(_hidden, text)
    return _CALL_IDS.sub(lambda _: kept.pop(0), masked)


def _hidden(found: re.Match[str]) -> str:
    digits = found[0]
    number = national(digits)
    if number and classify(number) is NumberClass.VIRTUAL:
        return digits
    return f"{digits[:-8]}****{digits[-4:]}"

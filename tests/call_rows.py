"""Rows of Asterisk's call file as Asterisk writes them."""

from __future__ import annotations

from datetime import datetime, timedelta
from itertools import count
from pathlib import Path

from tests.call_records import CALLER, MORNING, NUMBER

_numbers = count(1)
COLUMNS = 15
"""Of the rows of this version."""


def written_row(
    *,
    channel: str = "",
    sip_call_id: str | None = None,
    began: datetime = MORNING,
    answered: float | None = None,
    lasted: float = 10.0,
    caller: str = CALLER,
    number: str = f"+82{NUMBER[1:]}",
    cause: str = "16",
    offer: str = "TIMEOUT",
    alone: str = "yes",
    presentation: str = "allowed_not_screened",
    result: str = "",
    target: str = "",
    account: str = "",
    recording: str = "",
    notices: str = "",
    columns: int = COLUMNS,
) -> bytes:
    """One line. `answered` and `lasted` are seconds after `began`; `sip_call_id` "" is no call from a trunk.

    Of an `offer` DIRECT|CALLER it was the caller's channel that hung up. Other `columns` than ours are those of earlier
    versions: 22, or 14.
    """
    serial = next(_numbers)
    channel = channel or f"{began.timestamp():.0f}.{serial}"
    instants = [began, began + timedelta(seconds=answered) if answered is not None else None]
    instants.append(began + timedelta(seconds=lasted))
    ours, is_leg = columns == COLUMNS, sip_call_id == ""
    if sip_call_id is None:
        unwritten = ours and (alone == "full" or (alone == "" and offer.partition("|")[0] in ("SUCCESS", "DIRECT")))
        sip_call_id = "" if unwritten else f"{channel}@192.0.2.1"
    called = NUMBER if alone == "yes" else ""
    name = f"PJSIP/carrier-{serial:08x}"
    offer = offer.replace("|CALLER", f"|{name}")
    told = [result, target, account, recording, notices]
    if ours:
        offer, alone = ("FULL", "") if alone == "full" else (offer, alone)
        written = ["" if is_leg else f"{cause} {offer} {presentation}", ""]
        written.append("|".join([alone, called, *told]) if alone == "yes" else alone)
    else:
        written = [cause, offer, alone, called, presentation, *told]
    fields = [
        channel,
        channel,
        sip_call_id,
        name,
        caller,
        number,
        *(f"{instant.timestamp():.6f}" if instant else "0.000000" for instant in instants),
        str(int(lasted)),
        str(int(lasted - answered)) if answered is not None else "0",
        "ANSWERED" if answered is not None else "NO ANSWER",
        *written,
    ]
    return (",".join('"{}"'.format(field.replace('"', '""')) for field in fields[:columns]) + "\n").encode()


def append(path: Path, *rows: bytes) -> None:
    """As Asterisk does it: opened anew for each."""
    path.parent.mkdir(parents=True, exist_ok=True)
    for row in rows:
        with path.open("ab") as file:
            file.write(row)

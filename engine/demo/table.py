"""The six calls as a table."""

from __future__ import annotations

import wave
from pathlib import Path

from rich import box
from rich.console import Console
from rich.table import Table
from rich.text import Text

from engine.cdr.model import Result
from engine.demo.findings import Finding
from engine.events.call_log import short_id
from engine.sandbox import ear


def show_findings(console: Console, findings: list[Finding]) -> None:
    """One row per call, then what is wrong, if anything is."""
    table = Table(
        box=box.HORIZONTALS,
        show_edge=False,
        pad_edge=False,
        collapse_padding=True,
        title="Six calls",
        title_justify="left",
        title_style="bold",
    )
    for name in _COLUMNS:
        table.add_column(name, justify="right" if name in _FIGURES else "left", overflow="fold", no_wrap=name in _WHOLE)
    for number, finding in enumerate(findings, 1):
        table.add_row(str(number), *_row(finding))
    console.print()
    console.print(table)
    for number, finding in enumerate(findings, 1):
        if finding.recording:
            console.print(f"recording of call {number}: {finding.recording}", highlight=False, soft_wrap=True)
    for finding in findings:
        for wrong in finding.wrong:
            console.print(f"[bold red]✗[/] {finding.placed.script.title}: {wrong}", highlight=False)
    right = sum(not finding.wrong for finding in findings)
    style = "bold green" if right == len(findings) else "bold red"
    console.print(
        "from the INVITE: PDD to the first 180 or 183, 1st sound and 1st ringback to when it is heard", style="dim"
    )
    console.print(f"[{style}]{right} of {len(findings)} calls did what they should[/]", highlight=False)


_DELAYS = ("PDD", "1st sound", "1st ringback")
_COLUMNS = ("#", "call", "id", "the caller heard", "result", "SIP", "talk", "recorded", "message", *_DELAYS)
_WHOLE = frozenset({"id", "result", "SIP", "talk", "recorded", "PDD", "the caller heard"})
"""Columns that stay on one line on a narrow terminal."""
_FIGURES = frozenset({"#", "SIP", "talk", "recorded", *_DELAYS})


def _row(finding: Finding) -> list[Text]:
    record, caller = finding.record, finding.placed.caller
    return [
        Text(("✗ " if finding.wrong else "✓ ") + finding.placed.script.title, "red" if finding.wrong else "green"),
        Text(short_id(record.call_id), "dim"),
        Text(ear.describe(finding.heard).replace(", ", "\n")),
        Text(record.result.value, "bold" if record.result is Result.ANSWERED else ""),
        Text(str(caller.final_code)),
        Text(f"{record.talk_seconds:.1f} s" if record.talk_seconds else "–"),
        Text(f"{_seconds(finding.recording):.1f} s" if finding.recording else "–"),
        _message(finding),
        _milliseconds(caller.post_dial_delay),
        _milliseconds(caller.first_audio_delay),
        _milliseconds(next((one.start for one in finding.heard if one.what == "ringback"), None)),
    ]


def _message(finding: Finding) -> Text:
    if finding.message is None:
        return Text("none: the number is nobody's", "dim")
    if finding.message.reason:
        rule, _, _ = finding.message.reason.partition(":")
        return Text(f"{finding.message.status.value}: {rule}", "yellow")
    return Text(finding.message.status.value, "green")


def _seconds(recording: Path) -> float:
    with wave.open(str(recording), "rb") as sound:
        return sound.getnframes() / sound.getframerate()


def _milliseconds(seconds: float | None) -> Text:
    return Text(f"{seconds * 1000:.0f} ms" if seconds is not None else "–")

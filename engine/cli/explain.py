"""`dari explain`: what would happen if somebody called, and one sound of what they would hear. Changes nothing."""

from __future__ import annotations

import asyncio
from datetime import UTC, datetime
from enum import StrEnum
from pathlib import Path
from typing import Annotated

import typer
from rich import box
from rich.table import Table
from rich.text import Text

from engine.app.speech import speech_setup
from engine.cli.database import in_transaction
from engine.cli.printing import console, print_json
from engine.events.call_log import printable
from engine.foundation.errors import DariError, Invalid, TryLater
from engine.foundation.phone_number import PhoneNumber, parse
from engine.prompts.speech.setup import opened_speech
from engine.routing.call_plan import CallPlan
from engine.routing.known import read_known
from engine.routing.model import History, Line
from engine.routing.opening import zone_of
from engine.routing.plan import plan
from engine.settings import PRODUCT_FILES, Settings, read_settings
from engine.whatif.asked import Read, read_from_database
from engine.whatif.explanation import STANDARD_ZONE, Asking, Explanation, explain
from engine.whatif.heard import ANSWER_AFTER, Assumed, Heard, Outcome, answer_soon, wav_of
from engine.whatif.sounded import heard_of, whisper_of
from engine.whatif.telling import Said, Section, Tone, heard_section, sections, title

app = typer.Typer(add_completion=False, pretty_exceptions_enable=False)

SNAPSHOT = "routing.snapshot"
"""What the engine keeps in its spool for the time without a database."""

_LONGEST_ANSWER_AFTER = 600.0
_STYLES = {Tone.PLAIN: "", Tone.GOOD: "green", Tone.BAD: "bold red", Tone.PITY: "yellow", Tone.DIM: "dim"}
_MARK = 6
_ABOUT, _ABOUT_WIDE = 26, 40
_WIDE = 100


class OutcomeName(StrEnum):
    """As an operator types it."""

    ANSWERED = "answered"
    BUSY = "busy"
    NO_ANSWER = "no-answer"
    UNREACHABLE = "unreachable"
    REJECTED = "rejected"
    NOT_ACCEPTED = "not-accepted"


@app.command("explain")
def explain_(
    number: Annotated[str, typer.Argument(metavar="NUMBER", help="The number called: 0507-1234-5678.")],
    caller: Annotated[str, typer.Option("--from", metavar="CALLER", help="Who calls. Default: withheld.")] = "",
    at: Annotated[
        str,
        typer.Option("--at", metavar="TIME", help="When, on the account's clock unless it has a zone. Default: now."),
    ] = "",
    as_json: Annotated[bool, typer.Option("--json", help="One JSON object.")] = False,
    wav: Annotated[
        Path | None, typer.Option(metavar="FILE", help="Write what the caller hears as 8 kHz WAV there.")
    ] = None,
    stereo: Annotated[
        bool, typer.Option("--stereo", help="In that file: the caller at the left, the target at the right.")
    ] = False,
    outcome: Annotated[OutcomeName, typer.Option(help="How the telephones behave in it.")] = OutcomeName.ANSWERED,
    answer_after: Annotated[
        float | None,
        typer.Option(
            min=0,
            max=_LONGEST_ANSWER_AFTER,
            metavar="SECONDS",
            help=f"When somebody answers in it. Default {ANSWER_AFTER:g}, or half the shortest ring time.",
        ),
    ] = None,
    talk: Annotated[
        float, typer.Option(min=0, max=86_400, metavar="SECONDS", help="How long a talk the message is decided for.")
    ] = 60.0,
) -> None:
    """Say what would happen if CALLER called NUMBER: who rings, what everyone hears, which message goes and why."""
    if stereo and wav is None:
        raise Invalid("--stereo: it is about the file of --wav; name one")
    settings = read_settings()
    asked = parse(number)
    who = parse(caller, "--from") if caller else None
    read = _read(settings, asked, who, at)
    made = plan(read.line, who, read.at, read.history, settings.ring_seconds)
    told = explain(
        Asking(asked, who, read.at),
        read.line,
        read.history,
        made,
        read.evidence,
        source=read.source,
        talk_seconds=talk,
    )
    assumed = Assumed(Outcome[outcome.name], answer_soon(made) if answer_after is None else answer_after)
    heard = _heard(settings, read, who, made, assumed) if wav else None
    if wav is not None and heard is not None:
        wav.write_bytes(wav_of(heard, stereo=stereo))
    if as_json:
        print_json([told])
    else:
        _print(told, heard, wav)


def _read(settings: Settings, number: PhoneNumber, caller: PhoneNumber | None, at: str) -> Read:
    """From the database; when it is away, from what the engine keeps on disk. Raises TryLater when there is neither."""
    try:
        return in_transaction(
            settings, lambda rows: read_from_database(rows, number, caller, lambda line: _instant(at, line))
        )
    except TryLater as away:
        file = settings.paths.spool / SNAPSHOT
        known = read_known(file)
        if known is None:
            raise TryLater(f"{away}; nor is there a snapshot of the engine in {file.parent}") from None
        line = known.line(number)
        written_at = datetime.fromtimestamp(file.stat().st_mtime, UTC).astimezone(zone_of(_zone(line)))
        source = f"the database is away: from the engine's snapshot of {written_at:%Y-%m-%d %H:%M:%S}"
        return Read(line, History(known=False), None, _instant(at, line), source)


def _zone(line: Line | None) -> str:
    return line.account.zone if line else STANDARD_ZONE


def _instant(text: str, line: Line | None) -> datetime:
    """The time typed, on the account's clock unless it has a zone; now for none."""
    if not text:
        return datetime.now(UTC)
    try:
        instant = datetime.fromisoformat(text)
        return (instant if instant.tzinfo else instant.replace(tzinfo=zone_of(_zone(line)))).astimezone(UTC)
    except (ValueError, OverflowError):
        raise Invalid(f"--at: {text!r} is no time; write it like 2026-12-25T09:30 or 2026-12-25T09:30+09:00") from None


def _heard(settings: Settings, read: Read, caller: PhoneNumber | None, made: CallPlan, assumed: Assumed) -> Heard:
    """What both sides hear; of sounds that ship with Dari also before the first `dari up` has put them there."""
    return heard_of(
        read,
        caller,
        made,
        assumed,
        ring_seconds=settings.ring_seconds,
        folders=(settings.paths.sounds, PRODUCT_FILES / "prompts" / "sounds"),
        spoken=asyncio.run(_spoken(settings, made)),
    )


async def _spoken(settings: Settings, made: CallPlan) -> dict[str, str]:
    """The sound of the whisper's text; none when it cannot be spoken, as in a call."""
    text = whisper_of(made)
    if not text:
        return {}
    try:
        async with opened_speech(speech_setup(settings), settings.paths.sounds) as speech:
            return {text: await speech.sound_for(text)}
    except DariError as error:
        typer.echo(f"dari: the whisper is not spoken: {error}", err=True)
        return {}


def _print(told: Explanation, heard: Heard | None, wav: Path | None) -> None:
    terminal = console()
    terminal.print(Text(title(told), "bold"))
    terminal.print(Text(told.source, "dim" if told.evidence_known else "yellow"))
    parts = list(sections(told))
    if heard is not None:
        parts.append(heard_section(heard.timeline))
    for section in parts:
        terminal.print()
        terminal.print(Text(section.title, "bold cyan"))
        terminal.print(_table(section, terminal.width))
    if heard is not None:
        terminal.print()
        terminal.print(Text(f"{heard.seconds:.1f} s written to {wav}"))


def _table(section: Section, width: int) -> Table:
    """One line for each thing said; long text goes on under itself."""
    made = Table(box=box.SIMPLE, show_header=False, show_edge=False, pad_edge=False, padding=(0, 1), expand=False)
    about = _ABOUT_WIDE if width >= _WIDE else _ABOUT
    marks = any(line.mark for line in section.lines)
    if marks:
        made.add_column(width=_MARK, no_wrap=True, justify="right")
    made.add_column(width=about, overflow="fold")
    made.add_column(overflow="fold")
    for line in section.lines:
        made.add_row(*_cells(line, marks))
    return made


def _cells(line: Said, marks: bool) -> list[Text]:
    style = _STYLES[line.tone]
    cells = [Text(printable(line.about), style), Text(printable(line.text), style)]
    return [Text(line.mark, style), *cells] if marks else cells

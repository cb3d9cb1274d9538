"""`dari replay`: past calls against other rules. Changes nothing."""

from __future__ import annotations

import sys
from collections import Counter
from collections.abc import Mapping
from contextlib import aclosing
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Annotated

import msgspec
import typer
from rich.console import Console
from rich.padding import Padding
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn
from rich.text import Text
from sqlalchemy.ext.asyncio import AsyncConnection

from engine.cdr.past import count_arrived
from engine.cli.coloured import result_style
from engine.cli.database import in_transaction
from engine.cli.printing import console, day_and_time, print_json, shown
from engine.events.call_log import KST, printable, short_id
from engine.foundation.errors import Invalid
from engine.foundation.phone_number import PhoneNumber, parse, written
from engine.numbers.rules import checked_treatment
from engine.numbers.sound_names import prompts_of
from engine.routing import current_lines
from engine.routing.model import Line, Rule
from engine.routing.rules import checked_rules
from engine.settings import Settings, read_settings
from engine.whatif.replay import ChangedCall, RuleSet, Tried, replay, tried_with

app = typer.Typer(add_completion=False, pretty_exceptions_enable=False)


class Summary(msgspec.Struct, frozen=True, kw_only=True):
    """The last line of --json."""

    calls: int
    """Looked at."""
    changed: int
    changes: dict[str, int]
    """How many calls would have been otherwise, by what."""


@dataclass(slots=True)
class _Counted:
    calls: int = 0
    changed: int = 0
    changes: Counter[str] = field(default_factory=Counter)

    def add(self, calls: int, changed: list[ChangedCall]) -> None:
        self.calls += calls
        self.changed += len(changed)
        for call in changed:
            self.changes.update(change.setting for change in call.changes)

    @property
    def summary(self) -> Summary:
        return Summary(calls=self.calls, changed=self.changed, changes=dict(self.changes.most_common()))


@app.command("replay")
def replay_(
    since: Annotated[
        str, typer.Option(metavar="TIME", help="Calls from this instant on, Korean time unless it has a zone.")
    ],
    with_file: Annotated[
        Path,
        typer.Option("--with", metavar="FILE", help="The other rules, as `dari rule export` writes them; changed."),
    ],
    until: Annotated[str, typer.Option(metavar="TIME", help="Calls before this instant. Default: now.")] = "",
    number: Annotated[
        str, typer.Option(metavar="NUMBER", help="Only calls to this number. Default: all those in the file.")
    ] = "",
    limit: Annotated[int, typer.Option(min=0, help="How many calls are listed; all are counted. 0: all.")] = 50,
    as_json: Annotated[
        bool, typer.Option("--json", help="One JSON object per call that changes, all of them, and one of the counts.")
    ] = False,
    numbers: Annotated[bool, typer.Option("--numbers", help="Show whole numbers, not 010-****-5678.")] = False,
) -> None:
    """Run past calls against other rules, and list those that would have gone otherwise."""
    settings = read_settings()
    first = _instant(since, "--since")
    last = _instant(until, "--until") if until else datetime.now(UTC)
    if last <= first:
        raise Invalid("--until: it must be after --since")
    wanted = read_rule_sets(with_file, parse(number, "--number") if number else None)
    printer = _Printer(as_json, limit, settings.mask_numbers and not numbers)
    counted = in_transaction(settings, lambda rows: _replayed(rows, settings, wanted, (first, last), printer))
    printer.end(counted.summary)


def read_rule_sets(file: Path, only: PhoneNumber | None) -> dict[PhoneNumber, RuleSet]:
    """The rules by number: of one, as `dari rule export` writes them, or of several: `{number: {rules, treatment}}`.

    Raises Invalid or NotAllowed, naming what cannot be.
    """
    try:
        content = msgspec.json.decode(file.read_bytes(), type=list[Rule] | dict[str, RuleSet])
    except (msgspec.MsgspecError, UnicodeDecodeError) as error:
        raise Invalid(f"--with: {file} cannot be read ({error}); give a file that `dari rule export` wrote") from None
    if isinstance(content, list):
        if only is None:
            raise Invalid(f"--with: {file} holds the rules of one number; say of which with --number")
        return {only: _checked(RuleSet(rules=tuple(content)), only)}
    sets = {parse(text, "--with"): wanted for text, wanted in content.items()}
    found = {number: _checked(wanted, number) for number, wanted in sets.items() if only in (None, number)}
    if not found:
        raise Invalid(f"--with: {file} holds no rules" + (f" of {written(only)}" if only else ""))
    return found


def _checked(wanted: RuleSet, number: PhoneNumber) -> RuleSet:
    return RuleSet(
        treatment=None if wanted.treatment is None else checked_treatment(wanted.treatment, number),
        rules=None if wanted.rules is None else checked_rules(wanted.rules, number),
    )


async def _replayed(
    rows: AsyncConnection,
    settings: Settings,
    wanted: Mapping[PhoneNumber, RuleSet],
    between: tuple[datetime, datetime],
    printer: _Printer,
) -> _Counted:
    lines = {number: _tried(await current_lines.find(rows, number), rule_set) for number, rule_set in wanted.items()}
    counted = _Counted()
    whole = await count_arrived(rows, list(lines), *between)
    with _progress(printer) as bar:
        task = bar.add_task("calls", total=whole)
        async with aclosing(replay(rows, lines, *between, settings.ring_seconds)) as pages:
            async for calls, changed in pages:
                counted.add(calls, changed)
                bar.advance(task, calls)
                printer.show(changed)
    return counted


def _tried(line: Line, wanted: RuleSet) -> Tried:
    """Raises Invalid for a prompt that the account does not have."""
    said = [rule.treatment for rule in wanted.rules or ()] + ([wanted.treatment] if wanted.treatment else [])
    for name in (name for treatment in said for name in prompts_of(treatment)):
        if name not in line.account.prompts:
            raise Invalid(
                f"--with: the account of {written(line.number.number)} has no prompt {name!r}; "
                "`dari prompt list` shows those that it has"
            )
    return tried_with(line, wanted)


class _Printer:
    """Shows calls as they are found; nothing is held back but what the limit leaves out."""

    def __init__(self, as_json: bool, limit: int, mask: bool) -> None:
        self.as_json = as_json
        self._left = limit or sys.maxsize
        self._shown = 0
        self._mask = mask
        self.terminal = console()

    def show(self, changed: list[ChangedCall]) -> None:
        if self.as_json:
            print_json(changed)
            return
        for call in changed[: self._left]:
            self._print(call)
        now = min(self._left, len(changed))
        self._left -= now
        self._shown += now

    def end(self, summary: Summary) -> None:
        if self.as_json:
            print_json([summary])
            return
        if summary.changed:
            self.terminal.print()
        hidden = "" if self._shown == summary.changed else f"; {self._shown} are listed, --limit 0 lists all"
        self.terminal.print(
            Text(f"{summary.changed} of {summary.calls} calls would have gone otherwise{hidden}", "bold")
        )
        width = max(map(len, summary.changes), default=0)
        for setting, count in summary.changes.items():
            self.terminal.print(f"  {setting:<{width}}  {count}")

    def _print(self, call: ChangedCall) -> None:
        self.terminal.print(
            Text.assemble(
                day_and_time(call.arrived_at),
                f"  {short_id(call.call_id)}  ",
                shown(call.caller, mask=self._mask),
                " → ",
                shown(call.number, mask=self._mask),
                "  ",
                (call.result.value, result_style(call.result.value)),
            )
        )
        for change in call.changes:
            line = Text.assemble(
                (f"{change.setting}: ", "bold"), (printable(change.before), "dim"), " → ", printable(change.after)
            )
            self.terminal.print(Padding(line, (0, 0, 0, 4)))


def _progress(printer: _Printer) -> Progress:
    """For people only: under the calls that are listed, or on stderr while they go into a file or a pipe."""
    listed_here = sys.stdout.isatty()
    live = printer.terminal if listed_here else Console(stderr=True)
    return Progress(
        TextColumn("{task.description}"),
        BarColumn(),
        MofNCompleteColumn(),
        TimeRemainingColumn(),
        console=live,
        transient=True,
        redirect_stdout=False,
        redirect_stderr=False,
        disable=not live.is_terminal or (listed_here and printer.as_json),
    )


def _instant(text: str, field: str) -> datetime:
    try:
        instant = datetime.fromisoformat(text)
        return (instant if instant.tzinfo else instant.replace(tzinfo=KST)).astimezone(UTC)
    except (ValueError, OverflowError):
        raise Invalid(f"{field}: {text!r} is no time; write it like 2026-11-21T09:00") from None

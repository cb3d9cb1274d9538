"""A number's rules as a table, and what is odd about them as lines below it."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from datetime import UTC, datetime
from pathlib import Path

import typer
from rich.text import Text

from engine.cli.printing import Column
from engine.cli.wording import condition_words, treatment_words
from engine.events.call_log import printable
from engine.routing.check import Against
from engine.routing.finding import Finding
from engine.routing.model import Rule
from engine.settings import PRODUCT_FILES, read_settings

_COLUMNS = (
    Column("#", right=True),
    Column("Rule"),
    Column("When", folds=True),
    Column("What", folds=True),
    Column("", spare=1),
)


def rules_table(rules: Sequence[Rule]) -> tuple[Sequence[Column], list[list[Text]]]:
    """The columns and the rows, in the order in which the rules are asked."""
    return _COLUMNS, [_row(position, rule) for position, rule in enumerate(rules, 1)]


def print_findings(findings: Iterable[Finding]) -> None:
    """Each on a line on stderr."""
    for finding in findings:
        typer.echo(printable(f"{finding.severity.value}: {finding.sentence}"), err=True)


def checked_against() -> Against:
    """What rules are checked against here and now."""
    settings = read_settings()
    sounds = _names(settings.paths.sounds.glob("*/*.wav")) | _names((PRODUCT_FILES / "prompts/sounds").glob("*/*.wav"))
    return Against(now=datetime.now(UTC), ring_seconds=settings.ring_seconds, sounds=sounds)


def _names(files: Iterable[Path]) -> set[str]:
    return {f"{file.parent.name}/{file.stem}" for file in files}


def _row(position: int, rule: Rule) -> list[Text]:
    style = "" if rule.enabled else "dim"
    what = "; ".join(f"{name} {text}" for name, text in treatment_words(rule.treatment).items())
    return [
        Text(str(position), style),
        Text(printable(rule.name), style or "bold"),
        Text(printable(condition_words(rule.condition)), style),
        Text(printable(what) or "-", style),
        Text("" if rule.enabled else "off", style),
    ]

"""How a rule's condition is typed: the options of `dari rule`."""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum
from typing import Annotated, TypeVar

import typer

from engine.cdr.model import Result
from engine.cli.calendar import dates, times, weekdays
from engine.cli.options import word, words_of
from engine.foundation.errors import Invalid
from engine.routing.model import Condition, DayKind, LastCall

_E = TypeVar("_E", bound=Enum)

_WHEN = "When it holds: all that is named, and within one option any of its values"


@dataclass(frozen=True, slots=True, kw_only=True)
class ConditionOptions:
    """As typed; None: not named."""

    weekdays: Annotated[
        str | None, typer.Option(metavar="mon-fri,sun", help="On these weekdays.", rich_help_panel=_WHEN)
    ] = None
    times: Annotated[
        str | None,
        typer.Option(
            metavar="18:00-09:00,…",
            help="Within these hours; past midnight they belong to the day on which they begin.",
            rich_help_panel=_WHEN,
        ),
    ] = None
    dates: Annotated[
        str | None,
        typer.Option(metavar="2026-12-24..2026-12-26,…", help="On these days, both included.", rich_help_panel=_WHEN),
    ] = None
    days: Annotated[
        str | None,
        typer.Option(
            metavar=words_of(DayKind).replace("|", ","), help="On days of these kinds.", rich_help_panel=_WHEN
        ),
    ] = None
    callers: Annotated[
        str | None,
        typer.Option(
            metavar="GROUP,…,withheld",
            help="For callers of these groups, or without a number.",
            rich_help_panel=_WHEN,
        ),
    ] = None
    last_call: Annotated[
        str | None,
        typer.Option(
            metavar="no-answer,busy,…",
            help="When the caller's last call to the number ended so.",
            rich_help_panel=_WHEN,
        ),
    ] = None
    within_hours: Annotated[
        int | None,
        typer.Option(metavar="HOURS", help="How long ago that is at most. Default 24.", rich_help_panel=_WHEN),
    ] = None

    def condition(self) -> Condition:
        """What was named. Raises Invalid."""
        if self.within_hours is not None and self.last_call is None:
            raise Invalid("last call: --within-hours goes with --last-call; name both")
        return Condition(
            weekdays=() if self.weekdays is None else weekdays(self.weekdays),
            times=() if self.times is None else times(self.times),
            dates=() if self.dates is None else dates(self.dates),
            days=tuple(_words("days", DayKind, self.days)),
            callers=tuple(name.strip() for name in self.callers.split(",")) if self.callers is not None else (),
            last_call=self._last_call(),
        )

    def _last_call(self) -> LastCall | None:
        if self.last_call is None:
            return None
        results = tuple(_words("last call", Result, self.last_call))
        return LastCall(results=results, within_hours=24 if self.within_hours is None else self.within_hours)


def _words(field: str, kind: type[_E], text: str | None) -> list[_E]:
    try:
        return [word(kind)(part) for part in text.split(",")] if text is not None else []
    except typer.BadParameter as error:
        raise Invalid(f"{field}: {error.message}") from None

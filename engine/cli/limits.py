"""How limits are typed: the options that `dari number` and `dari account` have in common."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated

import typer

from engine.numbers.treatment import Limits

_MOST = "How many calls it may have; 0: as many as come"


@dataclass(frozen=True, slots=True, kw_only=True)
class LimitOptions:
    """As typed; None: not named."""

    limit_at_once: Annotated[
        int | None, typer.Option("--limit-at-once", metavar="CALLS", help="At once.", rich_help_panel=_MOST)
    ] = None
    limit_per_hour: Annotated[
        int | None,
        typer.Option("--limit-per-hour", metavar="CALLS", help="In any 60 minutes.", rich_help_panel=_MOST),
    ] = None
    limit_per_day: Annotated[
        int | None,
        typer.Option("--limit-per-day", metavar="CALLS", help="In any 24 hours.", rich_help_panel=_MOST),
    ] = None

    @property
    def named(self) -> bool:
        return (self.limit_at_once, self.limit_per_hour, self.limit_per_day) != (None, None, None)

    def limits(self, before: Limits | None = None) -> Limits:
        """Those of `before` with what was named."""
        old = before or Limits()
        return Limits(
            at_once=_changed(old.at_once, self.limit_at_once),
            per_hour=_changed(old.per_hour, self.limit_per_hour),
            per_day=_changed(old.per_day, self.limit_per_day),
        )


def _changed(before: int | None, typed: int | None) -> int | None:
    return before if typed is None else typed or None

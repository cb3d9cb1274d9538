"""Tells on stderr what is under way: a moving line on a terminal, a plain line per step elsewhere."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Protocol

from rich.console import Console
from rich.progress import Progress, ProgressColumn, SpinnerColumn, Task, TextColumn, TimeElapsedColumn
from rich.progress_bar import ProgressBar


class Say(Protocol):
    def __call__(self, step: str, seconds: float | None = None) -> None:
        """This is under way from now on, for so many seconds where that is known."""


class _Elapsed(ProgressColumn):
    """A bar that fills with time; one that pulses where nobody knows how long it takes."""

    def render(self, task: Task) -> ProgressBar:
        pulse = task.total is None
        return ProgressBar(task.total or 1.0, min(task.elapsed or 0.0, task.total or 1.0), width=24, pulse=pulse)


@contextmanager
def telling() -> Iterator[Say]:
    """Lines while the block runs; the moving one is gone afterwards."""
    console = Console(stderr=True, highlight=False)
    if not console.is_terminal:
        yield lambda step, seconds=None: console.print(step, markup=False, soft_wrap=True)
        return
    with Progress(
        SpinnerColumn(),
        TextColumn("{task.description}"),
        _Elapsed(),
        TimeElapsedColumn(),
        console=console,
        transient=True,
    ) as progress:

        def say(step: str, seconds: float | None = None) -> None:
            for task in progress.task_ids:
                progress.remove_task(task)
            progress.add_task(step, total=seconds)

        yield say

"""What a call costs and how soon it is set up: `.venv/bin/python -m tests.bench.calls [--against CHECKOUT]`.

A checkout's `dari up` in a fresh home, SIPp as the carrier's callers and as shops that ring and answer at once, no
sound; beside it a trickle of calls of our own telephone, which measures to 0.1 ms. With --against two checkouts take
turns. Prints, asserts nothing; exits with 1 only when it could not measure or an answered call has no record.
"""

from __future__ import annotations

import argparse
import asyncio
import math
import os
import sys
from collections.abc import Sequence
from pathlib import Path

import msgspec
from rich.text import Text

from engine.cli.printing import console, table
from engine.foundation.errors import DariError, GaveUp, Invalid
from engine.settings import PRODUCT_FILES
from tests.bench.checkout import Checkout
from tests.bench.figures import Row, Run, rows
from tests.bench.load import Load
from tests.bench.measuring import Plan, measure
from tests.bench.progress import Say, telling
from tests.bench.stopping import stopped_in_order
from tests.sipp import find_sipp

_AROUND = 600.0  # seconds that a run may take beside its calls
_MOST_CALLS = 20_000


def main(arguments: Sequence[str] | None = None) -> int:
    """The exit code."""
    given = _options().parse_args(arguments)
    try:
        sides, plan = _sides(given), _plan(given)
        check_sipp()
        rounds = given.rounds or len(sides)
        with telling() as say:
            runs = asyncio.run(_in_turns(sides, plan, rounds, say))
    except DariError as error:
        print(f"bench: {error}", file=sys.stderr)
        return 1
    except (asyncio.CancelledError, KeyboardInterrupt):
        print("bench: interrupted; nothing is left running", file=sys.stderr)
        return 130
    columns = {name: [run for run in runs if run.name == name] for name in sides}
    found = rows(list(columns.values()))
    if given.json:
        print(msgspec.json.encode({"runs": runs, "rows": found}).decode())
    else:
        _show(columns, found)
    return _judged(runs)


def _options() -> argparse.ArgumentParser:
    options = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    add = options.add_argument
    add("--checkout", type=Path, default=PRODUCT_FILES, help="what is measured; default: this one")
    add("--python", type=Path, help="its Python; default: that of its .venv")
    add("--against", type=Path, metavar="CHECKOUT", help="a second one; ratios are --checkout's figures over its")
    add("--against-python", type=Path, metavar="PYTHON")
    add("--rate", type=float, default=10.0, help="SIPp's calls a second; default 10")
    add("--calls", type=int, help="how many; default: as many as begin in --seconds")
    add("--seconds", type=float, default=15.0, help="default 15")
    add("--hold", type=float, default=1.0, help="seconds that a call is held; default 1")
    add("--probe-rate", type=float, default=8.0, help="our own telephone's calls a second; default 8")
    add("--rounds", type=int, help="how often each is measured; default 1, two with --against")
    add("--numbers", type=int, default=3, help="how many 050 numbers are called in turn; default 3")
    add("--network", help="first three numbers of the loopback addresses; default 127.77.x, by process id")
    add("--json", action="store_true")
    return options


def _sides(given: argparse.Namespace) -> dict[str, Checkout]:
    """What is measured, by name, in the order in which they take turns."""
    now = {"now": Checkout.of(given.checkout, given.python)}
    if given.against is None:
        return now
    return {"before": Checkout.of(given.against, given.against_python)} | now


def check_sipp() -> None:
    """Raises Invalid when there is none; without DARI_ASTERISK_FILES it is the one that make unpacks."""
    os.environ.setdefault("DARI_ASTERISK_FILES", str(PRODUCT_FILES / ".cache" / "asterisk"))
    try:
        find_sipp()
    except AssertionError as error:
        raise Invalid(str(error)) from None


def _plan(given: argparse.Namespace) -> Plan:
    """Raises Invalid for what would take too long or measure nothing."""
    calls = round(given.rate * given.seconds) if given.calls is None else given.calls
    for name, value, most in (
        ("rate", given.rate, 500),
        ("calls", calls, _MOST_CALLS),
        ("hold", given.hold, 60),
        ("probe-rate", given.probe_rate, 50),
        ("numbers", given.numbers, 100),
        ("rounds", given.rounds or 1, 20),
        ("seconds that calls begin", calls / given.rate if given.rate > 0 else math.inf, 3600),
    ):
        if not 0 < value <= most:
            raise Invalid(f"{name}: {value:g} must be more than 0 and at most {most}")
    network = given.network or f"127.77.{os.getpid() % 250 + 1}"
    return Plan(Load(calls, given.rate, given.hold), given.probe_rate, given.numbers, network)


async def _in_turns(sides: dict[str, Checkout], plan: Plan, rounds: int, say: Say) -> list[Run]:
    """A, B, A, B. The first SIGINT or SIGTERM ends everything in order, however often it is said."""
    stopped_in_order(say)
    turns = [name for _ in range(rounds) for name in sides]
    runs = []
    for turn, name in enumerate(turns, 1):
        heading = f"{turn}/{len(turns)} {name}: " if len(turns) > 1 else ""

        def tell(step: str, seconds: float | None = None, *, heading: str = heading) -> None:
            say(f"{heading}{step}", seconds)

        longest = _AROUND + 3 * plan.load.seconds
        try:
            async with asyncio.timeout(longest):
                runs.append(await measure(name, sides[name], plan, tell))
        except TimeoutError:
            raise GaveUp(f"{name}: it was not over after {longest:.0f} s; try a lower --rate") from None
    return runs


def _show(columns: dict[str, list[Run]], found: list[Row]) -> None:
    made = table()
    made.add_column("", no_wrap=True)
    for name, runs in columns.items():
        commit = runs[0].commit
        made.add_column(f"{name} {commit}".strip(), justify="right")
    if len(columns) > 1:
        made.add_column("now/before", justify="right")
    for row in found:
        figures = [" ".join(f"{one:.{row.digits}f}" for one in runs) for runs in row.figures]
        ratio = [] if len(columns) < 2 else ["-" if row.ratio is None else f"{row.ratio:.2f}"]
        made.add_row(row.measure, *figures, *ratio)
    out = console()
    out.print(made)
    for name, runs in columns.items():
        for turn, run in enumerate(runs, 1):
            for what in _blemishes(run):
                out.print(Text(f"{name}, run {turn}: {what}", "yellow"))


def _blemishes(run: Run) -> list[str]:
    told = [f"{count} calls failed with {why}" for why, count in sorted(run.failed.items())]
    if run.recorded != run.placed:
        told.append(f"{run.placed} calls placed, {run.recorded} in the database")
    if run.restarted:
        told.append(f"started again meanwhile, so the figures are worth nothing: {', '.join(run.restarted)}")
    return told


def _judged(runs: list[Run]) -> int:
    lost = sum(run.lost for run in runs)
    if lost:
        print(f"bench: {lost} answered calls have no record; see the rows on calls above", file=sys.stderr)
    return 1 if lost else 0


if __name__ == "__main__":
    sys.exit(main())

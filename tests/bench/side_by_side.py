"""Dari beside what Asterisk allows: `.venv/bin/python -m tests.bench.side_by_side [--quick] [--sides A,C,D] [--peers]`.

Every side takes the same calls: real SIP by SIPp, and a trickle of our own telephones at both ends, which measures to
0.1 ms. A is a bare dialplan `Dial()`, B FastAGI, C a bare ARI loop (originate; C2: create and dial), D Dari with all it
does for a call, E the same with whisper and recording on real sound, F as D with a full database. Prints one table with
ratios to A and what of the goals is reached, writes JSON, asserts nothing; exits with 1 when it could not measure.
"""

from __future__ import annotations

import argparse
import asyncio
import math
import os
import platform
import sys
import time
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path

import msgspec
from rich import box
from rich.table import Table
from rich.text import Text

from engine.cli.printing import console
from engine.foundation.errors import DariError, Invalid
from engine.settings import PRODUCT_FILES
from tests.bench.calls import check_sipp
from tests.bench.measuring import AT_REST, until_quiet
from tests.bench.progress import Say, telling
from tests.bench.sides.bare import Program, bare
from tests.bench.sides.goals import (
    BARE_AGI,
    BARE_ARI,
    COMPARED_AT,
    CREATES,
    FILLED,
    LIMIT,
    PRODUCT,
    TALKING,
    Goal,
    goals,
)
from tests.bench.sides.live import live, live_seconds
from tests.bench.sides.overload import LET_IN, overload
from tests.bench.sides.peers import PEERS, Environment
from tests.bench.sides.product import Past, product
from tests.bench.sides.results import Live, SideRun
from tests.bench.sides.schedule import Plan, expected
from tests.bench.sides.shown import blemishes, lines
from tests.bench.sides.sustain import Thoroughness, sustained
from tests.bench.sides.taker import Holds, Room, Side, Taker
from tests.bench.sides.trial import Pace, answered, step
from tests.bench.sides.turns import in_turns, turns_seconds
from tests.bench.stopping import stopped_in_order

_QUICK = 140.0
"""Seconds after which --quick searches no more, so that it ends within three minutes."""


def main(arguments: Sequence[str] | None = None) -> int:
    """The exit code."""
    given = _options().parse_args(arguments)
    began = datetime.now(UTC)
    try:
        plan = _plan(given)
        check_sipp()
        with telling() as say:
            sides = _sides(given, say)
            alone = sum(expected(side, plan) for side in sides if isinstance(side, Side))
            minutes = math.ceil((alone + turns_seconds(_compared(sides, plan))) / 60)
            print(f"{len(sides)} sides; this takes about {minutes} minutes", file=sys.stderr)
            runs = asyncio.run(_all(sides, plan, say))
    except DariError as error:
        print(f"bench: {error}", file=sys.stderr)
        return 1
    except (asyncio.CancelledError, KeyboardInterrupt):
        print("bench: interrupted; nothing is left running", file=sys.stderr)
        return 130
    reached = goals({run.name: run for run in runs})
    _show(runs, reached)
    told = {"began": began, "machine": _machine(), "runs": runs, "goals": reached}
    given.json.parent.mkdir(parents=True, exist_ok=True)
    given.json.write_bytes(msgspec.json.format(msgspec.json.encode(told)))
    print(f"figures: {given.json}")
    return 1 if any(run.absent for run in runs if len(run.name) <= 2) else 0


def _options() -> argparse.ArgumentParser:
    options = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    add = options.add_argument
    add("--quick", action="store_true", help="A, C and D in under three minutes: what is far off, nothing finer")
    add("--sides", help=f"by comma, of A, B, C, C2, D, E, F; default all, with --quick {LIMIT},{BARE_ARI},{PRODUCT}")
    add("--peers", action="store_true", help="also " + ", ".join(peer.package for peer in PEERS))
    add("--rates", default="", help="calls a second, by comma; default 10,25,50,100,150, with --quick 50")
    add("--seconds", type=float, default=0.0, help="for each rate; default 12, and 40 at 50; with --quick 8")
    add("--sustain", type=float, default=60.0, help="seconds that the highest rate must hold; 0: no search; default 60")
    add("--live", default="800s,1900", help="calls held at one time, s behind it: with sound; empty: none")
    add("--overload", type=float, default=20.0, help="seconds of twice what D holds; 0: none; default 20")
    add("--limit", type=int, default=0, help=f"calls a second let in then; default: {LET_IN:g} of what D holds")
    add("--numbers", type=int, default=200_000, help="of F; default 200,000")
    add("--calls", type=int, default=10_000_000, help="old calls of F; default 10,000,000")
    add("--checkout", type=Path, default=PRODUCT_FILES, help="whose product D, E and F are; default: this one")
    add("--network", help="first three numbers of the loopback addresses; default 127.78.x, by process id")
    add("--json", type=Path, default=PRODUCT_FILES / ".cache" / "bench" / "side-by-side.json", help="where to write it")
    return options


def _plan(given: argparse.Namespace) -> Plan:
    """Raises Invalid for what cannot be understood."""
    quick = given.quick
    try:
        rates = tuple(float(rate) for rate in (given.rates or ("50" if quick else "10,25,50,100,150")).split(","))
        held = tuple((int(one.rstrip("s")), one.endswith("s")) for one in given.live.split(",") if one)
    except ValueError:
        raise Invalid(f"--rates {given.rates} or --live {given.live}: write numbers by comma, like 10,25") from None
    if not all(0 < rate <= 500 for rate in rates) or not all(0 < calls <= 4000 for calls, _ in held):
        raise Invalid("rates must be more than 0 and at most 500, live calls at most 4000")
    if not 0 <= given.limit <= 1000:
        raise Invalid("--limit must be at least 0, which means by what was held, and at most 1000")
    network = given.network or f"127.78.{os.getpid() % 250 + 1}"
    search = Thoroughness(10.0, given.sustain, 0.05, 6, 120.0)
    if not given.sustain:
        search = replace(search, most_trials=0, budget=0.0)
    if quick:
        quickly = Thoroughness(3.0, 0.0, 0.15, 3, 21.0) if given.sustain else search
        pace = Pace(given.seconds or 8.0, 1.0, 4.0)
        return Plan(rates, pace, quickly, (), 0.0, 0, network, time.monotonic() + _QUICK)
    pace = Pace(given.seconds or 12.0, 3.0, 40.0, given.seconds or 40.0)
    return Plan(rates, pace, search, held, given.overload, given.limit, network)


def _sides(given: argparse.Namespace, say: Say) -> list[Side | SideRun]:
    """What is measured, in order; a peer that is absent says so at its place. Raises Invalid for an unknown name."""
    past = Past(given.numbers, given.calls)
    known = {
        LIMIT: Side(LIMIT, "dialplan Dial()", bare(), 250.0),
        BARE_AGI: Side(BARE_AGI, "FastAGI Dial", bare(Program("bare_agi", over_ari=False)), 200.0),
        BARE_ARI: Side(BARE_ARI, "bare ARI, originate", bare(Program("bare_ari", over_ari=True)), 120.0),
        CREATES: Side(
            CREATES,
            "bare ARI, create and dial",
            bare(Program("bare_ari", over_ari=True, options=("create",))),
            120.0,
            holds=Holds.NONE,  # what C has, too
        ),
        PRODUCT: Side(PRODUCT, "Dari", product(checkout=given.checkout), 100.0, is_product=True),
        TALKING: Side(
            TALKING,
            "Dari, whisper, recording, sound",
            product(with_sound=True, checkout=given.checkout),
            20.0,
            with_sound=True,
            holds=Holds.NONE,  # recorded, so many do not fit on two cores
            hold=3.0,
            patience=30.0,
            is_product=True,
        ),
        FILLED: Side(
            FILLED,
            f"Dari, {past.numbers:,} numbers, {past.calls:,} old calls",
            product(past=past, checkout=given.checkout),
            80.0,
            is_product=True,
            holds=Holds.AT_FIRST,  # it would be filled anew for each
            opens_in=past.expected,
        ),
    }
    names = (given.sides or (f"{LIMIT},{BARE_ARI},{PRODUCT}" if given.quick else ",".join(known))).split(",")
    if unknown := [name for name in names if name not in known]:
        raise Invalid(f"--sides: there is no {unknown[0]}; name some of {', '.join(known)}")
    sides: list[Side | SideRun] = [known[name] for name in names]
    if given.peers:
        environment = Environment(PRODUCT_FILES / ".cache" / "bench-peers")
        for peer in PEERS:
            say(f"environment of {peer.package}")
            found = environment.side(peer)
            sides.append(found if isinstance(found, Side) else SideRun(name=peer.package, title="", absent=found))
    return sides


async def _all(sides: Sequence[Side | SideRun], plan: Plan, say: Say) -> list[SideRun]:
    """One after the other. The first SIGINT or SIGTERM ends everything in order, however often it is said."""
    stopped_in_order(say)
    runs = []
    for place, side in enumerate(sides):
        if isinstance(side, SideRun):
            runs.append(side)
            continue

        def tell(step: str, seconds: float | None = None, *, heading: str = f"{place + 1}/{len(sides)} ") -> None:
            say(heading + step, seconds)

        try:
            runs.append(await _measured(side, plan, tell))
        except DariError as error:  # the others can be measured all the same
            runs.append(SideRun(name=side.name, title=side.title, absent=str(error)))
    return await _with_turns(runs, _compared(sides, plan), plan, say)


def _compared(sides: Sequence[Side | SideRun], plan: Plan) -> list[Side]:
    """The product and the limit, if both are measured at the rate where they are compared; --quick has no time."""
    both = [side for side in sides if isinstance(side, Side) and side.name in (LIMIT, PRODUCT)]
    return both if len(both) == 2 and COMPARED_AT in plan.rates and plan.pace.compared_seconds else []


async def _with_turns(runs: list[SideRun], compared: Sequence[Side], plan: Plan, say: Say) -> list[SideRun]:
    if not compared or any(run.absent for run in runs if run.name in (LIMIT, PRODUCT)):
        return runs
    before, _, last = plan.network.rpartition(".")
    networks = [plan.network, f"{before}.{int(last) % 250 + 1}"]
    told = dict(zip((side.name for side in compared), await in_turns(compared, networks, say), strict=True))
    return [msgspec.structs.replace(run, in_turns=told.get(run.name)) for run in runs]


async def _measured(side: Side, plan: Plan, say: Say) -> SideRun:
    """Everything about one side; it is opened afresh for what an earlier load would falsify."""

    def room(**settings: str) -> Room:
        return Room(plan.network, lambda step, seconds=None: say(f"{side.name}: {step}", seconds), settings)

    async def held(calls: int, taker: Taker, *, with_sound: bool) -> Live:
        say(f"{side.name}: {calls} calls at one time", live_seconds(side, calls))
        return await live(side, taker, calls, with_sound=with_sound)

    found: list[Live] = []
    async with side.opens(room()) as taker:
        if side.is_product:
            await until_quiet(taker.parts(), AT_REST)
        async with answered(side, taker):
            if side.holds is Holds.AT_FIRST:
                found = [await held(calls, taker, with_sound=sound) for calls, sound in plan.live_of(side)]
            run = await _at_rates(side, taker, plan, say)
    for calls, with_sound in plan.live_of(side) if side.holds is Holds.AFRESH else ():
        async with side.opens(room()) as taker, answered(replace(side, with_sound=with_sound), taker):
            found.append(await held(calls, taker, with_sound=with_sound))
    run = msgspec.structs.replace(run, live=found)
    limit = plan.limit or math.floor(LET_IN * run.sustained.rate if run.sustained and run.sustained.held_for else 0)
    if plan.overload and side.name == PRODUCT and limit:
        async with side.opens(room(DARI_CALLS_A_SECOND=str(limit))) as taker, answered(side, taker):
            run = msgspec.structs.replace(run, overload=await overload(side, taker, limit, plan.overload, say))
    return run


async def _at_rates(side: Side, taker: Taker, plan: Plan, say: Say) -> SideRun:
    """The steps, what was written of their calls, and the highest rate."""
    before = await taker.written()
    steps = []
    for rate in plan.rates:
        pace = plan.pace.at(rate)
        say(f"{side.name}: {rate:g} calls a second", pace.seconds)
        steps.append(await step(side, taker, rate, pace))
        if steps[-1].is_hopeless:
            break  # the higher ones would only tell the same, slower
    after = await taker.written()
    searches = plan.search.most_trials and time.monotonic() < plan.searches_until
    found = await sustained(side, taker, plan.search, plan.pace, steps, say) if searches else None
    return SideRun(
        name=side.name,
        title=side.title,
        version=taker.version,
        steps=steps,
        sustained=found,
        calls=sum(one.placed for one in steps) if side.is_product else 0,
        recorded=after.calls - before.calls,
        messages=after.messages - before.messages,
    )


def _machine() -> dict[str, str]:
    """Where it ran, in the words of its own files."""
    model, memory = "", ""
    with suppress(OSError, StopIteration):
        lines_ = Path("/proc/cpuinfo").read_text().splitlines()
        model = next(line for line in lines_ if line.startswith("model name")).partition(":")[2].strip()
        memory = Path("/proc/meminfo").read_text().split()[1]
    return {
        "processor": model or platform.machine(),
        "cores": str(os.cpu_count()),
        "memory": f"{int(memory or 0) / 2**20:.0f} GiB",
        "system": f"{platform.system()} {platform.release()}",
        "python": platform.python_version(),
    }


def _show(runs: Sequence[SideRun], reached: Sequence[Goal]) -> None:
    out = console()
    shown = [run for run in runs if not run.absent]
    if shown:
        out.print(_figures(shown), soft_wrap=True)
    made = Table("to reach", box=box.HORIZONTALS, show_edge=False, pad_edge=False)
    for name in ("here", "floor", "aim", ""):
        made.add_column(name, justify="right")
    for goal in reached:
        if not math.isnan(goal.value):
            style = {"aim": "green", "floor": "yellow", "missed": "red"}[goal.verdict]
            made.add_row(
                goal.figure, f"{goal.value:.2f}", f"{goal.floor:g}", f"{goal.aim:g}", Text(goal.verdict, style)
            )
    if made.row_count:
        out.print(made)
    for run in runs:
        for told in blemishes(run):
            out.print(Text(f"{run.name}: {told}", "yellow"))
    out.print(Text(", ".join(_machine().values()), "dim"))


def _figures(runs: Sequence[SideRun]) -> Table:
    made = Table(box=box.HORIZONTALS, show_edge=False, pad_edge=False, min_width=20)
    made.add_column("", no_wrap=True)
    for run in runs:
        made.add_column(f"{run.name} {run.title}".strip(), justify="right", min_width=8)
    for line in lines(runs):
        made.add_row(line.figure, *line.cells())
    return made


if __name__ == "__main__":
    sys.exit(main())

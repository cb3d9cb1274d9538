"""How soon a receiver knows: `python -m tests.bench.event_delivery [--rate 50] [--seconds 30] [--webhooks 3] [--json]`.

`--waiting 3000 --batches 1 50 --round-trip 20` measures instead how fast one receiver that is so many milliseconds away
gets so many events that wait for it, with each size of a batch in turn.

Calls as an engine writes them (live events, then the record through the spool) in one process, the sequencer and the
sending in a second, the receivers in a third, on an embedded PostgreSQL of its own that syncs every commit. All events
of every call go to every receiver. Measured from the instant at which something happened until a receiver has read it.
Nothing is asserted.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import os
import sys
import tempfile
import time
from asyncio.subprocess import PIPE, Process
from collections.abc import AsyncIterator, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from datetime import UTC, datetime
from ipaddress import ip_network
from pathlib import Path
from typing import Any, NamedTuple
from uuid import UUID

import msgspec
from aiohttp import web
from sqlalchemy.ext.asyncio import AsyncEngine

from engine.accounts.model import LOCAL_OPERATOR
from engine.cdr.drain import Drain
from engine.cdr.model import CallRecord, Side, Step, StepKind
from engine.cdr.spool import Spool
from engine.events.call_log import CallEvent, CallEventKind
from engine.events.live import LiveEvents
from engine.events.outbox import append
from engine.events.sequencer import Sequencer, number_all
from engine.events.tail import Tail
from engine.foundation.clock import SystemClock
from engine.foundation.database import open_database, transaction
from engine.foundation.ids import new_id
from engine.foundation.schema import upgrade
from engine.foundation.sealing import SealingKey
from engine.foundation.tasks import Tasks
from engine.webhooks import book
from engine.webhooks.egress import Egress
from engine.webhooks.lane import Means
from engine.webhooks.post_office import PostOffice
from engine.webhooks.settings import Rules, WebhookSettings
from tests.call_records import CALLER, NUMBER, TARGET, arrival, record
from tests.databases import MIGRATIONS
from tests.own_postgres import own_postgres
from tests.stream_written import event, open_node

_RULES = Rules(SealingKey(bytes(range(32))), (ip_network("127.0.0.0/8"),))
_KINDS = ("call.started", "call.ringing", "call.answered", "call.ended")
_PATIENCE = 120.0
_WARM = 3.0  # seconds of calls that are played first and not counted: statements are prepared, connections made
_RING, _TALK = 0.5, 0.5  # seconds between a call's events
_SHOPS = 20


class _Running(NamedTuple):
    url: str
    home: Path
    database: AsyncEngine
    shops: list[UUID]
    receiving: Process


def main() -> None:
    """Starts everything, plays the calls, prints a table."""
    parser = argparse.ArgumentParser(description="How soon a receiver knows.")
    parser.add_argument("--rate", type=float, default=50.0, help="calls per second")
    parser.add_argument("--seconds", type=float, default=30.0, help="how long calls come")
    parser.add_argument("--webhooks", type=int, default=3, help="receivers")
    parser.add_argument("--batch", type=int, default=1, help="most events in one request")
    parser.add_argument("--round-trip", type=float, default=0.0, help="milliseconds that a receiver is away")
    parser.add_argument("--waiting", type=int, default=0, help="events that wait, instead of calls that come")
    parser.add_argument("--batches", type=int, nargs="+", default=[1, 50], help="the sizes compared with --waiting")
    parser.add_argument("--json", action="store_true")
    parser.add_argument("--part", choices=["sending", "receiving"], help=argparse.SUPPRESS)
    parser.add_argument("--url", help=argparse.SUPPRESS)
    wanted = parser.parse_args()
    if wanted.part == "sending":
        asyncio.run(_send(wanted.url))
    elif wanted.part == "receiving":
        asyncio.run(_receive(wanted.round_trip))
    elif wanted.waiting:
        found = asyncio.run(_compare(wanted.waiting, wanted.batches, wanted.round_trip))
        print(json.dumps(found) if wanted.json else _compared(found))
    else:
        plan = Plan(wanted.rate, wanted.seconds, wanted.webhooks, wanted.batch)
        figures = asyncio.run(_measure(plan, wanted.round_trip))
        print(json.dumps(figures) if wanted.json else _table(figures))


class Plan(msgspec.Struct, frozen=True):
    """What is played."""

    rate: float
    seconds: float
    webhooks: int
    batch: int

    @property
    def calls(self) -> int:
        return round(self.rate * (self.seconds + _WARM))


@asynccontextmanager
async def _running(webhooks: int, batch: int, round_trip: float) -> AsyncIterator[_Running]:
    """A database, the receivers, and the webhooks that lead to them."""
    with tempfile.TemporaryDirectory(prefix="dari-bench-") as folder:
        home = Path(folder)
        home.chmod(0o755)
        async with own_postgres(home) as server, AsyncExitStack() as stack:
            await server.start()
            url = server.embedded.url
            await upgrade(url, MIGRATIONS)
            database = open_database(url, 10.0)
            stack.push_async_callback(database.dispose)
            receiving = await stack.enter_async_context(_process("receiving", "--round-trip", str(round_trip)))
            base = await _line(receiving)
            shops = await _set_up(database, base, webhooks, batch)
            yield _Running(url, home, database, shops, receiving)


async def _measure(plan: Plan, round_trip: float) -> dict[str, Any]:
    async with _running(plan.webhooks, plan.batch, round_trip) as world, _sending(world.url):
        return await _play(world.database, world.home, world.shops, world.receiving, plan)


async def _compare(waiting: int, batches: Sequence[int], round_trip: float) -> list[dict[str, Any]]:
    """Events per second with each size, from the first one that comes until the last, and the ratio to the first."""
    found: list[dict[str, Any]] = []
    for batch in batches:
        async with _running(1, batch, round_trip) as world:
            calls = [new_id(datetime.now(UTC)) for _ in range(waiting)]
            async with transaction(world.database) as connection:
                await append(connection, [event(world.shops[0], "", "call.started", call) for call in calls])
            await number_all(world.database)
            async with _sending(world.url):
                arrived = await _arrived(world.receiving, waiting)
        instants = [at for _, _, _, at in arrived]
        rate = (waiting - batch) / max(instants[-1] - instants[0], 1e-9)
        found.append(
            {
                "batch": batch,
                "events": waiting,
                "round_trip_ms": round_trip,
                "in_order": [call for _, call, _, _ in arrived] == list(map(str, calls)),
                "events_per_second": round(rate, 1),
                "ratio": round(rate / (found[0]["events_per_second"] if found else rate), 1),
            }
        )
    return found


def _compared(found: Sequence[dict[str, Any]]) -> str:
    lines = [f"{'batch':>6}{'events/s':>12}{'ratio':>8}{'in order':>10}"]
    for one in found:
        in_order = "yes" if one["in_order"] else "NO"
        lines.append(f"{one['batch']:>6}{one['events_per_second']:>12}{one['ratio']:>8}{in_order:>10}")
    return "\n".join(lines)


async def _set_up(database: AsyncEngine, base: str, webhooks: int, batch: int) -> list[UUID]:
    agency = await open_node(database, "agency", "agency")
    shops = [await open_node(database, f"shop {index}", "shop", agency) for index in range(_SHOPS)]
    async with transaction(database) as connection:
        for index in range(webhooks):
            wanted = WebhookSettings(url=f"{base}/{index}", kinds=("call.*",), batch=batch)
            await book.add(connection, _RULES, LOCAL_OPERATOR, agency, wanted, datetime.now(UTC))
    return shops


async def _play(
    database: AsyncEngine, home: Path, shops: Sequence[UUID], receiving: Process, plan: Plan
) -> dict[str, Any]:
    spool = Spool.open(home / "spool", "n1", SystemClock())
    live, tasks = LiveEvents(database), Tasks("engine")
    tasks.start("live", live.run())
    tasks.start("drain", Drain(spool, database, home / "refused.jsonl").run())
    happened: dict[tuple[str, str], float] = {}
    began = time.monotonic()
    tasks.start("calls", _calls(shops, live, spool, happened, plan))
    arrived = await _arrived(receiving, plan.webhooks * plan.calls * len(_KINDS))
    took = time.monotonic() - began
    await tasks.close()
    await spool.close()
    return _figures(plan, happened, arrived, took)


async def _calls(
    shops: Sequence[UUID], live: LiveEvents, spool: Spool, happened: dict[tuple[str, str], float], plan: Plan
) -> None:
    tasks, began = Tasks("calls"), time.monotonic()
    for index in range(plan.calls):
        await asyncio.sleep(max(began + index / plan.rate - time.monotonic(), 0.0))
        tasks.start(f"call {index}", _call(shops[index % len(shops)], live, spool, happened))
    while len(tasks):
        await asyncio.sleep(_TALK)


async def _call(shop: UUID, live: LiveEvents, spool: Spool, happened: dict[tuple[str, str], float]) -> None:
    call = _whole(record(arrival(datetime.now(UTC), account_id=shop)))
    steps = zip(_KINDS, (CallEventKind.ARRIVED, CallEventKind.RINGING, CallEventKind.CONNECTED), strict=False)
    for kind, told in steps:
        happened[str(call.call_id), kind] = time.time()
        live.offer(
            CallEvent(
                at=datetime.now(UTC),
                call_id=call.call_id,
                kind=told,
                number=NUMBER,
                caller=CALLER,
                target=None if told is CallEventKind.ARRIVED else TARGET,
                account_id=shop,
            )
        )
        await asyncio.sleep(_RING)
    await asyncio.sleep(_TALK)
    happened[str(call.call_id), "call.ended"] = time.time()
    spool.closed(call)


def _whole(call: CallRecord) -> CallRecord:
    """As the engine writes it: the target rang, and the two were connected."""
    assert call.answered_at is not None
    connected = Step(kind=StepKind.CONNECT, to=(Side.CALLER, Side.TARGET), started_at=call.answered_at)
    (leg,) = call.legs
    legs = (msgspec.structs.replace(leg, ringing_at=call.ringing_at),)
    return msgspec.structs.replace(call, legs=legs, steps=(*call.steps, connected))


async def _arrived(receiving: Process, expected: int) -> list[tuple[str, str, str, float]]:
    """Webhook, call, kind and instant of each event that came, once all have, or none have for long."""
    arrived: list[tuple[str, str, str, float]] = []
    while len(arrived) < expected:
        async with asyncio.timeout(_PATIENCE):
            webhook, call, kind, at = (await _line(receiving)).split(" ")
        arrived.append((webhook, call, kind, float(at)))
    return arrived


def _figures(
    plan: Plan,
    happened: dict[tuple[str, str], float],
    arrived: Sequence[tuple[str, str, str, float]],
    took: float,
) -> dict[str, Any]:
    delays: dict[str, list[float]] = {kind: [] for kind in _KINDS}
    counted_from = min(happened.values()) + _WARM
    for _, call, kind, at in arrived:
        if happened[call, kind] >= counted_from:
            delays[kind].append(1000 * (at - happened[call, kind]))
    return {
        "calls": plan.calls,
        "rate": plan.rate,
        "webhooks": plan.webhooks,
        "delivered": len(arrived),
        "more_than_once": len(arrived) - len({one[:3] for one in arrived}),
        "deliveries_per_second": round(len(arrived) / took, 1),
        "milliseconds": {kind: _quantiles(found) for kind, found in delays.items()},
    }


def _quantiles(found: list[float]) -> dict[str, float]:
    found.sort()
    at = {"p50": 0.5, "p99": 0.99, "longest": 1.0}
    return {name: round(found[min(int(share * len(found)), len(found) - 1)], 1) for name, share in at.items()}


def _table(figures: dict[str, Any]) -> str:
    lines = [
        f"{figures['calls']} calls at {figures['rate']:g}/s to {figures['webhooks']} webhooks: {figures['delivered']} "
        f"deliveries, {figures['deliveries_per_second']}/s, {figures['more_than_once']} of them again",
        f"{'milliseconds':<16}{'p50':>9}{'p99':>9}{'longest':>9}",
    ]
    for kind, found in figures["milliseconds"].items():
        lines.append(f"{kind:<16}{found['p50']:>9}{found['p99']:>9}{found['longest']:>9}")
    return "\n".join(lines)


# -- the other processes -----------------------------------------------------------------------------------------------


@asynccontextmanager
async def _sending(url: str) -> AsyncIterator[None]:
    """While the block is open, what waits is sent."""
    async with _process("sending", "--url", url) as sending:
        await _line(sending)
        yield


@asynccontextmanager
async def _process(part: str, *options: str) -> AsyncIterator[Process]:
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "tests.bench.event_delivery", "--part", part, *options), stdin=PIPE, stdout=PIPE
    )
    try:
        yield process
    finally:
        process.terminate()
        await process.wait()


async def _line(process: Process) -> str:
    assert process.stdout is not None
    return (await process.stdout.readline()).decode().strip()


async def _send(url: str) -> None:
    """What the jobs role does with events."""
    database, tasks = open_database(url, 10.0), Tasks("sending")
    async with Egress(_RULES.opened) as egress:
        tail = Tail(database, url)
        means = Means(
            database=database,
            tail=tail,
            egress=egress,
            key=_RULES.key,
            clock=SystemClock(),
            me=new_id(datetime.now(UTC)),
        )
        tasks.start("sequencer", Sequencer(database, url).run())
        tasks.start("tail", tail.run())
        tasks.start("webhooks", PostOffice(means, url).run())
        print("ready", flush=True)
        await asyncio.Event().wait()


async def _receive(round_trip: float) -> None:
    """Receivers that take everything, tell when they had read it, and answer as late as one that is so far away."""

    async def take(request: web.Request) -> web.Response:
        body = msgspec.json.decode(await request.read())
        at, webhook = time.time(), request.path[1:]
        for told in body["events"] if body["type"] == "batch" else [body]:
            os.write(sys.stdout.fileno(), f"{webhook} {told['call_id']} {told['type']} {at}\n".encode())
        await asyncio.sleep(round_trip / 1000)
        return web.Response(status=204)

    application = web.Application()
    application.add_routes([web.post("/{webhook}", take)])
    runner = web.AppRunner(application, access_log=None)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0).start()
    print(f"http://127.0.0.1:{runner.addresses[0][1]}", flush=True)
    await asyncio.Event().wait()


if __name__ == "__main__":
    main()

"""Two engines on one Asterisk: calls are shared by claim, and those of one that dies go on with the other, unheard."""

from __future__ import annotations

import asyncio
import json
import signal
import sys
import time
from collections import Counter
from collections.abc import AsyncIterator, Sequence
from pathlib import Path

import aiohttp
import pytest

from engine.calls.control_client import LiveCall, drain_engine, live_calls, resume_engine
from engine.foundation.errors import TryLater
from engine.foundation.tasks import Tasks
from engine.sandbox.caller import CallerLeg
from engine.sandbox.ear import tones
from engine.sandbox.leg import Leg
from engine.sandbox.phone import Answers, NeverAnswers, TargetLeg
from engine.settings import read_settings
from engine.supervisor.home import check_home
from engine.supervisor.wiring import connected, role_environment
from tests.eventually import eventually
from tests.real_asterisk import loopback
from tests.running_shop import (
    CALLER,
    NUMBER,
    RINGBACK,
    SHOP,
    TARGET,
    RunningShop,
    running_shop,
)

DARI, CARRIER = (loopback(27, host) for host in (11, 12))
ENGINES = ("engine", "engine-2")
SHARED = 20
_LOOK = 0.05
_STILL_RINGS = 25.0
"""Seconds in which an engine is restarted, while the shop rings on."""
_GAP = 0.25
"""Seconds of silence that a busy machine makes by itself."""


@pytest.fixture(scope="module")
async def shop() -> AsyncIterator[RunningShop]:
    async with running_shop(DARI, CARRIER, DARI_ENGINES="2", DARI_STOP_SECONDS="1", DARI_RING_SECONDS="120") as running:
        yield running


@pytest.fixture(autouse=True)
async def no_calls_left(shop: RunningShop) -> AsyncIterator[None]:
    """Whatever became of a test, its calls are not the next one's."""
    yield
    for leg in shop.carrier.callers:
        if not leg.is_over:
            await leg.hang_up()


@pytest.fixture
async def stood_still() -> AsyncIterator[list[float]]:
    """Seconds for which this process, telephones and all, got no turn."""
    found, tasks = [0.0], Tasks("stand-stills")

    async def watch() -> None:
        while True:
            began = time.monotonic()
            await asyncio.sleep(_LOOK)
            found.append(max(0.0, time.monotonic() - began - _LOOK))

    tasks.start("watch", watch())
    yield found
    await tasks.close()


def socket_of(shop: RunningShop, engine: str) -> Path:
    return read_settings(home=shop.home.folder).engine(ENGINES.index(engine) + 1).socket


async def calls_of(shop: RunningShop, engine: str) -> list[LiveCall]:
    """The calls that this engine has; none while it is away."""
    try:
        return await live_calls(socket_of(shop, engine))
    except TryLater:
        return []


async def all_have(shop: RunningShop, calls: int) -> bool:
    """Whether the engines have so many together, each once, and both take calls."""
    found = [call.call_id for engine in ENGINES for call in await calls_of(shop, engine)]
    assert len(found) == len(set(found)), "two engines have the same call"
    return len(found) == calls and await both_are_ready(shop)


async def both_are_ready(shop: RunningShop) -> bool:
    return [engine and engine["state"] for engine in (await shop.home.status())["engines"]] == ["ready", "ready"]


async def ringing_call(shop: RunningShop, from_number: str) -> tuple[CallerLeg, TargetLeg]:
    """A call whose caller hears the number's ringback while the shop rings."""
    phone = shop.carrier.shop(TARGET, NeverAnswers())
    caller = await shop.carrier.call(NUMBER, from_number=from_number, tone=CALLER)
    leg = await phone.next_call()
    await eventually(lambda: bool(tones(caller.recording, [RINGBACK])))
    return caller, leg


async def each_has_one_record(shop: RunningShop, callers: Sequence[Leg]) -> dict[str, str]:
    """Results by SIP Call-ID, once every call has a record; no call of this system ever has two."""
    wanted = {caller.call_id for caller in callers}
    found: list[dict[str, str]] = []

    async def written() -> bool:
        found[:] = await shop.objects("calls")
        return wanted <= {call["sip_call_id"] for call in found}

    await eventually(written)
    assert max(Counter(call["sip_call_id"] for call in found).values()) == 1
    return {call["sip_call_id"]: call["result"] for call in found if call["sip_call_id"] in wanted}


async def over(shop: RunningShop, pairs: Sequence[tuple[CallerLeg, TargetLeg]]) -> None:
    """Every caller hangs up, and nothing of the calls goes on."""
    for caller, target in pairs:
        await caller.hang_up()
        await target.ended()
    await eventually(lambda: all_have(shop, 0))


async def test_both_are_told_of_and_asked(shop: RunningShop) -> None:
    status = await shop.home.status()
    assert {part["name"] for part in status["parts"]} >= set(ENGINES)
    assert status["engine"]["state"] == "ready"
    await eventually(lambda: both_are_ready(shop))
    async with aiohttp.ClientSession() as session, session.get(f"http://{DARI}:8050/ready") as answer:
        assert (answer.status, await answer.json()) == (200, {"ready": True, "reasons": []})
    code, _, errors = await shop.home.run("drain", "--engine", "3")
    assert code == 1
    assert errors.splitlines() == ["dari: --engine: there is no engine 3; DARI_ENGINES is 2"]


async def test_calls_are_shared_and_each_is_written_down_once(shop: RunningShop) -> None:
    pairs = [await shop.connected_call(f"0103100{number:04}") for number in range(SHARED)]
    await eventually(lambda: all_have(shop, SHARED))
    shares = [len(await calls_of(shop, engine)) for engine in ENGINES]
    print(f"shares: {shares}")
    assert min(shares) > 0
    listed = await shop.objects("call", "list")
    assert len({call["call_id"] for call in listed}) == len(listed) == SHARED
    await over(shop, pairs)
    results = await each_has_one_record(shop, [caller for caller, _ in pairs])
    assert set(results.values()) == {"answered"}


async def test_an_engine_that_drains_leaves_new_calls_to_the_other(shop: RunningShop) -> None:
    for number, name in enumerate(ENGINES, 1):
        other = other_than(name)
        await shop.dari("drain", "--engine", str(number))
        pairs = [await shop.connected_call(f"0103200000{number}")]
        assert len(await calls_of(shop, other)) == 1
        assert await calls_of(shop, name) == []
        async with aiohttp.ClientSession() as session, session.get(f"http://{DARI}:8050/ready") as answer:
            assert answer.status == 200
            assert (await answer.json())["reasons"] == [f"the engine is degraded: {name} is draining"]
        await shop.dari("drain", "--engine", str(number), "--undo")
        await over(shop, pairs)
        await each_has_one_record(shop, [caller for caller, _ in pairs])


Pair = tuple[CallerLeg, TargetLeg]


async def placed_on(shop: RunningShop, engine: str) -> tuple[list[Pair], Pair]:
    """Two talks and a ringing call that this engine has."""
    await drain_engine(socket_of(shop, other_than(engine)))
    talks = [await shop.connected_call(f"010330{len(shop.carrier.callers):05}") for _ in range(2)]
    ringing = await ringing_call(shop, f"010330{len(shop.carrier.callers):05}")
    await resume_engine(socket_of(shop, other_than(engine)))
    assert len(await calls_of(shop, engine)) == 3
    return talks, ringing


def other_than(engine: str) -> str:
    return ENGINES[1 - ENGINES.index(engine)]


def sound_went_on(talks: Sequence[Pair], ringing: Sequence[Leg], since: float, stood_still: list[float]) -> None:
    """From `since` to the end, in one piece; telephones that got no turn for a while could not hear either."""
    heard = [(leg, tone) for caller, target in talks for leg, tone in ((caller, SHOP), (target, CALLER))]
    for leg, tone in [*heard, *((caller, RINGBACK) for caller in ringing)]:
        recording = leg.recording.since(since)
        gap = _GAP + 2 * max(stood_still)
        pieces = [(one.start, one.end) for one in tones(recording, [tone], merge=gap)]
        assert len(pieces) == 1, (tone, pieces, recording.duration, gap)
        [(start, end)] = pieces
        assert start < gap, (tone, pieces)
        assert end > recording.duration - gap, (tone, pieces, recording.duration)


@pytest.mark.parametrize("engine", ENGINES)
async def test_the_calls_of_a_killed_engine_go_on_with_the_other(
    shop: RunningShop, engine: str, stood_still: list[float]
) -> None:
    talks, ringing = await placed_on(shop, engine)
    other = other_than(engine)
    dead = shop.home.parts()[engine]
    killed_at = time.monotonic()
    dead.send(signal.SIGKILL)

    async def adopted() -> bool:
        return len(await calls_of(shop, other)) == 3

    await eventually(adopted)
    print(f"adopted after {time.monotonic() - killed_at:.2f} s")
    await shop.home.until_parts(other_than={engine: dead})
    await eventually(lambda: all_have(shop, 3))
    through = await shop.connected_call("01033990000")
    await over(shop, [ringing, *talks, through])
    sound_went_on(talks, [ringing[0]], killed_at, stood_still)
    results = await each_has_one_record(shop, [caller for caller, _ in [*talks, ringing, through]])
    assert [results[caller.call_id] for caller, _ in talks] == ["answered", "answered"]
    assert results[ringing[0].call_id] == "caller gave up"


async def test_calls_outlive_the_death_of_both(shop: RunningShop, stood_still: list[float]) -> None:
    talks, ringing = await placed_on(shop, "engine-2")
    dead = {name: shop.home.parts()[name] for name in ENGINES}
    killed_at = time.monotonic()
    for process in dead.values():
        process.send(signal.SIGKILL)
    await shop.home.until_parts(other_than=dead)
    await eventually(lambda: all_have(shop, 3))
    await over(shop, [ringing, *talks])
    sound_went_on(talks, [ringing[0]], killed_at, stood_still)
    await each_has_one_record(shop, [caller for caller, _ in [*talks, ringing]])


async def test_engines_are_restarted_one_after_the_other_and_nobody_hears_it(
    shop: RunningShop, stood_still: list[float]
) -> None:
    talks, (waiting, first_leg) = await placed_on(shop, "engine")
    began = time.monotonic()
    phone = shop.carrier.shop(TARGET, Answers(after_seconds=_STILL_RINGS, tone=SHOP))
    await restarted(shop, "engine")
    await first_leg.ended()
    await eventually(lambda: all_have(shop, 3))
    phone = shop.carrier.shop(TARGET, Answers(after_seconds=1.0, tone=SHOP))
    await restarted(shop, "engine-2")
    await eventually(lambda: bool(tones(waiting.recording, [SHOP]) and tones(phone.calls[-1].recording, [CALLER])))
    await eventually(lambda: all_have(shop, 3))
    connected = (waiting, phone.calls[-1])
    await over(shop, [*talks, connected])
    sound_went_on(talks, [], began, stood_still)
    gap = _GAP + 2 * max(stood_still)
    assert len(tones(waiting.recording.since(began), [RINGBACK], merge=gap)) == 1, "the ringback was broken off"
    results = await each_has_one_record(shop, [caller for caller, _ in [*talks, connected]])
    assert set(results.values()) == {"answered"}


async def restarted(shop: RunningShop, engine: str) -> None:
    """It is told to end, hands over what it has, and is started again."""
    before = shop.home.parts()[engine]
    before.send(signal.SIGTERM)
    await shop.home.until_parts(other_than={engine: before})


async def test_two_engines_of_one_name_are_refused(shop: RunningShop, tmp_path: Path) -> None:
    """A stranger takes the second one's events; that one starts again and takes them back."""
    settings = read_settings(
        home=shop.home.folder,
        sip_bind=f"{DARI}:5060",
        http_bind=f"{DARI}:8050",
        asterisk_files=shop.home.environment["DARI_ASTERISK_FILES"],
    )
    told = role_environment(connected(settings)) | {
        "DARI_HOME": str(tmp_path),
        "DARI_NODE": "n1-2",
        "DARI_SOUNDS": str(settings.paths.sounds),
        "DARI_ASTERISK_ETC": str(tmp_path / "etc"),
    }
    before = shop.home.parts()["engine-2"]
    check_home(tmp_path, read_settings(home=tmp_path).paths.sockets)
    told["PYTHONPATH"] = shop.home.environment["PYTHONPATH"]
    command = [sys.executable, "-P", "-m", "engine.cli.main", "serve", "--role", "calls"]
    stranger = await asyncio.create_subprocess_exec(*command, env=told, stderr=asyncio.subprocess.PIPE)
    try:
        async with asyncio.timeout(60):
            _, errors = await stranger.communicate()
    finally:
        if stranger.returncode is None:
            stranger.kill()
            await stranger.wait()
    assert stranger.returncode == 1
    assert "another engine uses the ARI application dari-n1-2 on this Asterisk" in errors.decode()
    await shop.home.until_parts(other_than={"engine-2": before})
    log = (shop.home.folder / "log" / "engine-2.log").read_text()
    assert "another engine uses the ARI application dari-n1-2" in log
    await eventually(lambda: all_have(shop, 0))


async def test_nothing_was_written_down_twice_and_all_ends(shop: RunningShop) -> None:
    calls = Counter(call["sip_call_id"] for call in await shop.objects("calls", "--limit", "1000"))
    assert set(calls) == {caller.call_id for caller in shop.carrier.callers}
    assert max(calls.values()) == 1
    assert await shop.up.stop() == 0
    assert shop.home.left() == []
    assert json.loads((await shop.home.run("status", "--json"))[1])["engines"] == [None, None]

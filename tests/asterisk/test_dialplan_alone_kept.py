"""The engine keeps routes in a real Asterisk's database, and calls go by them when it is gone or frozen."""

from __future__ import annotations

from collections.abc import AsyncIterator
from dataclasses import dataclass, replace

import msgspec
import pytest
import pytest_asyncio

from engine.accounts.model import Module
from engine.asterisk.manager import Manager
from engine.calls.causes import CAUSE_TOWARDS_CALLER
from engine.calls.fallback import Fallback, Means
from engine.foundation.clock import SystemClock
from engine.foundation.phone_number import PhoneNumber
from engine.foundation.tasks import Tasks
from engine.numbers.treatment import RecordMode, Treatment
from engine.prompts.music import Music
from engine.routing.model import Line
from engine.sandbox.carrier import Carrier
from engine.sandbox.ear import tones
from engine.sandbox.phone import Answers
from engine.settings import PRODUCT_FILES
from engine.trunks.model import Trunk
from tests.engine_rig import make_sounds
from tests.eventually import eventually
from tests.hand_made_line import ACCOUNT, CALLER, NUMBER, TARGET, line_of
from tests.hand_numbers import HandNumbers
from tests.real_asterisk import RunningAsterisk, loopback, start_asterisk

SERVER, CARRIER = loopback(62, 1), loopback(62, 2)
TRUNKS = [Trunk(name="carrier", match=(CARRIER,), contact=f"sip:{CARRIER}:5070")]
CLOSED = Treatment(announcement="ko/closed")


@pytest_asyncio.fixture(scope="module")
async def asterisk(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[RunningAsterisk]:
    folder = tmp_path_factory.mktemp("kept")
    make_sounds(folder / "sounds")
    running = await start_asterisk(folder, SERVER, TRUNKS, claim_milliseconds=200)
    yield running
    await running.stop()


@pytest.fixture
async def carrier(asterisk: RunningAsterisk) -> AsyncIterator[Carrier]:
    async with Carrier(CARRIER, 5070, (SERVER, 5060)) as carrier:
        carrier.shop(TARGET, Answers())
        yield carrier


@dataclass(slots=True)
class Engine:
    """As much of one as keeps routes."""

    numbers: HandNumbers
    fallback: Fallback
    manager: Manager

    async def settled(self) -> None:
        await eventually(lambda: self.fallback.idle)


@pytest.fixture
async def engine(asterisk: RunningAsterisk) -> AsyncIterator[Engine]:
    schema = (PRODUCT_FILES / "asterisk-conf/music.sql").read_text()
    music = Music(asterisk.settings.music, asterisk.settings.sounds, schema)
    host, _, port = asterisk.ami_address.partition(":")
    manager = Manager(host, int(port), asterisk.ami_user, asterisk.ami_password)
    means = Means(music.music_class, lambda _text: None, CAUSE_TOWARDS_CALLER.__getitem__, 8, lambda _sound: 1000)
    numbers = HandNumbers({NUMBER: line_of()})
    fallback = Fallback(manager, numbers, lambda: TRUNKS, means, SystemClock())
    manager.tell_of("FullyBooted", fallback.reconnected)
    tasks = Tasks("test")
    async with manager:
        tasks.start("fallback", fallback.keep())
        engine = Engine(numbers, fallback, manager)
        await engine.settled()
        yield engine
        await tasks.close()


async def result_of(asterisk: RunningAsterisk, carrier: Carrier, number: str = NUMBER) -> str:
    """Of a call that hangs up as soon as it is answered."""
    caller = await carrier.call(number, from_number=CALLER)
    await eventually(lambda: caller.answered_at is not None or caller.is_over)
    await caller.hang_up()
    line = await asterisk.record_of(caller.call_id)
    assert (line.alone, line.engine) == ("yes", "TIMEOUT")
    return line.alone_result


async def test_a_change_holds_for_the_next_call(asterisk: RunningAsterisk, carrier: Carrier, engine: Engine) -> None:
    assert await result_of(asterisk, carrier) == "answered"
    engine.numbers.lines[NUMBER] = line_of(CLOSED)
    engine.fallback.changed(NUMBER)
    await engine.settled()
    assert await result_of(asterisk, carrier) == "closed"
    del engine.numbers.lines[NUMBER]
    engine.fallback.changed(NUMBER)
    await engine.settled()
    assert await result_of(asterisk, carrier) == "not in service"


async def test_a_function_that_is_switched_off_is_off_for_the_next_call_without_an_engine_too(
    asterisk: RunningAsterisk, carrier: Carrier, engine: Engine
) -> None:
    async def switch(*off: Module) -> None:
        line = line_of(Treatment(recording=RecordMode.ALWAYS))
        account = msgspec.structs.replace(line.account, off=frozenset(off))
        engine.numbers.lines[NUMBER] = replace(line, account=account)
        engine.fallback.changed(str(ACCOUNT))
        await engine.settled()

    async def notices() -> str:
        caller = await carrier.call(NUMBER, from_number=CALLER)
        await eventually(lambda: caller.answered_at is not None or caller.is_over)
        await caller.hang_up()
        return (await asterisk.record_of(caller.call_id)).alone_notices

    await switch()
    assert "recording-notice" in await notices()
    await switch(Module.RECORDING)
    assert await notices() == ""
    await switch(Module.CALLS)
    assert await result_of(asterisk, carrier) == "switched off"
    await switch()
    assert await result_of(asterisk, carrier) == "answered"


async def test_what_asterisk_lost_comes_back_with_the_connection(
    asterisk: RunningAsterisk, carrier: Carrier, engine: Engine
) -> None:
    await asterisk.ask("database deltree dari")
    caller = await carrier.call(NUMBER)
    await caller.ended()
    assert caller.final_code == 503
    await engine.manager.close()
    await engine.manager.connect()
    await eventually(lambda: _has(engine, f"n{NUMBER[-2:]}/{NUMBER}"))
    await engine.settled()
    assert await result_of(asterisk, carrier) == "answered"


async def _has(engine: Engine, key: str) -> bool:
    folder, _, rest = key.partition("/")
    return rest in await engine.manager.database_tree(f"dari/{folder}")


async def test_another_life_finds_what_is_there(asterisk: RunningAsterisk, engine: Engine) -> None:
    numbers = HandNumbers({NUMBER: line_of(), **{one: _other(one) for one in _many()}})
    engine.numbers.lines = dict(numbers.lines)
    engine.fallback.changed("")
    await engine.settled()
    folders = {number[-2:] for number in numbers.lines}
    found = [await engine.manager.database_tree(f"dari/n{folder}") for folder in folders]
    assert {rest for tree in found for rest in tree} == set(numbers.lines)


def _many() -> list[PhoneNumber]:
    return [PhoneNumber(f"0507000{n:04}") for n in range(300)]


def _other(number: PhoneNumber) -> Line:
    return line_of(number=number)


async def test_an_engine_that_listens_and_does_nothing_holds_nobody_up(
    asterisk: RunningAsterisk, carrier: Carrier, engine: Engine
) -> None:
    async with asterisk.ari() as ari:
        socket = await ari.ws_connect("/ari/events", params={"app": "dari-frozen"})
        caller = await carrier.call(NUMBER, from_number=CALLER)
        offered = await socket.receive_json()
        await caller.answered()
        await eventually(lambda: bool(tones(caller.recording, [1100])))
        await caller.hang_up()
        await socket.close()
    assert offered["type"] == "CallBroadcast", "nothing was frozen: the engine was never asked"
    line = await asterisk.record_of(caller.call_id)
    assert (line.alone_result, line.alone_account, line.engine) == ("answered", str(ACCOUNT), "TIMEOUT")

"""A telephone that answers while no engine is there waits for the next one, which takes it on: it is rung once."""

from __future__ import annotations

import asyncio
import os
from collections.abc import AsyncGenerator, AsyncIterator
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from uuid import UUID

import pytest

from engine.asterisk.commands import ChannelGone
from engine.asterisk.events import ApplicationReplaced, Channel, Event, StasisEnd, StasisStart
from engine.calls import held_telephones
from engine.calls.caretaker import Caretaker
from engine.calls.contexts import GOES_ALONE
from engine.calls.held_telephones import HeldTelephones
from engine.calls.own_ids import first_channel_of, playback_of, target_channel_of
from engine.cdr.model import Result
from engine.foundation.errors import TryLater
from engine.foundation.process import PidFile, Process, write_pid_file
from engine.foundation.tasks import Tasks
from engine.trunks.pjsip import CONTEXT
from tests.call_desk import NODE, NUMBER, SHOP, Desk, desk_at
from tests.eventually import PATIENCE, eventually
from tests.fake_asterisk import FakeAsterisk
from tests.virtual_time import run_virtual

CALL = UUID("01900000-0000-7000-8000-000000000001")
CALLER = "1795305007.0"
TARGET, FIRST = target_channel_of(CALL, NODE, 1), first_channel_of(CALL, NODE, 1)
PLEASE_WAIT = "sounds/ko/connecting"


# -- the next engine takes it on ---------------------------------------------------------------------------------------


async def dies(desk: Desk) -> None:
    """As by kill -9."""
    await desk.reception.close(grace=0)
    await desk.spool.close()
    desk.spool.close = _nothing  # type: ignore[method-assign]


async def _nothing() -> None:
    pass


async def is_over(desk: Desk) -> None:
    """The call that another life of the engine began."""
    async with asyncio.timeout(120.0):
        while desk.reception.live_calls or desk.asterisk.left_over():
            await asyncio.sleep(0.05)


def heard_whole(heard: object, sound: str) -> bool:
    return any(one.whole and one.what.endswith(f"/{sound}") for one in heard)  # type: ignore[attr-defined]


@pytest.mark.parametrize("stood_in_for", [True, False])
def test_it_is_told_the_whisper_and_connected_by_the_next_engine(tmp_path: Path, stood_in_for: bool) -> None:
    async def story() -> None:
        async with desk_at(tmp_path) as first:
            asterisk = first.asterisk
            if not stood_in_for:
                asterisk.stand_in_for_nobody()
            phone = asterisk.phone(SHOP, answers_after=6.0, hangs_up_after=15.0)
            caller = first.call()
            await asyncio.sleep(5.0)
            await dies(first)
            await asyncio.sleep(3.0)  # in which it answers
            assert phone.legs[0].gone is not stood_in_for
            async with desk_at(tmp_path, asterisk=asterisk) as second:
                await caller.until_over()
                await is_over(second)
                record = await second.record()
        assert record.result is Result.ANSWERED
        assert len(phone.legs) == (1 if stood_in_for else 2)
        assert heard_whole(phone.heard, "test/whisper")
        assert any(heard.what.startswith("bridge:") for heard in phone.heard)

    run_virtual(story())


def test_it_is_let_go_when_its_caller_has_left_meanwhile(tmp_path: Path) -> None:
    async def story() -> None:
        async with desk_at(tmp_path) as first:
            asterisk = first.asterisk
            phone = asterisk.phone(SHOP, answers_after=6.0)
            caller = first.call()
            await asyncio.sleep(5.0)
            await dies(first)
            await asyncio.sleep(2.0)
            caller.hang_up()
            await asyncio.sleep(0.5)
            assert not phone.legs[0].gone
            async with desk_at(tmp_path, asterisk=asterisk) as second:
                async with asyncio.timeout(PATIENCE):
                    await phone.legs[0].over.wait()
                await is_over(second)
                record = await second.record()
        assert record.result is Result.CALLER_GAVE_UP
        assert len(phone.legs) == 1

    run_virtual(story())


def test_it_is_let_go_before_its_caller_goes_back_to_the_dialplan(tmp_path: Path) -> None:
    async def story() -> None:
        async with desk_at(tmp_path) as desk:
            phone = desk.asterisk.phone(SHOP, answers_after=6.0)
            caller = desk.call()
            await asyncio.sleep(5.0)
            await desk.reception.close(0)
            await asyncio.sleep(2.0)
            assert phone.legs[0].state == "Up"
            done = await Caretaker([desk.asterisk], lambda: True).help()
            assert [deed.channel for deed in done] == [phone.legs[0].id, caller.leg.id]
            assert phone.legs[0].gone
            assert desk.asterisk.continued == [(caller.leg.id, CONTEXT, NUMBER, GOES_ALONE)]
            caller.hang_up()

    run_virtual(story())


# -- the watchdog stands in for the engine that has ended --------------------------------------------------------------


class Spoken(FakeAsterisk):
    """Notes what is played to whom, and who is hung up."""

    def __init__(self) -> None:
        super().__init__()
        self.played: list[tuple[str, str, str]] = []
        self.hung_up: list[str] = []
        self.is_gone = False

    async def play(self, channel: str, sound: str, playback: str) -> None:
        self.played.append((channel, sound, playback))
        if self.is_gone:
            raise ChannelGone(f"the channel {channel} is gone")

    async def hang_up(self, channel: str, cause: int) -> None:
        self.hung_up.append(channel)


@dataclass(slots=True)
class World:
    """An engine's process, and its application as one who stands in for it sees it."""

    pid_file: Path
    asterisk: Spoken
    stood_in: int = 0
    """How often somebody began to."""
    fails: int = 0
    """How often the socket is refused yet."""
    happenings: asyncio.Queue[Event] = field(default_factory=asyncio.Queue)

    async def stand_in(self) -> AsyncGenerator[Event, None]:
        if self.fails:
            self.fails -= 1
            raise TryLater("no socket")
        self.stood_in += 1
        while True:
            yield await self.happenings.get()

    def starts(self, channel: str) -> None:
        shown = Channel(id=channel, name="PJSIP/carrier-1", state="Up")
        self.happenings.put_nowait(StasisStart(application="dari-n1", channel=shown, args=()))

    def ends(self, channel: str) -> None:
        shown = Channel(id=channel, name="PJSIP/carrier-1", state="Up")
        self.happenings.put_nowait(StasisEnd(application="dari-n1", channel=shown))

    def is_taken_back(self) -> None:
        self.happenings.put_nowait(ApplicationReplaced(application="dari-n1"))

    @asynccontextmanager
    async def until_engine_dies(self, next_life: Process | None = None) -> AsyncIterator[None]:
        """A process that is the engine; killed at the end, once it is watched. `next_life` is there at once."""
        child = await asyncio.create_subprocess_exec("sleep", "1000")
        try:
            process = Process.of_child(child.pid)
            assert process is not None
            write_pid_file(self.pid_file, PidFile(process=process))
            yield
            await eventually(
                lambda: any("pidfd" in _link(descriptor) for descriptor in Path("/proc/self/fd").iterdir())
            )
        finally:
            child.kill()
            if next_life:
                write_pid_file(self.pid_file, PidFile(process=next_life))
            await child.wait()


def _link(descriptor: Path) -> str:
    with suppress(FileNotFoundError):
        return str(descriptor.readlink())
    return ""


@asynccontextmanager
async def watched(tmp_path: Path, at_most: float = 60.0) -> AsyncIterator[World]:
    tasks = Tasks("test")
    async with Spoken() as asterisk:
        world = World(tmp_path / "engine.pid", asterisk)
        held = HeldTelephones(world.pid_file, asterisk, world.stand_in, PLEASE_WAIT, at_most)
        tasks.start("held telephones", held.keep())
        try:
            yield world
        finally:
            await tasks.close()


async def test_nobody_stands_in_for_an_engine_that_lives_or_was_never_seen(tmp_path: Path) -> None:
    async with watched(tmp_path) as world:
        await asyncio.sleep(0.5)
        async with world.until_engine_dies():
            await asyncio.sleep(0.5)
            assert world.stood_in == 0
        await eventually(lambda: world.stood_in == 1)


async def test_whoever_answers_is_told_to_wait_and_nobody_else_is(tmp_path: Path) -> None:
    async with watched(tmp_path) as world:
        async with world.until_engine_dies():
            pass
        for channel in (CALLER, TARGET, FIRST):
            world.starts(channel)
        await eventually(lambda: len(world.asterisk.played) == 2)
        assert world.asterisk.played == [
            (channel, PLEASE_WAIT, playback_of(channel, 0, 1)) for channel in (TARGET, FIRST)
        ]
        assert world.asterisk.hung_up == []


async def test_it_is_let_go_when_no_engine_comes(tmp_path: Path) -> None:
    async with watched(tmp_path, at_most=0.2) as world:
        world.asterisk.is_gone = True  # what it cannot be told changes nothing
        async with world.until_engine_dies():
            pass
        world.starts(TARGET)
        await eventually(lambda: world.asterisk.hung_up == [TARGET])


async def test_nobody_stands_in_when_the_next_life_may_have_connected_already(tmp_path: Path) -> None:
    ours = Process.of(os.getpid())  # it has lived for long enough
    async with watched(tmp_path) as world:
        async with world.until_engine_dies(next_life=ours):
            pass
        await asyncio.sleep(0.5)
        assert world.stood_in == 0


async def test_a_next_life_that_has_just_begun_has_not_connected(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    ours = Process.of(os.getpid())
    monkeypatch.setattr(held_telephones, "_STARTING", 1e9)  # so that we have just begun
    async with watched(tmp_path) as world:
        async with world.until_engine_dies(next_life=ours):
            pass
        await eventually(lambda: world.stood_in == 1)


async def test_one_that_another_engine_took_over_is_not_let_go(tmp_path: Path) -> None:
    async with watched(tmp_path, at_most=0.5) as world:
        async with world.until_engine_dies():
            pass
        world.starts(TARGET)
        world.starts(FIRST)
        world.ends(CALLER)
        world.ends(TARGET)
        await eventually(lambda: world.asterisk.hung_up == [FIRST])
        await asyncio.sleep(0.5)
        assert world.asterisk.hung_up == [FIRST]


async def test_the_next_life_takes_all_back_until_it_ends_itself(tmp_path: Path) -> None:
    async with watched(tmp_path, at_most=1.0) as world:
        async with world.until_engine_dies():
            pass
        world.starts(TARGET)
        await eventually(lambda: len(world.asterisk.played) == 1)
        async with world.until_engine_dies():
            world.is_taken_back()
            await asyncio.sleep(1.5)
            assert world.stood_in == 1, "the application was taken from a living engine"
            assert world.asterisk.hung_up == [], "whom the engine has is not let go"
        await eventually(lambda: world.stood_in == 2)


async def test_an_asterisk_that_is_not_there_is_asked_again_as_long_as_no_engine_lives(tmp_path: Path) -> None:
    async with watched(tmp_path) as world:
        world.fails = 2
        async with world.until_engine_dies():
            pass
        await eventually(lambda: world.stood_in == 1)

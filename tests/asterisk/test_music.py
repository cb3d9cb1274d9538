"""Ringback on a real Asterisk: a class made while it runs plays at once, for each caller from the sound's start."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pytest

from engine.asterisk.commands import Ari
from engine.asterisk.connection import Connected, Connection
from engine.asterisk.events import CallBroadcast, StasisStart
from engine.prompts.catalogue import keep
from engine.prompts.music import Music
from engine.sandbox import g711
from engine.sandbox.sdp import Codec
from engine.settings import PRODUCT_FILES
from engine.trunks.model import Trunk
from tests.eventually import PATIENCE
from tests.plain_sip import Call, Telephone
from tests.real_asterisk import RunningAsterisk, start_asterisk
from tests.tones import strongest, tone, write_audio

SERVER = "127.0.14.1"
FIRST, SECOND = 600, 1300
"""The sound is 0.6 s of one tone, then 0.6 s of another."""
NUMBER = "050712345678"


@dataclass
class Ringback:
    """Claims every call and lets it hear the sound now named, unanswered."""

    ari: Ari
    music: Music
    sound: str = ""

    async def serve(self, connection: Connection, ready: asyncio.Event) -> None:
        async for event in connection.events():
            match event:
                case Connected():
                    ready.set()
                case CallBroadcast():
                    await self.ari.claim(event.channel.id)
                case StasisStart():
                    music_class = await self.music.music_class(self.sound)
                    await self.ari.start_music(event.channel.id, music_class)


@pytest.fixture(scope="module")
async def asterisk(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[RunningAsterisk]:
    callers = Trunk(name="callers", match=tuple(f"127.0.14.{host}" for host in range(2, 6)), contact="sip:127.0.14.2")
    running = await start_asterisk(tmp_path_factory.mktemp("music"), SERVER, [callers])
    yield running
    await running.stop()


@pytest.fixture
async def ringback(asterisk: RunningAsterisk) -> AsyncIterator[Ringback]:
    access = (asterisk.ari_url, "dari-music", asterisk.ari_user, asterisk.ari_password)
    settings = asterisk.settings
    music = Music(settings.music, settings.sounds, (PRODUCT_FILES / "asterisk-conf/music.sql").read_text())
    ready = asyncio.Event()
    async with Ari(*access) as ari:
        ringback = Ringback(ari, music)
        serving = asyncio.ensure_future(ringback.serve(Connection(*access), ready))
        await asyncio.wait_for(ready.wait(), PATIENCE)
        yield ringback
        serving.cancel()
        with suppress(asyncio.CancelledError):
            await serving


def two_tones(asterisk: RunningAsterisk, folder: Path, first: int, second: int) -> str:
    samples = np.concatenate([tone(first, 0.6), tone(second, 0.6)])
    return keep(write_audio(folder / f"{first}.wav", samples), asterisk.settings.sounds, field="ringback")


async def listen(asterisk: RunningAsterisk, host: int, seconds: float) -> Call:
    ip = f"127.0.14.{host}"
    with Telephone(ip) as telephone:
        call = await telephone.call(asterisk.sip_address, NUMBER, seconds)
        await telephone.cancel(asterisk.sip_address, NUMBER, call)
    return call


def heard(call: Call) -> list[float]:
    """The strongest frequency of each 0.3 s from the first sound on."""
    samples = g711.decode(Codec.PCMA, call.heard) / 32768
    start = int(np.argmax(np.abs(samples) > 0.01))
    return [strongest(samples[at : at + 2400]) for at in range(start, len(samples) - 2400, 2400)]


async def test_a_class_made_at_run_time_plays_at_once_from_its_start_and_goes_round(
    asterisk: RunningAsterisk, ringback: Ringback, tmp_path: Path
) -> None:
    ringback.sound = two_tones(asterisk, tmp_path, FIRST, SECOND)
    call = await listen(asterisk, 2, 2.8)
    assert 183 in call.codes
    assert not [code for code in call.codes if 200 <= code < 300]
    one_turn = [FIRST, FIRST, SECOND, SECOND]
    assert heard(call)[:8] == pytest.approx(one_turn * 2, abs=25)


async def test_every_caller_hears_it_from_its_start(
    asterisk: RunningAsterisk, ringback: Ringback, tmp_path: Path
) -> None:
    ringback.sound = two_tones(asterisk, tmp_path, FIRST, SECOND)
    early = asyncio.ensure_future(listen(asterisk, 3, 2.0))
    await asyncio.sleep(0.7)
    late = await listen(asterisk, 4, 1.0)
    for call in (await early, late):
        assert heard(call)[:3] == pytest.approx([FIRST, FIRST, SECOND], abs=25)


async def test_a_sound_that_changes_counts_for_the_next_call(
    asterisk: RunningAsterisk, ringback: Ringback, tmp_path: Path
) -> None:
    ringback.sound = two_tones(asterisk, tmp_path, 900, 1700)
    before = await listen(asterisk, 5, 0.8)
    ringback.sound = two_tones(asterisk, tmp_path, 1700, 900)
    after = await listen(asterisk, 5, 0.8)
    assert heard(before)[0] == pytest.approx(900, abs=25)
    assert heard(after)[0] == pytest.approx(1700, abs=25)

"""Ringback on a real Asterisk: a class made while it runs plays at once, for each caller from the sound's start."""

from __future__ import annotations

import asyncio
import re
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass
from itertools import groupby
from pathlib import Path

import numpy as np
import pytest

from engine.asterisk.commands import Ari
from engine.asterisk.connection import Connected, Connection
from engine.asterisk.events import CallBroadcast, StasisStart
from engine.prompts.catalogue import keep, path_of
from engine.prompts.music import Music
from engine.sandbox import g711
from engine.sandbox.sdp import Codec
from engine.settings import PRODUCT_FILES
from engine.trunks.model import Trunk
from tests.eventually import PATIENCE, eventually
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
    sound: str | tuple[str, ...] = ""
    channel: str = ""
    """The last caller's."""

    async def serve(self, connection: Connection, ready: asyncio.Event) -> None:
        async for event in connection.events():
            match event:
                case Connected():
                    ready.set()
                case CallBroadcast():
                    await self.ari.claim(event.channel.id)
                case StasisStart():
                    await self.start(event.channel.id)

    async def start(self, channel: str) -> None:
        await self.ari.start_music(channel, await self.music.music_class(self.sound))
        self.channel = channel


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


def one_tone(asterisk: RunningAsterisk, folder: Path, frequency: int, seconds: float) -> str:
    file = write_audio(folder / f"{frequency}.wav", tone(frequency, seconds))
    return keep(file, asterisk.settings.sounds, field="ringback")


async def test_a_list_is_heard_in_its_order_and_then_again_from_its_first_sound(
    asterisk: RunningAsterisk, ringback: Ringback, tmp_path: Path
) -> None:
    wanted = (1700, 600, 1100)
    ringback.sound = tuple(one_tone(asterisk, tmp_path, frequency, 0.6) for frequency in wanted)
    call = await listen(asterisk, 2, 4.4)
    in_halves = [frequency for frequency in wanted for _ in range(2)]
    assert heard(call)[:12] == pytest.approx(in_halves * 2, abs=25)


class Listener(Telephone):
    """A telephone whose hearing can be looked at while it calls."""

    hearing = Call("")

    async def _listen(self, call: Call) -> None:
        self.hearing = call
        await super()._listen(call)

    async def has_heard(self, seconds: float) -> None:
        """Returns when so much more sound has come."""
        wanted = len(self.hearing.heard) + round(8000 * seconds)
        await eventually(lambda: len(self.hearing.heard) >= wanted)


@asynccontextmanager
async def waiting_caller(asterisk: RunningAsterisk, ringback: Ringback, host: int) -> AsyncIterator[Listener]:
    """One who hears the ringback and goes on waiting, unanswered."""
    ringback.channel = ""
    with Listener(f"127.0.14.{host}") as telephone:
        calling = asyncio.ensure_future(telephone.call(asterisk.sip_address, NUMBER, 120.0))
        await eventually(lambda: bool(ringback.channel))
        yield telephone
        await telephone.cancel(asterisk.sip_address, NUMBER, telephone.hearing)
        await calling


async def test_music_changes_at_once_while_the_caller_waits_unanswered(
    asterisk: RunningAsterisk, ringback: Ringback, tmp_path: Path
) -> None:
    ringback.sound = one_tone(asterisk, tmp_path, 600, 3.0)
    async with waiting_caller(asterisk, ringback, 3) as telephone:
        await telephone.has_heard(1.0)
        ringback.sound = one_tone(asterisk, tmp_path, 1300, 3.0)
        await ringback.start(ringback.channel)
        await telephone.has_heard(1.0)
        heard_by_now = telephone.hearing.heard
        assert not [code for code in telephone.hearing.codes if code >= 200]
    samples = g711.decode(Codec.PCMA, heard_by_now) / 32768
    pieces = [samples[at : at + 400] for at in range(0, len(samples) - 400, 400)]
    # From one to the other, with no silence and without the first one's end being played out.
    assert [frequency for frequency, _ in groupby(round(strongest(piece), -2) for piece in pieces)] == [600, 1300]


@pytest.mark.parametrize(("missing", "transcoded"), [((), "No"), ((".alaw", ".wav16"), "Yes")])
async def test_a_carrier_s_line_gets_the_form_that_needs_no_transcoding(
    asterisk: RunningAsterisk, ringback: Ringback, tmp_path: Path, missing: tuple[str, ...], transcoded: str
) -> None:
    sound = one_tone(asterisk, tmp_path, 700 + 100 * len(missing), 3.0)
    for form in missing:
        path_of(sound, asterisk.settings.sounds).with_suffix(form).unlink()
    ringback.sound = sound
    async with waiting_caller(asterisk, ringback, 4) as telephone:
        await telephone.has_heard(0.2)
        async with asterisk.ari() as ari, ari.get(f"/ari/channels/{ringback.channel}") as answer:
            name = (await answer.json())["name"]
        shown = await asterisk.ask(f"core show channel {name}")
    assert re.search(rf"WriteTranscode: {transcoded}", shown), shown


async def test_asterisk_reads_every_form_that_sounds_are_kept_in(asterisk: RunningAsterisk) -> None:
    formats = await asterisk.ask("core show file formats")
    for codec, form in (("slin", "wav"), ("slin16", "wav16"), ("alaw", "alaw")):
        assert re.search(rf"^{codec} .*\b{form}\b", formats, re.MULTILINE), formats

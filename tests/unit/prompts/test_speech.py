"""Texts into sounds: once each, without holding anybody up."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import suppress
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from engine.foundation.errors import Invalid, NotAllowed, TryLater
from engine.prompts.catalogue import exists, path_of
from engine.prompts.speech.setup import SpeechSetup, opened_speech
from engine.prompts.speech.speech import LONGEST_TEXT, Speech
from engine.prompts.telephone_sound import WIDE_RATE, pcm, read_wav, wav
from tests.tones import strongest, tone


class Announcer:
    """A provider that hums each text as a tone of its own, when it is let; `said` is what it was given."""

    def __init__(self, name: str = "announcer") -> None:
        self.name = name
        self.voices = ("low", "high")
        self.said: list[tuple[str, str]] = []
        self.may_speak = asyncio.Event()
        self.may_speak.set()
        self.trouble: Exception | None = None
        self.silent = False

    async def speak(self, text: str, voice: str) -> bytes:
        self.said.append((text, voice))
        await self.may_speak.wait()
        if self.trouble:
            raise self.trouble
        loudness = 0.0 if self.silent else 0.3
        frequency = 500 + 10 * len(text) + (1000 if voice == "high" else 0)
        hum = tone(frequency, 0.5, WIDE_RATE, loudness) / 32768
        return wav(pcm(np.concatenate([np.zeros(WIDE_RATE), hum, np.zeros(WIDE_RATE)])), WIDE_RATE)


@pytest.fixture
def announcer() -> Announcer:
    return Announcer()


@pytest.fixture
async def speech(tmp_path: Path, announcer: Announcer) -> AsyncIterator[Speech]:
    made = Speech([announcer, Announcer("other")], "announcer", tmp_path)
    yield made
    await made.close()


async def test_a_text_becomes_a_sound_with_its_numbers_spelled_out_and_no_dead_air(
    speech: Speech, announcer: Announcer, tmp_path: Path
) -> None:
    name = await speech.sound_for("이번 주 3번째\n전화")
    assert announcer.said == [("이번 주 세 번째 전화", "low")]
    heard = read_wav(path_of(name, tmp_path))
    assert strongest(heard) == pytest.approx(500 + 10 * len("이번 주 세 번째 전화"), abs=5)
    assert len(heard) / 8000 == pytest.approx(0.56, abs=0.05)


async def test_a_text_is_spoken_once_and_then_ready_also_for_another_process(
    speech: Speech, announcer: Announcer, tmp_path: Path
) -> None:
    assert speech.ready("안녕하세요") is None
    name = await speech.sound_for("안녕하세요")
    assert speech.ready("안녕하세요") == name == await speech.sound_for("안녕하세요")
    elsewhere = Speech([announcer], "announcer", tmp_path)
    assert elsewhere.ready("안녕하세요") == name == await elsewhere.sound_for("안녕하세요")
    assert len(announcer.said) == 1


async def test_the_same_reading_is_the_same_sound(speech: Speech, announcer: Announcer) -> None:
    assert await speech.sound_for("2명") == await speech.sound_for(" 두 명 ")
    assert len(announcer.said) == 1


async def test_every_voice_has_its_own_sound(speech: Speech, announcer: Announcer) -> None:
    low, high = await speech.sound_for("안녕하세요"), await speech.sound_for("안녕하세요", "announcer/high")
    assert low != high
    assert await speech.sound_for("안녕하세요", "announcer/low") == low
    assert speech.ready("안녕하세요", "other/low") is None
    assert announcer.said == [("안녕하세요", "low"), ("안녕하세요", "high")]
    assert speech.voice_named(None) == "announcer/low"
    assert speech.voices == ["announcer/low", "announcer/high", "other/low", "other/high"]


async def test_many_who_ask_at_once_hear_what_was_spoken_once(speech: Speech, announcer: Announcer) -> None:
    announcer.may_speak.clear()
    asking = [asyncio.ensure_future(speech.sound_for("안녕하세요")) for _ in range(20)]
    while not announcer.said:
        await asyncio.sleep(0)
    announcer.may_speak.set()
    assert len(set(await asyncio.gather(*asking))) == 1
    assert len(announcer.said) == 1


async def test_one_who_goes_away_takes_it_from_nobody(speech: Speech, announcer: Announcer) -> None:
    announcer.may_speak.clear()
    first, second = (asyncio.ensure_future(speech.sound_for("안녕하세요")) for _ in range(2))
    while not announcer.said:
        await asyncio.sleep(0)
    first.cancel()
    with suppress(asyncio.CancelledError):
        await first
    announcer.may_speak.set()
    assert (await second).startswith("own/")


@pytest.mark.parametrize("trouble", [TryLater("away"), NotAllowed("no"), Invalid("text")])
async def test_trouble_reaches_all_who_wait_and_is_not_kept(
    speech: Speech, announcer: Announcer, trouble: Exception
) -> None:
    announcer.trouble = trouble
    results = await asyncio.gather(*(speech.sound_for("안녕하세요") for _ in range(3)), return_exceptions=True)
    assert {type(result) for result in results} == {type(trouble)}
    announcer.trouble = None
    assert (await speech.sound_for("안녕하세요")).startswith("own/")


async def test_a_provider_that_is_silent_is_asked_again_later(speech: Speech, announcer: Announcer) -> None:
    announcer.silent = True
    with pytest.raises(TryLater, match="only silence"):
        await speech.sound_for("안녕하세요")
    assert speech.ready("안녕하세요") is None


async def test_a_sound_that_was_swept_is_spoken_again(speech: Speech, announcer: Announcer, tmp_path: Path) -> None:
    name = await speech.sound_for("안녕하세요")
    path_of(name, tmp_path).unlink()
    assert speech.ready("안녕하세요") is None
    assert await speech.sound_for("안녕하세요") == name
    assert exists(name, tmp_path)
    assert len(announcer.said) == 2


@pytest.mark.parametrize("text", ["", " \n", "...", "가" * (LONGEST_TEXT + 1), "안\x07녕", "9" * 1001])
async def test_what_cannot_be_said_is_refused_before_anybody_is_asked(
    speech: Speech, announcer: Announcer, text: str
) -> None:
    with pytest.raises(Invalid, match="text: "):
        await speech.sound_for(text)
    with pytest.raises(Invalid, match="text: "):
        speech.ready(text)
    assert announcer.said == []


async def test_an_unknown_voice_is_refused_also_as_the_default(
    speech: Speech, announcer: Announcer, tmp_path: Path
) -> None:
    with pytest.raises(Invalid, match="there is announcer, other"):
        await speech.sound_for("안녕하세요", "nobody/low")
    with pytest.raises(Invalid, match="voice nobody"):
        Speech([announcer], "nobody", tmp_path)


async def test_those_who_wait_when_it_closes_are_told(speech: Speech, announcer: Announcer) -> None:
    announcer.may_speak.clear()
    asking = asyncio.ensure_future(speech.sound_for("안녕하세요"))
    while not announcer.said:
        await asyncio.sleep(0)
    await speech.close()
    with pytest.raises(TryLater, match="ended before"):
        await asking


async def test_errors_hold_no_text(speech: Speech) -> None:
    for text in ("비밀 " * 400, "비밀\x07"):
        with pytest.raises(Invalid) as refused:
            await speech.sound_for(text)
        assert "비밀" not in str(refused.value)


async def test_only_providers_with_a_key_are_there(tmp_path: Path) -> None:
    program = tmp_path / "espeak-ng"
    program.write_text("#!/bin/sh\n")
    program.chmod(0o755)
    setup = SpeechSetup(espeak_files=tmp_path, espeak=str(program))
    async with opened_speech(setup, tmp_path) as speech:
        assert {voice.partition("/")[0] for voice in speech.voices} == {"espeak"}
    keyed = replace(
        setup, default="polly/Jihye", polly_key_id="x", polly_key="x", clova_key_id="x", clova_key="x", google_key="x"
    )
    async with opened_speech(keyed, tmp_path) as speech:
        assert {voice.partition("/")[0] for voice in speech.voices} == {"espeak", "polly", "clova", "google"}
        assert speech.voice_named(None) == "polly/Jihye"
    without_espeak = replace(keyed, espeak=str(tmp_path / "none"))
    async with opened_speech(without_espeak, tmp_path) as speech:
        assert "espeak/ko" not in speech.voices
    with pytest.raises(Invalid, match="get-asterisk"):
        async with opened_speech(replace(setup, espeak=str(tmp_path / "none")), tmp_path):
            pass
    assert "hidden" not in repr(replace(setup, polly_key="hidden", clova_key="hidden", google_key="hidden"))

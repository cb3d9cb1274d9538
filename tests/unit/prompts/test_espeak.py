"""The offline voice: the real program where it is unpacked or installed, and programs that misbehave."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from engine.foundation.errors import Invalid, TryLater
from engine.prompts.catalogue import keep_speech, path_of
from engine.prompts.speech.espeak import Espeak, find_espeak
from engine.prompts.telephone_sound import RATE, decoded_bytes, read_wav
from engine.settings import read_settings


@pytest.fixture(scope="module")
def program() -> Path:
    return find_espeak(read_settings().asterisk_files)


def script(folder: Path, lines: str) -> Path:
    file = folder / "speaker"
    file.write_text("#!/bin/sh\n" + lines)
    file.chmod(0o755)
    return file


async def test_it_speaks_korean(program: Path, tmp_path: Path) -> None:
    audio = await Espeak(program, timeout=60).speak("배달앱에서 온 주문 전화입니다.", "ko")
    heard = read_wav(path_of(keep_speech(audio, tmp_path), tmp_path))
    assert 1.5 < len(heard) / RATE < 4


async def test_every_voice_of_its_list_speaks_and_none_sounds_like_another(program: Path) -> None:
    heard = {voice: await Espeak(program, timeout=60).speak("안녕하세요", voice) for voice in Espeak.voices}
    assert len(set(heard.values())) == len(Espeak.voices)


@pytest.mark.parametrize("text", ["-v en -w /tmp/x", "<speak>안녕</speak>", "[[h@l'oU]] 안녕", "안녕 'x' \"y\" $(id)"])
async def test_no_text_is_a_command(program: Path, text: str) -> None:
    audio = await Espeak(program, timeout=60).speak(text, "ko")
    assert np.abs(decoded_bytes(audio, 60)).max() > 0.01


async def test_the_text_is_not_among_the_arguments(tmp_path: Path) -> None:
    told = tmp_path / "told"
    with pytest.raises(TryLater):
        await Espeak(script(tmp_path, f'echo "$@" > {told}; cat >> {told}.input')).speak("비밀", "ko")
    assert "비밀" not in told.read_text()
    assert "비밀" in (tmp_path / "told.input").read_text()


async def test_a_program_that_hangs_is_ended(tmp_path: Path) -> None:
    pid = tmp_path / "pid"
    with pytest.raises(TryLater, match="not done within"):
        await Espeak(script(tmp_path, f"echo $$ > {pid}; exec sleep 600"), timeout=0.5).speak("안녕", "ko")
    if pid.exists():  # else it was ended before it began
        assert not Path(f"/proc/{pid.read_text().strip() or 0}").exists()


@pytest.mark.parametrize("lines", ["exit 3", "true", "head -c 44 /dev/zero"])
async def test_a_program_that_fails_is_told(tmp_path: Path, lines: str) -> None:
    with pytest.raises(TryLater, match="failed"):
        await Espeak(script(tmp_path, "cat >/dev/null; " + lines)).speak("안녕", "ko")


async def test_a_program_that_is_none_is_told(tmp_path: Path) -> None:
    (tmp_path / "no-program").write_text("x")
    with pytest.raises(TryLater, match="does not start"):
        await Espeak(tmp_path / "no-program").speak("안녕", "ko")


async def test_only_its_own_voices_are_taken(tmp_path: Path) -> None:
    for voice in ("en", "../../x", ""):
        with pytest.raises(Invalid, match="espeak has ko"):
            await Espeak(tmp_path / "none").speak("안녕", voice)


def test_the_unpacked_program_is_found_where_the_system_has_none(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PATH", str(tmp_path / "empty"))
    with pytest.raises(Invalid, match="get-asterisk"):
        find_espeak(tmp_path)
    unpacked = script(tmp_path, "").rename(tmp_path / "espeak-ng")
    assert find_espeak(tmp_path) == unpacked
    with pytest.raises(Invalid, match="no /other/speaker"):
        find_espeak(tmp_path, "/other/speaker")

"""espeak-ng on this machine: no key, no network, a robotic voice. The default."""

from __future__ import annotations

import asyncio
import shutil
import subprocess
from pathlib import Path

from engine.foundation.errors import Invalid, TryLater

SPEECH = ("-s", "170", "-p", "45", "-a", "100")
"""Slower than espeak-ng's own 175 words a minute: a listener hears it once, on a telephone."""

_LONGEST_TEXT = 3000


def find_espeak(files: Path, configured: str = "") -> Path:
    """The program: `configured` when set, else the system's, else the one unpacked into `files` beside Asterisk.

    Raises Invalid, saying how to get one.
    """
    found = shutil.which(configured or "espeak-ng") or (None if configured else shutil.which(files / "espeak-ng"))
    if found is None:
        raise Invalid(
            f"there is no {configured or 'espeak-ng'}; install the package espeak-ng, or run "
            f"`asterisk-conf/get-asterisk {files}`"
        )
    return Path(found)


class Espeak:
    """A `SpeechProvider` that starts the program for each text."""

    name = "espeak"
    voices = ("ko", "ko+f2", "ko+f4", "ko+m3")

    def __init__(self, program: Path, timeout: float = 10.0) -> None:
        self._program = program
        self._timeout = timeout

    async def speak(self, text: str, voice: str) -> bytes:
        """The text reaches the program by its input, so that no list of processes shows it."""
        if voice not in self.voices:
            raise Invalid(f"voice {voice}: espeak has {', '.join(self.voices)}; name one of them")
        if len(text) > _LONGEST_TEXT:
            raise Invalid(f"text: espeak speaks at most {_LONGEST_TEXT} characters at once; shorten it")
        try:
            process = await asyncio.create_subprocess_exec(
                *(self._program, "-v", voice, *SPEECH, "-b", "1", "--stdin", "--stdout"),
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=subprocess.DEVNULL,
            )
        except OSError as error:
            raise TryLater(f"speech by espeak: {self._program} does not start ({error.strerror}); mend it") from None
        try:
            async with asyncio.timeout(self._timeout):
                audio, _ = await process.communicate(_harmless(text).encode())
        except TimeoutError:
            raise TryLater(f"speech by espeak: not done within {self._timeout:g} s; try again") from None
        finally:
            if process.returncode is None:
                process.kill()
                await process.wait()
        if process.returncode or len(audio) <= _HEADER:
            raise TryLater(f"speech by espeak: {self._program} failed (exit code {process.returncode}); mend it")
        return _with_its_length(audio)


_HEADER = 44


def _with_its_length(audio: bytes) -> bytes:
    """espeak-ng writes the header before it knows how long the sound becomes."""
    size = len(audio) - _HEADER
    return audio[:4] + (size + 36).to_bytes(4, "little") + audio[8:40] + size.to_bytes(4, "little") + audio[_HEADER:]


def _harmless(text: str) -> str:
    """Without what espeak-ng takes for phonemes: `[[…]]`."""
    return text.replace("[[", "[ ").replace("]]", " ]")

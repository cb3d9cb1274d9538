"""Whether a sound's file is all there: Asterisk plays what there is of one that was cut short, and calls it whole."""

from __future__ import annotations

import wave
from pathlib import Path


def is_cut_short(file: Path) -> bool:
    """Whether it ends before its header says so. False for what is no WAV file or is not there: that is not played."""
    try:
        return file.stat().st_size < _promised(file)
    except (OSError, EOFError, wave.Error):
        return False


def bytes_if_whole(file: Path) -> int | None:
    """The size of a file that holds some sound and all of it; None for any other."""
    try:
        size, promised = file.stat().st_size, _promised(file)
    except (OSError, EOFError, wave.Error):
        return None
    return size if 0 < promised <= size else None


def _promised(file: Path) -> int:
    with wave.open(str(file), "rb") as sound:
        return sound.getnframes() * sound.getnchannels() * sound.getsampwidth()

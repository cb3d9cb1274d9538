"""The sounds folder: what Asterisk can play, by name.

A name is a path under the folder without ending: `ko/failed` and `demo/whisper` ship with Dari, `own/…` were made from
an operator's file or text. An own sound is named after its samples, so it never changes under a call that plays it.

Each sound lies there in three forms, and Asterisk takes by itself the one that costs a channel least: `.alaw` on a
carrier's A-law line (no transcoding), `.wav16` where a line carries wideband, `.wav` for all others.
"""

from __future__ import annotations

import hashlib
import os
import re
from collections.abc import Collection
from datetime import datetime, timedelta
from pathlib import Path

from engine.foundation.errors import Invalid, NotFound, TryLater
from engine.foundation.files import replace_file
from engine.prompts.telephone_sound import (
    RATE,
    WIDE_RATE,
    NoSound,
    Samples,
    alaw,
    at_level,
    decoded,
    decoded_bytes,
    make_folder,
    narrowed,
    pcm,
    put,
    read_wav,
    trimmed,
    wav,
    widened,
)

SHORTEST = 0.2
LONGEST = 300
"""Seconds."""
FORMS = (".alaw", ".wav16", ".wav")
"""Endings, in the order in which they are written: a sound is there when its last form is."""

_NAME = re.compile(r"[a-z0-9-]+/[a-z0-9-]+")
_SPOKEN = "spoken"
"""Folder of notes: which own sound a text has become."""


def keep(file: Path, folder: Path, *, field: str) -> str:
    """Takes an audio file of any usual kind into the sounds folder; the name under which Asterisk plays it.

    Blocks for as long as decoding takes. Raises Invalid naming `field`, the file, the reason and the mend.
    """
    return keep_samples(brought_to_level(file, field), folder)


def brought_to_level(file: Path, field: str) -> Samples:
    """An audio file's wideband samples at the prompts' loudness. Raises Invalid as `keep` does."""
    try:
        samples = decoded(file, LONGEST, WIDE_RATE)
        if len(samples) < SHORTEST * WIDE_RATE:
            raise NoSound(f"it is shorter than {SHORTEST} s")
        return at_level(samples, WIDE_RATE)
    except FileNotFoundError:
        raise Invalid(f"{field}: there is no file {file}; name an audio file that exists") from None
    except IsADirectoryError:
        raise Invalid(f"{field}: {file} is a folder; name one audio file in it") from None
    except PermissionError:
        raise Invalid(f"{field}: {file} may not be read by this user; change its permissions") from None
    except (OSError, ValueError) as error:
        reason = error.strerror if isinstance(error, OSError) else error
        raise Invalid(f"{field}: {file} cannot be read ({reason}); name another file") from None
    except NoSound as reason:
        mend = f"give {SHORTEST} s to {LONGEST // 60} min of wav, mp3, m4a, ogg or flac"
        raise Invalid(f"{field}: {file} cannot be used, {reason}; {mend}") from None


def keep_speech(audio: bytes, folder: Path) -> str:
    """As `keep`, of speech that a provider made: the silence around it goes. Raises NoSound."""
    return keep_samples(at_level(trimmed(decoded_bytes(audio, LONGEST, WIDE_RATE), rate=WIDE_RATE), WIDE_RATE), folder)


def keep_samples(wide: Samples, folder: Path) -> str:
    """Puts wideband samples into the sounds folder as they are; their name. Raises TryLater when it takes none.

    One that is there already counts as new for `sweep`.
    """
    name = f"own/{hashlib.sha256(pcm(wide)).hexdigest()[:24]}"
    path = path_of(name, folder)
    try:
        if all(path.with_suffix(form).is_file() for form in FORMS):
            os.utime(path)
        else:
            _put_forms(path, _forms(narrowed(wide), wide))
    except OSError as error:
        raise TryLater(f"sounds: their folder takes none ({error.strerror}); free its disk and try again") from None
    return name


def install(product_prompts: Path, folder: Path) -> None:
    """Brings the sounds that ship with Dari (`sounds/` in `product_prompts`) into the folder; leaves equal ones."""
    shipped = product_prompts / "sounds"
    for source in sorted(shipped.rglob("*.wav")):
        narrow = read_wav(source)
        forms = _forms(narrow, widened(narrow)) | {".wav": source.read_bytes()}
        _put_forms(folder / source.relative_to(shipped), forms)


def sweep(folder: Path, used: Collection[str], now: datetime, grace: timedelta = timedelta(days=30)) -> int:
    """Removes own sounds that are not in `used`, and were neither made nor spoken from for `grace`; how many.

    The grace is for those whose use is not written down: a sound just taken in, a text spoken in calls.
    """
    last = (now - grace).timestamp()
    spoken_of = {path: path.read_text() for path in (folder / _SPOKEN).glob("*/*") if path.is_file()}
    wanted = set(used) | {name for path, name in spoken_of.items() if path.stat().st_mtime > last}
    removed = 0
    for sound in (folder / "own").glob("*.wav"):
        if f"own/{sound.stem}" not in wanted and sound.stat().st_mtime <= last:
            for form in reversed(FORMS):
                sound.with_suffix(form).unlink(missing_ok=True)
            removed += 1
    for path, name in spoken_of.items():
        if not exists(name, folder):
            path.unlink(missing_ok=True)
    return removed


def note_spoken(key: str, name: str, folder: Path) -> None:
    """Writes down that the text behind `key` (a digest) is the sound of that name."""
    path = _note(key, folder)
    make_folder(path.parent)
    replace_file(path, name.encode(), 0o644)


def spoken(key: str, folder: Path, now: datetime) -> str | None:
    """The sound that the text behind `key` has become, if it is still there; it counts as in use `now`."""
    path = _note(key, folder)
    try:
        name = path.read_text()
        if not exists(name, folder):
            return None
        if now.timestamp() - path.stat().st_mtime > timedelta(days=1).total_seconds():
            os.utime(path, (now.timestamp(), now.timestamp()))
    except (OSError, UnicodeDecodeError, Invalid):
        return None
    return name


def path_of(name: str, folder: Path) -> Path:
    """Where the 8 kHz form of that name lies, whether it is there or not. Raises Invalid for what is no name."""
    if not _NAME.fullmatch(name):
        raise Invalid(f"sound: {name!r} is not a sound name like ko/failed")
    return folder / f"{name}.wav"


def forms_of(name: str, folder: Path) -> list[Path]:
    """The files of that sound that are there."""
    path = path_of(name, folder)
    return [path.with_suffix(form) for form in FORMS if path.with_suffix(form).is_file()]


def exists(name: str, folder: Path) -> bool:
    return path_of(name, folder).is_file()


def seconds(name: str, folder: Path) -> float:
    """How long the sound is. Raises NotFound when it is not there or not as Dari writes them."""
    return len(_read(name, folder, ".wav", RATE)) / RATE


def wide_samples(name: str, folder: Path) -> Samples:
    """The sound at 16 kHz. Raises NotFound as `seconds` does."""
    if path_of(name, folder).with_suffix(".wav16").is_file():
        return _read(name, folder, ".wav16", WIDE_RATE)
    return widened(_read(name, folder, ".wav", RATE))


def _read(name: str, folder: Path, form: str, rate: int) -> Samples:
    path = path_of(name, folder).with_suffix(form)
    try:
        return read_wav(path, rate)
    except FileNotFoundError:
        raise NotFound(f"sound {name}: there is no {path}; set the sound again") from None
    except NoSound as reason:
        raise NotFound(f"sound {name}: {path} cannot be played, {reason}; set the sound again") from None


def _note(key: str, folder: Path) -> Path:
    return folder / _SPOKEN / key[:2] / key


def _forms(narrow: Samples, wide: Samples) -> dict[str, bytes]:
    """The content of each form's file."""
    return {".alaw": alaw(narrow), ".wav16": wav(pcm(wide), WIDE_RATE), ".wav": wav(pcm(narrow))}


def _put_forms(path: Path, forms: dict[str, bytes]) -> None:
    """Puts each form there whole; those that are right already stay."""
    for form in FORMS:
        target = path.with_suffix(form)
        if not target.is_file() or target.read_bytes() != forms[form]:
            put(target, forms[form])

"""The sounds folder: what Asterisk can play, by name.

A name is a path under the folder without `.wav`: `ko/failed` and `demo/whisper` ship with Dari, `own/…` were taken
from an operator's file. An own sound is named after its samples, so it never changes under a call that plays it.
"""

from __future__ import annotations

import hashlib
import re
from pathlib import Path

from engine.foundation.errors import Invalid, NotFound
from engine.prompts.telephone_sound import (
    RATE,
    NoSound,
    Samples,
    at_level,
    decoded,
    pcm,
    put,
    read_wav,
    write_wav,
)

SHORTEST = 0.2
LONGEST = 300
"""Seconds."""
_NAME = re.compile(r"[a-z0-9-]+/[a-z0-9-]+")


def keep(file: Path, folder: Path, *, field: str) -> str:
    """Takes an audio file of any usual kind into the sounds folder; the name under which Asterisk plays it.

    Blocks for as long as decoding takes. Raises Invalid naming `field`, the file, the reason and the mend.
    """
    sound = pcm(_telephone_form(file, field))
    name = f"own/{hashlib.sha256(sound).hexdigest()[:24]}"
    if not exists(name, folder):
        write_wav(path_of(name, folder), sound)
    return name


def install(product_prompts: Path, folder: Path) -> None:
    """Brings the sounds that ship with Dari (`sounds/` in `product_prompts`) into the folder; leaves equal ones."""
    shipped = product_prompts / "sounds"
    for source in sorted(shipped.rglob("*.wav")):
        target = folder / source.relative_to(shipped)
        if not target.is_file() or target.read_bytes() != source.read_bytes():
            put(target, source.read_bytes())


def path_of(name: str, folder: Path) -> Path:
    """Where the sound of that name lies, whether it is there or not. Raises Invalid for what is no name."""
    if not _NAME.fullmatch(name):
        raise Invalid(f"sound: {name!r} is not a sound name like ko/failed")
    return folder / f"{name}.wav"


def exists(name: str, folder: Path) -> bool:
    return path_of(name, folder).is_file()


def seconds(name: str, folder: Path) -> float:
    """How long the sound is. Raises NotFound when it is not there or not as Dari writes them."""
    path = path_of(name, folder)
    try:
        return len(read_wav(path)) / RATE
    except FileNotFoundError:
        raise NotFound(f"sound {name}: there is no {path}; set the sound again") from None
    except NoSound as reason:
        raise NotFound(f"sound {name}: {path} cannot be played, {reason}; set the sound again") from None


def _telephone_form(file: Path, field: str) -> Samples:
    try:
        samples = decoded(file, LONGEST)
        if len(samples) < SHORTEST * RATE:
            raise NoSound(f"it is shorter than {SHORTEST} s")
        return at_level(samples)
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

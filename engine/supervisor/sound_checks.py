"""What the doctor asks of the sounds folder: whether all that ships with Dari (K2's notice …) is there to be played."""

from __future__ import annotations

from pathlib import Path

from engine.foundation.process import read_pid_file
from engine.prompts.catalogue import FORMS, forms_of
from engine.settings import PRODUCT_FILES, Settings
from engine.supervisor.check import Check, bad, ok, warn

_NAME = "shipped sounds"
_MOST_NAMED = 5


def sound_check(settings: Settings, shipped: Path = PRODUCT_FILES / "prompts" / "sounds") -> Check:
    """Each sound in all its forms: a call takes the one that costs its channel least."""
    names = sorted(f"{file.parent.name}/{file.stem}" for file in shipped.glob("*/*.wav"))
    if not names:
        return bad(_NAME, f"{shipped} holds none of the sounds that ship", "install Dari again")
    folder = settings.paths.sounds
    lacking = [name for name in names if len(forms_of(name, folder)) < len(FORMS)]
    if not lacking:
        return ok(_NAME, f"all {len(names)} that ship are in {folder}")
    if len(lacking) == len(names) and not (settings.ari_url or read_pid_file(settings.paths.pid_file("asterisk"))):
        return warn(_NAME, f"not yet in {folder}", "start `dari up`: it brings them there")
    named = ", ".join(lacking[:_MOST_NAMED]) + (" …" if len(lacking) > _MOST_NAMED else "")
    return bad(
        _NAME,
        f"{len(lacking)} of {len(names)} that ship are not in {folder}: {named}",
        "start `dari up` again: it brings them there, unless DARI_SOUNDS names another folder than the one meant",
    )

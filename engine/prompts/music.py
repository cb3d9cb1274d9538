"""Ringback as Asterisk's music on hold: a class per sound or list, made while Asterisk runs and playable at once.

Music loops and can be stopped at any moment, which a playback cannot. Asterisk looks a class up in a local SQLite
file each time it starts one (realtime), so there is nothing to reload and no database server to wait for.
"""

from __future__ import annotations

import asyncio
import hashlib
import os
import shutil
import sqlite3
import tempfile
import time
from collections.abc import Collection, Sequence
from contextlib import closing, suppress
from datetime import datetime, timedelta
from pathlib import Path
from typing import NamedTuple

from engine.foundation.errors import Invalid, NotFound, TryLater
from engine.prompts.catalogue import forms_of, path_of
from engine.prompts.telephone_sound import make_folder

_BUSY_SECONDS = 1.0
"""How long a write waits for another; Asterisk only reads, for microseconds."""

_LOOKED_EVERY = 1.0
"""Seconds for which files count as unchanged."""
MOST_SOUNDS = 100
"""In one list."""

_FileState = tuple[int, int, int]
_State = tuple[tuple[_FileState, ...], ...]


class _Part(NamedTuple):
    """One sound of a class: its files as they were found, and the digest of what is in them."""

    stem: str
    files: list[Path]
    state: tuple[_FileState, ...]
    digest: str


class Music:
    """Music classes of the sounds in one folder. Several processes may use the same database and folder at once.

    The database keeps SQLite's rollback journal: with a write-ahead log Asterisk, which may be another user, would
    need to write beside the file in order to read it.
    """

    def __init__(self, database: Path, sounds: Path, schema: str) -> None:
        """`schema` is the SQL that makes the table where it is missing (asterisk-conf/music.sql)."""
        self._database = database
        self._sounds = sounds
        self._schema = schema
        self._known: dict[tuple[str, ...], tuple[_State, str]] = {}
        self._looked: dict[tuple[str, ...], float] = {}

    async def music_class(self, sounds: str | tuple[str, ...]) -> str:
        """As `ensure`, without holding up the event loop when the class has to be made."""
        if known := self._known_class(_several(sounds)):
            return known
        return await asyncio.to_thread(self.ensure, sounds)

    def ensure(self, sounds: str | tuple[str, ...]) -> str:
        """The class that plays the sound, or one after the other, over and over from the start; made if need be.

        Its name comes from the sounds' content and order: a changed file is a new class, and callers who hear the old
        one go on hearing it. Raises Invalid for no sounds or too many, NotFound for a sound that is not there, TryLater
        when table or disk take nothing.
        """
        names = _several(sounds)
        if known := self._known_class(names):
            return known
        if not 1 <= len(names) <= MOST_SOUNDS:
            raise Invalid(f"ringback: {len(names)} sounds cannot be one list; name 1 to {MOST_SOUNDS}")
        parts = [_part(name, self._sounds) for name in names]
        state = tuple(part.state for part in parts)
        name = _class_name(parts)
        folder = self._sounds / "music" / name
        self._make(parts, folder)
        if not folder.is_dir():  # swept in between
            self._make(parts, folder)
        self._known[names] = (state, name)
        return name

    def sweep(
        self, used: Collection[str | tuple[str, ...]], now: datetime, grace: timedelta = timedelta(days=1)
    ) -> int:
        """Removes the classes of sounds and lists that are not in `used`; how many.

        A class goes only at a sweep `grace` after the one that first found it unused: calls may still play it.
        """
        wanted = {self.ensure(sounds) for sounds in used if self._is_there(sounds)}
        removed = 0
        for folder in [*(self._sounds / "music").glob("[!.]*")]:
            mark = folder.with_name(f".unused-{folder.name}")
            if folder.name in wanted:
                mark.unlink(missing_ok=True)
            elif not mark.exists():
                mark.touch()
                os.utime(mark, (now.timestamp(), now.timestamp()))
            elif mark.stat().st_mtime <= (now - grace).timestamp():
                self._remove(folder)
                mark.unlink(missing_ok=True)
                removed += 1
        return removed

    def _is_there(self, sounds: str | tuple[str, ...]) -> bool:
        return all(path_of(name, self._sounds).is_file() for name in _several(sounds))

    def _make(self, parts: Sequence[_Part], folder: Path) -> None:
        try:
            self._make_folder(parts, folder)
        except OSError as error:
            raise TryLater(
                f"ringback folder {folder}: {error.strerror}; let this user write, or free its disk"
            ) from None
        self._make_row(folder.name)

    def _remove(self, folder: Path) -> None:
        """The row first, and nobody puts it there again before the folder is gone too."""
        try:
            with closing(sqlite3.connect(self._database, timeout=_BUSY_SECONDS)) as database, database:
                database.execute("BEGIN IMMEDIATE")
                database.execute("DELETE FROM musiconhold WHERE name = ?", (folder.name,))
                gone = folder.rename(folder.with_name(f".gone-{folder.name}"))
        except OSError as error:
            raise TryLater(f"ringback folder {folder}: {error.strerror}; let this user write") from None
        except sqlite3.DatabaseError as error:
            raise TryLater(f"ringback table {self._database}: {error}; free the file or its disk") from None
        shutil.rmtree(gone, ignore_errors=True)

    def _known_class(self, names: tuple[str, ...]) -> str | None:
        """The class of sounds whose files have not changed since they were last looked at."""
        if (known := self._known.get(names)) is None:
            return None
        state, music_class = known
        if time.monotonic() < self._looked.get(names, 0.0) + _LOOKED_EVERY:
            return music_class
        with suppress(OSError):
            if (self._sounds / "music" / music_class).is_dir() and state == tuple(
                _state(name, self._sounds) for name in names
            ):
                self._looked[names] = time.monotonic()
                return music_class
        return None

    def _make_folder(self, parts: Sequence[_Part], folder: Path) -> None:
        """A folder with those sounds in it, for a class plays a folder. It is there whole or not at all."""
        if folder.is_dir():
            return
        make_folder(folder.parent)
        draft = Path(tempfile.mkdtemp(dir=folder.parent, prefix="."))
        draft.chmod(0o755)
        try:
            for place, part in enumerate(parts):
                for file in part.files:
                    _link(file, draft / _file_name(place, len(parts), file))
            draft.rename(folder)
        except OSError:
            shutil.rmtree(draft)
            if not folder.is_dir():
                raise

    def _make_row(self, name: str) -> None:
        row = (name, str(self._sounds / "music" / name))
        try:
            with closing(sqlite3.connect(self._database, timeout=_BUSY_SECONDS)) as database:
                database.executescript(self._schema)
                with database:
                    database.execute(
                        "INSERT INTO musiconhold (name, mode, directory) VALUES (?, 'files', ?) "
                        "ON CONFLICT (name) DO UPDATE SET directory = excluded.directory "
                        "WHERE directory != excluded.directory",
                        row,
                    )
        except sqlite3.DatabaseError as error:
            raise TryLater(f"ringback table {self._database}: {error}; free the file or its disk") from None


def _several(sounds: str | tuple[str, ...]) -> tuple[str, ...]:
    return (sounds,) if isinstance(sounds, str) else sounds


def _part(name: str, folder: Path) -> _Part:
    """Raises NotFound and TryLater."""
    path = path_of(name, folder)
    try:
        state = _state(name, folder)
        files = forms_of(name, folder)
        contents = [file.read_bytes() for file in files]
    except FileNotFoundError:
        raise NotFound(f"sound {name}: there is no {path}; set the sound again") from None
    except OSError as error:
        raise TryLater(f"sound {name}: {path} cannot be read ({error.strerror}); mend its disk") from None
    digest = hashlib.sha256()
    for file, content in zip(files, contents, strict=True):
        digest.update(f"{file.suffix} {len(content)} ".encode() + content)
    return _Part(path.stem, files, state, digest.hexdigest())


def _class_name(parts: Sequence[_Part]) -> str:
    if len(parts) == 1:
        return f"{parts[0].stem}-{parts[0].digest[:16]}"
    return "list-" + hashlib.sha256(" ".join(part.digest for part in parts).encode()).hexdigest()[:24]


def _file_name(place: int, count: int, file: Path) -> str:
    """Asterisk plays a folder by name; the forms of one sound share theirs."""
    return f"sound{file.suffix}" if count == 1 else f"{place:03}-{file.name}"


def _link(source: Path, target: Path) -> None:
    try:
        os.link(source, target)
    except OSError:  # other file systems, other owners
        shutil.copyfile(source, target)


def _state(name: str, folder: Path) -> tuple[_FileState, ...]:
    """What changes when a file of the sound does. Raises FileNotFoundError when its 8 kHz form is not there."""
    path_of(name, folder).stat()
    return tuple((found.st_ino, found.st_size, found.st_mtime_ns) for found in map(Path.stat, forms_of(name, folder)))

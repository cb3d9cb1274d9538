"""Ringback as Asterisk's music on hold: a class per sound, made while Asterisk runs and playable at once.

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
from contextlib import closing, suppress
from pathlib import Path

from engine.foundation.errors import NotFound, TryLater
from engine.prompts.catalogue import path_of
from engine.prompts.telephone_sound import make_folder

_BUSY_SECONDS = 1.0
"""How long a write waits for another; Asterisk only reads, for microseconds."""


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
        self._known: dict[str, tuple[tuple[int, int, int], str]] = {}

    async def music_class(self, sound: str) -> str:
        """As `ensure`, without holding up the event loop when the class has to be made."""
        if known := self._known_class(sound):
            return known
        return await asyncio.to_thread(self.ensure, sound)

    def ensure(self, sound: str) -> str:
        """The class that plays the sound over and over from its start; made if need be.

        Its name comes from the sound's content: a changed file is a new class, and callers who hear the old one go
        on hearing it. Raises NotFound for a sound that is not there, TryLater when table or disk take nothing.
        """
        if known := self._known_class(sound):
            return known
        path = path_of(sound, self._sounds)
        try:
            state = _state(path)
            content = hashlib.sha256(path.read_bytes()).hexdigest()
        except FileNotFoundError:
            raise NotFound(f"sound {sound}: there is no {path}; set the sound again") from None
        except OSError as error:
            raise TryLater(f"sound {sound}: {path} cannot be read ({error.strerror}); mend its disk") from None
        name = f"{path.stem}-{content[:16]}"
        folder = self._sounds / "music" / name
        try:
            self._make_folder(path, folder)
        except OSError as error:
            raise TryLater(
                f"ringback folder {folder}: {error.strerror}; let this user write, or free its disk"
            ) from None
        self._make_row(name)
        self._known[sound] = (state, name)
        return name

    def _known_class(self, sound: str) -> str | None:
        """The class of a sound whose file has not changed since it was last looked at."""
        if (known := self._known.get(sound)) is None:
            return None
        state, name = known
        with suppress(OSError):
            if state == _state(path_of(sound, self._sounds)):
                return name
        return None

    def _make_folder(self, sound: Path, folder: Path) -> None:
        """A folder with that one sound in it, for a class plays a folder. It is there whole or not at all."""
        if folder.is_dir():
            return
        make_folder(folder.parent)
        draft = Path(tempfile.mkdtemp(dir=folder.parent, prefix="."))
        draft.chmod(0o755)
        try:
            os.link(sound, draft / "sound.wav")
        except OSError:  # other file systems, other owners
            shutil.copyfile(sound, draft / "sound.wav")
        try:
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


def _state(path: Path) -> tuple[int, int, int]:
    status = path.stat()
    return status.st_ino, status.st_size, status.st_mtime_ns

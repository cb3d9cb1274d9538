"""The documents of sign-ups: each file is kept once, under its hash, sealed."""

from __future__ import annotations

import asyncio
import os
import secrets
from hashlib import sha256
from pathlib import Path
from typing import Annotated

from fastapi import Depends, FastAPI, Request

from engine.api.problems import Code, Refused
from engine.foundation.errors import Invalid, NotFound
from engine.foundation.sealing import SealingKey

LARGEST_DOCUMENT = 10_000_000
"""Bytes: a scanned page of a few hundred dots per inch."""

_BEGINS = {b"%PDF-": "application/pdf", b"\xff\xd8\xff": "image/jpeg", b"\x89PNG\r\n\x1a\n": "image/png"}
MEDIA = tuple(_BEGINS.values())


def media_of(file: bytes) -> str:
    """What kind of file it is, by how it begins. Raises Refused for any other."""
    for begins, media in _BEGINS.items():
        if file.startswith(begins):
            return media
    raise Refused(Code.WRONG_MEDIA_TYPE, f"the file is none of {', '.join(MEDIA)}; send the document as one of these")


def digest_of(file: bytes) -> str:
    """Its SHA-256 in hexadecimal: its name here."""
    return sha256(file).hexdigest()


class Documents:
    """The files in a folder of this machine."""

    def __init__(self, folder: Path, key: SealingKey) -> None:
        self._folder = folder
        self._key = key

    async def keep(self, file: bytes) -> None:
        """Keeps it, on disk when this returns; one that is there stays as it is."""
        await asyncio.to_thread(self._keep, file)

    async def read(self, digest: str) -> bytes:
        """The file of that hash. Raises NotFound, or Invalid when it was kept with another key."""
        return await asyncio.to_thread(self._read, digest)

    def _keep(self, file: bytes) -> None:
        digest = digest_of(file)
        place = self._place(digest)
        if place.exists():
            return
        place.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        part = place.with_name(f"{digest}.{secrets.token_hex(8)}.part")
        try:
            with part.open("xb") as written:
                written.write(self._key.seal(file, _whose(digest)))
                written.flush()
                os.fsync(written.fileno())
            part.replace(place)
        finally:
            part.unlink(missing_ok=True)

    def _read(self, digest: str) -> bytes:
        try:
            sealed = self._place(digest).read_bytes()
        except FileNotFoundError:
            raise NotFound(f"document {digest}: its file is not kept here") from None
        file = self._key.open(sealed, _whose(digest))
        if digest_of(file) != digest:
            raise Invalid(f"document {digest}: its file is another than the one that was kept")
        return file

    def _place(self, digest: str) -> Path:
        return self._folder / digest[:2] / digest


def keep_documents(app: FastAPI, documents: Documents) -> FastAPI:
    """The application, whose handlers find the documents there."""
    app.state.documents = documents
    return app


async def _documents(request: Request) -> Documents:
    documents: Documents = request.app.state.documents
    return documents


DocumentsDep = Annotated[Documents, Depends(_documents)]
"""Where the documents of sign-ups are."""


def _whose(digest: str) -> str:
    return f"document:{digest}"

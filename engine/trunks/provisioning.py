"""Brings trunks into the running Asterisk: a generated file and a reload, which leaves calls in progress alone."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Iterable
from pathlib import Path

import structlog

from engine.foundation.errors import DariError
from engine.foundation.files import write_if_changed
from engine.trunks.model import Trunk
from engine.trunks.pjsip import pjsip_text

_FILE = "pjsip_trunks.conf"
_MODULE = "res_pjsip.so"

log = structlog.get_logger(__name__)


def write_trunks(folder: Path, trunks: Iterable[Trunk], media_address: str = "") -> bool:
    """Writes pjsip_trunks.conf into `folder`; True when it changed, and Asterisk then wants a reload of res_pjsip."""
    return write_if_changed(folder / _FILE, pjsip_text(trunks, media_address).encode())


class TrunkProvisioning:
    """Keeps Asterisk's trunks equal to ours."""

    def __init__(
        self,
        folder: Path,
        media_address: str,
        reload: Callable[[str], Awaitable[None]],
        *,
        try_every: float = 5.0,
    ) -> None:
        """`reload` has Asterisk read a module's files again; `try_every` seconds what failed is tried again."""
        self._folder = folder
        self._media_address = media_address
        self._reload = reload
        self._try_every = try_every
        self._trunks: list[Trunk] = []
        self._reload_owed = True
        self._failed = False
        self._one_at_a_time = asyncio.Lock()

    async def provide(self, trunks: Iterable[Trunk]) -> None:
        """Writes the file and reloads when anything changed. What fails is left to `keep_trying`."""
        self._trunks = list(trunks)
        await self._bring()

    async def keep_trying(self) -> None:
        """Does again what `provide` could not, until cancelled: nobody else would before the next change."""
        while True:
            await asyncio.sleep(self._try_every)
            if self._failed:
                await self._bring()

    async def _bring(self) -> None:
        async with self._one_at_a_time:
            try:
                self._reload_owed |= write_trunks(self._folder, self._trunks, self._media_address)
                if self._reload_owed:
                    await self._reload(_MODULE)
                    self._reload_owed = False
                    log.info("trunks brought into Asterisk")
                self._failed = False
            except (DariError, OSError) as error:
                if not self._failed:
                    log.error("trunks not brought into Asterisk, trying again", reason=str(error))
                self._failed = True

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
_FOR_ALL, _FOR_US = 0o644, 0o600
_MODULE = "res_pjsip.so"

log = structlog.get_logger(__name__)


def write_trunks(folder: Path, trunks: Iterable[Trunk], media_address: str = "") -> bool:
    """Writes pjsip_trunks.conf into `folder`; True when it changed, and Asterisk then wants a reload of res_pjsip.

    With a password in it the file is for its owner alone, as whom Asterisk must then run.
    """
    trunks = list(trunks)
    mode = _FOR_US if any(trunk.login for trunk in trunks) else _FOR_ALL
    return write_if_changed(folder / _FILE, pjsip_text(trunks, media_address).encode(), mode)


class TrunkProvisioning:
    """Keeps Asterisk's trunks equal to ours."""

    def __init__(
        self,
        folder: Path,
        media_address: str,
        reload: Callable[[str], Awaitable[None]],
        register_again: Callable[[str], Awaitable[None]] | None = None,
        *,
        try_every: float = 5.0,
    ) -> None:
        """`reload` has Asterisk read a module's files again; `register_again` has it register a trunk anew at once.

        `try_every` seconds what failed is tried again.
        """
        self._folder = folder
        self._media_address = media_address
        self._reload = reload
        self._register_again = register_again
        self._try_every = try_every
        self._trunks: list[Trunk] = []
        self._brought: dict[str, Trunk] = {}
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
                    await self._renew_registrations()
                    self._reload_owed = False
                    log.info("trunks brought into Asterisk")
                self._failed = False
            except (DariError, OSError) as error:
                if not self._failed:
                    log.error("trunks not brought into Asterisk, trying again", reason=str(error))
                self._failed = True

    async def _renew_registrations(self) -> None:
        """Registers anew where the login changed: a reload alone leaves that until the registration is due."""
        for trunk in self._trunks:
            before = self._brought.get(trunk.name)
            if self._register_again and before and before.register and trunk.register and before.login != trunk.login:
                await self._register_again(trunk.name)
        self._brought = {trunk.name: trunk for trunk in self._trunks}

"""What the routers of the trade work with besides the database: where sounds and recordings lie, who speaks texts."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Collection, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path
from typing import Annotated

from fastapi import Depends, FastAPI, Request

from engine.api.renderings import Renderings
from engine.foundation.errors import Invalid, TryLater
from engine.numbers.quarantine_terms import STANDARD_TERMS, QuarantineTerms
from engine.prompts.speech.speech import Speech
from engine.recordings.archive import Archive
from engine.routing.check import Against


@dataclass(frozen=True, slots=True)
class Equipment:
    """Made once by the process that serves the API."""

    engines: Sequence[Path]
    """The engines' control sockets."""
    ring_seconds: int
    """How long a target rings where nobody says otherwise."""
    sounds: Path
    """The folder of sounds."""
    shipped_sounds: Path
    """Those that ship with Dari, which lie in the folder after the first start."""
    archive: Archive
    speech: Callable[[], Awaitable[Speech]]
    """Who speaks texts, opened when first asked. Raises Invalid when there is nobody."""
    quarantine: QuarantineTerms = STANDARD_TERMS
    """How long released numbers of no range are kept back."""
    renderings: Renderings = field(default_factory=Renderings)

    def against(self, now: datetime) -> Against:
        """What settings are checked against."""
        return Against(now=now, ring_seconds=self.ring_seconds, sounds=self._sounds())

    async def speaker(self) -> Speech:
        """Who speaks texts. Raises TryLater when there is nobody."""
        try:
            return await self.speech()
        except Invalid:
            raise TryLater("texts cannot be spoken here: there is no voice; upload a recording", after=60.0) from None

    def _sounds(self) -> Collection[str]:
        files = (*self.sounds.glob("*/*.wav"), *self.shipped_sounds.glob("*/*.wav"))
        return {f"{file.parent.name}/{file.stem}" for file in files}


def equip(app: FastAPI, equipment: Equipment) -> FastAPI:
    """The application, whose handlers find this equipment."""
    app.state.equipment = equipment
    return app


async def _equipment(request: Request) -> Equipment:
    equipment: Equipment = request.app.state.equipment
    return equipment


EquipmentDep = Annotated[Equipment, Depends(_equipment)]
"""What the process that serves this request works with."""

"""Calls that no engine runs, as Asterisk has them at this moment."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from engine.asterisk.commands import Ari
from engine.asterisk.events import Channel
from engine.calls.contexts import ALONE, OF_TARGETS, TELLS
from engine.calls.own_ids import call_of
from engine.foundation.errors import DariError
from engine.settings import Settings

_LIMIT = 3.0


@dataclass(frozen=True, slots=True)
class CallsAlone:
    """How many there are of each kind."""

    by_dialplan: int = 0
    """The dialplan runs them by the routes kept in Asterisk."""
    in_application: int = 0
    """Their caller is in an engine's application: that engine's, or left behind when none lives."""

    def without(self, *, any_engine: bool) -> int:
        """Those without an engine: when none answers, also those that one had before."""
        return self.by_dialplan if any_engine else self.by_dialplan + self.in_application


async def calls_alone(whole: Settings) -> CallsAlone | None:
    """Asks Asterisk; None when it does not answer, or nobody knows where it is."""
    if not whole.ari_url:
        return None
    async with Ari(whole.ari_url, "dari-status", whole.ari_user, whole.ari_password, timeout=_LIMIT) as ari:
        try:
            return counted(await ari.channels())
        except DariError:
            return None


def counted(channels: Iterable[Channel]) -> CallsAlone:
    """Counts callers, each of whom is one call. Pure."""
    places = [channel.dialplan for channel in channels if call_of(channel.id) is None]
    by_dialplan = [
        place
        for place in places
        if place.context == TELLS or (place.context.startswith(ALONE) and place.context not in OF_TARGETS)
    ]
    return CallsAlone(len(by_dialplan), sum(place.app_name == "Stasis" for place in places))


def calls_of(count: int) -> str:
    """`1 call`, `2 calls` …"""
    return f"{count} call{'' if count == 1 else 's'}"

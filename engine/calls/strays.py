"""What is in Asterisk and is nobody's: callers are taken on as new calls, all else that is ours goes."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Collection, Sequence

import structlog

from engine.asterisk import events
from engine.calls import adoption
from engine.calls.causes import NORMAL_CLEARING
from engine.calls.left_open import LeftOpen
from engine.calls.live_calls import LiveCalls
from engine.calls.own_ids import call_of
from engine.calls.switchboard import Switchboard
from engine.cdr.model import OpenCall
from engine.foundation.errors import Conflict, NotFound

log = structlog.get_logger(__name__)

PRESENTATION = "CALLERID(pres)"
"""What the dialplan hands to an engine with a call."""

Elsewhere = Callable[[], Awaitable[Sequence[OpenCall]]]
"""The calls that other engines have. It takes its time: it is asked only when something may be nobody's."""


class Strays:
    """Looks for them whenever what Asterisk has is known."""

    def __init__(self, board: Switchboard, live: LiveCalls, left_open: LeftOpen, elsewhere: Elsewhere | None) -> None:
        self._board = board
        self._live = live
        self._left_open = left_open
        self._elsewhere = elsewhere
        self._dead_apps: set[str] = set()

    def look_into(self, app: str) -> None:
        """That ARI application is a dead engine's: callers in it whom no spool knows are taken on by `call_in`."""
        self._dead_apps.add(app)

    def is_looking_into(self, app: str) -> bool:
        """Whether that is to be done yet."""
        return app in self._dead_apps

    async def call_in(self) -> None:
        """Callers whom a dead engine had claimed and not written down yet come to us."""
        for app in tuple(self._dead_apps):
            if any(map(self._is_unknown, await self._callers_in(app))):
                others = await self._others()
                for channel in await self._callers_in(app):
                    if self._is_unknown(channel) and not _is_theirs(channel.id, others):
                        await self._take_on(channel)
            self._dead_apps.discard(app)

    async def clear_away(self, found: adoption.Found) -> bool:
        """Callers whom nobody knows come to us anew; what nobody owns goes. False: somebody is too young to be sure."""
        ours = adoption.Ours(
            self._board.node, self._live.by_id, self._live.callers, self._left_open.adopted, self._live.has_ended
        )
        if not (self._newcomers(found) or ours.stray_channels(found) or ours.stray_bridges(found)):
            return True
        others = await self._others()
        newcomers = [channel for channel in self._newcomers(found) if not _is_theirs(channel.id, others)]
        for channel in newcomers:
            if not adoption.is_young(channel, found):
                await self._take_on(channel)
        for stray in ours.stray_channels(found):
            if not _is_theirs(stray, others):  # Asterisk may count it as ours still
                log.warning("a channel that no call wants is removed", channel=stray)
                await self._board.ari.hang_up(stray, NORMAL_CLEARING)
        for bridge in ours.stray_bridges(found):
            if not _is_theirs(bridge, others):
                await self._board.ari.destroy_bridge(bridge)
        return not any(adoption.is_young(channel, found) for channel in newcomers)

    async def _others(self) -> Sequence[OpenCall]:
        return await self._elsewhere() if self._elsewhere else ()

    def _newcomers(self, found: adoption.Found) -> list[events.Channel]:
        callers = adoption.newcomers(found, self._live.callers)
        return [channel for channel in callers if not self._live.has_ended(channel.id)]

    async def _callers_in(self, app: str) -> list[events.Channel]:
        try:
            theirs = (await self._board.ari.app(app)).channel_ids
        except NotFound:
            return []
        channels = await self._board.ari.channels() if theirs else []
        return [channel for channel in channels if channel.id in theirs and adoption.is_caller(channel)]

    def _is_unknown(self, channel: events.Channel) -> bool:
        return channel.id not in self._live.callers and not self._left_open.is_to_come(channel.id)

    async def _take_on(self, channel: events.Channel) -> None:
        """Has Asterisk tell us of a caller as if the call came just now, with what the dialplan tells of it."""
        try:
            presentation = (await self._board.ari.variables(channel.id, [PRESENTATION]))[PRESENTATION]
            await self._board.ari.move(channel.id, self._board.ari.app_name, presentation)
        except (NotFound, Conflict):
            return
        log.warning("a caller whom no engine knew is taken on", channel=channel.id)


def _is_theirs(channel_or_bridge: str, others: Collection[OpenCall]) -> bool:
    owner = call_of(channel_or_bridge)
    return any(
        channel_or_bridge == open_call.arrival.channel or owner == open_call.arrival.call_id for open_call in others
    )

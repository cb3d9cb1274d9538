"""Looks after the calls that engines left while no engine lives: nobody is left alone on a line.

It belongs to the watchdog's process and works over plain HTTP: our applications need not be registered. Callers who
were not answered go back to the dialplan, which runs their calls alone. Talks go on. Whoever else is there has nobody
to talk to and nothing to hear any more, and is hung up.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Sequence
from dataclasses import dataclass
from enum import Enum

import structlog

from engine.asterisk.commands import Ari
from engine.asterisk.events import Bridge, Channel
from engine.calls.adoption import is_direct
from engine.calls.causes import NORMAL_CLEARING
from engine.calls.contexts import GOES_ALONE, runs_alone
from engine.calls.own_ids import call_of, is_of_listener
from engine.foundation.errors import Conflict, DariError, Invalid, NotFound
from engine.trunks.pjsip import CONTEXT

log = structlog.get_logger(__name__)

_ANSWERED = "Up"


class Help(Enum):
    """What is done for whoever is on a channel."""

    HANG_UP = "hung up"
    DIALPLAN = "given to the dialplan"


@dataclass(frozen=True, slots=True)
class Deed:
    """What is to be done now."""

    channel: str
    help: Help
    extension: str = ""
    """What was called, as the dialplan has it."""


def deeds(channels: Iterable[Channel], bridges: Iterable[Bridge], ours: Collection[str]) -> list[Deed]:
    """What those on our channels need, legs first: a telephone that rings for us shall not be busy for the dialplan.

    `ours` are the channels that Asterisk counts as those of our applications, and whose events they hear. A caller whom
    the dialplan looks after, with what an engine decided or alone, needs nobody. Pure.
    """
    in_company = {channel for bridge in bridges for channel in _company(bridge)}
    left = [channel for channel in channels if channel.id in ours and channel.id not in in_company]
    found = [_deed(channel) for channel in left if not (is_direct(channel) or runs_alone(channel.dialplan.context))]
    return sorted(found, key=lambda deed: deed.help is Help.DIALPLAN)


def _company(bridge: Bridge) -> list[str]:
    """Those in it who can talk to each other."""
    people = [channel for channel in bridge.channels if not is_of_listener(channel)]
    return people if len(people) > 1 else []


def _deed(channel: Channel) -> Deed:
    is_caller = call_of(channel.id) is None
    if is_caller and channel.state != _ANSWERED:
        return Deed(channel.id, Help.DIALPLAN, channel.dialplan.exten)
    return Deed(channel.id, Help.HANG_UP)


class Caretaker:
    """Helps once, when asked to. Any engine that comes meanwhile takes over from it."""

    def __init__(self, apps: Sequence[Ari], engines_are_gone: Callable[[], bool]) -> None:
        """`apps`: each of our engines' applications; `engines_are_gone` is asked again before each deed."""
        self._apps = apps
        self._engines_are_gone = engines_are_gone
        self._reason = ""

    async def help(self) -> list[Deed]:
        """Does what is needed now, as long as no engine lives; what was done."""
        done: list[Deed] = []
        try:
            for deed in await self._needed():
                if not self._engines_are_gone():
                    break
                if await self._do(deed):
                    done.append(deed)
            self._tell("")
        except DariError as error:
            self._tell(str(error))
        return done

    async def _needed(self) -> list[Deed]:
        ours: set[str] = set()
        for ari in self._apps:
            try:
                ours.update((await ari.app()).channel_ids)
            except NotFound:
                continue  # it has none
        if not ours:
            return []
        ari = self._apps[0]
        return deeds(await ari.channels(), await ari.bridges(), ours)

    async def _do(self, deed: Deed) -> bool:
        """False when the caller, or an engine, was faster."""
        ari = self._apps[0]
        try:
            if deed.help is Help.DIALPLAN:
                await ari.stop_music(deed.channel)
                await ari.continue_in_dialplan(deed.channel, CONTEXT, deed.extension, GOES_ALONE)
            else:
                await ari.hang_up(deed.channel, NORMAL_CLEARING)
        except (NotFound, Conflict, Invalid):
            return False
        log.warning("a call is looked after, for no engine is there", channel=deed.channel, done=deed.help.value)
        return True

    def _tell(self, reason: str) -> None:
        """Logs each trouble once, however often it comes again."""
        if reason and reason != self._reason:
            log.warning("calls that no engine has cannot be looked after", reason=reason)
        self._reason = reason

"""The telephones of one call: rung, known again by the next life of an engine, let go."""

from __future__ import annotations

from collections.abc import Iterable

import structlog

from engine.calls.causes import NORMAL_CLEARING
from engine.calls.facts import Facts
from engine.calls.notes import Notes
from engine.calls.own_ids import attempt_of, bridge_of, call_of, first_channel_of, target_channel_of
from engine.calls.party import Party, Telephone
from engine.calls.switchboard import Switchboard
from engine.cdr.model import Direction, Side
from engine.foundation.errors import DariError
from engine.trunks.dialling import caller_on_trunk, counted_on, diverted_on, endpoint
from engine.trunks.model import Trunk

log = structlog.get_logger(__name__)

TARGET_VARIABLE = "DARI_TARGET"
"""Channel variable with the number dialled, for the engine that adopts the call: nothing else in Asterisk tells it."""


class CallerHungUp(Exception):  # noqa: N818 - what happened, not what failed
    """The caller is gone; raised inside whatever verb is waiting."""


class GivenAway(Exception):  # noqa: N818 - what happened, not what failed
    """The dialplan runs the call without us; raised inside whatever verb is waiting."""


class Legs(Facts):
    """What is known of a call's legs, and the deeds done to them."""

    def __init__(self, board: Switchboard, notes: Notes, caller: Party, life: int) -> None:
        super().__init__(notes, caller)
        self.board = board
        self.life = life
        self.id = notes.arrival.call_id
        self.bridge = bridge_of(self.id, board.node)
        self.invited = False
        """Whether the first INVITE is on its way, or could not be sent."""
        self._firsts = 0
        self._invites = 0
        if life == 1 and notes.arrival.direction is Direction.INCOMING:
            caller.place = board.trunks.taken(caller.trunk)

    def leg_to(self, telephone: Telephone, trunk: Trunk) -> Party:
        """Who is to be rung now. The first party of a call that we place takes the caller's seat.

        Nobody is called for a caller who has left: raises CallerHungUp.
        """
        if telephone.side is Side.CALLER:
            return self._new_first(telephone, trunk)
        if self.caller.gone:
            raise CallerHungUp
        return self._new_target(telephone, trunk)

    async def ring(self, party: Party, telephone: Telephone, trunk: Trunk, longest: int) -> None:
        """Sends the INVITE. `longest` (seconds) is Asterisk's own limit, should this engine die."""
        try:
            await self.board.ari.originate(
                party.channel,
                endpoint(trunk, telephone.number),
                app_args=f"{party.side.value},{self.id}",
                caller_id=caller_on_trunk(trunk, telephone.shown) if telephone.shown else None,
                ring_seconds=longest,
                variables=_variables(telephone, trunk),
            )
        except DariError:
            party.free_trunk()
            raise
        finally:
            self.invited = True
            self.wake()

    def rung_by_dialplan(self, telephone: Telephone, trunk: Trunk) -> Party:
        """The telephone that the dialplan rings for this call; Asterisk tells its channel when it has one."""
        self.direct = self._new_target(telephone, trunk)
        self.direct.leaves = True  # with the caller, or with the dialplan's Dial
        self.invited = True
        return self.direct

    async def give_up_silent(self, target: Party) -> None:
        """The dialplan gives up that telephone, whose carrier says nothing, and the call comes back."""
        target.dropped = target.silent = True
        target.free_trunk()
        try:
            await self.board.ari.hang_up(target.channel, NORMAL_CLEARING)
        except DariError as error:
            log.warning("target not hung up yet", call=str(self.id), reason=str(error))

    def _new_target(self, telephone: Telephone, trunk: Trunk) -> Party:
        self._invites += 1
        channel = target_channel_of(self.id, self.board.node, self._invites)
        target = self._new_party(telephone, trunk, channel)
        self.targets.append(target)
        return target

    def _new_first(self, telephone: Telephone, trunk: Trunk) -> Party:
        if self._firsts:
            self.earlier.append(self.caller)
        self._firsts += 1
        self.caller = self._new_party(telephone, trunk, first_channel_of(self.id, self.board.node, self._firsts))
        return self.caller

    def _new_party(self, telephone: Telephone, trunk: Trunk, channel: str) -> Party:
        party = Party(telephone.side, channel, "", trunk.name, telephone.number, self.notes.moment())
        party.place = self.board.trunks.sent(trunk)
        return party

    def know_again(self, earlier: Iterable[Party], targets: Iterable[Party]) -> None:
        """The legs that an earlier life of the engine dialled, oldest first; the caller's own is known."""
        self.earlier, self.targets = list(earlier), list(targets)
        self.invited = bool(self.targets)
        self._firsts = max(
            (attempt_of(one.channel) for one in (*self.earlier, self.caller) if call_of(one.channel)), default=0
        )
        own = [target.channel for target in self.targets if call_of(target.channel)]
        self._invites = max((len(self.targets), *map(attempt_of, own)))
        for party in self.parties:
            if not party.gone:
                party.place = self.board.trunks.taken(party.trunk)

    def wants(self, channel_or_bridge: str) -> bool:
        """Whether this call has need of what was made for it, or may yet."""
        listeners = {own for ids in self.listeners for own in (*ids.channels, ids.bridge)}
        channels = {party.channel for party in self.parties if not party.dropped}
        return channel_or_bridge in channels | listeners | {self.bridge}

    async def drop(self, target: Party, cause: int = NORMAL_CLEARING) -> None:
        """A target is not wanted any more. One that cannot be told now is told again when the call is cleared away."""
        target.dropped = target.dropped or not target.gone
        target.free_trunk()
        try:
            await self._hang_up(target, cause)
        except DariError as error:
            log.warning("target not hung up yet", call=str(self.id), reason=str(error))

    async def _hang_up(self, party: Party, cause: int) -> None:
        if self._is_to_end(party, cause):
            await self.board.ari.hang_up(party.channel, cause)

    def _is_to_end(self, party: Party, cause: int) -> bool:
        """Whether Asterisk is to be told that this leg ends; one that has not ended yet does so with `cause`."""
        if not party.gone:
            party.cause = party.cause or cause
        return not party.leaves


def _variables(telephone: Telephone, trunk: Trunk) -> dict[str, str]:
    """Of the channel that is dialled."""
    variables: dict[str, str] = {TARGET_VARIABLE: telephone.number, **counted_on(trunk)}
    if telephone.diverted_by:
        variables |= diverted_on(trunk, telephone.diverted_by)
    return variables

"""One telephone is rung over the trunks that there are, until it answers or will not."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

import structlog

from engine.asterisk.commands import AsteriskFailed, OutcomeUnknown
from engine.calls.call import Call
from engine.calls.causes import result_of
from engine.calls.legs import CallerHungUp
from engine.calls.party import Party, Telephone
from engine.cdr.model import Result, Side
from engine.events.call_log import CallEventKind
from engine.foundation.errors import DariError
from engine.trunks.failover import ANYTHING_HEARD, FailedLeg, goes_on
from engine.trunks.model import Trunk

log = structlog.get_logger(__name__)

# Asterisk's own limit lies this much behind ours, so that ours decides while this engine lives.
_ASTERISK_LATER = 5


_NOT_SENT = (Result.CONGESTION, FailedLeg(provisional=False, refused=True))


async def invite(
    call: Call, telephone: Telephone, came_in_by: str | None, legs: Sequence[Party] = ()
) -> Party | Result:
    """The party that answered, or why it did not. Goes on to the next trunk when one failed before it rang.

    It was rung on `legs` already, in an earlier life of the engine: the last of them goes on for what it had left.
    """
    began = legs[0].started if legs else call.notes.moment()
    invitation = _Invitation(call, telephone, came_in_by, began.tick + telephone.seconds)
    outcome = await invitation.taken_up(legs)
    while not isinstance(outcome, Party) and goes_on(outcome[1]) and (trunk := invitation.next_trunk()):
        if invitation.tried:
            log.warning(
                "trunk failed, trying the next", call=str(call.id), failed=invitation.tried[-1], trunk=trunk.name
            )
        outcome = await invitation.over(trunk)
    if isinstance(outcome, Party):
        return outcome
    if outcome is _NOT_SENT:
        log.warning("no trunk has room", call=str(call.id))
    return outcome[0]


@dataclass(slots=True)
class _Invitation:
    """One telephone that is rung, over one trunk after the other."""

    call: Call
    telephone: Telephone
    came_in_by: str | None
    deadline: float
    tried: list[str] = field(default_factory=list)

    def next_trunk(self) -> Trunk | None:
        """The best that has room now and was not tried yet."""
        candidates = self.call.board.trunks.candidates(self.came_in_by)
        return next((trunk for trunk in candidates if trunk.name not in self.tried), None)

    async def over(self, trunk: Trunk) -> Party | tuple[Result, FailedLeg]:
        """One INVITE: the party that answered, or how the leg ended."""
        call, telephone = self.call, self.telephone
        self.tried.append(trunk.name)
        longest = telephone.seconds if trunk.longest_ringing is None else min(telephone.seconds, trunk.longest_ringing)
        party = call.leg_to(telephone, trunk)
        call.keep()  # before the INVITE goes out: it may be answered while no engine is there
        try:
            await call.ring(party, telephone, trunk, longest + _ASTERISK_LATER)
        except DariError as error:
            if isinstance(error, OutcomeUnknown) and party.gone:
                return await _given_up(call, party)  # it was dialled, and its end was told before we could ask
            log.warning(
                "not dialled", call=str(call.id), side=telephone.side.value, trunk=trunk.name, reason=str(error)
            )
            return Result.UNREACHABLE, FailedLeg(provisional=False, refused=isinstance(error, AsteriskFailed))
        limit = min(self.deadline, call.notes.moment().tick + longest)
        if self.next_trunk() and await is_silent(call, party, trunk, limit) and self.next_trunk():
            await call.drop(party)
            return Result.UNREACHABLE, FailedLeg(provisional=False, timed_out=True)
        return await self._until_answered(party, limit)

    async def taken_up(self, legs: Sequence[Party]) -> Party | tuple[Result, FailedLeg]:
        """The same for the last of the legs that there are already."""
        if not legs:
            return _NOT_SENT
        self.tried = list(dict.fromkeys(leg.trunk for leg in legs))
        if legs[-1].silent and legs[-1].gone and self.call.notes.moment().tick < self.deadline:
            return Result.UNREACHABLE, FailedLeg(provisional=False, timed_out=True)
        return await self._until_answered(legs[-1], self.deadline)

    async def _until_answered(self, party: Party, limit: float) -> Party | tuple[Result, FailedLeg]:
        call = self.call
        await _until(call, party, lambda: party.rang, limit)
        if party.rang:
            if party.side is Side.TARGET:
                call.make_bridge_ahead()
            _tell(call, party, CallEventKind.RINGING)
            call.keep()
        await _until(call, party, lambda: False, limit)
        if party.answered:
            _tell(call, party, CallEventKind.ANSWERED)
            return party
        if party.untold and call.notes.moment().tick < self.deadline:
            # Nobody knows how it ended: it may have been answered while no engine was there to take the answer.
            self.tried.remove(party.trunk)
            return Result.UNREACHABLE, FailedLeg(provisional=False, refused=True)
        return await _given_up(call, party)


async def _given_up(call: Call, party: Party) -> tuple[Result, FailedLeg]:
    """How a leg ended that nobody answered; one that still rings is ended."""
    rang = party.rang is not None
    if party.gone and not (party.untold or party.dropped):
        result = result_of(party.cause, party.sip_code, rang=rang)
        return result, FailedLeg(provisional=rang, sip_code=party.sip_code, cause=party.cause)
    await call.drop(party)
    # Given up by our own ring time: no other trunk rings it again.
    return Result.NO_ANSWER if rang else Result.UNREACHABLE, FailedLeg(provisional=True)


async def _until(call: Call, party: Party, happened: Callable[[], object], limit: float) -> None:
    """Until that, or the party's answer or end; that of a first party is not yet the caller's who hangs up."""
    try:
        await call.until(
            lambda: happened() or party.answered or party.gone, within=max(limit - call.notes.moment().tick, 0.0)
        )
    except CallerHungUp:
        if party is not call.caller:
            raise


async def is_silent(call: Call, party: Party, trunk: Trunk, limit: float) -> bool:
    """Whether the carrier has not answered at all within its time, not even by 100 Trying."""
    await _until(call, party, lambda: party.rang, min(limit, call.notes.moment().tick + trunk.provisional_seconds))
    if party.rang or party.answered or party.gone:
        return False
    try:
        return not (await call.board.ari.variables(party.channel, [ANYTHING_HEARD]))[ANYTHING_HEARD]
    except DariError:
        return False  # nobody knows: the call stays where it is


def _tell(call: Call, party: Party, kind: CallEventKind) -> None:
    if party.side is Side.CALLER:
        call.notes.tell(kind, "the first party")
        return
    if kind is CallEventKind.RINGING:
        call.notes.ringing = call.notes.ringing or party.rang
    call.notes.tell(kind, target=party.number)

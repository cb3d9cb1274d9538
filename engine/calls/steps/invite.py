"""One telephone is rung over the trunks that there are, until it answers or will not."""

from __future__ import annotations

from collections.abc import Callable, Collection

import structlog

from engine.asterisk.commands import AsteriskFailed
from engine.calls.call import Call, CallerHungUp
from engine.calls.causes import result_of
from engine.calls.party import Party, Telephone
from engine.cdr.model import Result, Side
from engine.events.call_log import CallEventKind
from engine.foundation.errors import DariError
from engine.trunks.failover import ANYTHING_HEARD, FailedLeg, goes_on
from engine.trunks.model import Trunk

log = structlog.get_logger(__name__)

# Asterisk's own limit lies this much behind ours, so that ours decides while this engine lives.
_ASTERISK_LATER = 5


async def invite(call: Call, telephone: Telephone, came_in_by: str | None) -> Party | Result:
    """The party that answered, or why it did not. Goes on to the next trunk when one failed before it rang."""
    deadline = call.notes.moment().tick + telephone.seconds
    result = Result.CONGESTION
    tried: list[str] = []
    while trunk := _next_trunk(call, came_in_by, tried):
        if tried:
            log.warning("trunk failed, trying the next", call=str(call.id), failed=tried[-1], trunk=trunk.name)
        tried.append(trunk.name)
        outcome = await _over(call, trunk, telephone, deadline, lambda: _next_trunk(call, came_in_by, tried))
        if isinstance(outcome, Party):
            return outcome
        result, failed = outcome
        if not goes_on(failed):
            break
    if not tried:
        log.warning("no trunk has room", call=str(call.id))
    return result


def _next_trunk(call: Call, came_in_by: str | None, tried: Collection[str]) -> Trunk | None:
    """The best that has room now and was not tried yet."""
    return next((trunk for trunk in call.board.trunks.candidates(came_in_by) if trunk.name not in tried), None)


async def _over(
    call: Call, trunk: Trunk, telephone: Telephone, deadline: float, another: Callable[[], Trunk | None]
) -> Party | tuple[Result, FailedLeg]:
    """One INVITE: the party that answered, or how the leg ended. A silent carrier is given up only for `another`."""
    longest = telephone.seconds if trunk.longest_ringing is None else min(telephone.seconds, trunk.longest_ringing)
    try:
        party = await call.ring(telephone, trunk, longest + _ASTERISK_LATER)
    except DariError as error:
        log.warning("not dialled", call=str(call.id), side=telephone.side.value, trunk=trunk.name, reason=str(error))
        return Result.UNREACHABLE, FailedLeg(provisional=False, refused=isinstance(error, AsteriskFailed))
    limit = min(deadline, call.notes.moment().tick + longest)
    if another() and await _is_silent(call, party, trunk, limit) and another():
        await call.drop(party)
        return Result.UNREACHABLE, FailedLeg(provisional=False, timed_out=True)
    await _until(call, party, lambda: party.rang, limit)
    if party.rang:
        _tell(call, party, CallEventKind.RINGING)
    await _until(call, party, lambda: False, limit)
    if party.answered:
        _tell(call, party, CallEventKind.ANSWERED)
        return party
    return await _given_up(call, party)


async def _given_up(call: Call, party: Party) -> tuple[Result, FailedLeg]:
    """How a leg ended that nobody answered; one that still rings is ended."""
    rang = party.rang is not None
    if party.gone:
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


async def _is_silent(call: Call, party: Party, trunk: Trunk, limit: float) -> bool:
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

"""What a gateway's answer makes of a message, pure."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import timedelta

from engine.messages.gateways.gateway import (
    Accepted,
    Away,
    Delivered,
    NeverSeen,
    Rejected,
    Undelivered,
    Unknown,
)
from engine.messages.model import Status


@dataclass(frozen=True, slots=True)
class Pace:
    """How long the outbox waits for what."""

    lease: timedelta = timedelta(seconds=60)
    """A worker's claim: longer than it takes to send all messages of a job to a gateway that answers none in time."""
    first_pause: timedelta = timedelta(seconds=2)
    """Before the second attempt; doubled for each further one."""
    longest_pause: timedelta = timedelta(minutes=10)
    attempts: int = 10
    """Until a gateway that takes nothing is given up: some 17 minutes."""
    receipt_after: timedelta = timedelta(seconds=30)
    """Without a receipt by then the gateway is asked, and then ever more rarely."""
    overdue_after: timedelta = timedelta(seconds=30)
    """A job this late is taken for lost, and put in anew."""
    send_within: timedelta = timedelta(hours=1)
    """After that nothing is handed over: a message so long after the call surprises more than it serves."""
    give_up_after: timedelta = timedelta(days=1)
    """A gateway that cannot tell what became of a message is asked no longer."""

    def pause(self, attempt: int) -> timedelta:
        """What lies between this attempt and the next."""
        return min(self.first_pause * (1 << min(attempt - 1, 20)), self.longest_pause)


DEFAULT_PACE = Pace()


@dataclass(frozen=True, slots=True)
class Move:
    """What a message becomes."""

    status: Status
    reason: str = ""
    reference: str | None = None
    """The gateway's, once it has accepted."""
    look_after: timedelta | None = None
    """When somebody has to look at it again, should nothing have happened; None: never."""
    try_after: timedelta | None = None
    """When the next attempt is due; None: none is."""
    nobody_got_it: bool = False
    """Whether it is certain that no telephone has the message, nor ever will."""


def too_late(age: timedelta, pace: Pace) -> Move | None:
    """What a message of this `age` becomes that its gateway surely does not have; None: it may be handed over."""
    if age <= pace.send_within:
        return None
    return Move(Status.FAILED, "it could not be sent in time; nobody wants it so late", nobody_got_it=True)


def switched_off(functions: Sequence[str]) -> Move | None:
    """What a message becomes that its gateway surely does not have, when these functions that it needs are off.

    It stays so when they are switched on again: nobody wants it then.
    """
    if not functions:
        return None
    reason = f"{', '.join(functions)} was switched off for the account before it was sent"
    return Move(Status.HELD, reason, nobody_got_it=True)


def after_submission(
    answer: Accepted | Delivered | Undelivered | Rejected | Away | Unknown,
    attempt: int,
    age: timedelta,
    pace: Pace,
) -> Move:
    """What a message of this `age` becomes by what was learnt in its `attempt` (the first is 1)."""
    match answer:
        case Accepted(reference):
            return Move(Status.ACCEPTED, reference=reference, look_after=pace.receipt_after)
        case Delivered() | Undelivered() | Rejected():
            return final(answer)
        case Away(reason, _) if attempt >= pace.attempts:
            return Move(Status.FAILED, f"{reason}; given up after {attempt} attempts", nobody_got_it=True)
        case Away(reason, after):
            pause = max(pace.pause(attempt), timedelta(seconds=after))
            return Move(Status.QUEUED, reason, look_after=pause + pace.overdue_after, try_after=pause)
        case Unknown(reason):
            if age >= pace.give_up_after:
                return Move(Status.FAILED, f"{reason}; nobody can tell whether it went out")
            pause = pace.pause(attempt)
            return Move(Status.UNKNOWN, reason, look_after=pause + pace.overdue_after, try_after=pause)


def after_look_up(
    finding: Accepted | Delivered | Undelivered | NeverSeen | Unknown, age: timedelta, pace: Pace
) -> Move | None:
    """What an accepted message, decided `age` ago, becomes by what the gateway knows of it; None: it stays."""
    match finding:
        case Delivered() | Undelivered():
            return final(finding)
        case NeverSeen():
            return Move(Status.FAILED, "the gateway accepted it and knows nothing of it any more")
        case Accepted() | Unknown():
            if age >= pace.give_up_after:
                return Move(Status.FAILED, "the gateway never told whether it was delivered")
            return None


def final(result: Delivered | Undelivered | Rejected) -> Move:
    """What a message becomes by the gateway's last word."""
    match result:
        case Delivered(reference):
            return Move(Status.DELIVERED, reference=reference)
        case Undelivered(reference, reason):
            return Move(Status.FAILED, reason, reference, nobody_got_it=True)
        case Rejected(reason):
            return Move(Status.FAILED, reason, nobody_got_it=True)

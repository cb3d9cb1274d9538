"""What the outbox asks of a message gateway, and everything that a gateway can answer."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol
from uuid import UUID

from engine.foundation.phone_number import PhoneNumber


@dataclass(frozen=True, slots=True)
class Outgoing:
    """A message on its way to a gateway. `id` is its key there: the same id again is the same message."""

    id: UUID
    recipient: PhoneNumber
    sender: PhoneNumber
    text: str


@dataclass(frozen=True, slots=True)
class Accepted:
    """The gateway has the message and answers for it from now on."""

    reference: str


@dataclass(frozen=True, slots=True)
class Rejected:
    """The gateway will never take this message."""

    reason: str


@dataclass(frozen=True, slots=True)
class Away:
    """The gateway surely did not take the message, and may later; `after` seconds at the earliest."""

    reason: str
    after: float = 0.0


@dataclass(frozen=True, slots=True)
class Unknown:
    """Nobody can tell whether the gateway took the message: it is asked before anything is sent again."""

    reason: str


@dataclass(frozen=True, slots=True)
class Delivered:
    """The recipient's telephone has it."""

    reference: str


@dataclass(frozen=True, slots=True)
class Undelivered:
    """The gateway took it and could not deliver it, finally."""

    reference: str
    reason: str


@dataclass(frozen=True, slots=True)
class NeverSeen:
    """The gateway knows no message of this id."""


Answer = Accepted | Rejected | Away | Unknown
Finding = Accepted | Delivered | Undelivered | NeverSeen | Unknown
Result = Delivered | Undelivered


@dataclass(frozen=True, slots=True)
class Receipt:
    """A gateway's word on what became of a message, its signature already checked."""

    message_id: UUID
    result: Result


class Gateway(Protocol):
    """A provider that takes text messages. Neither verb raises: whatever goes wrong is one of the answers."""

    @property
    def name(self) -> str:
        """As it stands in the message's row."""
        ...

    @property
    def at_once(self) -> int:
        """How many messages it takes together."""
        ...

    async def submit(self, messages: Sequence[Outgoing]) -> Sequence[Answer]:
        """Hands messages over together, `at_once` of them at most; an answer for each, in their order."""
        ...

    async def look_up(self, message_id: UUID) -> Finding:
        """What the gateway knows of our id."""
        ...

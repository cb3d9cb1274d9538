"""Whether somebody may listen to a live call, and how. Pure."""

from __future__ import annotations

from collections.abc import Collection
from datetime import datetime, timedelta
from enum import Enum
from uuid import UUID

import msgspec

from engine.accounts.model import LOCAL_OPERATOR, Actor, Deed, Module, Standing
from engine.accounts.permissions import check, check_on, granted_until
from engine.foundation.errors import Conflict, Invalid, NotAllowed

LONGEST_MINUTES = 60
OPENED_WITHIN = timedelta(seconds=60)
"""How long a ticket may be used, once."""
_LONGEST_TEXT = 500


class Mode(Enum):
    """What the parties hear of whoever listens."""

    LISTEN = "listen"
    """Nothing."""
    WHISPER = "whisper"
    """The called party hears them, the caller does not."""
    BARGE = "barge"
    """Both parties hear them."""


class Ended(Enum):
    """Why somebody does not listen any more."""

    CALL_OVER = "call over"
    TIME_OVER = "time over"
    LEFT = "left"
    TAKEN_BACK = "taken back"
    """They may not listen any more: the grant was taken back, the function switched off, they themselves locked."""
    SOUND_LOST = "sound lost"
    """Asterisk's end of it is gone."""
    ENGINE_STOPPED = "engine stopped"
    FAILED = "failed"
    """It could not begin."""


class Wish(msgspec.Struct, frozen=True, kw_only=True):
    """Somebody wants to listen to a call."""

    call: str
    """Its id, or the last eight digits of it."""
    who: str
    reason: str
    mode: Mode = Mode.LISTEN
    minutes: int = 5
    actor: Actor = LOCAL_OPERATOR
    """As whom they came in."""


class Ticket(msgspec.Struct, frozen=True, kw_only=True):
    """What one browser may listen with, once."""

    ticket: str
    call_id: UUID
    seconds_to_open: int
    minutes: int


def may_listen(
    wish: Wish, owner: Standing | None, *, talking: bool, announced: bool, allowed: Collection[Mode], now: datetime
) -> datetime:
    """Until when they may listen at most; asked when a ticket is wanted, and when it is used.

    `owner` is the account that the number called belongs to, `talking` whether the two are connected, `announced`
    whether both of them heard the notice before. Raises NotFound, Invalid, NotAllowed or Conflict.
    """
    if not wish.reason.strip():
        raise Invalid("reason: nobody listens without one; say why")
    if not wish.who.strip():
        raise Invalid("who: nobody listens without a name")
    if len(wish.reason) > _LONGEST_TEXT or len(wish.who) > _LONGEST_TEXT:
        raise Invalid(f"reason and who have at most {_LONGEST_TEXT} characters")
    if not 1 <= wish.minutes <= LONGEST_MINUTES:
        raise Invalid(f"minutes: {wish.minutes} must be 1 to {LONGEST_MINUTES}")
    ends = belongs_to_them(wish, owner, now)
    if wish.mode not in allowed:
        raise NotAllowed(f"{wish.mode.value}: not allowed here; DARI_LISTENING names what is")
    if not talking:
        raise Conflict(f"call {wish.call}: nobody talks; a call can be listened to while its two parties are connected")
    if not announced:
        raise NotAllowed(
            f"call {wish.call}: its parties did not both hear the recording notice, so nobody may listen; "
            "set the number's recording to always or on-key"
        )
    return min(ends, now + timedelta(minutes=wish.minutes))


def belongs_to_them(wish: Wish, owner: Standing | None, now: datetime) -> datetime:
    """Until when at most they may hear this account's calls; asked again while they listen.

    Only the called party's own users and its auditor, or an account above it to which it gave a grant that runs.
    Raises NotFound, NotAllowed or Invalid.
    """
    if owner is None:
        raise NotAllowed(
            f"call {wish.call}: its number belongs to nobody; only the called party's organisation listens"
        )
    actor = msgspec.structs.replace(wish.actor, reason=wish.reason)
    place = owner.account.place
    check(actor, Deed.LISTEN_LIVE, place, grants=owner.grants, now=now, what=f"call {wish.call}")
    check_on(owner.account, Module.LISTENING)
    return granted_until(actor, place, owner.grants, now) or now + timedelta(minutes=LONGEST_MINUTES)

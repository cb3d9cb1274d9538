"""One leg of a call as a set of facts. Facts only become known; terminal ones win, whatever order they come in."""

from __future__ import annotations

from dataclasses import dataclass, field

from engine.asterisk.events import Channel
from engine.calls.arrival import trunk_of
from engine.calls.notes import Moment
from engine.cdr.model import Leg, Side
from engine.foundation.phone_number import PhoneNumber
from engine.trunks.load import Taken


@dataclass(frozen=True, slots=True)
class Key:
    """A key that a party pressed, and when it let go."""

    digit: str
    at: Moment


@dataclass(frozen=True, slots=True, kw_only=True)
class Telephone:
    """Whom to ring, and what it is told of the call."""

    side: Side
    """What it is in the call; CALLER: the first party of one that we place."""
    number: PhoneNumber
    seconds: int
    """For how long it rings."""
    shown: PhoneNumber | None
    """The number that it sees; None: withheld."""
    diverted_by: PhoneNumber | None = None
    """The number that was called and sends the call on (Diversion); None: the call goes straight to it."""


@dataclass(slots=True)
class Party:
    """The caller, or a target that was dialled."""

    side: Side
    channel: str
    """Asterisk's channel id."""
    channel_name: str
    trunk: str
    number: PhoneNumber | None
    started: Moment
    place: Taken | None = None
    """What it counts as on its trunk, for as long as it is there."""
    sip_call_id: str | None = None
    rang: Moment | None = None
    answered: Moment | None = None
    ended: Moment | None = None
    cause: int = 0
    sip_code: int = 0
    playbacks: dict[str, bool] = field(default_factory=dict)
    """Finished playbacks by id: True when played to the end."""

    keys: list[Key] = field(default_factory=list)
    """Keys pressed so far."""
    was_told: bool = False
    """Whether it heard the whole recording notice."""
    dropped: bool = False
    """We did not want it any more."""
    silent: bool = False
    """Dropped, since nothing at all was heard from its carrier."""
    unseen: bool = False
    """It went away without a hang-up that anybody saw or could tell."""
    leaves: bool = False
    """Asterisk said so itself: the channel ends without our asking."""
    untold: bool = False
    """It went away and nobody was told how: it may even have answered, to nobody."""
    sounds: int = 0
    """How many sounds were played to it by this life of the engine."""

    @property
    def ender(self) -> Side:
        """Whom a call ended by that this party went: the party, unless nobody saw it hang up."""
        return Side.DARI if self.unseen else self.side

    @property
    def hung_up(self) -> bool:
        """Whether its own side ended it."""
        return self.gone and not self.unseen and not self.dropped

    @property
    def gone(self) -> bool:
        return self.ended is not None

    def end(self, moment: Moment) -> None:
        """It is gone. Once is enough: the first end stands."""
        self.ended = self.ended or moment
        self.free_trunk()

    def free_trunk(self) -> None:
        """Its trunk may have another call in its place."""
        if self.place is not None:
            self.place.release()

    def pressed(self, digits: str, since: int = 0) -> Key | None:
        """The last key of `digits`, if they were pressed one after the other among the keys from the `since`-th on."""
        heard = "".join(key.digit for key in self.keys[since:])
        place = heard.find(digits)
        return self.keys[since + place + len(digits) - 1] if place >= 0 else None

    def leg(self) -> Leg:
        """For the record."""
        return Leg(
            side=self.side,
            channel=self.channel,
            sip_call_id=self.sip_call_id,
            trunk=self.trunk,
            number=self.number,
            started_at=self.started.at,
            ringing_at=self.rang.at if self.rang else None,
            answered_at=self.answered.at if self.answered else None,
            ended_at=self.ended.at if self.ended else None,
            cause=self.cause,
            sip_code=self.sip_code,
        )


def party_on(channel: Channel, side: Side, number: PhoneNumber | None, started: Moment) -> Party:
    """The party on a channel that Asterisk has."""
    return Party(
        side=side,
        channel=channel.id,
        channel_name=channel.name,
        trunk=trunk_of(channel.name),
        number=number,
        started=started,
        sip_call_id=channel.protocol_id or None,
    )

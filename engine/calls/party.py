"""One leg of a call as a set of facts. Facts only become known; terminal ones win, whatever order they come in."""

from __future__ import annotations

from dataclasses import dataclass, field

from engine.asterisk.events import Channel
from engine.calls.arrival import trunk_of
from engine.calls.notes import Moment
from engine.cdr.model import Leg, Side
from engine.foundation.phone_number import PhoneNumber


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
    sip_call_id: str | None = None
    rang: Moment | None = None
    answered: Moment | None = None
    ended: Moment | None = None
    cause: int = 0
    sip_code: int = 0
    playbacks: dict[str, bool] = field(default_factory=dict)
    """Finished playbacks by id: True when played to the end."""

    unseen: bool = False
    """It went away without a hang-up that anybody saw or could tell."""

    @property
    def ender(self) -> Side:
        """Whom a call ended by that this party went: the party, unless nobody saw it hang up."""
        return Side.DARI if self.unseen else self.side

    @property
    def gone(self) -> bool:
        return self.ended is not None

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

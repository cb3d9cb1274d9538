"""The smallest application that takes calls: whatever comes is answered, and legs that it places are watched."""

from __future__ import annotations

from dataclasses import dataclass, field

from engine.asterisk.commands import Ari
from engine.asterisk.connection import Connected, Connection
from engine.asterisk.events import CallBroadcast, ChannelDestroyed, Dial, StasisStart
from engine.foundation.errors import Conflict, NotFound
from engine.foundation.phone_number import PhoneNumber
from engine.trunks.dialling import counted_on, endpoint
from engine.trunks.model import Trunk
from tests.eventually import eventually
from tests.real_asterisk import loopback

APP = "dari-trunks"
SERVER, FIRST, SECOND, NOBODY = (loopback(31, host) for host in (1, 2, 3, 4))
FIRST_TRUNK = Trunk(name="first", match=(FIRST,), contact=f"sip:{FIRST}:5070")
SECOND_TRUNK = Trunk(name="second-one", match=(SECOND,), contact=f"sip:{SECOND}:5070")
SHOP = PhoneNumber("0212345678")
NUMBER = "05071234567"


@dataclass
class Desk:
    """What it has seen."""

    ari: Ari
    connected: bool = False
    answered: list[str] = field(default_factory=list)
    names: dict[str, str] = field(default_factory=dict)
    """Asterisk's channel names by id, of legs that we placed."""
    ended: dict[str, ChannelDestroyed] = field(default_factory=dict)

    async def serve(self, connection: Connection) -> None:
        """For ever."""
        async for event in connection.events():
            match event:
                case Connected():
                    self.connected = True
                case CallBroadcast(channel=channel):
                    await self._quietly_claim(channel.id)
                case StasisStart(channel=channel, args=args):
                    if "placed" not in args:
                        await self.ari.answer(channel.id)
                    self.answered.append(channel.id)
                case Dial(peer=peer):
                    self.names[peer.id] = peer.name
                case ChannelDestroyed(channel=channel):
                    self.ended[channel.id] = event

    async def place(self, leg: str, trunk: Trunk, seconds: int = 30) -> None:
        """Sends an INVITE for the shop to `trunk`."""
        await self.ari.originate(
            leg,
            endpoint(trunk, SHOP),
            app_args="placed",
            caller_id="01012345678",
            ring_seconds=seconds,
            variables=counted_on(trunk),
        )

    async def bring_together(self, bridge: str, calls: int) -> None:
        """Puts the calls that came into one bridge, when it has seen that all of them are answered."""
        await eventually(lambda: len(self.answered) >= calls)
        await self.ari.create_bridge(bridge)
        await self.ari.add_to_bridge(bridge, *self.answered)

    async def end_of(self, leg: str) -> tuple[int, int]:
        """Q.850 cause and SIP code with which a leg ended, when it does."""
        await eventually(lambda: leg in self.ended)
        return self.ended[leg].cause, self.ended[leg].tech_cause

    async def _quietly_claim(self, channel: str) -> None:
        try:
            await self.ari.claim(channel)
        except (NotFound, Conflict):
            return

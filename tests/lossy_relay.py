"""A stretch of network between two SIP parties that loses what a test tells it to lose."""

from __future__ import annotations

from collections import Counter
from typing import Self

from engine.sandbox import sip
from engine.sandbox.datagram import DatagramSocket, Endpoint
from engine.sandbox.sip import Request


class LossyRelay:
    """Each party takes one of its two faces for the other party. `lose` says how many of a kind get lost.

    Kinds are like "INVITE", "ACK", "200 INVITE", "487 INVITE". What passed or got lost is counted.
    """

    def __init__(self, ip: str, lose: dict[str, int]) -> None:
        self.lost: Counter[str] = Counter()
        self.passed: Counter[str] = Counter()
        self._lose = lose
        self._caller_face = DatagramSocket((ip, 0), self._from_caller)
        self._shop_face = DatagramSocket((ip, 0), self._from_shop)
        self._caller: Endpoint | None = None
        self._shop: Endpoint | None = None

    @property
    def address(self) -> Endpoint:
        """What the caller takes for the shop's network."""
        return self._caller_face.address

    def lead_to(self, shop: Endpoint) -> None:
        """The party at the other end."""
        self._shop = shop

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._caller_face.close()
        self._shop_face.close()

    def _from_caller(self, data: bytes, source: Endpoint, _instant: float) -> None:
        self._caller = source
        if self._shop and not self._loses(data):
            self._shop_face.send(_renamed(data, source, self._shop_face.address), self._shop)

    def _from_shop(self, data: bytes, source: Endpoint, _instant: float) -> None:
        if self._caller and not self._loses(data):
            hidden = _renamed(data, self._shop_face.address, self._caller)
            self._caller_face.send(_renamed(hidden, source, self._caller_face.address), self._caller)

    def _loses(self, data: bytes) -> bool:
        message = sip.parse(data)
        kind = message.method if isinstance(message, Request) else f"{message.code} {message.cseq[1]}"
        losing = self.lost[kind] < self._lose.get(kind, 0)
        (self.lost if losing else self.passed)[kind] += 1
        return losing


def _renamed(data: bytes, before: Endpoint, after: Endpoint) -> bytes:
    """The message with one address put in place of another, so that answers come through here too."""
    return data.replace(b"%s:%d" % (before[0].encode(), before[1]), b"%s:%d" % (after[0].encode(), after[1]))

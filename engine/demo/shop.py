"""The shop of the demo: its account, its trunk, its two numbers. Written once, brought back to this at every start."""

from __future__ import annotations

from datetime import UTC, datetime

import msgspec
from sqlalchemy.ext.asyncio import AsyncConnection

from engine.accounts.book import account_named, register_sender
from engine.accounts.model import LOCAL_OPERATOR
from engine.foundation.errors import NotFound
from engine.foundation.phone_number import PhoneNumber
from engine.numbers import inventory
from engine.numbers.inventory import NumberChange
from engine.numbers.model import NumberKind, ServiceNumber
from engine.numbers.treatment import RecordMode, Treatment, Whisper
from engine.trunks import registry
from engine.trunks.model import Trunk
from engine.trunks.registry import TrunkChange

ORDERS = PhoneNumber("050712345678")
"""The number in the delivery app: ringback, whisper, recording, message."""
LEAFLET = PhoneNumber("050812345678")
"""The number on the leaflet: whisper, message; rings shortly."""
NOBODYS = PhoneNumber("050799999999")
KITCHEN = PhoneNumber("023456789")
COUNTER = PhoneNumber("0312345678")

_TRUNK = "demo"
_ACCOUNT = "다리분식"
_MESSAGE = "[다리분식] 전화 주셔서 감사합니다. 오늘은 밤 9시까지 엽니다. 약도: 서울역 1번 출구 앞"


async def open_shop(connection: AsyncConnection, carrier_ip: str, carrier_contact: str) -> None:
    """Everything that the six calls need, in the caller's transaction."""
    await _trunk(connection, Trunk(name=_TRUNK, match=(carrier_ip,), contact=carrier_contact))
    now = datetime.now(UTC)
    account = await account_named(connection, LOCAL_OPERATOR, _ACCOUNT, now)
    await register_sender(connection, LOCAL_OPERATOR, account.id, KITCHEN, "the demo's own number", now)
    orders = ServiceNumber(
        number=ORDERS,
        kind=NumberKind.VIRTUAL,
        account_id=account.id,
        target=KITCHEN,
        treatment=Treatment(
            ringback=("demo/ringback",), whisper=Whisper(sound="demo/whisper"), recording=RecordMode.ALWAYS
        ),
        callback=_MESSAGE,
        sender=KITCHEN,
        repeat_window_days=7,
        min_talk_seconds=1,
    )
    await _number(connection, orders)
    short = Treatment(ringback=("demo/ringback",), whisper=Whisper(sound="demo/whisper-short"), ring_seconds=4)
    leaflet = msgspec.structs.replace(orders, number=LEAFLET, target=COUNTER, treatment=short)
    await _number(connection, leaflet)


async def _trunk(connection: AsyncConnection, wanted: Trunk) -> None:
    now = datetime.now(UTC)
    change = TrunkChange(match=wanted.match, contact=wanted.contact)
    try:
        await registry.change(connection, LOCAL_OPERATOR, wanted.name, change, now)
    except NotFound:
        await registry.add(connection, LOCAL_OPERATOR, wanted, now)


async def _number(connection: AsyncConnection, wanted: ServiceNumber) -> None:
    if await inventory.look_up(connection, wanted.number) is None:
        await inventory.add(connection, wanted)
        return
    changes = {name: value for name, value in msgspec.structs.asdict(wanted).items() if name in _CHANGEABLE}
    await inventory.change(connection, wanted.number, NumberChange(**changes, clear=Treatment.__struct_fields__))


_CHANGEABLE = frozenset(NumberChange.__struct_fields__)

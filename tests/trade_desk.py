"""The whole API, with sounds and recordings in a folder of the test's own, and an account's things to ask about."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from ipaddress import ip_network
from pathlib import Path
from uuid import UUID

import aiohttp
import msgspec
from sqlalchemy.ext.asyncio import AsyncEngine

from engine.accounts.book import register_sender
from engine.accounts.model import LOCAL_OPERATOR
from engine.api.app import make_api, serving
from engine.api.documents import Documents, keep_documents
from engine.api.door import Door
from engine.api.equipment import Equipment, equip
from engine.api.event_desk import EventDesk, equip_events
from engine.api.routes import all_routers
from engine.callbacks.call_ended import call_ended
from engine.cdr import store as cdr_store
from engine.cdr.model import CallRecord
from engine.events.outbox import Event, append
from engine.events.sequencer import number_all
from engine.events.tail import Tail
from engine.foundation.clock import Clock
from engine.foundation.database import transaction
from engine.foundation.phone_number import PhoneNumber
from engine.messages import search as message_search
from engine.messages.model import Message, Wanted
from engine.numbers import life, ranges
from engine.numbers.model import ServiceNumber
from engine.numbers.range_import import import_numbers
from engine.numbers.rules import kind_of
from engine.prompts.catalogue import install
from engine.prompts.speech.speech import Speech
from engine.prompts.telephone_sound import WIDE_RATE, pcm, wav
from engine.recordings.archive import Archive
from engine.recordings.finished import keep_recording
from engine.recordings.keys import MasterKey
from engine.settings import PRODUCT_FILES
from engine.webhooks.egress import Egress
from engine.webhooks.settings import Rules as WebhookRules
from tests.api_desk import KEY, PLENTY, TERMS, ApiDesk
from tests.call_records import arrival, record
from tests.hand_clock import HandClock
from tests.loopback import ANY_PORT
from tests.overhearing import overhear
from tests.sounds_left import leave, talk
from tests.tones import tone

OPENED = (ip_network("127.0.0.0/8"),)
"""Where webhooks of tests may go."""
TARGET = PhoneNumber("0212345678")
SENDER = PhoneNumber("0215771577")
SHOP_TEXT = "[다리분식] 전화 주셔서 감사합니다."


class Announcer:
    """Speaks every text as a tone."""

    name = "announcer"
    voices = ("low",)

    async def speak(self, text: str, voice: str) -> bytes:
        return wav(pcm(tone(500 + 10 * len(text), 1.0, WIDE_RATE) / 32768), WIDE_RATE)


class TradeDesk(ApiDesk):
    """Asks the API, and brings about what there is to ask for, past the API."""

    def __init__(
        self,
        url: str,
        session: aiohttp.ClientSession,
        door: Door,
        equipment: Equipment,
        documents: Documents,
    ) -> None:
        super().__init__(url, session, door.database, door.clock)
        self.equipment = equipment
        self.documents = documents

    async def stock(self, *numbers: str, prefix: str = "0507") -> None:
        """A range of that beginning with these numbers in it, free."""
        now = self.clock.now()
        async with transaction(self.database) as connection:
            await ranges.add(connection, LOCAL_OPERATOR, f"range {prefix}", prefix, len(numbers[0]), now)
            report = await import_numbers(connection, LOCAL_OPERATOR, "\n".join(numbers).encode(), now)
            assert report.taken == len(numbers), report

    async def number(self, account: UUID, number: str, **settings: object) -> PhoneNumber:
        """A number in service; with a `callback` its account has SENDER registered."""
        made = ServiceNumber(
            number=PhoneNumber(number),
            kind=kind_of(PhoneNumber(number)),
            account_id=account,
            target=TARGET,
        )
        if "callback" in settings:
            settings.setdefault("sender", SENDER)
        async with transaction(self.database) as connection:
            if settings.get("sender"):
                await register_sender(
                    connection, LOCAL_OPERATOR, account, SENDER, "its telephone bill", self.clock.now()
                )
            wanted = msgspec.structs.replace(made, **settings)
            await life.put_into_service(connection, LOCAL_OPERATOR, wanted, self.clock.now())
        return made.number

    async def call(self, account: UUID | None, number: str = "05071234567", **changes: object) -> CallRecord:
        """A call that has just ended, told in the stream too."""
        ended = record(arrival(self.clock.now(), account_id=account))
        ended = msgspec.structs.replace(ended, **({"number": PhoneNumber(number), "recording": None} | changes))
        event = Event(
            kind="call.ended",
            account_id=account,
            call_id=ended.call_id,
            at=ended.ended_at,
            body={"number": ended.number, "result": ended.result.value},
            leg="",
        )
        async with transaction(self.database) as connection:
            await cdr_store.insert(connection, [ended])
            await append(connection, [event])
        await number_all(self.database)
        return ended

    async def recorded(self, account: UUID, seconds: float = 3.0) -> CallRecord:
        """A call whose talk is kept."""
        ended = await self.call(account, recording="expected")
        leave(self.equipment.archive.spool / "monitor" / f"{ended.call_id}.raw", talk(seconds))
        await keep_recording(self.equipment.archive, ended.call_id)
        return ended

    async def messaged(self, account: UUID, number: str) -> Message:
        """The message after a call to a number with a callback."""
        ended = await self.call(account, number)
        await call_ended(self.database, ended.call_id, self.clock.now())
        async with transaction(self.database) as connection:
            return (await message_search.page(connection, Wanted(call_id=ended.call_id), limit=1))[0]


@asynccontextmanager
async def trade_desk(
    database: AsyncEngine,
    folder: Path,
    *,
    clock: Clock | None = None,
    engine: Path | None = None,
    straight: bool = False,
) -> AsyncIterator[TradeDesk]:
    """The API with all routes on that database; `engine` is the control socket of one, None: there is none.

    With `straight` it is asked in this process, not over HTTP.
    """
    clock = clock or HandClock()
    sounds = folder / "sounds"
    install(PRODUCT_FILES / "prompts", sounds)
    speech = Speech([Announcer()], "announcer", sounds, clock)

    async def voice() -> Speech:
        return speech

    equipment = Equipment(
        engines=[engine or folder / "no-engine.sock"],
        ring_seconds=30,
        sounds=sounds,
        shipped_sounds=PRODUCT_FILES / "prompts" / "sounds",
        archive=Archive(database, clock, MasterKey(b"m" * 32), folder / "recordings", folder / "spool", 365),
        speech=voice,
    )
    door = Door(database, clock, TERMS, known=PLENTY, strangers=PLENTY)
    app = make_api(all_routers(), door)
    naming_commands = overhear(app)
    equip(app, equipment)
    egress = Egress(OPENED, timeout=5.0)
    tail = Tail(database, database.url.render_as_string(hide_password=False))
    equip_events(app, EventDesk(tail, WebhookRules(KEY, OPENED), egress))
    documents = Documents(folder / "documents", KEY)
    keep_documents(app, documents)
    async with egress, serving(app, ANY_PORT) as url, aiohttp.ClientSession() as session:
        desk = TradeDesk(url, session, door, equipment, documents)
        desk.straight = app if straight else None
        yield desk
    await speech.close()
    assert naming_commands == []

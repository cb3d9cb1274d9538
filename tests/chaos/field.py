"""The whole system with telephones around it, and doors through which tests look at it without the engine's help."""

from __future__ import annotations

import os
import shutil
from collections import defaultdict
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import AsyncExitStack, asynccontextmanager, suppress
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path

import msgspec
from sqlalchemy.ext.asyncio import AsyncEngine

from engine.accounts.book import account_named, register_sender
from engine.accounts.model import LOCAL_OPERATOR
from engine.asterisk.commands import Ari
from engine.calls.control_client import EngineStatus, LiveCall, engine_status, known_number, live_calls
from engine.foundation.database import open_database, transaction
from engine.foundation.errors import DariError
from engine.foundation.phone_number import PhoneNumber
from engine.foundation.process import Process
from engine.foundation.tasks import Tasks
from engine.numbers import inventory
from engine.numbers.model import ServiceNumber
from engine.sandbox.carrier import Carrier
from engine.sandbox.phone import TargetLeg
from engine.settings import Settings
from engine.supervisor.wiring import connected
from tests.chaos.hearing import Span
from tests.chaos.processes import note_stand_stills
from tests.chaos.receiver import send_events_to
from tests.eventually import eventually
from tests.real_asterisk import write_tone
from tests.webhook_sink import WebhookSink, webhook_sink
from tests.whole_system import Home, Up, whole_system

SENDER = PhoneNumber("0212345678")
TEXT = "다리꽃집입니다. 전화 주셔서 고맙습니다."
CONSENT_TEXT = "다리꽃집 약도입니다."
SOUNDS = {"test/ringback": (1700, 2.0), "test/whisper": (2100, 4.0)}
"""Hz and seconds."""


@dataclass(slots=True)
class Field:
    """One running system, the carrier with its telephones, and what is known of the machine meanwhile."""

    home: Home
    up: Up
    carrier: Carrier
    settings: Settings
    database: AsyncEngine
    ari: Ari
    """The test's own connection; it owns no application."""
    sink: WebhookSink
    """Where the events of the account with the numbers go."""
    stood_still: list[Span] = field(default_factory=list)
    """When this process, and with it every telephone, got no turn; or Asterisk, where a test has stopped it."""
    _excused: list[Span] = field(default_factory=list)
    _rung_for: defaultdict[str, list[TargetLeg]] = field(default_factory=lambda: defaultdict(list))
    _indexed: int = 0

    def rung_for(self, caller: str) -> list[TargetLeg]:
        """Every telephone that rang with this number in its display; shops are shown the caller's own."""
        for leg in self.carrier.targets[self._indexed :]:
            self._rung_for[leg.shown_number].append(leg)
        self._indexed = len(self.carrier.targets)
        return list(self._rung_for[caller])

    @property
    def supervisor(self) -> Process:
        found = Process.of(self.up.process.pid)
        assert found is not None, "`dari up` is not there"
        return found

    @property
    def worst_stand_still(self) -> float:
        """Seconds, at most, that the telephones are not to be trusted about."""
        own = [span for span in self.stood_still if span not in self._excused]
        return max((end - begin for begin, end in own), default=0.0)

    async def status(self) -> EngineStatus | None:
        """What the engine says of itself; None while none answers."""
        with suppress(DariError):
            return await engine_status(self.settings.paths.engine_socket)
        return None

    async def live(self) -> list[LiveCall]:
        """The calls that the engine knows; none while it does not answer."""
        with suppress(DariError):
            return await live_calls(self.settings.paths.engine_socket)
        return []

    async def put_into_service(self, numbers: Sequence[ServiceNumber]) -> None:
        """Numbers of one account that may send messages as SENDER; returns once the engine goes by them."""
        async with transaction(self.database) as connection:
            account = await account_named(connection, LOCAL_OPERATOR, "chaos", datetime.now(UTC))
            await register_sender(
                connection, LOCAL_OPERATOR, account.id, SENDER, "the shop's own telephone line", datetime.now(UTC)
            )
            for number in numbers:
                await inventory.add(connection, msgspec.structs.replace(number, account_id=account.id))
        await send_events_to(self.sink, self.database, self.settings, account.id)

        async def are_known() -> bool:
            socket = self.settings.paths.engine_socket
            with suppress(DariError):
                return None not in [await known_number(socket, number.number) for number in numbers]
            return False

        await eventually(are_known)

    def excuse(self, span: Span) -> None:
        """Sound that is missing then is no fault of Dari's; times are judged as ever."""
        self.stood_still.append(span)
        self._excused.append(span)


@asynccontextmanager
async def field_at(
    ip: str, carrier_ip: str, *, furnish: Callable[[Path], None] = lambda _home: None, **settings: str
) -> AsyncIterator[Field]:
    """A fresh system at `ip` and its only trunk at `carrier_ip`; everything is ended afterwards.

    `furnish` is given its home before anything is in it.
    """
    async with AsyncExitStack() as stack:
        home = await stack.enter_async_context(whole_system(ip, **settings))
        carrier = await stack.enter_async_context(Carrier(carrier_ip, 5070, (ip, 5060)))
        furnish(home.folder)
        up = await home.up()
        code, _, errors = await home.run(
            "trunk", "add", "carrier", "--match", carrier_ip, "--contact", f"sip:{carrier_ip}:5070"
        )
        assert code == 0, errors
        running = await stack.enter_async_context(field_on(home, up, carrier))
        if kept := os.environ.get("DARI_TEST_LOGS"):
            stack.callback(_keep_logs, running.settings, Path(kept) / ip)
        await eventually(carrier.is_known)
        yield running


@asynccontextmanager
async def field_on(home: Home, up: Up, carrier: Carrier) -> AsyncIterator[Field]:
    """A system that runs already, and its carrier."""
    async with AsyncExitStack() as stack:
        known = settings_of(home)
        for name, tone in SOUNDS.items():
            write_tone(known.paths.sounds / f"{name}.wav", tone)
        database = open_database(known.database_url, 10.0, application_name="dari test")
        stack.push_async_callback(database.dispose)
        ari = await stack.enter_async_context(
            Ari(known.ari_url, "dari-test", known.ari_user, known.ari_password, timeout=20.0)
        )
        tasks = Tasks("field")
        stack.push_async_callback(tasks.close)
        sink = await stack.enter_async_context(webhook_sink())
        running = Field(home, up, carrier, known, database, ari, sink)
        tasks.start("stand-stills", note_stand_stills(running.stood_still))
        yield running


def _keep_logs(settings: Settings, folder: Path) -> None:
    """What the parts said, Asterisk's own list of calls, and the spool: for whoever looks for a cause."""
    asterisk = settings.paths.asterisk / "log"
    for source in (settings.paths.log, asterisk, settings.paths.spool, settings.paths.trace):
        shutil.copytree(source, folder / source.relative_to(settings.home), dirs_exist_ok=True)


def settings_of(home: Home) -> Settings:
    """What the parts of a home that runs were told."""
    given = {
        name.removeprefix("DARI_").lower(): value
        for name, value in home.environment.items()
        if name.startswith("DARI_")
    }
    return connected(Settings(**given))  # type: ignore[arg-type]

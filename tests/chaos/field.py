"""The whole system with telephones around it, and doors through which tests look at it without the engine's help."""

from __future__ import annotations

import asyncio
import os
import shutil
import time
from collections import defaultdict
from collections.abc import AsyncIterator, Sequence
from contextlib import AsyncExitStack, asynccontextmanager, suppress
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path

import msgspec
from sqlalchemy.ext.asyncio import AsyncEngine

from engine.accounts.book import account_named, register_sender
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
from tests.eventually import eventually
from tests.real_asterisk import write_tone
from tests.whole_system import Home, Up, whole_system

SENDER = PhoneNumber("0212345678")
TEXT = "다리꽃집입니다. 전화 주셔서 고맙습니다."
CONSENT_TEXT = "다리꽃집 약도입니다."
SOUNDS = {"test/ringback": (1700, 2.0), "test/whisper": (2100, 4.0)}
"""Hz and seconds."""
_LOOKS_EVERY = 0.05
_STOOD_STILL = 0.15
"""Seconds without a turn after which what the telephones said cannot be trusted."""


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
    stood_still: list[Span] = field(default_factory=list)
    """When this process, and with it every telephone, got no turn."""
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
        return max((end - begin for begin, end in self.stood_still), default=0.0)

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
            account = await account_named(connection, "chaos", datetime.now(UTC))
            await register_sender(connection, account.id, SENDER, "the shop's own telephone line")
            for number in numbers:
                await inventory.add(connection, msgspec.structs.replace(number, account_id=account.id))

        async def are_known() -> bool:
            socket = self.settings.paths.engine_socket
            with suppress(DariError):
                return None not in [await known_number(socket, number.number) for number in numbers]
            return False

        await eventually(are_known)

    async def watch_time(self) -> None:
        """Notes when this process got no turn; until cancelled."""
        while True:
            began = time.monotonic()
            await asyncio.sleep(_LOOKS_EVERY)
            if time.monotonic() - began - _LOOKS_EVERY > _STOOD_STILL:
                self.stood_still.append((began, time.monotonic()))


@asynccontextmanager
async def field_at(ip: str, carrier_ip: str, **settings: str) -> AsyncIterator[Field]:
    """A fresh system at `ip` and its only trunk at `carrier_ip`; everything is ended afterwards."""
    async with AsyncExitStack() as stack:
        home = await stack.enter_async_context(whole_system(ip, **settings))
        carrier = await stack.enter_async_context(Carrier(carrier_ip, 5070, (ip, 5060)))
        up = await home.up()
        known = settings_of(home)
        for name, tone in SOUNDS.items():
            write_tone(known.paths.sounds / f"{name}.wav", tone)
        code, _, errors = await home.run(
            "trunk", "add", "carrier", "--match", carrier_ip, "--contact", f"sip:{carrier_ip}:5070"
        )
        assert code == 0, errors
        database = open_database(known.database_url, 10.0, application_name="dari test")
        stack.push_async_callback(database.dispose)
        ari = await stack.enter_async_context(
            Ari(known.ari_url, "dari-test", known.ari_user, known.ari_password, timeout=20.0)
        )
        tasks = Tasks("field")
        stack.push_async_callback(tasks.close)
        running = Field(home, up, carrier, known, database, ari)
        tasks.start("stand-stills", running.watch_time())
        if kept := os.environ.get("DARI_TEST_LOGS"):
            stack.callback(_keep_logs, known, Path(kept) / ip)
        await eventually(carrier.is_known)
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

"""Asterisk's manager (AMI), for what ARI lacks: recording while bridged, reload, CLI, the small database,
registrations.

panoramisk speaks the protocol; connecting again, time limits and errors are ours. Left to itself it would send what
was under way a second time after a reconnect, wait for ever on a dead peer, and write the secret into its log.
"""

from __future__ import annotations

import asyncio
import logging
import secrets
from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass
from types import TracebackType
from typing import Any, Self

import panoramisk
import structlog

from engine.asterisk.commands import ChannelGone, OutcomeUnknown
from engine.asterisk.http import say_nothing_more_once_closed
from engine.foundation.errors import DariError, Invalid, NotAllowed, NotFound, TryLater
from engine.foundation.tasks import Tasks

log = structlog.get_logger(__name__)

_FIRST_WAIT = 0.1
_LONGEST_WAIT = 5.0
_NEVER = 10**9


@dataclass(frozen=True, slots=True)
class Reply:
    """What the manager answered: its fields, and for a listing one entry per item."""

    fields: Mapping[str, str]
    items: tuple[Mapping[str, str], ...] = ()


@dataclass(frozen=True, slots=True)
class Contact:
    """What Asterisk knows of the address behind an endpoint."""

    status: str
    """Reachable, Unreachable, NonQualified (nobody asks by OPTIONS), Unknown …"""
    round_trip_ms: float | None = None
    """How long the last answer to OPTIONS took."""


class Manager:
    """One manager connection. `async with` opens it and keeps it; it connects again for ever.

    Every verb raises TryLater while it is away, OutcomeUnknown when no answer comes within `timeout` seconds or the
    connection breaks meanwhile, Invalid or a subclass of NotFound when Asterisk refuses.
    """

    def __init__(
        self, host: str, port: int, user: str, secret: str, *, timeout: float = 5.0, heartbeat: float = 4.0
    ) -> None:
        self.state = "not connected yet"
        """One sentence for people."""
        self._address = (host, port)
        self._user = user
        self._secret = secret
        self._timeout = timeout
        self._heartbeat = heartbeat
        self._line: _Line | None = None
        self._told: dict[str, Callable[[], None]] = {}
        self._tasks = Tasks("manager")

    @property
    def connected(self) -> bool:
        return self._line is not None

    def tell_of(self, event: str, told: Callable[[], None]) -> None:
        """Calls `told` at every event of that name (of the class system) from the next connection on."""
        self._told[event] = told

    async def connect(self) -> None:
        """Starts connecting and returns after the first attempt, whether it succeeded or not."""
        tried = asyncio.Event()
        self._tasks.start("connection", self._stay_connected(tried))
        await tried.wait()

    async def close(self) -> None:
        """Leaves; whatever waits is told that its outcome is unknown."""
        await self._tasks.close()

    async def __aenter__(self) -> Self:
        await self.connect()
        return self

    async def __aexit__(
        self, _type: type[BaseException] | None, _error: BaseException | None, _traceback: TracebackType | None
    ) -> None:
        await self.close()

    async def record(self, channel_name: str, file: str, options: str) -> None:
        """Starts MixMonitor on a channel (by name: PJSIP/trunk-00000001). Raises ChannelGone.

        OutcomeUnknown: the file tells, it is there as soon as MixMonitor runs; what has not started by now never does.
        """
        try:
            await self.action("MixMonitor", Channel=channel_name, File=file, Options=options)
        except OutcomeUnknown:
            if self._line is not None:
                self._line.hang_up()  # so that it never comes later: nobody is recorded unknowingly
            raise

    async def silence_recording(self, channel_name: str, silent: bool) -> None:
        """Has MixMonitor write silence for both sides, or sound again. Raises ChannelGone."""
        await self.action("MixMonitorMute", Channel=channel_name, Direction="both", State="1" if silent else "0")

    async def stop_recording(self, channel_name: str) -> None:
        """Ends MixMonitor. Raises ChannelGone; Invalid when nothing was being recorded."""
        await self.action("StopMixMonitor", Channel=channel_name)

    async def reload(self, module: str) -> None:
        """Makes a module read its files again."""
        await self.action("Reload", Module=module)

    async def command(self, cli: str) -> str:
        """The output of a CLI command."""
        return (await self.action("Command", Command=cli)).fields.get("Output", "")

    async def database_get(self, family: str, key: str) -> str:
        """A value of Asterisk's own database. Raises NotFound."""
        reply = await self.action("DBGet", Family=family, Key=key)
        return reply.items[0]["Val"]

    async def database_put(self, family: str, key: str, value: str) -> None:
        """Writes a value into Asterisk's own database."""
        await self.action("DBPut", Family=family, Key=key, Val=value)

    async def database_delete(self, family: str, key: str) -> None:
        """Deletes a value; deleted already is done."""
        with suppress(NotFound):
            await self.action("DBDel", Family=family, Key=key)

    async def database_tree(self, family: str) -> dict[str, str]:
        """The values of Asterisk's own database under a family, or under a part of one (`family/part`), by key.

        Takes them into memory all at once: for some thousands.
        """
        try:
            reply = await self.action("DBGetTree", Family=family)
        except NotFound:
            return {}
        return {item["Key"].removeprefix(f"/{family}/"): item.get("Val", "") for item in reply.items if "Key" in item}

    async def contact(self, endpoint: str) -> Contact | None:
        """The contact of an endpoint that has one; None: it has none, or there is no such endpoint."""
        try:
            reply = await self.action("PJSIPShowEndpoint", Endpoint=endpoint)
        except Invalid:
            return None
        found = next((item for item in reply.items if item.get("Event") == "ContactStatusDetail"), None)
        if found is None:
            return None
        trip = found.get("RoundtripUsec", "")
        return Contact(found.get("Status", ""), int(trip) / 1000 if trip.isdigit() else None)

    async def registrations(self) -> dict[str, str]:
        """Our registrations' status by name: Registered, Unregistered, Rejected, Stopped …"""
        try:
            reply = await self.action("PJSIPShowRegistrationsOutbound")
        except Invalid:  # so it says that there is none
            return {}
        # Nothing else of it leaves here: the listing has the passwords in it.
        return {item["ObjectName"]: item.get("Status", "") for item in reply.items if "ClientUri" in item}

    async def register_again(self, registration: str) -> None:
        """Registers anew at once: Asterisk by itself takes a changed password only when it is due. Raises Invalid."""
        await self.action("PJSIPRegister", Registration=registration)

    async def core_status(self) -> Mapping[str, str]:
        """CoreCurrentCalls, CoreStartupDate, CoreStartupTime, CoreReloadDate, CoreReloadTime."""
        return (await self.action("CoreStatus")).fields

    async def action(self, name: str, **fields: str) -> Reply:
        """Any manager action."""
        if self._line is None:
            raise TryLater(f"the manager of Asterisk is away ({self.state})")
        return await self._line.ask(name, fields, self._timeout)

    async def _stay_connected(self, tried: asyncio.Event) -> None:
        wait = _FIRST_WAIT
        while True:
            line = _Line(*self._address, self._told)
            try:
                await line.open(self._user, self._secret, self._timeout)
                self._line, wait = line, _FIRST_WAIT
                self._tell("connected")
                tried.set()
                await line.until_lost(self._heartbeat, self._timeout)
                reason = "the manager connection was lost"
            except DariError as error:
                reason = str(error)
            finally:
                self._line = None
                line.hang_up()
            self._tell(f"not connected: {reason}")
            tried.set()
            await asyncio.sleep(wait * (0.5 + secrets.randbelow(500) / 1000))
            wait = min(wait * 2, _LONGEST_WAIT)

    def _tell(self, state: str) -> None:
        """Logs each state once, however often it comes again."""
        if state != self.state:
            self.state = state
            (log.info if state == "connected" else log.warning)(f"Asterisk manager: {state}")


class _All:
    """Contains everything: panoramisk shall send nothing a second time."""

    def __contains__(self, _action: object) -> bool:
        return True


class _Line(panoramisk.Manager):  # type: ignore[misc] # panoramisk has no types
    """One connection: never connects again by itself, and tells when it is lost."""

    def __init__(self, host: str, port: int, told: Mapping[str, Callable[[], None]]) -> None:
        # Its messages may hold secrets and numbers (the whole action is logged when sending fails).
        logging.getLogger("panoramisk").setLevel(logging.CRITICAL + 1)
        super().__init__(
            host=host,
            port=port,
            loop=asyncio.get_running_loop(),
            ping_delay=_NEVER,
            forgetable_actions=_All(),
        )
        for event, tell in told.items():
            self.register_event(event, lambda _manager, _event, tell=tell: tell())
        self._events = "system" if told else "off"
        self._lost = asyncio.Event()
        self._waiting: set[asyncio.Future[Any]] = set()

    async def open(self, user: str, secret: str, timeout: float) -> None:
        """Connects and logs in. Raises TryLater or NotAllowed."""
        host, port = self.config["host"], self.config["port"]
        try:
            async with asyncio.timeout(timeout):
                await self.connect()
        except (OSError, TimeoutError) as error:
            reason = str(error) or "no answer"
            raise TryLater(f"no manager (AMI) at {host}:{port}: {reason}; is Asterisk running?") from None
        try:
            await self.ask("Login", {"Username": user, "Secret": secret, "Events": self._events}, timeout)
        except Invalid:
            raise NotAllowed(
                f"the manager (AMI) at {host}:{port} refuses the user {user} or its secret; "
                "compare them with Asterisk's manager.conf"
            ) from None

    async def ask(self, name: str, fields: Mapping[str, str], timeout: float) -> Reply:
        """Sends one action and waits for its whole answer."""
        for field, value in fields.items():
            if "\r" in value or "\n" in value:
                raise Invalid(f"{name}: {field} must be one line")
        answer: asyncio.Future[Any] = self.send_action({"Action": name, **fields})
        self._waiting.add(answer)
        try:
            async with asyncio.timeout(timeout):
                return _reply(name, await answer)
        except TimeoutError:
            raise OutcomeUnknown(f"the manager did not answer {name} within {timeout:g} s") from None
        except ConnectionError:
            raise OutcomeUnknown(f"the manager connection broke during {name}") from None
        finally:
            self._waiting.discard(answer)

    async def until_lost(self, heartbeat: float, timeout: float) -> None:
        """Returns when the connection is gone. Raises OutcomeUnknown when a ping is not answered in time."""
        while not self._lost.is_set():
            try:
                async with asyncio.timeout(heartbeat):
                    await self._lost.wait()
            except TimeoutError:
                await self.ask("Ping", {}, timeout)

    def hang_up(self) -> None:
        """Closes, and tells everybody who waits."""
        self.close()
        self._lost.set()
        for answer in self._waiting:
            if not answer.done():
                answer.set_exception(ConnectionResetError())

    # What panoramisk calls

    def connection_made(self, connecting: asyncio.Future[Any]) -> None:
        if not connecting.cancelled() and connecting.exception() is None:
            super().connection_made(connecting)
            say_nothing_more_once_closed(self.protocol.transport.get_extra_info("socket"))

    def connection_lost(self, _error: object) -> None:
        self.hang_up()


def _reply(name: str, answer: Any) -> Reply:
    first, *rest = answer if isinstance(answer, list) else [answer]
    if first.success:
        items = tuple(_fields(message) for message in rest if not message.event.endswith("Complete"))
        return Reply(_fields(first), items)
    fields = _fields(first)
    said = fields.get("Output") or fields.get("Message", "")
    text = f"Asterisk's manager refused {name}: {said or 'no reason given'}"
    if said == "No such channel":
        raise ChannelGone(text)
    if said in ("Database entry not found", "Database entry could not be deleted"):
        raise NotFound(text)
    if said == "Permission denied":
        raise NotAllowed(text)
    raise Invalid(text)


def _fields(message: Any) -> dict[str, str]:
    """Fields by name; a field that came several times is one text with as many lines."""
    return {
        name: "\n".join(value) if isinstance(value, list) else value
        for name, value in message.items()
        if name != "content"  # panoramisk's own
    }

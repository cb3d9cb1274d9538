"""Live listening through the engine's own door: a ticket for a call, and the sound for a ticket.

The sound is relayed: ARI and its password stay here, and no browser ever speaks to Asterisk.
"""

from __future__ import annotations

import asyncio
import secrets
from collections.abc import Collection
from dataclasses import dataclass
from datetime import datetime
from typing import NamedTuple, Protocol
from uuid import UUID

import msgspec
import structlog
from aiohttp import WSMsgType, web

from engine.accounts.model import Actor, Standing
from engine.asterisk.media import FRAME, MediaLine
from engine.calls.call import Call
from engine.calls.legs import CallerHungUp
from engine.calls.listening import Listener, announced, talking
from engine.calls.listening_client import TICKET_HEADER
from engine.calls.listening_rules import OPENED_WITHIN, Ended, Mode, Ticket, Wish, belongs_to_them, may_listen
from engine.calls.live_door import answered, found, read_body
from engine.calls.reception import Reception
from engine.foundation.clock import Clock
from engine.foundation.errors import DariError, NotFound, TryLater
from engine.foundation.tasks import Tasks

log = structlog.get_logger(__name__)

_FRAMES_WAITING = 50
"""One second: of a listener whose line is slow the oldest sound is dropped, so that what they hear is live."""
_FRAMES_AHEAD = 25
"""Half a second by which a microphone may be ahead of its own time; more is dropped."""
_FRAMES_A_SECOND = 50
_WRITE_AGAIN = 2.0
_MINUTE = 60.0
_ASK_AGAIN = 5.0
"""Seconds after which somebody who was forbidden to listen hears nothing more."""
_TICKETS_AT_MOST = 1000


class Journal(Protocol):
    """Where it stands who may listen to an account's calls, and where it is written who did."""

    async def standing(self, account: UUID | None) -> Standing | None: ...

    async def actor(self, actor: Actor) -> Actor: ...

    async def asked(self, wish: Wish, call_id: UUID, account_id: UUID | None, refused: str | None = None) -> UUID: ...

    async def began(self, identifier: UUID, until: datetime) -> None: ...

    async def ended(self, identifier: UUID, at: datetime, how: Ended) -> None: ...


class Live(msgspec.Struct, frozen=True, tag="live", tag_field="state"):
    """Told to the page: from now on both parties are to be heard."""

    mode: Mode
    until: datetime


class Over(msgspec.Struct, frozen=True, tag="over", tag_field="state"):
    """Told to the page: nothing more is to be heard. `why` is a kind of end, or `refused`; `text` one sentence."""

    why: str
    text: str = ""


@dataclass(frozen=True, slots=True)
class _Granted:
    """What a ticket stands for."""

    entry: UUID
    wish: Wish
    call_id: UUID
    until: datetime


class _Box(NamedTuple):
    """What somebody listens to, and until when at most."""

    call: Call
    wish: Wish
    until: datetime


class Tickets:
    """Tickets that nobody has used yet: random, good for one use, each for a short time."""

    def __init__(self) -> None:
        self._granted: dict[str, _Granted] = {}

    def issue(self, entry: UUID, wish: Wish, call_id: UUID, now: datetime) -> Ticket:
        """A ticket for one call and one mode."""
        self._granted = {ticket: granted for ticket, granted in self._granted.items() if granted.until > now}
        while len(self._granted) >= _TICKETS_AT_MOST:
            del self._granted[next(iter(self._granted))]
        ticket = secrets.token_urlsafe(24)
        self._granted[ticket] = _Granted(entry, wish, call_id, now + OPENED_WITHIN)
        return Ticket(
            ticket=ticket, call_id=call_id, seconds_to_open=int(OPENED_WITHIN.total_seconds()), minutes=wish.minutes
        )

    def redeem(self, ticket: str, now: datetime) -> _Granted:
        """What it stands for; never again. Raises NotFound."""
        granted = self._granted.pop(ticket, None)
        if granted is None or granted.until <= now:
            raise NotFound("this link was used already or is too old; ask for another with `dari listen`")
        return granted


class ListeningDoor:
    """Everybody who listens to this engine's calls. Close it before what it is built on."""

    def __init__(self, reception: Reception, journal: Journal, clock: Clock, allowed: Collection[Mode]) -> None:
        self._reception = reception
        self._journal = journal
        self._clock = clock
        self._allowed = frozenset(allowed)
        self._tickets = Tickets()
        self._tasks = Tasks("listening")
        self._stopping = asyncio.Event()
        self._nobody = asyncio.Event()
        self._nobody.set()
        self._listening = 0

    def routes(self) -> list[web.RouteDef]:
        """POST /listening, GET /listening/sound (WebSocket)."""
        return [web.post("/listening", answered(self._ask)), web.get("/listening/sound", self._sound)]

    async def close(self) -> None:
        """Nobody listens any more, and nothing of it is left in Asterisk."""
        self._stopping.set()
        await self._nobody.wait()
        await self._tasks.close()

    async def _ask(self, request: web.Request) -> Ticket:
        wish = await read_body(request, Wish)
        call = found(self._reception, wish.call)
        account = call.notes.arrival.account_id
        owner = await self._journal.standing(account)
        try:
            self._until(call, wish, owner)
        except DariError as error:
            await self._journal.asked(wish, call.id, account, refused=str(error))
            raise
        entry = await self._journal.asked(wish, call.id, account)
        return self._tickets.issue(entry, wish, call.id, self._clock.now())

    def _until(self, call: Call, wish: Wish, owner: Standing | None) -> datetime:
        """Until when they may listen. Raises what refuses it."""
        return may_listen(
            wish,
            owner,
            talking=talking(call) is not None,
            announced=announced(call),
            allowed=self._allowed,
            now=self._clock.now(),
        )

    async def _as_now(self, wish: Wish) -> Wish:
        """The wish of somebody who may be less by now than when they came. Raises NotAllowed."""
        return msgspec.structs.replace(wish, actor=await self._journal.actor(wish.actor))

    async def _sound(self, request: web.Request) -> web.WebSocketResponse:
        browser = web.WebSocketResponse(heartbeat=10.0, max_msg_size=65_536)
        await browser.prepare(request)
        self._listening += 1
        self._nobody.clear()
        try:
            await self._listen(browser, request.headers.get(TICKET_HEADER, ""))
            await browser.close()
        finally:
            self._listening -= 1
            if not self._listening:
                self._nobody.set()
        return browser

    async def _listen(self, browser: web.WebSocketResponse, ticket: str) -> None:
        """From a ticket to the end, which the page is told."""
        try:
            granted = self._tickets.redeem(ticket, self._clock.now())
            call = found(self._reception, str(granted.call_id))
            owner = await self._journal.standing(call.notes.arrival.account_id)
            until = self._until(call, await self._as_now(granted.wish), owner)
            await self._journal.began(granted.entry, until)
        except DariError as error:
            await _tell(browser, Over("refused", str(error)))
            return
        listener = Listener(call, granted.wish.mode, granted.wish.who)
        ended, text = Ended.FAILED, ""
        try:
            line = await listener.open()
            await _tell(browser, Live(granted.wish.mode, until))
            ended = await self._until_over(browser, listener, line, _Box(call, granted.wish, until))
        except CallerHungUp:
            ended = Ended.CALL_OVER
        except DariError as error:
            text = str(error)
            log.warning("nobody can listen", call=str(call.id), reason=text)
        finally:
            await listener.close()
        at = self._clock.now()
        await _tell(browser, Over(ended.value, text))
        if not await self._wrote_end(granted.entry, at, ended):
            self._tasks.start("log", self._keep_writing_end(granted.entry, at, ended))

    async def _until_over(
        self, browser: web.WebSocketResponse, listener: Listener, line: MediaLine, box: _Box
    ) -> Ended:
        """Brings sound both ways until the first of its ends."""
        tasks = Tasks("listener")
        ends = {
            tasks.start("talk", _until_talk_is_over(listener)): Ended.CALL_OVER,
            tasks.start("engine", _wait(self._stopping)): Ended.ENGINE_STOPPED,
            tasks.start("time", asyncio.sleep(self._time_box(box))): Ended.TIME_OVER,
            tasks.start("leave", self._until_forbidden(box)): Ended.TAKEN_BACK,
            tasks.start("sound", _to_browser(line, browser)): Ended.SOUND_LOST,
            tasks.start("browser", _from_browser(browser, line, heard=box.wish.mode is not Mode.LISTEN)): Ended.LEFT,
        }
        try:
            done, _ = await asyncio.wait(ends, return_when=asyncio.FIRST_COMPLETED)
            return next(how for task, how in ends.items() if task in done)
        finally:
            await tasks.close()

    def _time_box(self, box: _Box) -> float:
        """Seconds; a grant that ends before ends it too."""
        return min(box.wish.minutes * _MINUTE, (box.until - self._clock.now()).total_seconds())

    async def _until_forbidden(self, box: _Box) -> None:
        """Until they may not hear this account's calls any more; while that cannot be asked the time box stands."""
        while True:
            await asyncio.sleep(_ASK_AGAIN)
            try:
                owner = await self._journal.standing(box.call.notes.arrival.account_id)
                belongs_to_them(await self._as_now(box.wish), owner, self._clock.now())
            except TryLater:
                continue
            except DariError:
                return

    async def _wrote_end(self, entry: UUID, at: datetime, ended: Ended) -> bool:
        try:
            await self._journal.ended(entry, at, ended)
        except DariError as error:
            log.warning("the end of a listening is not written yet", entry=str(entry), reason=str(error))
            return False
        return True

    async def _keep_writing_end(self, entry: UUID, at: datetime, ended: Ended) -> None:
        """Until it is written; an engine that ends before leaves the time box as the latest end."""
        written = False
        while not written:
            await asyncio.sleep(_WRITE_AGAIN)
            written = await self._wrote_end(entry, at, ended)


async def _until_talk_is_over(listener: Listener) -> None:
    try:
        await listener.until_talk_is_over()
    except CallerHungUp:
        return


async def _wait(event: asyncio.Event) -> None:
    await event.wait()


async def _to_browser(line: MediaLine, browser: web.WebSocketResponse) -> None:
    """Sound to whoever listens, until the line ends. Asterisk never waits for a slow listener."""
    waiting: asyncio.Queue[bytes] = asyncio.Queue(_FRAMES_WAITING)
    tasks = Tasks("to browser")
    tasks.start("frames", _send_all(waiting, browser))
    try:
        async for frame in line.frames():
            if waiting.full():
                waiting.get_nowait()
            waiting.put_nowait(frame)
    finally:
        await tasks.close()


async def _send_all(waiting: asyncio.Queue[bytes], browser: web.WebSocketResponse) -> None:
    while not browser.closed:
        try:
            await browser.send_bytes(await waiting.get())
        except ConnectionError:  # the reader of the same socket tells that they have left
            return


async def _from_browser(browser: web.WebSocketResponse, line: MediaLine, *, heard: bool) -> None:
    """The listener's microphone to the parties, until they leave; not `heard`: what comes is dropped."""
    now = asyncio.get_running_loop().time
    began, sent = now(), 0
    async for message in browser:
        if message.type is not WSMsgType.BINARY or not heard or len(message.data) != FRAME:
            continue
        due = int((now() - began) * _FRAMES_A_SECOND)
        sent = max(sent, due - _FRAMES_AHEAD)  # silence gives no right to send faster later
        if sent < due + _FRAMES_AHEAD:
            sent += 1
            await line.send(message.data)


async def _tell(browser: web.WebSocketResponse, what: Live | Over) -> None:
    if not browser.closed:
        try:
            await browser.send_str(msgspec.json.encode(what).decode())
        except ConnectionError:
            return

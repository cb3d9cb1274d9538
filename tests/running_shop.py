"""A shop on the whole system: `dari up`, a trunk and numbers set by commands, a carrier with telephones."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

from engine.foundation.phone_number import PhoneNumber
from engine.messages.model import Status
from engine.routing.alone_text import FAMILY, WHOLE, number_key, trunk_key
from engine.sandbox.caller import CallerLeg
from engine.sandbox.carrier import Carrier
from engine.sandbox.ear import Heard, read, sounds, tones
from engine.sandbox.leg import Leg
from engine.sandbox.phone import Answers, TargetLeg
from engine.settings import PRODUCT_FILES, read_settings
from engine.supervisor.asterisk import ask
from engine.supervisor.preparation import program_of
from tests.eventually import eventually
from tests.real_asterisk import write_tone
from tests.whole_system import Home, Up, whole_system

NUMBER, TARGET = "050712345678", "0212345678"
"""Ringback, whisper, recording, message."""
PLAIN, PLAIN_TARGET = "050722223333", "0319876543"
"""The same message, and nothing else: connected at once."""
SENDER = TARGET
TEXT = "다리꽃집입니다. 전화 주셔서 고맙습니다."
RINGBACK, WHISPER, CALLER, SHOP = 1700, 2100, 500, 1100
"""What is heard, in Hz."""

_PAUSE = 1.0
_END = {status.value for status in (Status.DELIVERED, Status.FAILED, Status.HELD)}


class RunningShop:
    """What tests do with it: type commands, place calls, and read what was written down of them."""

    def __init__(self, home: Home, up: Up, carrier: Carrier) -> None:
        self.home = home
        self.up = up
        self.carrier = carrier

    async def dari(self, *arguments: str) -> str:
        """A command that must succeed; what it said on stdout."""
        code, output, errors = await self.home.run(*arguments)
        assert code == 0, errors + (self.home.folder / "log" / "engine.log").read_text()[-2000:]
        return output

    async def objects(self, *arguments: str) -> list[dict[str, Any]]:
        """What a command answers with --json."""
        return [json.loads(line) for line in (await self.dari(*arguments, "--json")).splitlines()]

    async def connected_call(
        self, from_number: str, number: str = PLAIN, target: str = PLAIN_TARGET
    ) -> tuple[CallerLeg, TargetLeg]:
        """A call of which both sides hear each other."""
        shop = self.carrier.shop(target, Answers(after_seconds=0.2, tone=SHOP))
        caller = await self.carrier.call(number, from_number=from_number, tone=CALLER)
        leg = await shop.next_call()
        await caller.answered()
        await eventually(lambda: bool(tones(leg.recording, [CALLER]) and tones(caller.recording, [SHOP])))
        return caller, leg

    async def talk(self, caller: CallerLeg, target: TargetLeg, seconds: float = 1.2) -> None:
        """They talk on; then the caller hangs up."""
        await asyncio.sleep(seconds)
        await caller.hang_up()
        await target.ended()

    async def refused_call(self, from_number: str, number: str = PLAIN) -> CallerLeg:
        """A call that ends without an answer."""
        caller = await self.carrier.call(number, from_number=from_number, tone=CALLER)
        await caller.ended()
        assert caller.answered_at is None
        return caller

    async def record(self, caller: CallerLeg) -> dict[str, Any]:
        """The only record of a call, once it is there."""
        found: list[dict[str, Any]] = []

        async def is_there() -> bool:
            found[:] = [call for call in await self.objects("calls") if call["sip_call_id"] == caller.call_id]
            return bool(found)

        await eventually(is_there)
        assert len(found) == 1
        return found[0]

    async def message(self, call: dict[str, Any]) -> dict[str, Any]:
        """The only message about a call, once nothing more happens to it."""
        found: list[dict[str, Any]] = []

        async def is_settled() -> bool:
            messages = await self.objects("messages")
            found[:] = [message for message in messages if message["call_id"] == call["call_id"]]
            return bool(found) and found[0]["status"] in _END

        await eventually(is_settled)
        assert len(found) == 1
        return found[0]

    def sent(self, recipient: str) -> list[dict[str, Any]]:
        """What the gateway itself wrote down of messages to `recipient`."""
        journal = self.home.folder / "gateway" / "messages.jsonl"
        orders = [json.loads(line)["order"] for line in journal.read_text().splitlines()] if journal.exists() else []
        return [order for order in orders if order["to"] == recipient]

    async def database_answers(self) -> bool:
        return bool((await self.home.status())["database"]["answers"])

    async def goes_without_an_engine(self, number: str = PLAIN) -> bool:
        """Whether Asterisk itself has all that a call to the number goes through."""
        settings = read_settings(home=self.home.folder)
        wanted = (number_key(PhoneNumber(number)), trunk_key("carrier"), WHOLE)
        told = [
            await ask(program_of(settings), settings.paths.asterisk_etc, f"database get {FAMILY} {key}")
            for key in wanted
        ]
        return all("Value: " in one for one in told)

    async def has_live_calls(self, calls: int, state: str = "ready") -> bool:
        """Whether the engine takes calls, or is in another state, and has so many."""
        engine = (await self.home.status())["engine"]
        return engine is not None and engine["state"] == state and engine["live_calls"] == calls


def heard(leg: Leg) -> list[Heard]:
    """Everything that was heard, by name, in order: tones as their meaning, Dari's announcements by their file."""
    names = {RINGBACK: "ringback", WHISPER: "whisper", CALLER: "caller", SHOP: "shop"}
    spoken = {
        name: read(PRODUCT_FILES / "prompts" / "sounds" / "ko" / f"{name}.wav")
        for name in ("recording-notice", "recording-notice-target", "no-engine", "not-in-service")
    }
    found = [Heard(names[int(one.what.split()[0])], one.start, one.end) for one in tones(leg.recording, list(names))]
    return sorted(found + sounds(leg.recording, spoken), key=lambda one: one.start)


def names_heard(leg: Leg) -> list[str]:
    """As `heard`, what goes on named once."""
    names: list[str] = []
    for one in heard(leg):
        if names[-1:] != [one.what]:
            names.append(one.what)
    return names


def goes_on_hearing(leg: Leg, frequency: int, since: float) -> bool:
    """Whether the tone was heard from the monotonic instant `since` to the end, without a pause of a second.

    Shorter ones come of a machine that gives neither side its turn; whom nobody connects any more hears nothing again.
    """
    recording = leg.recording.since(since)
    pieces = tones(recording, [frequency], merge=_PAUSE)
    return len(pieces) == 1 and pieces[0].start < _PAUSE and pieces[0].end > recording.duration - _PAUSE


@asynccontextmanager
async def running_shop(ip: str, carrier_ip: str, **settings: str) -> AsyncIterator[RunningShop]:
    """The system at `ip` with NUMBER and PLAIN in service on a trunk to `carrier_ip`; ended, whatever became of it."""
    async with whole_system(ip, **settings) as home, Carrier(carrier_ip, 5070, (ip, 5060)) as carrier:
        shop = RunningShop(home, await home.up(), carrier)
        await shop.dari("trunk", "add", "carrier", "--match", carrier_ip, "--contact", f"sip:{carrier_ip}:5070")
        for wanted in _numbers(home.folder):
            await shop.dari("number", "add", *wanted, "--callback", TEXT, "--sender", SENDER, "--min-talk", "1")
        await eventually(carrier.is_known)
        yield shop


def _numbers(folder: Path) -> list[list[str]]:
    """NUMBER and PLAIN; their sounds are tones in `folder`."""
    ringback, whisper = folder / "ringback.wav", folder / "whisper.wav"
    write_tone(ringback, (RINGBACK, 2.0))
    write_tone(whisper, (WHISPER, 0.6))
    everything = ["--ringback", str(ringback), "--whisper", str(whisper), "--record"]
    # An account each: a message about a call to one does not hold back those of the other.
    return [[NUMBER, "--target", TARGET, *everything], [PLAIN, "--target", PLAIN_TARGET, "--account", "plain"]]

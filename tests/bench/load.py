"""Calls as a carrier's callers and shops make them: SIPp for the load, our own telephone to measure finely."""

from __future__ import annotations

import asyncio
import csv
import signal
import time
from collections import Counter
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path

from engine.foundation.errors import Conflict, DariError, GaveUp
from engine.sandbox.caller import CallerLeg
from engine.sandbox.carrier import Carrier
from engine.supervisor.ports import Transport, is_free
from tests.eventually import eventually
from tests.sipp import find_sipp

_SCENARIOS = Path(__file__).parent / "sipp"
_SHOP, _CALLER, _PROBE = 5070, 5080, 5090
_AT_ONCE = 1000  # calls of SIPp that are under way; more wait their turn
_PATIENCE = 10.0  # seconds for each answer
_COLUMNS = 7  # of the short message log
_TALK = "talk.alaw"  # named in caller-talking.xml


@dataclass(frozen=True, slots=True)
class Place:
    """Where the system, the carrier and the shops are, and which numbers are called."""

    dari: str
    carrier: str
    numbers: tuple[str, ...]
    folder: Path

    @property
    def trunk(self) -> str:
        return f"sip:{self.carrier}:{_SHOP}"


@dataclass(frozen=True, slots=True)
class Load:
    """So many calls, so many a second, each held for `hold` seconds once answered."""

    calls: int
    rate: float
    hold: float = 1.0
    patience: float = 10.0
    """Seconds that a caller waits for each answer."""

    @property
    def seconds(self) -> float:
        """How long it takes when nothing waits."""
        return self.calls / self.rate + self.hold


@dataclass(slots=True)
class Outcome:
    """What became of calls. Delays in seconds from the INVITE."""

    answered: int = 0
    failed: Counter[str] = field(default_factory=Counter)
    repeated: int = 0
    ringing: list[float] = field(default_factory=list)
    answer: list[float] = field(default_factory=list)
    refusal: list[float] = field(default_factory=list)
    span: float = 0.0
    """Seconds from the first INVITE to the last."""

    @property
    def placed(self) -> int:
        return self.answered + self.failed.total()


@asynccontextmanager
async def shops(place: Place, *, with_sound: bool = False) -> AsyncIterator[None]:
    """Every number behind the carrier rings and answers at once while the block runs; with sound it sends back what it
    hears."""
    options = ("-mp", "7000", "-timeout", "36000s", *(("-rtp_echo",) if with_sound else ()))
    async with _sipp("shop", place, _SHOP, *options) as process:
        await eventually(lambda: not is_free(place.carrier, _SHOP, Transport.UDP) or process.returncode is not None)
        if process.returncode is not None:
            raise GaveUp(f"the SIPp that answers has ended at once; see {place.folder / 'shop.screen'}")
        yield


@asynccontextmanager
async def callers(
    place: Place, load: Load, *, with_sound: bool = False, at_once: int = _AT_ONCE
) -> AsyncIterator[asyncio.subprocess.Process]:
    """A SIPp that places `load` and then ends by itself; `read_outcome` tells how it went."""
    lines = (f"010{3 * 10**7 + one:08};{place.numbers[one % len(place.numbers)]}\n" for one in range(load.calls))
    (place.folder / "callers.csv").write_text("SEQUENTIAL\n" + "".join(lines))
    (place.folder / "callers.tsv").write_text("")  # what an earlier load left there is not this one's
    patience, whole = round(1000 * (load.patience + load.hold)), round(load.seconds + load.patience) + 60
    options = (
        *("-inf", str(place.folder / "callers.csv"), "-mp", "6000", "-m", str(load.calls), "-l", str(at_once)),
        *("-r", str(round(load.rate * 100)), "-rp", "100000", "-d", str(round(1000 * load.hold))),
        *("-recv_timeout", str(patience), "-timeout", f"{whole}s"),
        *("-trace_shortmsg", "-shortmessage_file", str(place.folder / "callers.tsv")),
        *("-trace_err", "-error_file", str(place.folder / "callers.errors"), place.dari),
    )
    if with_sound:
        (place.folder / _TALK).write_bytes(bytes(range(0x40, 0x80)) * 500)  # 4 s of A-law, loud
    async with _sipp("caller-talking" if with_sound else "caller", place, _CALLER, *options) as process:
        yield process


@asynccontextmanager
async def _sipp(scenario: str, place: Place, port: int, *options: str) -> AsyncIterator[asyncio.subprocess.Process]:
    file = str(_SCENARIOS / f"{scenario}.xml")
    at = ("-i", place.carrier, "-mi", place.carrier, "-p", str(port), "-nostdin")
    with (place.folder / f"{scenario}.screen").open("wb") as screen:
        process = await asyncio.create_subprocess_exec(
            *(find_sipp(), "-sf", file, *at, *options),
            cwd=place.folder,
            stdin=asyncio.subprocess.DEVNULL,
            stdout=screen,
            stderr=screen,
            start_new_session=True,  # Ctrl-C at the terminal is ours to pass on
        )
    try:
        yield process
    finally:
        if process.returncode is None:
            process.kill()
            await process.wait()


def read_outcome(file: Path) -> Outcome:
    """What SIPp's short message log tells of its callers' calls."""
    calls: dict[str, _Seen] = {}
    outcome = Outcome()
    with file.open(newline="") as lines:
        for row in csv.reader(lines, delimiter="\t", quoting=csv.QUOTE_NONE):
            if len(row) == _COLUMNS:
                _, _, instant, way, call_id, cseq, first = row
                seen = calls.setdefault(call_id, _Seen())
                seen.take(float(instant), way == "S", cseq.rpartition(" ")[2], first)
    instants = [seen.began for seen in calls.values() if seen.began]
    outcome.span = max(instants) - min(instants) if instants else 0.0
    for seen in calls.values():
        outcome.repeated += seen.repeated
        if seen.refused_at is not None:
            outcome.refusal.append(seen.refused_at - seen.began)
        if seen.rang is not None:
            outcome.ringing.append(seen.rang - seen.began)
        if seen.answered is not None:
            outcome.answer.append(seen.answered - seen.began)
        if why := seen.failure:
            outcome.failed[why] += 1
        else:
            outcome.answered += 1
    return outcome


class Watch:
    """Reads the short message log of a SIPp that still calls."""

    def __init__(self, file: Path) -> None:
        self._file = file
        self._place = 0
        self._invited: set[str] = set()
        self._is_spoiled = False

    def is_spoiled(self) -> bool:
        """Whether by now an INVITE was said twice or a call refused."""
        with suppress(FileNotFoundError), self._file.open("rb") as log:
            log.seek(self._place)
            whole = log.read().rpartition(b"\n")[0]
            self._place += len(whole)
            for line in whole.decode(errors="replace").splitlines():
                self._take(line.split("\t"))
        return self._is_spoiled

    def _take(self, row: list[str]) -> None:
        if len(row) != _COLUMNS:
            return
        way, call_id, cseq, first = row[3:]
        if way == "S" and first.startswith("INVITE "):
            self._is_spoiled |= call_id in self._invited
            self._invited.add(call_id)
        elif way == "R" and cseq.endswith(" INVITE") and first.startswith(("SIP/2.0 4", "SIP/2.0 5", "SIP/2.0 6")):
            self._is_spoiled = True


def call_no_more(process: asyncio.subprocess.Process) -> None:
    """That SIPp ends once the calls are over that it has placed by now."""
    if process.returncode is None:
        process.send_signal(signal.SIGUSR1)


@dataclass(slots=True)
class _Seen:
    """One caller's messages."""

    began: float = 0.0
    rang: float | None = None
    answered: float | None = None
    refused: str = ""
    refused_at: float | None = None
    repeated: int = 0
    cut_short: bool = False
    is_over: bool = False

    def take(self, instant: float, sent: bool, method: str, first: str) -> None:
        if sent:
            if first.startswith("INVITE "):
                self.repeated += bool(self.began)
                self.began = self.began or instant
        elif first.startswith("BYE "):
            self.cut_short = True
        elif method == "BYE":
            self.is_over = True
        elif method == "INVITE" and first.startswith("SIP/2.0 "):
            self._take_answer(instant, first.split(" ")[1])

    def _take_answer(self, instant: float, code: str) -> None:
        if code in ("180", "183"):
            self.rang = self.rang or instant
        elif code.startswith("2"):
            self.answered = self.answered or instant
        elif code >= "3":
            self.refused, self.refused_at = code, self.refused_at or instant

    @property
    def failure(self) -> str:
        """Empty when it was answered and the caller ended it."""
        if self.refused:
            return self.refused
        if self.answered is None:
            return "no answer"
        if self.cut_short:
            return "hung up by the other side"
        return "" if self.is_over else "BYE without an answer"


class Probe:
    """Our own telephone: an even trickle of calls, measured by the instants at which the kernel took packets in."""

    def __init__(self, place: Place, carrier: Carrier) -> None:
        self.outcome = Outcome()
        self._place = place
        self._carrier = carrier

    async def calls(self, load: Load) -> None:
        """Places `load`; returns when all its calls are over."""
        begin = time.monotonic()
        await asyncio.gather(*(self._call_at(begin + one / load.rate, load.hold) for one in range(load.calls)))

    async def until_taken(self) -> int:
        """Calls until one is answered: the number is known then. How many calls that took, the answered one too."""
        await eventually(self._carrier.is_known)
        for tried in range(1, 41):
            await self._call(0.0)
            if self.outcome.answered:
                return tried
            await asyncio.sleep(0.5)
        raise GaveUp(f"none of 40 calls was answered ({dict(self.outcome.failed)}); nothing can be measured")

    async def _call_at(self, instant: float, hold: float) -> None:
        await asyncio.sleep(instant - time.monotonic())
        await self._call(hold)

    async def _call(self, hold: float) -> None:
        number = self._place.numbers[self.outcome.placed % len(self._place.numbers)]
        caller = await self._carrier.call(number, f"0102{len(self._carrier.callers):07}", tone=None)
        try:
            await caller.answered(_PATIENCE)
            caller.party.speaking = False  # its sound would cost Asterisk as much as the call
            await asyncio.sleep(hold)
            cut_short = caller.is_over
            await caller.hang_up()
        except Conflict:
            self._count(caller, str(caller.final_code))
        except GaveUp:
            self._count(caller, "no answer")
            await give_up(caller)
        else:
            self._count(caller, "hung up by the other side" if cut_short else "")

    def _count(self, caller: CallerLeg, failure: str) -> None:
        if caller.post_dial_delay is not None:
            self.outcome.ringing.append(caller.post_dial_delay)
        if caller.answer_delay is not None:
            self.outcome.answer.append(caller.answer_delay)
        if failure:
            self.outcome.failed[failure] += 1
        else:
            self.outcome.answered += 1


async def give_up(caller: CallerLeg) -> None:
    """Ends a call that nobody answered; where nobody answers that either, it is let go."""
    try:
        await caller.hang_up()
    except DariError:
        caller.abandon()


@asynccontextmanager
async def probing(place: Place) -> AsyncIterator[Probe]:
    """A carrier with our own callers, open while the block runs."""
    host, _, port = place.dari.partition(":")
    async with Carrier(place.carrier, _PROBE, (host, int(port))) as carrier:
        yield Probe(place, carrier)

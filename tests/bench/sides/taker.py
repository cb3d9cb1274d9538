"""What every side looks like to those who call it: it takes SIP somewhere, and its processes have names."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass
from enum import Enum
from pathlib import Path

from tests.bench.load import Place
from tests.bench.progress import Say
from tests.bench.sides.probe import QUICK, RINGS

LOAD_DIGITS = ("0001", "0002")
_PREFIX = "05071234"
LOAD_NUMBERS = tuple(_PREFIX + digits for digits in LOAD_DIGITS)
PROBE_NUMBERS = (_PREFIX + QUICK, _PREFIX + RINGS)
LOAD, PROBE, STANDING = 2, 3, 4
"""Last numbers of the addresses: SIPp and the shops it calls, the probe, calls that are up all the time."""


def target_of(number: str) -> str:
    """Whom a number rings: its last four digits behind 02345."""
    return f"02345{number[-4:]}"


@dataclass(frozen=True, slots=True)
class Room:
    """Where a side is opened, and what it is to be like."""

    network: str
    """The first three numbers of the loopback addresses."""
    say: Say
    settings: Mapping[str, str]
    """DARI_ settings of the product; the others have none."""

    @property
    def address(self) -> str:
        return f"{self.network}.1"

    def address_of(self, who: int) -> str:
        return f"{self.network}.{who}"


@dataclass(frozen=True, slots=True)
class Written:
    """What a side has written down of its calls, and messages that the gateway has taken."""

    calls: int
    messages: int
    through: bool = True
    """Whether it has nothing more to do for them."""


async def _nothing() -> Written:
    return Written(0, 0)


@dataclass(frozen=True, slots=True)
class Taker:
    """A side that takes calls."""

    network: str
    sip: tuple[str, int]
    folder: Path
    """For SIPp's files."""
    parts: Callable[[], dict[str, int]]
    """Process ids by name."""
    written: Callable[[], Awaitable[Written]] = _nothing
    version: str = ""

    def place(self, who: int = LOAD) -> Place:
        """For SIPp at that address; what it calls is answered at LOAD."""
        folder = self.folder / f"sipp-{who}"
        folder.mkdir(exist_ok=True)
        return Place(f"{self.sip[0]}:{self.sip[1]}", f"{self.network}.{who}", LOAD_NUMBERS, folder)


Opens = Callable[[Room], AbstractAsyncContextManager[Taker]]


class Holds(Enum):
    """When a side is measured with hundreds of live calls."""

    NONE = "never"
    AT_FIRST = "before all else, one kind of them"
    AFRESH = "opened anew for each kind of them"


@dataclass(frozen=True, slots=True)
class Side:
    """One way to connect calls."""

    name: str
    title: str
    opens: Opens
    first_rate: float
    """Calls a second at which the search for the highest begins."""
    with_sound: bool = False
    hold: float = 1.0
    """Seconds for which calls are held."""
    patience: float = 10.0
    """Seconds that a caller waits for the answer."""
    is_product: bool = False
    holds: Holds = Holds.AFRESH
    opens_in: float = 10.0
    """Seconds that it takes until the first call, by experience."""

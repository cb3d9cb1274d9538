"""What a trunk is."""

from __future__ import annotations

from enum import Enum

import msgspec


class NumberFormat(Enum):
    """How a trunk wants called numbers written; what it sends is understood in every one of these."""

    NATIONAL = "national"
    """0212345678"""
    E164 = "e164"
    """+82212345678"""
    INTERNATIONAL = "international"
    """82212345678"""


class Login(msgspec.Struct, frozen=True, kw_only=True):
    """Who we are when a carrier asks (digest): for our INVITEs, and for our registration."""

    user: str
    password: str
    """Goes into Asterisk's file and to nobody else: `repr` leaves it out, listings never have it."""
    realm: str = ""
    """The only realm that is answered; empty: whichever the carrier names."""

    def __repr__(self) -> str:
        return f"Login(user={self.user!r}, realm={self.realm!r})"


class Trunk(msgspec.Struct, frozen=True, kw_only=True):
    """A carrier's line: calls from `match` are its calls, calls to it go to `contact`."""

    name: str
    """Letters, digits, hyphens; the PJSIP endpoint's name."""
    match: tuple[str, ...]
    """IPv4 addresses or networks that its INVITEs come from."""
    contact: str
    """SIP URI for outgoing calls, and for our registration: sip:host[:port]."""
    number_format: NumberFormat = NumberFormat.NATIONAL
    """How called numbers are written."""
    trusted: bool = True
    """Whether P-Asserted-Identity is believed and sent."""
    caller_format: NumberFormat | None = None
    """How the caller's number is written; None: as called numbers are."""
    prefix: str = ""
    """Digits that are dialled before every number."""
    login: Login | None = None
    """None: the carrier knows us by our address."""
    register: bool = False
    """Whether we tell the carrier where we are (REGISTER); wants `login`."""
    registered_as: str = ""
    """User part of the address that we register, to which the carrier then sends calls; empty: the login's user."""
    outgoing: bool = True
    """Whether calls are sent to it."""
    priority: int = 100
    """Which trunk is tried first: the lowest."""
    max_calls: int | None = None
    """Calls at once, both directions together; None: no limit."""
    calls_per_second: float | None = None
    """Calls sent to it; None: no limit."""
    longest_ringing: int | None = None
    """Seconds that a target may ring here, below the carrier's own no-answer time; None: as long as the number says."""
    provisional_seconds: float = 4.0
    """Seconds after which a carrier that has sent no answer at all, not even 100 Trying, counts as away."""
    early_dtmf: bool = False
    """Whether keys pressed before the answer arrive: many carriers open the way forward only then."""
    options_seconds: int = 0
    """Every how many seconds the carrier is asked by OPTIONS whether it is there; 0: never."""

    @property
    def registered_user(self) -> str:
        """The user part that calls of the registration come to; empty without registration."""
        return self.registered_as or (self.login.user if self.login else "") if self.register else ""


class TrunkShown(msgspec.Struct, frozen=True, kw_only=True):
    """A trunk as it may be shown to anybody who may see trunks: without the password."""

    name: str
    match: tuple[str, ...]
    contact: str
    number_format: NumberFormat
    trusted: bool
    caller_format: NumberFormat | None
    prefix: str
    user: str | None
    realm: str
    register: bool
    registered_as: str
    outgoing: bool
    priority: int
    max_calls: int | None
    calls_per_second: float | None
    longest_ringing: int | None
    provisional_seconds: float
    early_dtmf: bool
    options_seconds: int


def shown(trunk: Trunk) -> TrunkShown:
    """What of `trunk` may be shown."""
    login = trunk.login
    values = {name: getattr(trunk, name) for name in TrunkShown.__struct_fields__ if name not in ("user", "realm")}
    return TrunkShown(user=login.user if login else None, realm=login.realm if login else "", **values)


class Health(Enum):
    """What Asterisk last knew of a trunk."""

    UP = "up"
    DOWN = "down"
    """It does not answer OPTIONS, or our registration is lost."""
    UNKNOWN = "unknown"
    """Nobody asked, or nobody has answered yet."""


class TrunkState(msgspec.Struct, frozen=True, kw_only=True):
    """How a trunk is: whether it is there, and what goes over it."""

    name: str
    health: Health = Health.UNKNOWN
    reason: str = ""
    """Why it is down, in a few words."""
    round_trip_ms: float | None = None
    """How long the carrier took to answer OPTIONS."""
    registered: bool | None = None
    """None: we do not register there."""
    calls: int = 0
    """Calls at once, both directions."""

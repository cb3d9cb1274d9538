"""What an account is, where it stands in the tree, who acts, and what there is to do. Values only."""

from __future__ import annotations

from datetime import datetime, timedelta
from enum import Enum
from typing import Literal
from uuid import UUID

import msgspec

OPERATOR_ID = UUID(int=1)
"""The root of the tree: the operator of this installation. The migration makes it; it is never moved or closed."""

LONGEST_GRANT = timedelta(days=31)

Status = Literal["active", "closed"]
"""Before it is active there is no account yet, only an `Application`."""


class AccountKind(Enum):
    """What stands at a node of the tree."""

    OPERATOR = "operator"
    AGENCY = "agency"
    REGION = "region"
    BRANCH = "branch"
    """Its base fee is waived."""
    SHOP = "shop"


class Module(Enum):
    """A function that is switched on or off for an account, and with it for all under it."""

    CALLS = "calls"
    """Off: callers hear that the number is not in service, and no call is placed from it."""
    RECORDING = "recording"
    """Talks are recorded. What callers leave on a voicemail is no recording of a talk."""
    LISTENING = "listening"
    CALLBACK = "callback"
    """Messages after calls: the number's own, those that callers ask for and those that they are promised."""
    STORE_MESSAGE = "store message"
    """The notice that the shop's information comes by message, and the message after such a number's calls."""
    API = "api"
    WEBHOOKS = "webhooks"
    STATISTICS = "statistics"
    """There are none yet: the switch is kept, and changes nothing until there are."""
    MOBILE_TARGETS = "mobile targets"
    """Calls may be forwarded to mobile telephones, not to landlines only (C22)."""


ALL_MODULES = frozenset(Module)


class Account(msgspec.Struct, frozen=True, kw_only=True):
    """An owner of numbers: its calls, messages and sender numbers are its own."""

    id: UUID
    name: str
    """Nobody else directly under the same parent has it."""
    zone: str = "Asia/Seoul"
    """IANA time zone in which its days begin and its hours are meant."""
    kind: AccountKind = AccountKind.SHOP
    parent: UUID | None = None
    """None: the operator, which is the root."""
    path: tuple[UUID, ...] = ()
    """From the root to the account itself."""
    fee_waived: bool = False
    modules: frozenset[Module] = ALL_MODULES
    """What is on for it: switched off neither here nor above it."""
    status: Status = "active"
    trade: str | None = None
    """Its trade's code in the Korean standard industrial classification, five digits."""
    yearly_revenue: int | None = None
    """Won, of the last business year."""
    revenue_evidence: str | None = None
    """What shows that revenue."""

    @property
    def place(self) -> Place:
        """Where it stands."""
        return Place(account=self.id, path=self.path or (self.id,), kind=self.kind)


class Place(msgspec.Struct, frozen=True, kw_only=True):
    """A node of the tree: where somebody belongs to, or where a thing belongs to."""

    account: UUID
    path: tuple[UUID, ...]
    """From the root to `account` itself."""
    kind: AccountKind = AccountKind.SHOP


OPERATOR_PLACE = Place(account=OPERATOR_ID, path=(OPERATOR_ID,), kind=AccountKind.OPERATOR)
"""Also the place of what belongs to no account: number ranges, trunks."""


class Role(Enum):
    """What somebody is in the account that they belong to."""

    OPERATOR = "operator"
    AGENCY = "agency manager"
    REGION = "regional account"
    BRANCH = "branch"
    OWNER = "shop owner"
    STAFF = "staff"
    """Looks and uses; changes only what was allowed."""
    CONTENT = "content centre"
    """Makes prompts and messages for shops."""
    AUDITOR = "auditor"
    """Reads, always with a reason."""


MANAGERS: dict[AccountKind, Role] = {
    AccountKind.OPERATOR: Role.OPERATOR,
    AccountKind.AGENCY: Role.AGENCY,
    AccountKind.REGION: Role.REGION,
    AccountKind.BRANCH: Role.BRANCH,
    AccountKind.SHOP: Role.OWNER,
}
"""Who answers for an account of each kind."""


class Deed(Enum):
    """Each thing that somebody may or may not do. The value is also the scope of an API key."""

    SEE_NUMBERS = "see numbers"
    CHANGE_NUMBERS = "change numbers"
    """Targets, features, sender, record."""
    ISSUE_NUMBERS = "issue numbers"
    """Choose, reserve, order and take numbers into service."""
    RELEASE_NUMBERS = "release numbers"
    """Suspend, resume and give back."""
    TRANSFER_NUMBERS = "transfer numbers"
    """Offer, accept, decline, withdraw: each side for its own account."""
    SEE_RANGES = "see ranges"
    MANAGE_RANGES = "manage ranges"
    SEE_CALLS = "see calls"
    """Call records and the list of recordings, never their sound."""
    SEE_FIGURES = "see figures"
    HEAR_RECORDINGS = "hear recordings"
    CHANGE_RECORDINGS = "change recordings"
    """Hold for a lawsuit, delete before time."""
    LISTEN_LIVE = "listen live"
    GRANT_LISTENING = "grant listening"
    RECORD_GRANTS = "record grants"
    """Write down a grant that a shop gave on paper."""
    PLACE_CALLS = "place calls"
    SEE_MESSAGES = "see messages"
    CHANGE_MESSAGES = "change messages"
    """What is sent after calls, and its templates."""
    SEE_PROMPTS = "see prompts"
    CHANGE_PROMPTS = "change prompts"
    SEE_RULES = "see rules"
    CHANGE_RULES = "change rules"
    SIMULATE = "simulate"
    SEE_ACCOUNTS = "see accounts"
    OPEN_ACCOUNTS = "open accounts"
    """Under the account asked about; also apply for one."""
    CHANGE_ACCOUNTS = "change accounts"
    """Name, time zone, limits."""
    MOVE_ACCOUNTS = "move accounts"
    CLOSE_ACCOUNTS = "close accounts"
    REVIEW_ACCOUNTS = "review accounts"
    """Decide sign-ups; write down trade and revenue, having seen the evidence."""
    SWITCH_MODULES = "switch modules"
    WAIVE_FEES = "waive fees"
    SEE_USERS = "see users"
    CHANGE_USERS = "change users"
    INVITE_OWNER = "invite owner"
    """The first user of an account that has none yet."""
    SEE_KEYS = "see keys"
    CHANGE_KEYS = "change keys"
    SEE_AUDIT = "see audit"
    VERIFY_AUDIT = "verify audit"
    SEE_WEBHOOKS = "see webhooks"
    CHANGE_WEBHOOKS = "change webhooks"
    READ_EVENTS = "read events"
    SEE_TRUNKS = "see trunks"
    CHANGE_TRUNKS = "change trunks"


class Actor(msgspec.Struct, frozen=True, kw_only=True):
    """Somebody who does something, as a door knows them."""

    who: str
    """`user:UUID`, `key:UUID`, or `operator of this machine`."""
    place: Place
    role: Role
    allowed: frozenset[Deed] = frozenset()
    """What staff were allowed beyond looking and using."""
    scopes: frozenset[Deed] | None = None
    """An API key does nothing beyond these; None: not narrowed."""
    read_only: bool = False
    reason: str = ""
    """Why they look. An auditor is refused without; a door fills it in."""
    peer: str = ""
    """Where they come from, for the audit: an address, or empty."""
    session: UUID | None = None
    """In which they signed in: with its end they are out. None: a key, or the machine's operator."""


LOCAL_OPERATOR = Actor(who="operator of this machine", place=OPERATOR_PLACE, role=Role.OPERATOR)
"""Who uses the command line of this machine."""


class ListeningGrant(msgspec.Struct, frozen=True, kw_only=True):
    """A shop lets an account above it hear its calls for a time."""

    id: UUID
    shop: UUID
    to_account: UUID
    by: str
    """Who gave it, or wrote it down: `Actor.who`."""
    reason: str
    evidence: str = ""
    """What shows that the shop gave it, where somebody else wrote it down."""
    begins: datetime
    until: datetime
    taken_back_at: datetime | None = None

    def runs(self, now: datetime) -> bool:
        """Whether it holds at that instant."""
        return self.begins <= now < self.until and self.taken_back_at is None


class Standing(msgspec.Struct, frozen=True, kw_only=True):
    """What there is to ask before somebody hears an account's calls."""

    account: Account
    grants: tuple[ListeningGrant, ...] = ()
    """Those that run."""


class DocumentKind(Enum):
    """What a document of a sign-up shows."""

    BUSINESS_REGISTRATION = "business registration"
    IDENTITY = "identity"
    NUMBER_OWNERSHIP = "number ownership"
    REVENUE = "revenue"
    CONTRACT = "contract"


class Document(msgspec.Struct, frozen=True, kw_only=True):
    """One document of a sign-up. The door keeps the file under its hash."""

    kind: DocumentKind
    sha256: str
    """64 lower-case hexadecimal digits."""
    came_by: Literal["upload", "e-mail", "fax"]
    recorded_by: str
    """`Actor.who`, or `applicant`."""


class Application(msgspec.Struct, frozen=True, kw_only=True):
    """Somebody wants an account."""

    id: UUID
    by: str
    """Who handed it in: `Actor.who`, or `applicant`."""
    parent: UUID
    """Under whom the account is to be opened."""
    kind: AccountKind
    company: str
    registration_number: str
    """Business registration number: ten digits."""
    contact_name: str
    contact: str
    """E-mail address."""
    trade: str | None = None
    yearly_revenue: int | None = None
    documents: tuple[Document, ...] = ()
    status: Literal["applied", "approved", "rejected", "settled"] = "applied"
    """Settled: another one of the same company was approved."""
    decided_by: str | None = None
    reason: str | None = None
    """Why it was decided so."""
    account: UUID | None = None
    """The account opened for it."""
    settled_by: UUID | None = None
    """The application that was approved instead."""
    beside: int = 0
    """How many others of the same company wait for an account under the same parent."""
    applied_at: datetime
    decided_at: datetime | None = None

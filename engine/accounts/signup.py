"""Sign-up: somebody applies with documents, the operator reviews, approval opens the account.

Applied → approved, rejected or settled, with a reason, once. Nobody knows who a stranger is: any number of strangers
may apply for one company, so that none keeps the company itself out, and approving one settles the others. The files
are kept by the door under their hashes.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from datetime import datetime
from uuid import UUID

import msgspec
from sqlalchemy.ext.asyncio import AsyncConnection

from engine.accounts import store_signup
from engine.accounts.eligibility import Eligibility, eligible
from engine.accounts.model import OPERATOR_ID, Account, AccountKind, Actor, Application, Deed, Document, DocumentKind
from engine.accounts.permissions import check, reach
from engine.accounts.told import tell
from engine.accounts.trades import check_trade
from engine.accounts.tree import UNDER, checked_name, find, kept_open, open_account, set_business
from engine.audit import trail
from engine.foundation.errors import Conflict, Invalid, NotFound
from engine.foundation.ids import new_id

APPLICANT = "applicant"
"""Whoever hands in an application for themselves, without having signed in."""

MOST_DOCUMENTS = 20
_LONGEST_TEXT = 500
_LONGEST_CONTACT = 200
_LARGEST_REVENUE = 10**15
_WEIGHTS = (1, 3, 7, 1, 3, 7, 1, 3, 5)


class Wanted(msgspec.Struct, frozen=True, kw_only=True):
    """What an applicant writes into the form."""

    company: str
    registration_number: str
    """Business registration number: ten digits, hyphens allowed."""
    contact_name: str
    contact: str
    """E-mail address."""
    kind: AccountKind = AccountKind.SHOP
    parent: UUID = OPERATOR_ID
    """Under whom; strangers apply to the operator."""
    trade: str | None = None
    yearly_revenue: int | None = None


async def apply(
    connection: AsyncConnection, actor: Actor | None, wanted: Wanted, now: datetime, *, peer: str = ""
) -> Application:
    """Hands in an application; `actor` None: a stranger does, for an account directly under the operator.

    Raises NotFound, NotAllowed, Invalid, or Conflict when somebody signed in has handed in the same company already
    and it waits; what strangers hand in is in nobody's way.
    """
    above = await kept_open(connection, wanted.parent if actor else OPERATOR_ID)
    if actor:
        check(actor, Deed.OPEN_ACCOUNTS, above.place)
    if wanted.kind not in UNDER[above.kind]:
        raise Invalid(f"kind: no {wanted.kind.value} stands directly under a {above.kind.value}")
    application = Application(
        id=new_id(now),
        by=actor.who if actor else APPLICANT,
        parent=above.id,
        kind=wanted.kind,
        company=checked_name(wanted.company),
        registration_number=checked_registration_number(wanted.registration_number),
        contact_name=checked_name(wanted.contact_name),
        contact=_checked_contact(wanted.contact),
        trade=_checked_trade(wanted.trade),
        yearly_revenue=_checked_revenue(wanted.yearly_revenue),
        applied_at=now,
    )
    if not await store_signup.insert(connection, application):
        raise Conflict("registration_number: an application of this company waits already; wait for its review")
    peer = actor.peer if actor else peer
    await _write(connection, application, "apply", now, peer, after={"company": application.company})
    return application


async def attach(
    connection: AsyncConnection,
    actor: Actor | None,
    application: UUID,
    kind: DocumentKind,
    sha256: str,
    came_by: str,
    now: datetime,
    *,
    peer: str = "",
) -> Application:
    """Records a document of an application that waits: uploaded, or come by e-mail or fax and recorded by `actor`.

    `actor` None: the applicant, whom the door knows by the application's own link. Raises NotFound, NotAllowed,
    Invalid or Conflict.
    """
    found = await _find(connection, application)
    if actor:
        check(
            actor, Deed.OPEN_ACCOUNTS, (await find(connection, found.parent)).place, what=f"application {application}"
        )
    if not re.fullmatch(r"[0-9a-f]{64}", sha256):
        raise Invalid("sha256: write the document's hash as 64 lower-case hexadecimal digits")
    by = actor.who if actor else APPLICANT
    try:
        fields = {"kind": kind.value, "sha256": sha256, "came_by": came_by, "recorded_by": by}
        document = msgspec.convert(fields, Document)
    except msgspec.ValidationError:
        raise Invalid(f"came_by: {came_by[:20]!r} must be upload, e-mail or fax") from None
    if not actor and document.came_by != "upload":
        raise Invalid("came_by: what came by e-mail or fax is recorded by the operator")
    if not await store_signup.attach(connection, application, document, MOST_DOCUMENTS):
        raise Conflict(f"application {application}: it is decided already, or has {MOST_DOCUMENTS} documents")
    peer = actor.peer if actor else peer
    await _write(connection, found, "attach document", now, peer, by=by, after=msgspec.to_builtins(document))
    return await _find(connection, application)


async def listing(
    connection: AsyncConnection,
    actor: Actor,
    *,
    status: str | None = "applied",
    after: UUID | None = None,
    limit: int = 100,
) -> list[Application]:
    """The review queue of what the actor may see: the oldest first, by id; `status` None: all."""
    return await store_signup.listing(connection, reach(actor, Deed.SEE_ACCOUNTS), status, after, limit)


async def seen(connection: AsyncConnection, actor: Actor, application: UUID) -> Application:
    """The application, as the actor may see it. Raises NotFound."""
    found = await _find(connection, application)
    place = (await find(connection, found.parent)).place
    check(actor, Deed.SEE_ACCOUNTS, place, what=f"application {application}")
    return found


def judged(application: Application, now: datetime) -> Eligibility:
    """Whether that shop may take the store-information message, as far as the application shows it."""
    evidence = next((one.sha256 for one in application.documents if one.kind is DocumentKind.REVENUE), None)
    return eligible(application.trade, application.yearly_revenue, evidence, now)


async def approve(
    connection: AsyncConnection, actor: Actor, application: UUID, reason: str, now: datetime, *, name: str | None = None
) -> tuple[Application, Account]:
    """Opens the account, under `name` (None: the company's), with the trade and revenue that were handed in. Whatever
    else waits for the same company is settled by it.

    Raises NotFound, NotAllowed, Invalid, or Conflict: decided already, no business registration among the documents,
    or the name is taken.
    """
    found, reason = await _reviewed(connection, actor, application, reason)
    if not any(document.kind is DocumentKind.BUSINESS_REGISTRATION for document in found.documents):
        raise Conflict(f"application {application}: it has no business registration; attach the document first")
    account = await open_account(connection, actor, found.parent, found.kind, name or found.company, now)
    account = await set_business(
        connection,
        actor,
        account.id,
        now,
        trade=found.trade,
        yearly_revenue=found.yearly_revenue,
        evidence=_evidence(found),
    )
    why = f"application {found.id} of the same company was approved"
    settled = await store_signup.settle(connection, found.id, by=actor.who, reason=why, now=now)
    return await _decided(connection, actor, found, "approved", reason, account.id, now, settled=settled), account


async def reject(
    connection: AsyncConnection, actor: Actor, application: UUID, reason: str, now: datetime
) -> Application:
    """Turns it down; the company may apply again. Raises NotFound, NotAllowed, Invalid or Conflict."""
    found, reason = await _reviewed(connection, actor, application, reason)
    return await _decided(connection, actor, found, "rejected", reason, None, now)


def checked_registration_number(text: str) -> str:
    """Ten digits whose last one fits the others. Raises Invalid."""
    digits = text.replace("-", "").strip()
    if not re.fullmatch(r"[0-9]{10}", digits):
        raise Invalid("registration_number: write the ten digits of the business registration, like 123-45-67891")
    products = [int(digit) * weight for digit, weight in zip(digits, _WEIGHTS, strict=False)]
    if (10 - (sum(products) + products[-1] // 10) % 10) % 10 != int(digits[-1]):
        raise Invalid("registration_number: its last digit does not fit the others; compare it with the document")
    return digits


async def _find(connection: AsyncConnection, application: UUID) -> Application:
    found = await store_signup.by_id(connection, application)
    if found is None:
        raise NotFound(f"application {application}: there is none that you may see")
    return found


async def _reviewed(
    connection: AsyncConnection, actor: Actor, application: UUID, reason: str
) -> tuple[Application, str]:
    """The application, which waits and which the actor may decide, and the reason as it is kept."""
    await store_signup.lock(connection, application)
    found = await _find(connection, application)
    place = (await find(connection, found.parent)).place
    check(actor, Deed.REVIEW_ACCOUNTS, place, what=f"application {application}")
    reason = reason.strip()
    if not reason or len(reason) > _LONGEST_TEXT or "\0" in reason:
        raise Invalid(f"reason: say in 1 to {_LONGEST_TEXT} characters why")
    if found.status != "applied":
        raise Conflict(f"application {application}: it was {found.status} already; look again")
    return found, reason


async def _decided(
    connection: AsyncConnection,
    actor: Actor,
    found: Application,
    status: str,
    reason: str,
    account: UUID | None,
    now: datetime,
    *,
    settled: Sequence[UUID] = (),
) -> Application:
    if not await store_signup.decide(connection, found.id, status, account, by=actor.who, reason=reason, now=now):
        raise Conflict(f"application {found.id}: somebody else decided it meanwhile; look again")
    before = {"status": found.status}
    after = {"status": status, "reason": reason, "account": account} | ({"settled": settled} if settled else {})
    await tell(
        connection,
        actor,
        Deed.REVIEW_ACCOUNTS,
        account or found.parent,
        now,
        before=before,
        after=after,
        thing=("application", found.id),
    )
    return await _find(connection, found.id)


async def _write(
    connection: AsyncConnection,
    application: Application,
    deed: str,
    now: datetime,
    peer: str,
    *,
    by: str | None = None,
    after: dict[str, object],
) -> None:
    await trail.write(
        connection,
        who=by or application.by,
        deed=deed,
        account_id=application.parent,
        object_kind="application",
        object_id=application.id,
        after=after,
        peer=peer,
        now=now,
    )


def _evidence(application: Application) -> str | None:
    shown = [one for one in application.documents if one.kind is DocumentKind.REVENUE]
    return f"document {shown[-1].sha256} of application {application.id}" if shown else None


def _checked_contact(text: str) -> str:
    text = text.strip().lower()
    if len(text) > _LONGEST_CONTACT or not text.isprintable() or not re.fullmatch(r"[^@\s]+@[^@\s]+\.[^@\s]+", text):
        raise Invalid("contact: write an e-mail address, like owner@shop.example")
    return text


def _checked_trade(code: str | None) -> str | None:
    check_trade(code)
    return code


def _checked_revenue(won: int | None) -> int | None:
    if won is not None and not 0 <= won <= _LARGEST_REVENUE:
        raise Invalid(f"yearly_revenue: {won} must be 0 to {_LARGEST_REVENUE} won")
    return won

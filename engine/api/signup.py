"""Sign-up: somebody applies with documents, the operator reviews; approval opens the account."""

from __future__ import annotations

import hmac
from datetime import datetime
from http import HTTPStatus
from typing import Annotated, Literal
from uuid import UUID

from fastapi import APIRouter, Header, Path, Query, Response
from pydantic import ConfigDict, Field
from pydantic.config import JsonDict

from engine.accounts import signup, tree
from engine.accounts.model import OPERATOR_ID, AccountKind, Application, Deed, DocumentKind
from engine.accounts.permissions import check
from engine.api.accounts import AccountShown, Reason, shown
from engine.api.documents import LARGEST_DOCUMENT, MEDIA, DocumentsDep, digest_of, media_of
from engine.api.door import ActorDep, FileBody, Now, OpenRoute, Peer, Rows, TermsDep, door_router
from engine.api.pages import Page, PageOf
from engine.api.takes import takes_file
from engine.api.wire import Shape
from engine.audit import trail
from engine.foundation.errors import NotFound
from engine.foundation.sealing import SealingKey

Text = Annotated[str, Field(min_length=1, max_length=100)]
ApplicationInPath = Annotated[UUID, Path(description="An application's id.")]
KindOfDocument = Annotated[DocumentKind, Query(description="What the document shows.")]

Status = Literal["applied", "approved", "rejected", "settled"]

_FILE = takes_file(*MEDIA, largest=LARGEST_DOCUMENT)
_WANTED: JsonDict = {
    "company": "한빛치과",
    "registration_number": "123-45-67891",
    "contact_name": "김한빛",
    "contact": "owner@hanbit.example",
    "trade": "56111",
    "yearly_revenue": 480000000,
}


class SignUp(Shape):
    """Somebody wants an account as a shop or an agency."""

    model_config = ConfigDict(json_schema_extra={"examples": [_WANTED]})

    company: Text
    registration_number: Annotated[str, Field(min_length=10, max_length=12)]
    """Business registration number: ten digits, hyphens allowed."""
    contact_name: Text
    contact: Annotated[str, Field(min_length=5, max_length=200)]
    """E-mail address."""
    kind: AccountKind = AccountKind.SHOP
    trade: Annotated[str, Field(pattern="^[0-9]{5}$")] | None = None
    """Code of the trade (KSIC)."""
    yearly_revenue: Annotated[int, Field(strict=True, ge=0, le=10**15)] | None = None
    """Won, of the last business year."""

    def under(self, parent: UUID) -> signup.Wanted:
        """As the deed takes it."""
        return signup.Wanted(
            company=self.company,
            registration_number=self.registration_number,
            contact_name=self.contact_name,
            contact=self.contact,
            kind=self.kind,
            parent=parent,
            trade=self.trade,
            yearly_revenue=self.yearly_revenue,
        )


class ApplicationWanted(SignUp):
    """Somebody wants an account; whoever is above it hands that in."""

    model_config = ConfigDict(
        json_schema_extra={"examples": [{"parent": "00000000-0000-0000-0000-000000000001", **_WANTED}]}
    )

    parent: UUID
    """Under which account."""


class SignedUp(Shape):
    """The application was taken."""

    application: UUID
    token: str
    """With it the applicant uploads documents; shown once."""


class DocumentShown(Shape):
    """A document of an application."""

    kind: DocumentKind
    sha256: str
    came_by: Literal["upload", "e-mail", "fax"]
    recorded_by: str


class ApplicationShown(Shape):
    """An application, and what the rules say about the store-information message for it."""

    id: UUID
    by: str
    """Who handed it in: `user:ID`, `key:ID`, `applicant`."""
    parent: UUID
    kind: AccountKind
    company: str
    registration_number: str
    contact_name: str
    contact: str
    trade: str | None
    yearly_revenue: int | None
    documents: list[DocumentShown]
    status: Status
    """Settled: another one of the same company was approved."""
    decided_by: str | None
    reason: str | None
    account: UUID | None
    """The account opened for it."""
    settled_by: UUID | None
    """The application that was approved instead."""
    beside: int
    """How many others of the same company wait for an account under the same parent; approving one settles them."""
    applied_at: datetime
    decided_at: datetime | None
    eligible: bool
    """Whether the shop may take the store-information message."""
    reasons: list[str]
    """Why, rule by rule: Korean / English."""


class Decision(Shape):
    """Why it is decided so."""

    model_config = ConfigDict(json_schema_extra={"examples": [{"reason": "서류 확인"}]})

    reason: Reason


class Approval(Decision):
    """Why it is approved, and what the account is called."""

    name: Text | None = None
    """Left away: as the company."""


class Approved(Shape):
    """The application and the account opened for it."""

    application: ApplicationShown
    account: AccountShown


def sign_up_router() -> APIRouter:
    """What strangers do."""
    router = door_router("sign-up", OpenRoute)

    @router.post("/sign-up", status_code=HTTPStatus.CREATED)
    async def sign_up(wanted: SignUp, rows: Rows, terms: TermsDep, peer: Peer, now: Now) -> SignedUp:
        """Applies for an account directly under the operator."""
        application = await signup.apply(rows, None, wanted.under(OPERATOR_ID), now, peer=peer)
        return SignedUp(application=application.id, token=_token(terms.key, application.id))

    @router.post("/sign-up/{application}/documents", status_code=HTTPStatus.NO_CONTENT, openapi_extra=_FILE)
    async def upload_own_document(
        application: ApplicationInPath,
        kind: KindOfDocument,
        application_token: Annotated[str, Header(max_length=200, description="The `token` of the sign-up.")],
        file: FileBody,
        documents: DocumentsDep,
        rows: Rows,
        terms: TermsDep,
        peer: Peer,
        now: Now,
    ) -> None:
        """Uploads a document of one's own application: PDF, JPEG or PNG."""
        if not hmac.compare_digest(application_token.encode(), _token(terms.key, application).encode()):
            raise NotFound(f"application {application}: there is none that this token is for")
        media_of(file)
        await signup.attach(rows, None, application, kind, digest_of(file), "upload", now, peer=peer)
        await documents.keep(file)

    return router


def applications_router() -> APIRouter:
    """The review queue."""
    router = door_router("sign-up")

    @router.get("/applications")
    async def list_applications(
        actor: ActorDep,
        rows: Rows,
        now: Now,
        page: PageOf,
        status: Annotated[Status | None, Query(description="Left away: whichever.")] = None,
    ) -> Page[ApplicationShown]:
        """Applications for accounts under those that you may see, the oldest first."""
        found = await signup.listing(rows, actor, status=status, after=page.behind(UUID), limit=page.rows)
        return page.page(found, lambda one: _shown(one, now), lambda one: (one.id,))

    @router.post("/applications", status_code=HTTPStatus.CREATED)
    async def apply_for(wanted: ApplicationWanted, actor: ActorDep, rows: Rows, now: Now) -> ApplicationShown:
        """Hands in an application for somebody."""
        return _shown(await signup.apply(rows, actor, wanted.under(wanted.parent), now, peer=actor.peer), now)

    @router.get("/applications/{application}")
    async def read_application(
        application: ApplicationInPath, actor: ActorDep, rows: Rows, now: Now
    ) -> ApplicationShown:
        """One application."""
        return _shown(await signup.seen(rows, actor, application), now)

    @router.post("/applications/{application}/approve")
    async def approve_application(
        application: ApplicationInPath, wanted: Approval, actor: ActorDep, rows: Rows, now: Now
    ) -> Approved:
        """Opens the account, and settles whatever else waits for the same company."""
        decided, account = await signup.approve(rows, actor, application, wanted.reason, now, name=wanted.name)
        return Approved(application=_shown(decided, now), account=shown(account))

    @router.post("/applications/{application}/reject")
    async def reject_application(
        application: ApplicationInPath, wanted: Decision, actor: ActorDep, rows: Rows, now: Now
    ) -> ApplicationShown:
        """Turns it down; the company may apply again."""
        return _shown(await signup.reject(rows, actor, application, wanted.reason, now), now)

    return router


def documents_router() -> APIRouter:
    """Documents of applications."""
    router = door_router("sign-up")

    @router.post("/applications/{application}/documents", status_code=HTTPStatus.CREATED, openapi_extra=_FILE)
    async def record_document(
        application: ApplicationInPath,
        kind: KindOfDocument,
        came_by: Annotated[Literal["upload", "e-mail", "fax"], Query(description="How it came.")],
        actor: ActorDep,
        file: FileBody,
        documents: DocumentsDep,
        rows: Rows,
        now: Now,
    ) -> ApplicationShown:
        """Records a document: PDF, JPEG or PNG."""
        media_of(file)
        recorded = await signup.attach(rows, actor, application, kind, digest_of(file), came_by, now)
        await documents.keep(file)
        return _shown(recorded, now)

    @router.get(
        "/applications/{application}/documents/{sha256}",
        response_class=Response,
        responses={200: {"content": {one: {"schema": {"type": "string", "format": "binary"}} for one in MEDIA}}},
    )
    async def read_document(
        application: ApplicationInPath,
        sha256: Annotated[str, Path(pattern="^[0-9a-f]{64}$")],
        actor: ActorDep,
        documents: DocumentsDep,
        rows: Rows,
        now: Now,
    ) -> Response:
        """The file itself, for whoever reviews; it is written down."""
        found = await signup.seen(rows, actor, application)
        check(actor, Deed.REVIEW_ACCOUNTS, await tree.place_of(rows, found.parent), what=f"application {application}")
        if sha256 not in {document.sha256 for document in found.documents}:
            raise NotFound(f"document {sha256}: the application has none of that hash")
        file = await documents.read(sha256)
        await trail.write(
            rows,
            who=actor.who,
            deed="read document",
            account_id=found.parent,
            object_kind="application",
            object_id=application,
            after={"sha256": sha256},
            peer=actor.peer,
            now=now,
        )
        return Response(file, media_type=media_of(file), headers={"Content-Disposition": "attachment"})

    return router


def _shown(application: Application, now: datetime) -> ApplicationShown:
    judged = signup.judged(application, now)
    return ApplicationShown(
        id=application.id,
        by=application.by,
        parent=application.parent,
        kind=application.kind,
        company=application.company,
        registration_number=application.registration_number,
        contact_name=application.contact_name,
        contact=application.contact,
        trade=application.trade,
        yearly_revenue=application.yearly_revenue,
        documents=[
            DocumentShown(kind=one.kind, sha256=one.sha256, came_by=one.came_by, recorded_by=one.recorded_by)
            for one in application.documents
        ],
        status=application.status,
        decided_by=application.decided_by,
        reason=application.reason,
        account=application.account,
        settled_by=application.settled_by,
        beside=application.beside,
        applied_at=application.applied_at,
        decided_at=application.decided_at,
        eligible=judged.ok,
        reasons=list(judged.reasons),
    )


def _token(key: SealingKey, application: UUID) -> str:
    """Known to whoever applied; nothing is kept of it."""
    return hmac.digest(key.secret, f"application:{application}".encode(), "sha256").hex()

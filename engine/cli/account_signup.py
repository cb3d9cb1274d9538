"""`dari account apply|document|applications|approve|reject`: sign-ups, as the operator records and reviews them."""

from __future__ import annotations

import hashlib
from datetime import UTC, datetime
from pathlib import Path
from typing import Annotated
from uuid import UUID

import msgspec
import typer
from rich.text import Text
from sqlalchemy.ext.asyncio import AsyncConnection

from engine.accounts import signup
from engine.accounts.book import account_called
from engine.accounts.model import Account, AccountKind, Application, DocumentKind
from engine.cli.database import in_transaction
from engine.cli.options import word, words_of
from engine.cli.printing import Column, day_and_time, print_json, print_table
from engine.cli.this_machine import operator
from engine.events.call_log import printable
from engine.settings import read_settings

app = typer.Typer()

Json = Annotated[bool, typer.Option("--json", help="One JSON object per line.")]
Id = Annotated[UUID, typer.Argument(metavar="APPLICATION", help="Its id, as `dari account applications` shows it.")]
Reason = Annotated[str, typer.Option(metavar="TEXT", help="Why; the applicant is told.")]
_PAGE = 500


@app.command()
def apply(
    company: Annotated[str, typer.Argument(metavar="COMPANY", help="As in its business registration.")],
    registration: Annotated[str, typer.Option(metavar="NUMBER", help="Business registration number: 123-45-67891.")],
    contact_name: Annotated[str, typer.Option(metavar="NAME", help="Whom to talk to.")],
    contact: Annotated[str, typer.Option(metavar="E-MAIL", help="Where they are reached.")],
    kind: Annotated[
        AccountKind | None,
        typer.Option(metavar=words_of(AccountKind), parser=word(AccountKind), help="What it is; a shop."),
    ] = None,
    under: Annotated[str, typer.Option(metavar="ACCOUNT", help="Directly under which account.")] = "operator",
    trade: Annotated[str | None, typer.Option(metavar="CODE", help="Five digits of the classification (KSIC).")] = None,
    revenue: Annotated[int | None, typer.Option(metavar="WON", help="Of the last business year.")] = None,
    as_json: Json = False,
) -> None:
    """Record that a company wants an account; its documents follow, then the review."""

    async def deed(rows: AsyncConnection) -> Application:
        wanted = signup.Wanted(
            company=company,
            registration_number=registration,
            contact_name=contact_name,
            contact=contact,
            kind=kind or AccountKind.SHOP,
            parent=(await account_called(rows, under)).id,
            trade=trade,
            yearly_revenue=revenue,
        )
        return await signup.apply(rows, operator(), wanted, datetime.now(UTC))

    _told(in_transaction(read_settings(), deed), "waits for its review", as_json)


@app.command()
def document(
    application: Id,
    kind: Annotated[
        DocumentKind, typer.Argument(metavar=words_of(DocumentKind), parser=word(DocumentKind), help="What it shows.")
    ],
    file: Annotated[
        Path, typer.Argument(metavar="FILE", exists=True, dir_okay=False, help="The scan; it stays there.")
    ],
    came_by: Annotated[str, typer.Option(metavar="upload|e-mail|fax", help="How it came.")] = "e-mail",
    as_json: Json = False,
) -> None:
    """Record a document of a sign-up by the hash of its file."""
    with file.open("rb") as opened:
        sha256 = hashlib.file_digest(opened, "sha256").hexdigest()

    async def deed(rows: AsyncConnection) -> Application:
        return await signup.attach(rows, operator(), application, kind, sha256, came_by, datetime.now(UTC))

    after = in_transaction(read_settings(), deed)
    _told(after, f"has {len(after.documents)} documents", as_json)


@app.command()
def applications(
    all_: Annotated[bool, typer.Option("--all", help="Those that are decided too.")] = False, as_json: Json = False
) -> None:
    """List the sign-ups that wait for their review, the oldest first."""

    async def deed(rows: AsyncConnection) -> list[Application]:
        status, found = None if all_ else "applied", list[Application]()
        while page := await signup.listing(
            rows, operator(), status=status, after=found[-1].id if found else None, limit=_PAGE
        ):
            found += page
        return found

    found = in_transaction(read_settings(), deed)
    if as_json:
        print_json(map(_as_object, found))
    elif found:
        print_table(_COLUMNS, [_row(one) for one in found])
    else:
        typer.echo("no sign-up waits", err=True)


@app.command()
def approve(
    application: Id,
    reason: Reason,
    name: Annotated[str | None, typer.Option(metavar="NAME", help="The account's name; the company's.")] = None,
    as_json: Json = False,
) -> None:
    """Approve a sign-up: its account is opened."""

    async def deed(rows: AsyncConnection) -> tuple[Application, Account]:
        return await signup.approve(rows, operator(), application, reason, datetime.now(UTC), name=name)

    after, account = in_transaction(read_settings(), deed)
    _told(after, f"approved; {account.kind.value} {account.name} opened", as_json)


@app.command()
def reject(application: Id, reason: Reason, as_json: Json = False) -> None:
    """Reject a sign-up; the company may apply again."""

    async def deed(rows: AsyncConnection) -> Application:
        return await signup.reject(rows, operator(), application, reason, datetime.now(UTC))

    _told(in_transaction(read_settings(), deed), "rejected", as_json)


def _told(application: Application, what: str, as_json: bool) -> None:
    if as_json:
        print_json([_as_object(application)])
    else:
        typer.echo(f"application {application.id} of {printable(application.company)}: {what}")


def _as_object(application: Application) -> dict[str, object]:
    """As it stands, with whether the shop may take the store-information message."""
    answer = signup.judged(application, datetime.now(UTC))
    values: dict[str, object] = msgspec.to_builtins(application)
    return values | {"eligible": answer.ok, "reasons": answer.reasons}


_COLUMNS = (
    Column("Application"),
    Column("Company"),
    Column("Kind"),
    Column("Since"),
    Column("Documents", folds=True),
    Column("Status"),
    Column("Message"),
    Column("Contact", spare=1),
)


def _row(one: Application) -> list[Text]:
    return [
        Text(str(one.id)),
        Text(printable(one.company), "bold"),
        Text(one.kind.value),
        day_and_time(one.applied_at),
        Text(", ".join(document.kind.value for document in one.documents) or "-"),
        Text(f"{one.status}, {one.beside} more" if one.beside and one.status == "applied" else one.status),
        Text("may" if signup.judged(one, datetime.now(UTC)).ok else "may not"),
        Text(printable(one.contact)),
    ]

"""The SQL of sign-ups. Every function works in the caller's transaction."""

from __future__ import annotations

from datetime import datetime
from typing import Any
from uuid import UUID

import msgspec
from sqlalchemy import Row, text
from sqlalchemy.ext.asyncio import AsyncConnection

from engine.accounts.model import AccountKind, Application, Document

_FIELDS = """
    a.id, a.by, a.parent_id, a.kind, a.company, a.registration_number, a.contact_name, a.contact, a.trade,
    a.yearly_revenue, a.documents, a.status, a.applied_at, a.decided_at, a.decided_by, a.reason, a.account_id,
    a.settled_by,
    (SELECT count(*) FROM applications o
     WHERE o.parent_id = a.parent_id AND o.registration_number = a.registration_number
       AND o.status = 'applied' AND o.id <> a.id) AS beside
"""
_INSERT = text("""
    INSERT INTO applications (id, by, parent_id, kind, company, registration_number, contact_name, contact, trade,
                              yearly_revenue, documents, applied_at)
    VALUES (:id, :by, :parent, :kind, :company, :registration_number, :contact_name, :contact, :trade,
            :yearly_revenue, CAST(:documents AS jsonb), :applied_at)
    ON CONFLICT (parent_id, registration_number) WHERE status = 'applied' AND by <> 'applicant' DO NOTHING
    RETURNING id
""")
_BY_ID = text(f"SELECT {_FIELDS} FROM applications a WHERE a.id = :id")  # noqa: S608
_WAITING = text(f"""
    SELECT {_FIELDS} FROM applications a JOIN accounts up ON up.id = a.parent_id
    WHERE up.path @> ARRAY[CAST(:root AS uuid)] AND (CAST(:status AS text) IS NULL OR a.status = :status)
      AND (CAST(:after AS uuid) IS NULL OR a.id > :after)
    ORDER BY a.id LIMIT :limit
""")  # noqa: S608
_ATTACH = text("""
    UPDATE applications SET documents = documents || CAST(:document AS jsonb)
    WHERE id = :id AND status = 'applied' AND jsonb_array_length(documents) < :most RETURNING id
""")
_DECIDE = text("""
    UPDATE applications
    SET status = :status, decided_at = :now, decided_by = :by, reason = :reason, account_id = :account
    WHERE id = :id AND status = 'applied' RETURNING id
""")
_SETTLE = text("""
    UPDATE applications AS one
    SET status = 'settled', settled_by = chosen.id, decided_at = :now, decided_by = :by, reason = :reason
    FROM applications AS chosen
    WHERE chosen.id = :chosen AND one.id <> chosen.id AND one.parent_id = chosen.parent_id
      AND one.registration_number = chosen.registration_number AND one.status = 'applied'
    RETURNING one.id
""")
# All that wait for the company, in one order: two who approve different ones wait for each other.
_LOCK = text("""
    SELECT FROM applications AS one JOIN applications AS asked USING (parent_id, registration_number)
    WHERE asked.id = :id AND (one.status = 'applied' OR one.id = asked.id)
    ORDER BY one.id FOR UPDATE OF one
""")


async def insert(connection: AsyncConnection, application: Application) -> bool:
    """False when one of the same company waits there already that somebody signed in has handed in, as this one."""
    values = {
        "id": application.id,
        "by": application.by,
        "parent": application.parent,
        "kind": application.kind.value,
        "company": application.company,
        "registration_number": application.registration_number,
        "contact_name": application.contact_name,
        "contact": application.contact,
        "trade": application.trade,
        "yearly_revenue": application.yearly_revenue,
        "documents": msgspec.json.encode(application.documents).decode(),
        "applied_at": application.applied_at,
    }
    return (await connection.execute(_INSERT, values)).one_or_none() is not None


async def by_id(connection: AsyncConnection, identifier: UUID) -> Application | None:
    row = (await connection.execute(_BY_ID, {"id": identifier})).one_or_none()
    return _application(row) if row else None


async def lock(connection: AsyncConnection, identifier: UUID) -> None:
    """Nobody else decides it, or another of its company, before this transaction ends."""
    await connection.execute(_LOCK, {"id": identifier})


async def listing(
    connection: AsyncConnection, root: UUID, status: str | None, after: UUID | None, limit: int
) -> list[Application]:
    """Those for an account under `root`, the oldest first; ids larger than `after`."""
    values = {"root": root, "status": status, "after": after, "limit": limit}
    return [_application(row) for row in await connection.execute(_WAITING, values)]


async def attach(connection: AsyncConnection, identifier: UUID, document: Document, most: int) -> bool:
    """False when it is decided already, or has `most` documents."""
    values = {"id": identifier, "document": msgspec.json.encode([document]).decode(), "most": most}
    return (await connection.execute(_ATTACH, values)).one_or_none() is not None


async def decide(
    connection: AsyncConnection,
    identifier: UUID,
    status: str,
    account: UUID | None,
    *,
    by: str,
    reason: str,
    now: datetime,
) -> bool:
    """False when it was decided already."""
    values = {"id": identifier, "status": status, "account": account, "by": by, "reason": reason, "now": now}
    return (await connection.execute(_DECIDE, values)).one_or_none() is not None


async def settle(connection: AsyncConnection, chosen: UUID, *, by: str, reason: str, now: datetime) -> list[UUID]:
    """Ends the others that wait for the same company under the same parent, because `chosen` is approved; which."""
    values = {"chosen": chosen, "by": by, "reason": reason, "now": now}
    return sorted(row.id for row in await connection.execute(_SETTLE, values))


def _application(row: Row[Any]) -> Application:
    return Application(
        id=row.id,
        by=row.by,
        parent=row.parent_id,
        kind=AccountKind(row.kind),
        company=row.company,
        registration_number=row.registration_number,
        contact_name=row.contact_name,
        contact=row.contact,
        trade=row.trade,
        yearly_revenue=row.yearly_revenue,
        documents=tuple(msgspec.convert(row.documents, list[Document])),
        status=row.status,
        decided_by=row.decided_by,
        reason=row.reason,
        account=row.account_id,
        settled_by=row.settled_by,
        beside=row.beside,
        applied_at=row.applied_at,
        decided_at=row.decided_at,
    )

"""The SQL of accounts, their tree and senders. Every function works in the caller's transaction."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from datetime import datetime
from typing import Any
from uuid import UUID

from sqlalchemy import Row, text
from sqlalchemy.exc import IntegrityError
from sqlalchemy.ext.asyncio import AsyncConnection

from engine.accounts.model import ALL_MODULES, Account, AccountKind, Module, Place
from engine.foundation.errors import Conflict
from engine.foundation.phone_number import PhoneNumber

TREE_LOCK = 0x64617274
"""Advisory lock of whoever moves a part of the tree; whoever puts an account into it shares it (migration 0010)."""

_OFF_THERE = """
    ARRAY(SELECT off.key FROM accounts up, jsonb_each(up.modules) off
          WHERE up.id = ANY(a.path) AND off.value = 'false') AS off
"""
"""What is switched off for the account `a`, there or above it."""
_FIELDS = f"""
    a.id, a.name, a.zone, a.kind, a.parent_id, a.path, a.fee_waived, a.status, a.trade, a.yearly_revenue,
    a.revenue_evidence, {_OFF_THERE}
"""
_BY_NAME = text(f"SELECT {_FIELDS} FROM accounts a WHERE name = :name AND kind <> 'operator' AND status <> 'closed'")  # noqa: S608
_INSERT = text("""
    INSERT INTO accounts (id, name) VALUES (:id, :name)
    ON CONFLICT (parent_id, name) WHERE status <> 'closed' DO NOTHING
""")
_LIST = text(f"SELECT {_FIELDS} FROM accounts a WHERE kind <> 'operator' ORDER BY name, id")  # noqa: S608
_BY_ID = text(f"SELECT {_FIELDS} FROM accounts a WHERE id = :id")  # noqa: S608
_KEPT = text("SELECT FROM accounts WHERE id = :id FOR KEY SHARE")
_LOCKED = text("SELECT FROM accounts WHERE id = :id FOR UPDATE")
_ALONE = text("SELECT FROM accounts WHERE id = :id FOR NO KEY UPDATE")
_UNDER = text(f"""
    SELECT {_FIELDS} FROM accounts a
    WHERE a.path @> ARRAY[CAST(:root AS uuid)] AND (CAST(:after AS uuid) IS NULL OR a.id > :after)
    ORDER BY a.id LIMIT :limit
""")  # noqa: S608
_PLACES = text("SELECT id, path, kind FROM accounts WHERE id = ANY(:ids)")
_OPEN = text("""
    INSERT INTO accounts (id, name, zone, kind, parent_id, fee_waived, created_at)
    VALUES (:id, :name, :zone, :kind, :parent, :waived, :now)
    ON CONFLICT (parent_id, name) WHERE status <> 'closed' DO NOTHING
    RETURNING id
""")
_NAME_TAKEN = text("""
    SELECT EXISTS (SELECT FROM accounts WHERE parent_id = :parent AND name = :name AND status <> 'closed' AND id <> :id)
""")
_RENAME = text("UPDATE accounts SET name = :name WHERE id = :id AND status = 'active' RETURNING id")
_SET_ZONE = text("UPDATE accounts SET zone = :zone WHERE id = :id AND status = 'active' RETURNING id")
_LOCK_TREE = text("SELECT pg_advisory_xact_lock(:key)")
_MOVE = text("""
    UPDATE accounts a
    SET path = up.path || a.path[cardinality(moved.path):],
        parent_id = CASE WHEN a.id = moved.id THEN up.id ELSE a.parent_id END
    FROM accounts up, accounts moved
    WHERE up.id = :parent AND moved.id = :id AND moved.status = 'active' AND a.path @> ARRAY[CAST(:id AS uuid)]
    RETURNING a.id
""")
_BUSY = text("""
    SELECT EXISTS (SELECT FROM accounts WHERE parent_id = :id AND status <> 'closed') AS children,
           EXISTS (SELECT FROM numbers WHERE account_id = :id) AS numbers
""")
_CLOSE = text("""
    UPDATE accounts SET status = 'closed', closed_at = :now WHERE id = :id AND status = 'active' RETURNING id
""")
_WAIVE = text("UPDATE accounts SET fee_waived = :waived WHERE id = :id AND status = 'active' RETURNING id")
_BUSINESS = text("""
    UPDATE accounts SET trade = :trade, yearly_revenue = :revenue, revenue_evidence = :evidence
    WHERE id = :id AND status = 'active' RETURNING id
""")
_OFF = text(f"SELECT a.id, {_OFF_THERE} FROM accounts a WHERE a.id = ANY(:ids)")  # noqa: S608
_SWITCH = text("""
    UPDATE accounts SET modules = modules || jsonb_build_object(CAST(:module AS text), CAST(:on AS boolean))
    WHERE id = :id AND status = 'active' RETURNING id
""")
_INSERT_SENDER = text("""
    INSERT INTO senders (account_id, number, evidence) VALUES (:account, :number, :evidence)
    ON CONFLICT (account_id, number) DO NOTHING
""")
_IS_SENDER = text("SELECT EXISTS (SELECT FROM senders WHERE account_id = :account AND number = :number)")
_SENDERS_AMONG = text("""
    SELECT account_id, number FROM senders
    JOIN unnest(CAST(:accounts AS uuid[]), CAST(:numbers AS text[])) AS asked (account_id, number)
        USING (account_id, number)
""")
_SENDERS = text("SELECT number, evidence FROM senders WHERE account_id = :account ORDER BY number")


async def accounts_by_name(connection: AsyncConnection, name: str) -> list[Account]:
    """Those that are not closed; the operator itself is none of them."""
    return [_account(row) for row in await connection.execute(_BY_NAME, {"name": name})]


async def insert_account(connection: AsyncConnection, identifier: UUID, name: str) -> bool:
    """A shop directly under the operator; False: there is one of that name, even one that another transaction has just
    made, and it stays as it is."""
    return bool((await connection.execute(_INSERT, {"id": identifier, "name": name})).rowcount)


async def all_accounts(connection: AsyncConnection) -> list[Account]:
    """All but the operator itself, by name."""
    return [_account(row) for row in await connection.execute(_LIST)]


async def account(connection: AsyncConnection, identifier: UUID) -> Account | None:
    row = (await connection.execute(_BY_ID, {"id": identifier})).one_or_none()
    return _account(row) if row else None


async def keep(connection: AsyncConnection, identifier: UUID) -> None:
    """Nobody closes the account before this transaction ends; waits for whoever is closing it now."""
    await connection.execute(_KEPT, {"id": identifier})


async def under(connection: AsyncConnection, root: UUID, after: UUID | None, limit: int) -> list[Account]:
    """`root` and all below it, by id; ids larger than `after`."""
    rows = await connection.execute(_UNDER, {"root": root, "after": after, "limit": limit})
    return [_account(row) for row in rows]


async def places(connection: AsyncConnection, identifiers: Sequence[UUID]) -> dict[UUID, Place]:
    rows = await connection.execute(_PLACES, {"ids": list(identifiers)})
    return {row.id: Place(account=row.id, path=tuple(row.path), kind=AccountKind(row.kind)) for row in rows}


async def open_account(connection: AsyncConnection, made: Account, now: datetime) -> bool:
    """False when an account beside it has that name."""
    values = {
        "id": made.id,
        "name": made.name,
        "zone": made.zone,
        "kind": made.kind.value,
        "parent": made.parent,
        "waived": made.fee_waived,
        "now": now,
    }
    return (await connection.execute(_OPEN, values)).one_or_none() is not None


async def name_taken(connection: AsyncConnection, parent: UUID | None, name: str, beside: UUID) -> bool:
    """Whether another open account directly under `parent` has that name."""
    return bool(await connection.scalar(_NAME_TAKEN, {"parent": parent, "name": name, "id": beside}))


async def rename(connection: AsyncConnection, identifier: UUID, name: str) -> bool:
    """False when it is closed. Raises Conflict for a name that another one beside it takes at this moment."""
    try:
        async with connection.begin_nested():
            return (await connection.execute(_RENAME, {"id": identifier, "name": name})).one_or_none() is not None
    except IntegrityError:
        raise Conflict(f"name: {name!r} is another account's beside it; choose another name") from None


async def set_zone(connection: AsyncConnection, identifier: UUID, zone: str) -> bool:
    return (await connection.execute(_SET_ZONE, {"id": identifier, "zone": zone})).one_or_none() is not None


async def lock_tree(connection: AsyncConnection) -> None:
    """Until this transaction ends nobody else moves accounts or puts new ones into the tree."""
    await connection.execute(_LOCK_TREE, {"key": TREE_LOCK})


async def move(connection: AsyncConnection, identifier: UUID, parent: UUID) -> bool:
    """With all below it; the tree is locked. Raises Conflict when another one there takes its name at this moment."""
    try:
        async with connection.begin_nested():
            return bool((await connection.execute(_MOVE, {"id": identifier, "parent": parent})).all())
    except IntegrityError:
        raise Conflict("name: another account there has the same one; rename one of them") from None


async def lock_account(connection: AsyncConnection, identifier: UUID) -> None:
    """Until this transaction ends nothing new refers to the account."""
    await connection.execute(_LOCKED, {"id": identifier})


async def be_alone_with(connection: AsyncConnection, identifier: UUID) -> None:
    """Until this transaction ends nobody else is; what refers to the account does not wait."""
    await connection.execute(_ALONE, {"id": identifier})


async def busy(connection: AsyncConnection, identifier: UUID) -> tuple[bool, bool]:
    """Whether it has open accounts directly under it, and numbers in service."""
    row = (await connection.execute(_BUSY, {"id": identifier})).one()
    return row.children, row.numbers


async def close(connection: AsyncConnection, identifier: UUID, now: datetime) -> bool:
    return (await connection.execute(_CLOSE, {"id": identifier, "now": now})).one_or_none() is not None


async def set_waived(connection: AsyncConnection, identifier: UUID, waived: bool) -> bool:
    return (await connection.execute(_WAIVE, {"id": identifier, "waived": waived})).one_or_none() is not None


async def set_business(
    connection: AsyncConnection, identifier: UUID, trade: str | None, revenue: int | None, evidence: str | None
) -> bool:
    values = {"id": identifier, "trade": trade, "revenue": revenue, "evidence": evidence}
    return (await connection.execute(_BUSINESS, values)).one_or_none() is not None


async def switch(connection: AsyncConnection, identifier: UUID, module: Module, on: bool) -> bool:
    values = {"id": identifier, "module": module.value, "on": on}
    return (await connection.execute(_SWITCH, values)).one_or_none() is not None


async def switched_off(connection: AsyncConnection, identifiers: Collection[UUID]) -> dict[UUID, frozenset[Module]]:
    """What is off for each of these accounts, there or above it; those that do not exist are left away."""
    rows = await connection.execute(_OFF, {"ids": list(identifiers)})
    return {row.id: frozenset(module for module in ALL_MODULES if module.value in row.off) for row in rows}


async def insert_sender(connection: AsyncConnection, account: UUID, number: PhoneNumber, evidence: str) -> bool:
    """False: it is registered, and that stays as it is: its evidence is the first one."""
    values = {"account": account, "number": number, "evidence": evidence}
    return bool((await connection.execute(_INSERT_SENDER, values)).rowcount)


async def senders_of(connection: AsyncConnection, account: UUID) -> list[tuple[PhoneNumber, str]]:
    """Each with its evidence, by number."""
    found = await connection.execute(_SENDERS, {"account": account})
    return [(PhoneNumber(row.number), row.evidence) for row in found]


async def sender_exists(connection: AsyncConnection, account: UUID, number: PhoneNumber) -> bool:
    return bool(await connection.scalar(_IS_SENDER, {"account": account, "number": number}))


async def senders_among(
    connection: AsyncConnection, asked: Collection[tuple[UUID, PhoneNumber]]
) -> set[tuple[UUID, PhoneNumber]]:
    values = {"accounts": [account for account, _ in asked], "numbers": [number for _, number in asked]}
    return {(row.account_id, PhoneNumber(row.number)) for row in await connection.execute(_SENDERS_AMONG, values)}


def _account(row: Row[Any]) -> Account:
    return Account(
        id=row.id,
        name=row.name,
        zone=row.zone,
        kind=AccountKind(row.kind),
        parent=row.parent_id,
        path=tuple(row.path),
        fee_waived=row.fee_waived,
        modules=frozenset(module for module in ALL_MODULES if module.value not in row.off),
        status=row.status,
        trade=row.trade,
        yearly_revenue=row.yearly_revenue,
        revenue_evidence=row.revenue_evidence,
    )

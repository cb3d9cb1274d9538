"""The trail: what was done is written in the transaction of the deed, so that neither is there without the other.

An entry is never changed and never removed (the database refuses both). It waits until it is put into the chain
(`engine.audit.chaining`), which is done apart: a lock over all deeds would make each wait for the slowest.
"""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime
from typing import Any
from uuid import UUID

import msgspec
from sqlalchemy.ext.asyncio import AsyncConnection

from engine.audit import store
from engine.audit.model import Entry, Wanted
from engine.foundation.ids import new_id

_LONGEST = 200


async def write(
    connection: AsyncConnection,
    *,
    who: str,
    deed: str,
    account_id: UUID | None,
    object_kind: str,
    object_id: object,
    before: Mapping[str, object] | None = None,
    after: Mapping[str, object] | None = None,
    peer: str = "",
    now: datetime,
) -> Entry:
    """Writes down a deed in the caller's transaction. `before` and `after` hold only what changes.

    Their values may be anything that JSON has, and UUIDs, instants, enums, structs and sets. People's phone numbers
    stand under `model.PERSONAL` and nowhere else. `peer` is from where: `Actor.peer`.
    """
    entry = Entry(
        id=new_id(now),
        at=now,
        who=_plain(who),
        deed=_plain(deed),
        account_id=account_id,
        object_kind=_plain(object_kind),
        object_id=_plain(str(object_id)),
        before=_json(before),
        after=_json(after),
        peer=_plain(peer),
    )
    await store.insert(connection, entry)
    return entry


async def entries(
    connection: AsyncConnection, wanted: Wanted, *, before: UUID | None = None, limit: int = 100
) -> list[Entry]:
    """The newest such entries first, `limit` at most, older than the entry `before`; None: from the newest on."""
    return await store.listing(connection, wanted, before, limit)


def _plain(text: str) -> str:
    """What a text column takes."""
    return text.replace("\0", "\N{REPLACEMENT CHARACTER}")[:_LONGEST]


def _json(values: Mapping[str, object] | None) -> Mapping[str, Any] | None:
    if values is None:
        return None
    plain: Mapping[str, Any] = msgspec.to_builtins(values, str_keys=True, order="deterministic")
    return plain

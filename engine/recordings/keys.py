"""The owners' keys: each owner's recordings under keys of its own, which are kept wrapped by one master key.

A new version is for recordings from then on; older ones stay readable. A key that is destroyed takes with it all that
was sealed under it. Every deed works in the caller's transaction.
"""

from __future__ import annotations

import hashlib
import secrets
from dataclasses import dataclass, field
from datetime import datetime
from uuid import UUID

from sqlalchemy.ext.asyncio import AsyncConnection

from engine.foundation.errors import GaveUp, Invalid, NotFound
from engine.foundation.sealing import seal, unseal
from engine.foundation.written_key import KEY_BYTES, read_key
from engine.recordings import store


@dataclass(frozen=True, slots=True)
class OwnerKey:
    """What recordings of one owner are sealed with."""

    account_id: UUID
    version: int
    secret: bytes = field(repr=False)


@dataclass(frozen=True, slots=True)
class MasterKey:
    """What owners' keys are wrapped with (AES-256-GCM). Whoever loses it has lost every recording."""

    secret: bytes = field(repr=False)

    @classmethod
    def of(cls, written: str) -> MasterKey:
        """From its setting: 32 bytes in base64. Raises Invalid."""
        return cls(read_key("DARI_RECORDING_KEY", written))

    @property
    def name(self) -> str:
        """Tells master keys apart, and nothing of what they are."""
        return hashlib.sha256(b"dari recording key\0" + self.secret).hexdigest()[:16]

    def wrap(self, key: OwnerKey) -> bytes:
        return seal(self.secret, key.secret, _bound_to(key.account_id, key.version))

    def unwrap(self, account_id: UUID, version: int, wrapped: bytes) -> OwnerKey:
        """Raises Invalid when it was wrapped by another master key, or for another owner or version."""
        try:
            secret = unseal(self.secret, wrapped, _bound_to(account_id, version))
        except ValueError:
            raise Invalid(
                f"recordings of account {account_id}: DARI_RECORDING_KEY does not open their key; "
                "set the one that they were made with"
            ) from None
        return OwnerKey(account_id, version, secret)


async def current_key(connection: AsyncConnection, master: MasterKey, account_id: UUID, now: datetime) -> OwnerKey:
    """The key for what is recorded now, made when the owner has none. Raises Invalid for another master key's."""
    found = await store.newest_key(connection, account_id)
    if found is None or found.wrapped is None:
        await _make(connection, master, account_id, found.version + 1 if found else 1, now)
        found = await store.newest_key(connection, account_id)
    assert found is not None  # noqa: S101 - keys are destroyed, never removed
    return _opened(master, found)


async def key_of(connection: AsyncConnection, master: MasterKey, account_id: UUID, version: int) -> OwnerKey:
    """The key of a recording that was made. Raises NotFound, GaveUp when it was destroyed, Invalid as `unwrap`."""
    found = await store.key(connection, account_id, version)
    if found is None:
        raise NotFound(f"recordings of account {account_id}: there is no version {version} of their key")
    return _opened(master, found)


async def new_key(connection: AsyncConnection, master: MasterKey, account_id: UUID, now: datetime) -> OwnerKey:
    """A new version for what is recorded from now on."""
    found = await store.newest_key(connection, account_id)
    await _make(connection, master, account_id, found.version + 1 if found else 1, now)
    return await current_key(connection, master, account_id, now)


async def destroy_keys(connection: AsyncConnection, account_id: UUID, now: datetime) -> int:
    """Takes all keys of an owner away for good; nobody can read its recordings any more. How many keys."""
    return await store.destroy_keys(connection, account_id, now)


async def wrap_anew(connection: AsyncConnection, old: MasterKey, new: MasterKey) -> int:
    """Puts every owner's key under a new master key; no recording has to be touched. How many keys.

    Raises Invalid, and changes nothing, when one does not open with `old`; those that are under `new` stay.
    """
    found = [row for row in await store.living_keys(connection) if row.master != new.name]
    for row in found:
        key = _opened(old, row)
        await store.replace_wrapping(connection, key.account_id, key.version, new.name, new.wrap(key))
    return len(found)


async def count_keys(connection: AsyncConnection, master: MasterKey | None) -> tuple[int, int]:
    """How many keys owners have that were not destroyed, and how many of them the master key opens."""
    found = await store.kept_keys(connection)
    return len(found), sum(master is not None and _opens(master, row) for row in found)


def _opens(master: MasterKey, found: store.WrappedKey) -> bool:
    try:
        _opened(master, found)
    except Invalid:
        return False
    return True


def _opened(master: MasterKey, found: store.WrappedKey) -> OwnerKey:
    if found.wrapped is None:
        raise GaveUp(f"recordings of account {found.account_id}: their key was destroyed; nobody can read them")
    return master.unwrap(found.account_id, found.version, found.wrapped)


async def _make(connection: AsyncConnection, master: MasterKey, account_id: UUID, version: int, now: datetime) -> None:
    """Makes that version unless another transaction did."""
    key = OwnerKey(account_id, version, secrets.token_bytes(KEY_BYTES))
    await store.insert_key(
        connection,
        store.WrappedKey(account_id=account_id, version=version, master=master.name, wrapped=master.wrap(key)),
        now,
    )


def _bound_to(account_id: UUID, version: int) -> bytes:
    return b"dari owner key" + account_id.bytes + version.to_bytes(4, "big")

"""The register of trunks: adds, changes and removes them.

Each deed works in the caller's transaction (`engine.foundation.database.transaction`), so that nothing is half done,
and writes there what it changed; whether the actor may do it, the door has asked.
"""

from __future__ import annotations

from datetime import datetime
from ipaddress import IPv4Network

import msgspec
from msgspec import UNSET, UnsetType
from sqlalchemy.ext.asyncio import AsyncConnection

from engine.accounts.model import OPERATOR_ID, Actor, Deed
from engine.accounts.told import Thing, write_down
from engine.foundation.errors import Conflict, Invalid, NotFound
from engine.trunks import store
from engine.trunks.model import Login, NumberFormat, Trunk, shown
from engine.trunks.terms import check


class TrunkChange(msgspec.Struct, frozen=True, kw_only=True):
    """What is to be different about a trunk; what is left out stays."""

    match: tuple[str, ...] | UnsetType = UNSET
    contact: str | UnsetType = UNSET
    number_format: NumberFormat | UnsetType = UNSET
    trusted: bool | UnsetType = UNSET
    caller_format: NumberFormat | UnsetType | None = UNSET
    prefix: str | UnsetType = UNSET
    login: Login | UnsetType | None = UNSET
    register: bool | UnsetType = UNSET
    registered_as: str | UnsetType = UNSET
    outgoing: bool | UnsetType = UNSET
    priority: int | UnsetType = UNSET
    max_calls: int | UnsetType | None = UNSET
    calls_per_second: float | UnsetType | None = UNSET
    longest_ringing: int | UnsetType | None = UNSET
    provisional_seconds: float | UnsetType = UNSET
    early_dtmf: bool | UnsetType = UNSET
    options_seconds: int | UnsetType = UNSET


async def add(connection: AsyncConnection, actor: Actor, trunk: Trunk, now: datetime) -> Trunk:
    """Registers a trunk, its networks as they are kept. Raises Invalid, or Conflict when name or a network is taken."""
    trunk = _checked(trunk)
    if not await store.insert(connection, trunk):
        raise Conflict(f"trunk {trunk.name} exists already; change that one, or choose another name")
    await _claim(connection, trunk)
    await _tell(connection, actor, trunk.name, None, trunk, now)
    return trunk


async def change(connection: AsyncConnection, actor: Actor, name: str, wanted: TrunkChange, now: datetime) -> Trunk:
    """Changes a trunk; the trunk as it is then. Raises NotFound, Invalid, or Conflict when a network is taken."""
    before = await one(connection, name)
    after = _checked(changed(before, wanted))
    await store.update(connection, after)
    await _claim(connection, after)
    await _tell(connection, actor, name, before, after, now)
    return after


async def remove(connection: AsyncConnection, actor: Actor, name: str, now: datetime) -> None:
    """Removes a trunk: its calls are turned away from then on. Raises NotFound."""
    before = await one(connection, name)
    await store.delete(connection, name)
    await _tell(connection, actor, name, before, None, now)


async def one(connection: AsyncConnection, name: str) -> Trunk:
    """The trunk of that name. Raises NotFound."""
    found = await store.trunk(connection, name)
    if found is None:
        raise _no_such(name)
    return found


async def listing(connection: AsyncConnection) -> list[Trunk]:
    """All trunks by name."""
    return await store.all_trunks(connection)


def changed(trunk: Trunk, wanted: TrunkChange) -> Trunk:
    """`trunk` with what is wanted, unchecked."""
    given = {name: value for name, value in msgspec.structs.asdict(wanted).items() if value is not UNSET}
    return msgspec.structs.replace(trunk, **given)


def _checked(trunk: Trunk) -> Trunk:
    """The trunk with its networks in one spelling. Raises Invalid."""
    check(trunk)
    networks = [IPv4Network(match) for match in trunk.match]
    for network in networks:
        if network.prefixlen == 0:
            raise Invalid(f"trunk {trunk.name}: match {network} is the whole Internet; name the carrier's addresses")
        if any(network != other and network.subnet_of(other) for other in networks):
            raise Invalid(f"trunk {trunk.name}: match {network} lies inside another of its matches; leave it out")
    spelled = (str(network).removesuffix("/32") for network in sorted(set(networks)))
    return msgspec.structs.replace(trunk, match=tuple(spelled))


async def _claim(connection: AsyncConnection, trunk: Trunk) -> None:
    if taken := await store.claim_networks(connection, trunk.name, trunk.match):
        network, other = taken
        raise Conflict(
            f"trunk {trunk.name}: calls from {network} belong to trunk {other} already; change one of the two"
        )


async def _tell(
    connection: AsyncConnection, actor: Actor, name: str, before: Trunk | None, after: Trunk | None, now: datetime
) -> None:
    """Writes down what is different; of a password only that there is another."""
    old, new = _told(before), _told(after)
    if before and after:
        differing = [field for field in new if old[field] != new[field]]
        old, new = ({field: one[field] for field in differing} for one in (old, new))
        if before.login != after.login:
            new["login"] = "changed"
    if old or new:
        thing = Thing("trunk", OPERATOR_ID, name)
        await write_down(connection, actor, Deed.CHANGE_TRUNKS, thing, before=old or None, after=new or None, now=now)


def _told(trunk: Trunk | None) -> dict[str, object]:
    told: dict[str, object] = msgspec.to_builtins(shown(trunk)) if trunk else {}
    return told


def _no_such(name: str) -> NotFound:
    return NotFound(f"trunk {name} does not exist; look in the list of trunks")

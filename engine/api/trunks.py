"""Carriers' lines: as they are set, and as they are. The operator's."""

from __future__ import annotations

from http import HTTPStatus
from typing import Annotated, Any

import msgspec
from annotated_types import MaxLen, MinLen
from fastapi import APIRouter, Path, Response
from pydantic import ConfigDict, Field

from engine.accounts.model import OPERATOR_PLACE, Deed
from engine.accounts.permissions import check
from engine.api.door import ActorDep, Now, Rows, door_router
from engine.api.equipment import Equipment, EquipmentDep
from engine.api.etag import IfMatch, tagged, unchanged
from engine.api.wire import Shape
from engine.calls.control_all import engines_status
from engine.foundation.errors import TryLater
from engine.trunks import model as of
from engine.trunks import registry
from engine.trunks.model import Health, NumberFormat
from engine.trunks.registry import TrunkChange

Name = Annotated[str, Field(min_length=1, max_length=32, pattern="^[A-Za-z0-9-]+$", examples=["carrier"])]
NameInPath = Annotated[str, Path(alias="trunk", min_length=1, max_length=32, description="A trunk's name.")]
Match = Annotated[tuple[Annotated[str, Field(min_length=1, max_length=50)], ...], MinLen(1), MaxLen(100)]
Contact = Annotated[str, Field(min_length=1, max_length=270, examples=["sip:192.0.2.10:5060"])]
Word = Annotated[str, Field(max_length=128)]
Number = Annotated[float, Field(ge=0, le=1_000_000, allow_inf_nan=False)]
Figure = Annotated[int, Field(ge=0, le=1_000_000)]

_EXAMPLE: dict[str, Any] = {
    "name": "carrier",
    "match": ["192.0.2.10"],
    "contact": "sip:192.0.2.10",
    "number_format": "national",
    "trusted": True,
    "caller_format": None,
    "prefix": "",
    "user": None,
    "realm": "",
    "register": False,
    "registered_as": "",
    "outgoing": True,
    "priority": 100,
    "max_calls": 30,
    "calls_per_second": None,
    "longest_ringing": None,
    "provisional_seconds": 4.0,
    "early_dtmf": False,
    "options_seconds": 30,
}


class TrunkShown(Shape):
    """A trunk as it is set; its password is shown to nobody."""

    model_config = ConfigDict(json_schema_extra={"examples": [_EXAMPLE]})

    name: str
    match: tuple[str, ...]
    """Addresses and networks that its calls come from."""
    contact: str
    """Where calls go out."""
    number_format: NumberFormat
    trusted: bool
    """Whether its word on the caller's number is believed."""
    caller_format: NumberFormat | None
    """Null: as called numbers are."""
    prefix: str
    user: str | None
    realm: str
    register_: Annotated[bool, Field(alias="register")]
    """Whether we tell the carrier where we are."""
    registered_as: str
    outgoing: bool
    priority: int
    """The lowest is tried first."""
    max_calls: int | None
    calls_per_second: float | None
    longest_ringing: int | None
    provisional_seconds: float
    early_dtmf: bool
    options_seconds: int


class TrunkState(Shape):
    """How a trunk is, as the engines know it."""

    model_config = ConfigDict(
        json_schema_extra={
            "examples": [
                {
                    "name": "carrier",
                    "health": "up",
                    "reason": "",
                    "round_trip_ms": 3.1,
                    "registered": None,
                    "calls": 4,
                }
            ]
        }
    )

    name: str
    health: Health
    reason: str
    round_trip_ms: float | None
    registered: bool | None
    """Null: we do not register there."""
    calls: int


class Trunks(Shape):
    """All trunks by name, and how they are."""

    model_config = ConfigDict(json_schema_extra={"examples": [{"trunks": [_EXAMPLE], "states": []}]})

    trunks: tuple[TrunkShown, ...]
    states: tuple[TrunkState, ...]
    """Empty when no engine is there to say."""


class Login(Shape):
    """Who we are when a carrier asks."""

    user: Annotated[str, Field(min_length=1, max_length=128)]
    password: Annotated[str, Field(min_length=1, max_length=128)]
    realm: Word = ""
    """The only realm that is answered; empty: whichever the carrier names."""


class ChangedTrunk(Shape):
    """What is to be different; what is left out stays. Null takes a limit, a format or the login off."""

    model_config = ConfigDict(json_schema_extra={"examples": [{"max_calls": 60}]})

    match: Match | None = None
    contact: Contact | None = None
    number_format: NumberFormat | None = None
    trusted: bool | None = None
    caller_format: NumberFormat | None = None
    prefix: Annotated[str, Field(max_length=8)] | None = None
    login: Login | None = None
    register_: Annotated[bool | None, Field(alias="register")] = None
    registered_as: Word | None = None
    outgoing: bool | None = None
    priority: Figure | None = None
    max_calls: Figure | None = None
    calls_per_second: Number | None = None
    longest_ringing: Figure | None = None
    provisional_seconds: Number | None = None
    early_dtmf: bool | None = None
    options_seconds: Figure | None = None

    def as_said(self) -> TrunkChange:
        given: dict[str, Any] = {}
        for name in self.model_fields_set & _OWN_FIELDS:
            value = getattr(self, name)
            if value is None and name not in _MAY_BE_NONE:
                continue
            given[name.rstrip("_")] = (
                msgspec.convert(value, of.Login, from_attributes=True) if name == "login" and value else value
            )
        return msgspec.structs.replace(TrunkChange(), **given)


_OWN_FIELDS = frozenset(ChangedTrunk.model_fields)
_MAY_BE_NONE = frozenset({"caller_format", "login", "max_calls", "calls_per_second", "longest_ringing"})


class NewTrunk(ChangedTrunk):
    """A trunk to be added."""

    model_config = ConfigDict(
        json_schema_extra={"examples": [{"name": "carrier", "match": ["192.0.2.10"], "contact": "sip:192.0.2.10"}]}
    )

    name: Name
    match: Match
    contact: Contact


def trunks_router() -> APIRouter:
    """`/trunks`."""
    router = door_router("trunks")
    router.get("/trunks")(list_trunks)
    router.post("/trunks", status_code=HTTPStatus.CREATED)(add_trunk)
    router.get("/trunks/{trunk}")(read_trunk)
    router.patch("/trunks/{trunk}")(change_trunk)
    router.delete("/trunks/{trunk}", status_code=HTTPStatus.NO_CONTENT)(remove_trunk)
    return router


async def list_trunks(actor: ActorDep, rows: Rows, equipment: EquipmentDep) -> Trunks:
    """All trunks, and how they are."""
    check(actor, Deed.SEE_TRUNKS, OPERATOR_PLACE, what="trunks")
    trunks = tuple(map(_shown, await registry.listing(rows)))
    return Trunks(trunks=trunks, states=await _states(equipment) if trunks else ())


async def read_trunk(trunk: NameInPath, actor: ActorDep, rows: Rows, response: Response) -> TrunkShown:
    """One trunk."""
    check(actor, Deed.SEE_TRUNKS, OPERATOR_PLACE, what=f"trunk {trunk}")
    return tagged(response, _shown(await registry.one(rows, trunk)))


async def add_trunk(wanted: NewTrunk, actor: ActorDep, rows: Rows, now: Now, response: Response) -> TrunkShown:
    """Add a trunk. It takes calls at once."""
    check(actor, Deed.CHANGE_TRUNKS, OPERATOR_PLACE, what="trunks")
    plain = of.Trunk(name=wanted.name, match=wanted.match, contact=wanted.contact)
    made = await registry.add(rows, actor, registry.changed(plain, wanted.as_said()), now)
    return tagged(response, _shown(made))


async def change_trunk(
    trunk: NameInPath,
    wanted: ChangedTrunk,
    actor: ActorDep,
    rows: Rows,
    now: Now,
    if_match: IfMatch,
    response: Response,
) -> TrunkShown:
    """Change a trunk; calls that go on are not touched."""
    check(actor, Deed.CHANGE_TRUNKS, OPERATOR_PLACE, what=f"trunk {trunk}")

    async def read() -> TrunkShown:
        return _shown(await registry.one(rows, trunk))

    await unchanged(rows, "trunk", trunk, if_match, read)
    return tagged(response, _shown(await registry.change(rows, actor, trunk, wanted.as_said(), now)))


async def remove_trunk(trunk: NameInPath, actor: ActorDep, rows: Rows, now: Now) -> None:
    """Remove a trunk: its calls are turned away from now on."""
    check(actor, Deed.CHANGE_TRUNKS, OPERATOR_PLACE, what=f"trunk {trunk}")
    await registry.remove(rows, actor, trunk, now)


async def _states(equipment: Equipment) -> tuple[TrunkState, ...]:
    try:
        status = await engines_status(equipment.engines)
    except TryLater:
        return ()
    return tuple(map(TrunkState.model_validate, status.trunks))


def _shown(trunk: of.Trunk) -> TrunkShown:
    return TrunkShown.model_validate(msgspec.structs.asdict(of.shown(trunk)))

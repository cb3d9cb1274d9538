"""Mapping calls in the manner of the carriers' safe-number services (안심번호), for programs that speak those.

A mapping is a number in service and the telephone that it rings; its group code is the number's label. A number that is
mapped to nobody (`UNASSIGNED` in place of the telephone) is suspended: its callers hear that it is not in service.
Answers have a result code beside the status: `0000`, or in the header `Safen-Code` of a problem `E401` and the like.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from datetime import datetime
from typing import Annotated, Any
from uuid import UUID

from fastapi import APIRouter, Query
from pydantic import BeforeValidator, ConfigDict, Field
from sqlalchemy.ext.asyncio import AsyncConnection

from engine.accounts.model import Actor, Deed
from engine.api.door import ActorDep, Now, Rows, door_router
from engine.api.equipment import EquipmentDep
from engine.api.owned import allowed_number
from engine.api.problems import Code, Refused
from engine.api.wire import PhoneIn, Shape
from engine.foundation.errors import Conflict, DariError, Invalid, NotAllowed, NotFound, TryLater
from engine.foundation.phone_number import PhoneNumber, check_target, written
from engine.numbers import choice, life
from engine.numbers.inventory import NumberChange
from engine.numbers.model import NumberKind, ServiceNumber
from engine.numbers.similar import Wish
from engine.numbers.treatment import Treatment

UNASSIGNED = "1234567890"
"""In place of a telephone: the number is mapped to nobody."""
DONE = "0000"
_CODES: tuple[tuple[type[DariError], Code, str], ...] = (
    (NotFound, Code.NOT_FOUND, "E401"),
    (Conflict, Code.CONFLICT, "E402"),
    (NotAllowed, Code.NOT_ALLOWED, "E203"),
    (Invalid, Code.INVALID, "E501"),
    (TryLater, Code.TRY_LATER, "E102"),
)
_NONE_LEFT, _NO_TARGET = "E301", "E502"

GroupCode = Annotated[str, Field(min_length=1, max_length=40, examples=["group_1"])]


def _telephone(value: Any) -> Any:
    return None if value == UNASSIGNED else value


Telephone = Annotated[PhoneIn | None, BeforeValidator(_telephone)]
"""A telephone in a request; `UNASSIGNED` is none."""


class Mapping(Shape):
    """A mapping as it is now."""

    model_config = ConfigDict(
        json_schema_extra={
            "examples": [
                {"code": DONE, "new_tel_num": "0504-1234-5678", "old_tel_num": "010-1234-5678", "group_code": "group_1"}
            ]
        }
    )

    code: str
    """`0000`."""
    new_tel_num: str
    """The safe number."""
    old_tel_num: str
    """The telephone that it rings; `1234567890`: none."""
    group_code: str


class NewMapping(Shape):
    """A telephone that is to have a safe number."""

    model_config = ConfigDict(
        json_schema_extra={"examples": [{"old_tel_num": "010-1234-5678", "group_code": "group_1"}]}
    )

    old_tel_num: Telephone
    group_code: GroupCode
    account: UUID | None = None
    """Whose it is to be; null: that of whoever asks."""


class ChangedMapping(Shape):
    """A safe number that is to ring another telephone, one for the first time, or none."""

    model_config = ConfigDict(
        json_schema_extra={
            "examples": [
                {
                    "old_tel_num": "010-1234-5678",
                    "new_old_tel_num": "010-9999-9999",
                    "group_code": "group_1",
                    "new_tel_num": "0504-1234-5678",
                }
            ]
        }
    )

    old_tel_num: Telephone
    """Which one it rings now; another one is refused."""
    new_old_tel_num: Telephone
    """Which one it is to ring."""
    group_code: GroupCode
    new_tel_num: PhoneIn


class GoneMapping(Shape):
    """A safe number that is given back."""

    model_config = ConfigDict(
        json_schema_extra={"examples": [{"new_tel_num": "0504-1234-5678", "group_code": "group_1"}]}
    )

    new_tel_num: PhoneIn
    group_code: GroupCode


def safen_router() -> APIRouter:
    """`/safen/mappings`."""
    router = door_router("safen")
    router.get("/safen/mappings")(show_mapping)
    router.post("/safen/mappings/create")(create_mapping)
    router.post("/safen/mappings/update")(update_mapping)
    router.post("/safen/mappings/remove")(remove_mapping)
    return router


async def show_mapping(
    actor: ActorDep, rows: Rows, new_tel_num: Annotated[PhoneIn, Query(description="The safe number.")]
) -> Mapping:
    """매핑 조회: which telephone a safe number rings."""
    with _coded():
        return _shown(await allowed_number(rows, actor, Deed.SEE_NUMBERS, new_tel_num))


async def create_mapping(wanted: NewMapping, actor: ActorDep, rows: Rows, now: Now) -> Mapping:
    """매핑 요청: gives a telephone a free safe number."""
    with _coded():
        target = _checked_target(wanted.old_tel_num)
        if target is None:
            raise Invalid(f"old_tel_num: {UNASSIGNED} is no telephone; name the one that is to ring")
        account = wanted.account or actor.place.account
        number = await _free(rows, actor, account, now)
        made = await life.issue(rows, actor, _mapped(number, account, target, wanted.group_code), now)
        return _shown(made)


async def update_mapping(wanted: ChangedMapping, actor: ActorDep, rows: Rows, now: Now) -> Mapping:
    """수정 요청: has a safe number ring another telephone, or none (`1234567890`) until it is mapped again."""
    with _coded():
        number = await allowed_number(rows, actor, Deed.CHANGE_NUMBERS, wanted.new_tel_num)
        if _rings(number) != wanted.old_tel_num:
            raise NotFound(f"old_tel_num: {written(wanted.new_tel_num)} is not mapped to it; ask which one it rings")
        change = NumberChange(treatment=Treatment(label=wanted.group_code))
        if wanted.new_old_tel_num is not None:
            change = NumberChange(
                target=_checked_target(wanted.new_old_tel_num) or number.target,
                treatment=Treatment(label=wanted.group_code),
                clear=("targets",),
            )
        made = await life.change(rows, actor, wanted.new_tel_num, change, now)
        if wanted.new_old_tel_num is None and made.suspended is None:
            await life.suspend(rows, actor, wanted.new_tel_num, now, bar=False, note="mapped to nobody")
        elif wanted.new_old_tel_num is not None and made.suspended is not None:
            await life.resume(rows, actor, wanted.new_tel_num, now)
        return _shown(await allowed_number(rows, actor, Deed.SEE_NUMBERS, wanted.new_tel_num))


async def remove_mapping(
    wanted: GoneMapping, actor: ActorDep, rows: Rows, now: Now, equipment: EquipmentDep
) -> Mapping:
    """취소 요청: gives a safe number back; it is kept back from others for some months."""
    with _coded():
        number = await allowed_number(rows, actor, Deed.RELEASE_NUMBERS, wanted.new_tel_num)
        if _group(number) != wanted.group_code:
            raise NotFound(f"group_code: {written(wanted.new_tel_num)} is not in that group; name its own")
        await life.release(rows, actor, wanted.new_tel_num, now, equipment.quarantine)
        gone = _shown(number)
        return gone.model_copy(update={"old_tel_num": UNASSIGNED})


@contextmanager
def _coded() -> Iterator[None]:
    """Gives every refusal the code that such programs go by."""
    try:
        yield
    except Refused:
        raise
    except DariError as error:
        for kind, code, safen in _CODES:
            if isinstance(error, kind):
                raise Refused(code, str(error), headers={"Safen-Code": safen}) from None
        raise


async def _free(rows: AsyncConnection, actor: Actor, account: UUID, now: datetime) -> PhoneNumber:
    """A free number, kept for the account."""
    try:
        kept = await choice.reserve_best(rows, actor, account, Wish(), 1, now)
    except Conflict:
        raise Refused(
            Code.CONFLICT,
            "no safe number is free; take a range on, or give some back",
            headers={"Safen-Code": _NONE_LEFT},
        ) from None
    return kept[0].number


def _mapped(number: PhoneNumber, account: UUID, target: PhoneNumber, group: str) -> ServiceNumber:
    return ServiceNumber(
        number=number, kind=NumberKind.VIRTUAL, account_id=account, target=target, treatment=Treatment(label=group)
    )


def _checked_target(target: PhoneNumber | None) -> PhoneNumber | None:
    """Raises Refused for a telephone that no number may ring."""
    if target is not None:
        try:
            check_target(target)
        except NotAllowed as error:
            raise Refused(Code.INVALID, str(error), headers={"Safen-Code": _NO_TARGET}) from None
    return target


def _rings(number: ServiceNumber) -> PhoneNumber | None:
    """The telephone that it is mapped to; None: to nobody."""
    return None if number.suspended is not None else number.target


def _group(number: ServiceNumber) -> str:
    return number.treatment.label or ""


def _shown(number: ServiceNumber) -> Mapping:
    rings = _rings(number)
    return Mapping(
        code=DONE,
        new_tel_num=written(number.number),
        old_tel_num=UNASSIGNED if rings is None else written(rings),
        group_code=_group(number),
    )

"""Numbers: put into service, set, suspended, given back. Everything is for the next call."""

from __future__ import annotations

from datetime import datetime
from http import HTTPStatus
from typing import Annotated
from uuid import UUID

from fastapi import APIRouter, Query, Response
from sqlalchemy.ext.asyncio import AsyncConnection

from engine.accounts.model import Actor
from engine.api.door import ActorDep, Now, Rows, door_router
from engine.api.equipment import Equipment, EquipmentDep
from engine.api.etag import IfMatch, tagged, unchanged
from engine.api.number_shapes import (
    MOST_HISTORY,
    ChangedNumber,
    History,
    NewNumber,
    Number,
    Stock,
    Suspension,
    move_shown,
    settings_shown,
    stock_shown,
)
from engine.api.pages import Page, PageOf
from engine.api.rules import Finding
from engine.api.switched import check_switched_on
from engine.api.wire import NumberInPath
from engine.foundation.phone_number import PhoneNumber
from engine.numbers import inventory, life
from engine.numbers.states import SERVED, State
from engine.routing import book, number_settings
from engine.routing.announced import check_announced


def numbers_router() -> APIRouter:
    """`/numbers`."""
    router = door_router("numbers")
    router.get("/numbers")(list_numbers)
    router.post("/numbers", status_code=HTTPStatus.CREATED)(issue_number)
    router.get("/numbers/{number}")(read_number)
    router.patch("/numbers/{number}")(change_number)
    router.get("/numbers/{number}/history")(number_history)
    router.post("/numbers/{number}/suspend")(suspend_number)
    router.post("/numbers/{number}/resume")(resume_number)
    router.post("/numbers/{number}/release")(release_number)
    router.post("/numbers/{number}/port-out")(port_number_out)
    router.post("/numbers/{number}/take-return")(take_number_back)
    return router


async def list_numbers(
    actor: ActorDep,
    rows: Rows,
    page: PageOf,
    account: Annotated[UUID | None, Query(description="Held by this account.")] = None,
    state: Annotated[State | None, Query(description="In this state.")] = None,
    prefix: Annotated[str, Query(max_length=12, pattern="^[0-9]*$", description="Beginning so, like 0507.")] = "",
) -> Page[Stock]:
    """Numbers, by number: those that your accounts hold; with `state=quarantined` those that they held last."""
    after = page.after(str)
    found = await life.listing(
        rows,
        actor,
        account=account,
        state=state,
        prefix=prefix,
        after=after[0] if after else "",
        limit=page.rows,
    )
    return page.page(found, stock_shown, lambda one: (one.number,))


async def issue_number(
    wanted: NewNumber, actor: ActorDep, rows: Rows, now: Now, equipment: EquipmentDep, response: Response
) -> Number:
    """Put a number into service. It takes calls at once."""
    said = wanted.as_said()
    await number_settings.put_into_service(rows, actor, said, equipment.against(now))
    await check_switched_on(rows, said.account_id, said.treatment, callback=said.callback)
    return tagged(response, await _read(rows, actor, wanted.number, equipment, now))


async def read_number(
    number: NumberInPath, actor: ActorDep, rows: Rows, now: Now, equipment: EquipmentDep, response: Response
) -> Number:
    """One number with what it does."""
    return tagged(response, await _read(rows, actor, number, equipment, now))


async def change_number(
    number: NumberInPath,
    wanted: ChangedNumber,
    actor: ActorDep,
    rows: Rows,
    now: Now,
    equipment: EquipmentDep,
    if_match: IfMatch,
    response: Response,
) -> Number:
    """Re-target a number, and switch what it does.

    Where only what callers hear and read becomes another, `change messages` is enough; else it takes `change numbers`.
    """

    async def read() -> Number:
        return await _read(rows, actor, number, equipment, now)

    await unchanged(rows, "number", number, if_match, read)
    made, _ = await number_settings.change(rows, actor, number, wanted.as_said(), equipment.against(now))
    if wanted.suspended is not None:
        await check_announced(rows, made.account_id, wanted.suspended)
    if wanted.treatment is not None or wanted.callback:
        await check_switched_on(rows, made.account_id, made.treatment, callback=made.callback)
    return tagged(response, await read())


async def number_history(
    number: NumberInPath,
    actor: ActorDep,
    rows: Rows,
    limit: Annotated[int, Query(ge=1, le=MOST_HISTORY, description="How many at most.")] = 100,
) -> History:
    """What happened to a number, as far as it concerns your accounts."""
    return History(moves=tuple(map(move_shown, await life.history(rows, actor, number, limit))))


async def suspend_number(
    number: NumberInPath,
    wanted: Suspension,
    actor: ActorDep,
    rows: Rows,
    now: Now,
    equipment: EquipmentDep,
    response: Response,
) -> Number:
    """All callers hear an announcement, from the next call on; the number stays its holder's."""
    said = wanted.announcement
    made = await life.suspend(rows, actor, number, now, announcement=said, bar=wanted.bar, note=wanted.note)
    if made.held_by is not None:
        await check_announced(rows, made.held_by, said)
    return tagged(response, await _read(rows, actor, number, equipment, now))


async def resume_number(
    number: NumberInPath, actor: ActorDep, rows: Rows, now: Now, equipment: EquipmentDep, response: Response
) -> Number:
    """Lift what you may lift: somebody above the holder their bar, then the holder's wish.

    Its calls are forwarded again when nothing else suspends it; `suspensions` says what does.
    """
    await life.resume(rows, actor, number, now)
    return tagged(response, await _read(rows, actor, number, equipment, now))


async def release_number(number: NumberInPath, actor: ActorDep, rows: Rows, now: Now, equipment: EquipmentDep) -> Stock:
    """Give a number up: its settings go, and it is kept back from everybody but its holder for some months."""
    return stock_shown(await life.release(rows, actor, number, now, equipment.quarantine))


async def port_number_out(number: NumberInPath, actor: ActorDep, rows: Rows, now: Now) -> Stock:
    """The holder takes the number to another carrier. The operator's."""
    return stock_shown(await life.port_out(rows, actor, number, now))


async def take_number_back(
    number: NumberInPath, actor: ActorDep, rows: Rows, now: Now, equipment: EquipmentDep
) -> Stock:
    """A number of our ranges comes back from another carrier, into quarantine. The operator's."""
    return stock_shown(await life.take_return(rows, actor, number, now, equipment.quarantine))


async def _read(
    rows: AsyncConnection, actor: Actor, number: PhoneNumber, equipment: Equipment, now: datetime
) -> Number:
    found = await life.find(rows, actor, number)
    settings = await inventory.look_up(rows, number) if found.state in SERVED else None
    findings = await book.check_rules(rows, number, equipment.against(now)) if settings else ()
    return Number(
        **stock_shown(found).model_dump(),
        settings=None if settings is None else settings_shown(settings),
        findings=tuple(map(Finding.model_validate, findings)),
    )

"""Numbers ordered by count and period of use."""

from __future__ import annotations

from datetime import datetime
from http import HTTPStatus
from typing import Annotated, Any
from uuid import UUID

from fastapi import APIRouter, Path
from pydantic import ConfigDict, Field

from engine.api.door import ActorDep, Now, Rows, door_router
from engine.api.number_shapes import Stock, stock_shown
from engine.api.pages import Instant, Page, PageOf
from engine.api.wire import Phone, PhoneIn, Shape, shown, shown_or_none
from engine.numbers import orders
from engine.numbers.order_model import MOST_NUMBERS, Order, OrderStatus

OrderInPath = Annotated[UUID, Path(alias="order", description="An order's id.")]

_EXAMPLE: dict[str, Any] = {
    "id": "019a9f3e-bb00-7000-8000-000000000007",
    "account_id": "019a9f00-0000-7000-8000-000000000001",
    "count": 2,
    "prefix": "0507",
    "target": {"national": "023456789", "e164": "+8223456789"},
    "starts_at": "2026-12-01T00:00:00Z",
    "ends_at": "2027-03-01T00:00:00Z",
    "status": "placed",
    "warned_at": None,
    "ordered_by": "user:019a9f00-0000-7000-8000-000000000009",
    "ordered_at": "2026-11-22T00:30:00Z",
}


class OrderShown(Shape):
    """So many numbers for so long."""

    model_config = ConfigDict(json_schema_extra={"examples": [_EXAMPLE]})

    id: UUID
    account_id: UUID
    count: int
    prefix: str
    """Only numbers that begin so."""
    target: Phone | None
    """Whom their calls ring from the beginning of the period; null: each is issued by itself."""
    starts_at: datetime
    ends_at: datetime | None
    """Null: until they are released."""
    status: OrderStatus
    warned_at: datetime | None
    """When the holder was told that the period ends soon."""
    ordered_by: str
    ordered_at: datetime


class WholeOrder(OrderShown):
    """An order with the numbers that are of it now."""

    model_config = ConfigDict(json_schema_extra={"examples": [_EXAMPLE | {"numbers": []}]})

    numbers: tuple[Stock, ...]


class OrderPlaced(OrderShown):
    """An order with the numbers that were taken for it."""

    model_config = ConfigDict(
        json_schema_extra={
            "examples": [_EXAMPLE | {"numbers": [{"national": "050712345678", "e164": "+8250712345678"}]}]
        }
    )

    numbers: tuple[Phone, ...]


class NewOrder(Shape):
    """An order."""

    model_config = ConfigDict(
        json_schema_extra={
            "examples": [
                {
                    "account": "019a9f00-0000-7000-8000-000000000001",
                    "count": 2,
                    "target": "02-345-6789",
                    "ends_at": "2027-03-01T00:00:00Z",
                }
            ]
        }
    )

    account: UUID
    count: Annotated[int, Field(ge=1, le=MOST_NUMBERS)]
    prefix: Annotated[str, Field(max_length=11, pattern="^[0-9]*$")] = ""
    target: PhoneIn | None = None
    starts_at: Instant | None = None
    """Null: now."""
    ends_at: Instant | None = None
    """Null: no end."""


class NewEnd(Shape):
    """Another end of the period of use."""

    model_config = ConfigDict(json_schema_extra={"examples": [{"ends_at": "2027-06-01T00:00:00Z"}]})

    ends_at: Instant | None
    """Null: no end."""


def number_orders_router() -> APIRouter:
    """`/number-orders`."""
    router = door_router("number orders")
    router.get("/number-orders")(list_orders)
    router.post("/number-orders", status_code=HTTPStatus.CREATED)(place_order)
    router.get("/number-orders/{order}")(read_order)
    router.post("/number-orders/{order}/prolong")(prolong_order)
    router.post("/number-orders/{order}/cancel")(cancel_order)
    return router


async def list_orders(actor: ActorDep, rows: Rows, page: PageOf) -> Page[OrderShown]:
    """Orders of your accounts, the newest first."""
    found = await orders.listing(rows, actor, before=page.behind(UUID), limit=page.rows)
    return page.page(found, lambda one: OrderShown(**_values(one)), lambda one: (one.id,))


async def place_order(wanted: NewOrder, actor: ActorDep, rows: Rows, now: Now) -> OrderPlaced:
    """Order so many free 050 numbers, all or none."""
    order, numbers = await orders.place(
        rows,
        actor,
        wanted.account,
        wanted.count,
        now,
        prefix=wanted.prefix,
        target=wanted.target,
        starts_at=wanted.starts_at,
        ends_at=wanted.ends_at,
    )
    return OrderPlaced(**_values(order), numbers=tuple(map(shown, numbers)))


async def read_order(which: OrderInPath, actor: ActorDep, rows: Rows) -> WholeOrder:
    """One order with its numbers."""
    order, numbers = await orders.find(rows, actor, which)
    return WholeOrder(**_values(order), numbers=tuple(map(stock_shown, numbers)))


async def prolong_order(which: OrderInPath, wanted: NewEnd, actor: ActorDep, rows: Rows, now: Now) -> OrderShown:
    """Set another end. What was suspended because the period was over is resumed."""
    return OrderShown(**_values(await orders.prolong(rows, actor, which, wanted.ends_at, now)))


async def cancel_order(which: OrderInPath, actor: ActorDep, rows: Rows, now: Now) -> OrderShown:
    """Give all numbers of an order back whose period has not begun."""
    return OrderShown(**_values(await orders.cancel(rows, actor, which, now)))


def _values(order: Order) -> dict[str, Any]:
    plain = {name: getattr(order, name) for name in OrderShown.model_fields}
    return plain | {"target": shown_or_none(order.target)}

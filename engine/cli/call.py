"""`dari call`: calls that go on now, and calls that Dari places."""

from __future__ import annotations

import asyncio
from datetime import UTC, datetime
from typing import Annotated

import typer
from rich.text import Text

from engine.calls.arrival import Order
from engine.calls.control_all import live_calls, place_call, switch_recording
from engine.calls.control_client import LiveCall
from engine.cli.printing import Column, or_dash, print_json, print_table, shown
from engine.events.call_log import short_id
from engine.foundation.errors import TryLater
from engine.foundation.phone_number import parse, written
from engine.settings import Settings, read_settings
from engine.supervisor.alone import calls_alone, calls_of
from engine.supervisor.wiring import connected

app = typer.Typer(
    add_completion=False, pretty_exceptions_enable=False, help="Watch live calls, place one, pause a recording."
)

AsJson = Annotated[bool, typer.Option("--json", help="JSON, one object per line.")]
CallId = Annotated[str, typer.Argument(metavar="CALL", help="Its id, or the eight digits that `dari call list` shows.")]


@app.command("list")
def list_(
    as_json: AsJson = False,
    numbers: Annotated[bool, typer.Option("--numbers", help="Show whole numbers, not 010-****-5678.")] = False,
) -> None:
    """List the calls that go on now; of those without an engine, how many there are."""
    settings = read_settings()
    calls, alone = asyncio.run(_going_on(settings))
    if as_json:
        print_json(calls)
    elif calls:
        print_table(_COLUMNS, [_row(call, settings.mask_numbers and not numbers) for call in calls])
    elif not alone:
        typer.echo("no call goes on now", err=True)
    if alone:
        typer.echo(f"{calls_of(alone)}{' more' if calls else ''} without an engine, in Asterisk alone", err=True)


async def _going_on(settings: Settings) -> tuple[list[LiveCall], int]:
    """The engines' calls, and how many go on without an engine. Raises TryLater when no engine answers."""
    found = await calls_alone(connected(settings))
    try:
        calls = await live_calls(settings.engine_sockets)
    except TryLater as error:
        count = found.without(any_engine=False) if found else 0
        raise TryLater(f"{error}; {calls_of(count)} without an engine, in Asterisk alone") from None
    return calls, found.without(any_engine=True) if found else 0


@app.command()
def place(
    number: Annotated[str, typer.Option(metavar="NUMBER", help="A number in service, which both parties see.")],
    first: Annotated[str, typer.Option(metavar="NUMBER", help="Who asked for the call: rings first.")],
    second: Annotated[str, typer.Option(metavar="NUMBER", help="Who rings when the first has answered.")],
    as_json: AsJson = False,
) -> None:
    """Connect two telephones: click-to-call, or calling somebody back.

    The talk is recorded when the number's talks are, after the notice to both.
    """
    _order(Order(number=parse(number), first=parse(first, "first"), second=parse(second, "second")), as_json)


@app.command("test")
def hear(
    number: Annotated[str, typer.Argument(metavar="NUMBER", help="Your number in service.")],
    phone: Annotated[str, typer.Option("--phone", metavar="NUMBER", help="Your telephone: rings first.")],
    as_json: AsJson = False,
) -> None:
    """Hear what callers of a number hear: your telephone rings, and then goes through it as a caller."""
    _order(Order(number=parse(number), first=parse(phone, "phone")), as_json)


@app.command()
def pause(call: CallId) -> None:
    """Pause the recording of a live call: the file has silence meanwhile."""
    _switch(call, pause=True)


@app.command()
def record(call: CallId) -> None:
    """Go on with the recording of a live call, or begin it where the number records on a key."""
    _switch(call, pause=False)


def _order(order: Order, as_json: bool) -> None:
    call_id = asyncio.run(place_call(read_settings().engine_sockets, order))
    if as_json:
        print_json([{"call_id": call_id}])
    else:
        typer.echo(f"call {short_id(call_id)}: rings {written(order.first)} first; `dari tail` shows how it goes")


def _switch(call: str, *, pause: bool) -> None:
    live = asyncio.run(switch_recording(read_settings().engine_sockets, call, pause=pause))
    typer.echo(f"call {short_id(live.call_id)}: {live.recording}")


_COLUMNS = (
    Column("Call"),
    Column("State"),
    Column("Caller"),
    Column("Number"),
    Column("Target"),
    Column("For", right=True),
    Column("Recording", spare=1),
)


def _row(call: LiveCall, mask: bool) -> list[Text]:
    seconds = int((datetime.now(UTC) - (call.answered_at or call.arrived_at)).total_seconds())
    return [
        Text(short_id(call.call_id)),
        Text(call.state, "green" if call.answered_at else ""),
        *(shown(number, mask=mask) for number in (call.caller, call.number, call.target)),
        Text(f"{seconds // 60}:{seconds % 60:02}"),
        or_dash(None if call.recording == "none" else call.recording),
    ]

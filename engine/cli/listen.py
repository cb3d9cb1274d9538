"""`dari listen`: hear a call that goes on now, in a browser."""

from __future__ import annotations

import asyncio
import getpass
from typing import Annotated

import msgspec
import typer

from engine.calls.control_all import listening_ticket
from engine.calls.listening_rules import LONGEST_MINUTES, Mode, Wish
from engine.cli.printing import print_json
from engine.foundation.errors import Invalid
from engine.settings import Settings, read_settings
from engine.supervisor.wiring import connected

app = typer.Typer(add_completion=False, pretty_exceptions_enable=False)


class Link(msgspec.Struct, frozen=True, kw_only=True):
    """Where to listen, once."""

    url: str
    call_id: str
    mode: Mode
    seconds_to_open: int
    minutes: int


@app.command()
def listen(
    call: Annotated[str, typer.Argument(metavar="CALL", help="The live call's id, or its last eight digits.")],
    reason: Annotated[str, typer.Option("--reason", metavar="TEXT", help="Why; it is kept for two years.")],
    minutes: Annotated[int, typer.Option(min=1, max=LONGEST_MINUTES, help="How long at most.")] = 5,
    whisper: Annotated[
        bool, typer.Option("--whisper", help="The called party hears you, the caller does not.")
    ] = False,
    barge: Annotated[bool, typer.Option("--barge", help="Both parties hear you.")] = False,
    as_json: Annotated[bool, typer.Option("--json", help="One JSON object.")] = False,
) -> None:
    """Print a link at which a call that goes on now can be heard in a browser, once.

    Only calls whose parties both heard the recording notice. Who listens, why and how long is written down.
    """
    if whisper and barge:
        raise Invalid("--whisper and --barge: choose one of them")
    settings = connected(read_settings())
    mode = Mode.WHISPER if whisper else Mode.BARGE if barge else Mode.LISTEN
    wish = Wish(call=call, who=f"command line: {getpass.getuser()}", reason=reason, mode=mode, minutes=minutes)
    ticket = asyncio.run(listening_ticket(settings.engine_sockets, wish))
    url = f"{_base(settings)}/listen#{ticket.ticket}"
    if as_json:
        link = Link(
            url=url,
            call_id=str(ticket.call_id),
            mode=mode,
            seconds_to_open=ticket.seconds_to_open,
            minutes=ticket.minutes,
        )
        print_json([link])
        return
    typer.echo(url)
    typer.echo(
        f"open it within {ticket.seconds_to_open} s; it works once and ends after {ticket.minutes} min", err=True
    )


def _base(settings: Settings) -> str:
    host, port = settings.http_bind.host, settings.http_bind.port
    return f"http://{'127.0.0.1' if host == '0.0.0.0' else host}:{port}"  # noqa: S104 - compared

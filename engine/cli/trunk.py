"""`dari trunk`: the carriers' lines."""

from __future__ import annotations

from typing import Annotated

import typer
from msgspec import UNSET
from rich.text import Text

from engine.cli.database import in_transaction
from engine.cli.printing import Column, print_json, print_table
from engine.foundation.errors import Invalid
from engine.settings import read_settings
from engine.trunks import registry
from engine.trunks.model import NumberFormat, Trunk
from engine.trunks.registry import TrunkChange

app = typer.Typer(
    add_completion=False,
    pretty_exceptions_enable=False,
    help="Name the carriers' lines: who may call in, how calls go out.",
)

Name = Annotated[str, typer.Argument(metavar="NAME", help="Letters, digits and hyphens.")]
_FROM = typer.Option(
    "--match", metavar="IP", help="IPv4 address or network that its calls come from; give it again for more."
)
_TO = typer.Option("--contact", metavar="URI", help="Where calls go out: sip:host or sip:host:port.")
Format = Annotated[
    NumberFormat | None,
    typer.Option("--number-format", help="How it wants numbers: 0212345678, +82212345678 or 82212345678."),
]
Trusted = Annotated[
    bool | None, typer.Option("--trusted/--untrusted", help="Whether its word on the caller's number is believed.")
]


@app.command()
def add(
    name: Name,
    match: Annotated[list[str], _FROM],
    contact: Annotated[str, _TO],
    number_format: Format = None,
    trusted: Trusted = None,
) -> None:
    """Add a trunk. It takes calls at once, without a restart."""
    trunk = Trunk(
        name=name,
        match=tuple(match),
        contact=contact,
        number_format=number_format or NumberFormat.NATIONAL,
        trusted=trusted is not False,
    )
    _tell("added", in_transaction(read_settings(), lambda rows: registry.add(rows, trunk)))


@app.command("set")
def set_(
    name: Name,
    match: Annotated[list[str] | None, _FROM] = None,
    contact: Annotated[str | None, _TO] = None,
    number_format: Format = None,
    trusted: Trusted = None,
) -> None:
    """Change a trunk; what is not named stays. --match names all its addresses anew."""
    wanted = TrunkChange(
        match=tuple(match) if match else UNSET,
        contact=UNSET if contact is None else contact,
        number_format=UNSET if number_format is None else number_format,
        trusted=UNSET if trusted is None else trusted,
    )
    if wanted == TrunkChange():
        raise Invalid(f"trunk {name}: nothing to change; name what is to be different, see `dari trunk set --help`")
    _tell("changed", in_transaction(read_settings(), lambda rows: registry.change(rows, name, wanted)))


@app.command()
def remove(name: Name) -> None:
    """Remove a trunk: its calls are turned away from now on."""
    in_transaction(read_settings(), lambda rows: registry.remove(rows, name))
    typer.echo(f"trunk {name} removed")


@app.command("list")
def list_(as_json: Annotated[bool, typer.Option("--json", help="One JSON object per line.")] = False) -> None:
    """List the trunks."""
    trunks = in_transaction(read_settings(), registry.listing)
    if as_json:
        print_json(trunks)
    elif trunks:
        print_table(_COLUMNS, [_row(trunk) for trunk in trunks])
    else:
        typer.echo("no trunks yet; add one with `dari trunk add NAME --match IP --contact URI`", err=True)


_COLUMNS = (
    Column("Name"),
    Column("Calls come from", folds=True),
    Column("Calls go to"),
    Column("Numbers", spare=2),
    Column("Caller's number", spare=1),
)


def _row(trunk: Trunk) -> list[Text]:
    return [
        Text(trunk.name, "bold"),
        Text(", ".join(trunk.match)),
        Text(trunk.contact),
        Text(trunk.number_format.value),
        Text("believed" if trunk.trusted else "not believed"),
    ]


def _tell(deed: str, trunk: Trunk) -> None:
    typer.echo(f"trunk {trunk.name} {deed}: calls from {', '.join(trunk.match)}, calls out to {trunk.contact}")

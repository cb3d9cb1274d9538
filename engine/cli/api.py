"""`dari api`: the description of the API, and a client made from it."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Annotated, Any

import typer

from engine.api.app import make_api
from engine.api.openapi import describe
from engine.api.python_client import python_client
from engine.api.routes import all_routers
from engine.foundation.errors import Invalid

app = typer.Typer(
    add_completion=False,
    pretty_exceptions_enable=False,
    help="Get what programs need to use Dari: the description of its API, or a client made from it.",
)

Out = Annotated[Path | None, typer.Option(metavar="FILE", help="Write it there instead of showing it.")]


@app.command("describe")
def describe_(out: Out = None) -> None:
    """Show the OpenAPI 3.1 description, as /api/v1/openapi.json serves it."""
    _write(json.dumps(_described(), ensure_ascii=False, indent=2) + "\n", out)


@app.command("client")
def client(
    out: Out = None,
    of: Annotated[
        Path | None, typer.Option(metavar="FILE", help="The description to make it from; left out: this Dari's.")
    ] = None,
) -> None:
    """Make a typed Python client: one file that needs nothing but Python 3.11."""
    _write(python_client(_described() if of is None else _read(of)), out)


def _described() -> dict[str, Any]:
    return describe(make_api(all_routers()))


def _read(file: Path) -> dict[str, Any]:
    try:
        document = json.loads(file.read_bytes())
    except (UnicodeDecodeError, json.JSONDecodeError) as error:
        raise Invalid(f"{file}: it is not JSON ({error}); take it from /api/v1/openapi.json") from None
    if not isinstance(document, dict):
        raise Invalid(f"{file}: it is not an OpenAPI description; take it from /api/v1/openapi.json")
    return document


def _write(text: str, out: Path | None) -> None:
    if out is None:
        typer.echo(text, nl=False)
    else:
        out.write_text(text, encoding="utf-8")
        typer.echo(f"written: {out}")

"""`dari audit`: who did what, and whether that is still as it was written."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from datetime import datetime
from pathlib import Path
from typing import Annotated, Any
from uuid import UUID

import msgspec
import typer
from rich.console import Console
from rich.progress import BarColumn, Progress, TaskProgressColumn, TextColumn
from rich.text import Text
from sqlalchemy.ext.asyncio import AsyncConnection, AsyncEngine

from engine.accounts.book import account_called, accounts
from engine.audit.chaining import chain_waiting
from engine.audit.masking import masked_entry
from engine.audit.model import Entry, Head, Wanted
from engine.audit.trail import entries
from engine.audit.verify import Verdict
from engine.audit.verify import verify as verified
from engine.cli.database import in_transaction, with_database
from engine.cli.printing import Column, day_and_time, or_dash, print_json, print_table
from engine.events.call_log import KST, printable
from engine.foundation.database import transaction
from engine.foundation.errors import Invalid
from engine.foundation.files import replace_file
from engine.settings import read_settings

app = typer.Typer(
    add_completion=False,
    pretty_exceptions_enable=False,
    help="Show who did what, from where, and check that nobody changed what was written down.",
)

AsJson = Annotated[bool, typer.Option("--json", help="One JSON object per line.")]


@app.command("list")
def list_(
    account: Annotated[str, typer.Option(metavar="NAME", help="Only this account's and those below it.")] = "",
    who: Annotated[str | None, typer.Option(metavar="WHO", help="user:ID, key:ID, `operator of this machine`.")] = None,
    deed: Annotated[str | None, typer.Option(metavar="DEED", help="Only this deed: `change users` …")] = None,
    of: Annotated[
        str | None, typer.Option("--of", metavar="KIND/ID", help="Only this thing: number/05071234567.")
    ] = None,
    since: Annotated[str | None, typer.Option(metavar="TIME", help="From then on: 2026-11-22, or with 09:30.")] = None,
    until: Annotated[str | None, typer.Option(metavar="TIME", help="Before then.")] = None,
    limit: Annotated[int, typer.Option(min=1, max=100_000, help="How many, the newest first.")] = 100,
    unmasked: Annotated[bool, typer.Option("--unmasked", help="Whole phone numbers of people.")] = False,
    as_json: AsJson = False,
) -> None:
    """List what was done, the newest first."""
    settings = read_settings()
    kind, _, identifier = (of or "").partition("/")

    async def found(rows: AsyncConnection) -> tuple[list[Entry], dict[UUID, str]]:
        wanted = Wanted(
            within=(await account_called(rows, account)).id if account else None,
            who=who,
            deed=deed,
            object_kind=kind or None,
            object_id=identifier or None,
            since=_instant(since, "since"),
            until=_instant(until, "until"),
        )
        return await entries(rows, wanted, limit=limit), {each.id: each.name for each in await accounts(rows)}

    every, owners = in_transaction(settings, found)
    shown = every if unmasked or not settings.mask_numbers else [masked_entry(entry) for entry in every]
    if as_json:
        print_json(shown)
    elif shown:
        print_table(_COLUMNS, [_row(entry, owners) for entry in shown])
    else:
        typer.echo("nothing of that kind was done", err=True)


@app.command()
def verify(
    known: Annotated[
        str | None,
        typer.Option(
            metavar="NUMBER:HASH", help="The end as it was noted elsewhere, beside the one noted here the last time."
        ),
    ] = None,
    as_json: AsJson = False,
) -> None:
    """Compare the whole audit with its chain of hashes; exits 1 when it is not as it was written."""
    settings = read_settings()
    note = settings.paths.audit_head
    noted = [*([Head.parse(known)] if known else []), *_noted(note)]

    async def deed(database: AsyncEngine) -> Verdict:
        with _bar() as told:
            async with transaction(database) as rows:
                found = await verified(rows, noted, told)
            if not found.whole or not found.waiting:
                return found
            await chain_waiting(database)  # what the jobs would do in a moment
            async with transaction(database) as rows:
                return await verified(rows, noted, told)

    verdict = with_database(settings, deed)
    if verdict.whole:
        note.parent.mkdir(parents=True, exist_ok=True)
        replace_file(note, verdict.head.written.encode() + b"\n", sync=True)
    _tell(verdict, as_json=as_json)
    if not verdict.whole:
        raise typer.Exit(1)


def _tell(verdict: Verdict, *, as_json: bool) -> None:
    if as_json:
        print_json(
            [
                {
                    "whole": verdict.whole,
                    "checked": verdict.checked,
                    "waiting": verdict.waiting,
                    "head": verdict.head.written,
                    "findings": verdict.findings,
                }
            ]
        )
        return
    for finding in verdict.findings:
        typer.echo(f"{finding.trouble.value}: {printable(finding.detail)}")
    if verdict.whole:
        typer.echo(f"the audit is whole: {verdict.checked} entries are as they were written")
    else:
        typer.echo(f"the audit is not whole: {len(verdict.findings)} faults in {verdict.checked} entries")
    typer.echo(f"its end, to be noted elsewhere: {verdict.head.written}")


def _noted(note: Path) -> list[Head]:
    try:
        return [Head.parse(note.read_text())]
    except FileNotFoundError:
        return []
    except Invalid:
        raise Invalid(f"{note} is damaged; delete it, and give --known NUMBER:HASH as it was noted elsewhere") from None


def _instant(text: str | None, field: str) -> datetime | None:
    if text is None:
        return None
    try:
        instant = datetime.fromisoformat(text)
    except ValueError:
        raise Invalid(f"{field}: {text[:40]!r} is no time; write it like 2026-11-22 or 2026-11-22T09:30") from None
    return instant if instant.tzinfo else instant.replace(tzinfo=KST)


@contextmanager
def _bar() -> Iterator[Callable[[int, int], None]]:
    """On a terminal."""
    columns = (TextColumn("entries compared"), BarColumn(), TaskProgressColumn())
    with Progress(*columns, console=Console(stderr=True), transient=True, disable=not sys.stderr.isatty()) as bar:
        task = bar.add_task("", total=None)
        yield lambda done, of: bar.update(task, completed=done, total=of)


_COLUMNS = (
    Column("When"),
    Column("Who", folds=True),
    Column("What was done", folds=True),
    Column("Account", spare=1),
    Column("From", spare=2),
)


def _row(entry: Entry, owners: Mapping[UUID, str]) -> list[Text]:
    owner = owners.get(entry.account_id, "-") if entry.account_id else None
    change = printable(_change(entry.before, entry.after))
    done = Text.assemble(
        (printable(entry.deed), "bold"),
        printable(f": {entry.object_kind} {entry.object_id}"),
        f"\n{change}" if change else "",
    )
    return [
        day_and_time(entry.at),
        Text(printable(entry.who)),
        done,
        or_dash(owner and printable(owner)),
        or_dash(printable(entry.peer)),
    ]


def _change(before: Mapping[str, Any] | None, after: Mapping[str, Any] | None) -> str:
    """name: "a" → "b", one after the other."""
    told = []
    for field in sorted({*(before or {}), *(after or {})}):
        values = [_written(side[field]) for side in (before, after) if side is not None and field in side]
        told.append(f"{field}: {' → '.join(values)}")
    return "; ".join(told)


def _written(value: Any) -> str:
    return msgspec.json.encode(value).decode()

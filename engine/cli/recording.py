"""`dari recording`: kept recordings, who may have them, how long, and whether all are there."""

from __future__ import annotations

import sys
from collections.abc import Awaitable, Callable, Iterator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Annotated, TypeVar
from uuid import UUID

import typer
from rich.console import Console
from rich.progress import BarColumn, DownloadColumn, Progress, TextColumn
from rich.text import Text

from engine.accounts.book import accounts
from engine.accounts.model import Account, Actor
from engine.app.opened import archive_of
from engine.cdr.search import find
from engine.cli.database import with_database
from engine.cli.printing import Column, day_and_time, or_dash, print_json, print_table
from engine.cli.this_machine import operator
from engine.events.call_log import printable, short_id
from engine.foundation.clock import SystemClock
from engine.foundation.database import transaction
from engine.foundation.errors import Invalid, NotFound
from engine.recordings import check as checking
from engine.recordings import playback, retention
from engine.recordings.archive import Archive
from engine.recordings.hearing import check_may_hear
from engine.recordings.keys import MasterKey, new_key, wrap_anew
from engine.recordings.model import Access, Deed, Reader, Recording, RecordingKind
from engine.settings import read_settings
from engine.supervisor.wiring import connected

app = typer.Typer(
    add_completion=False,
    pretty_exceptions_enable=False,
    help="List, export, hold and check recordings. Whoever takes one is written down, with the reason.",
)

_T = TypeVar("_T")
Call = Annotated[str, typer.Argument(metavar="CALL", help="The call's id, or its last eight digits.")]
Reason = Annotated[str, typer.Option("--reason", metavar="TEXT", help="Why; it is kept for two years.")]
AsJson = Annotated[bool, typer.Option("--json", help="One JSON object per line.")]
Voicemail = Annotated[bool, typer.Option("--voicemail", help="What the caller left, not the talk.")]
AccountName = Annotated[str, typer.Option("--account", metavar="NAME", help="Only this account's.")]


@app.command("list")
def list_(
    account: AccountName = "",
    deleted: Annotated[bool, typer.Option("--deleted", help="Those that were deleted too.")] = False,
    limit: Annotated[int, typer.Option(min=1, max=100_000, help="How many, the newest first.")] = 100,
    as_json: AsJson = False,
) -> None:
    """List what is kept."""

    async def deed(archive: Archive) -> tuple[list[Recording], dict[UUID, str]]:
        owner = (await _account(archive, account)).id if account else None
        return await playback.listing(archive, owner, deleted=deleted, limit=limit), await _owners(archive)

    found, owners = _with_archive(deed)
    if as_json:
        print_json(found)
    elif found:
        print_table(_RECORDINGS, [_row(each, owners) for each in found])
    else:
        typer.echo("no recordings yet" if not account else "no such recordings", err=True)


@app.command()
def export(
    call: Call,
    file: Annotated[Path, typer.Argument(metavar="FILE", help="The WAV file to write.")],
    reason: Reason,
    voicemail: Voicemail = False,
    as_json: AsJson = False,
) -> None:
    """Write one recording to a WAV file.

    A recording is the called party's: the operator of this machine needs its leave, which `dari account grant` writes
    down, while that runs. Each export is written down, and so is each that is refused.
    """

    async def deed(archive: Archive) -> Recording:
        recording = await _chosen(archive, call, voicemail)
        with _bytes_done(f"recording of {short_id(recording.call_id)}") as told:
            which = recording.call_id, recording.kind
            reader = _reader(recording, reason)
            await check_may_hear(archive, operator(), reader, *which, Deed.EXPORT)
            return await playback.export(archive, reader, *which, file.absolute(), told)

    recording = _with_archive(deed)
    if as_json:
        print_json([recording])
    else:
        typer.echo(f"{recording.seconds:.1f} s of call {recording.call_id} written to {file}")


@app.command()
def check(
    deep: Annotated[bool, typer.Option("--deep", help="Read every file whole, not only its size.")] = False,
    mend: Annotated[bool, typer.Option("--mend/--no-mend", help="Put right what can be without loss.")] = True,
    as_json: AsJson = False,
) -> None:
    """Compare recordings and files; exits 1 when somebody has to look."""
    with _counting("recordings compared") as told:
        found = _with_archive(lambda archive: checking.compare(archive, deep=deep, mend=mend, told=told))
    if as_json:
        print_json(found.findings)
    else:
        for finding in found.findings:
            what = finding.mended or "look at it"
            typer.echo(f"{finding.trouble.value}: {printable(finding.file)}: {printable(finding.detail)}; {what}")
        typer.echo(f"{found.recordings} recordings compared, {len(found.open)} to be looked at")
    if found.open:
        raise typer.Exit(1)


@app.command()
def hold(call: Call, reason: Reason, voicemail: Voicemail = False) -> None:
    """Keep a recording whatever its time (legal hold)."""
    kept = _with_archive(lambda archive: _hold(archive, call, voicemail, reason, retention.hold))
    typer.echo(f"recording of call {kept.call_id} is held until it is released")


@app.command()
def release(call: Call, reason: Reason, voicemail: Voicemail = False) -> None:
    """End a hold: the recording goes when its time is over."""
    kept = _with_archive(lambda archive: _hold(archive, call, voicemail, reason, retention.release))
    typer.echo(f"recording of call {kept.call_id} goes after {kept.delete_after:%Y-%m-%d}")


@app.command()
def sweep(as_json: AsJson = False) -> None:
    """Delete what was kept long enough, now; the jobs do it every hour."""
    with _counting("recordings deleted") as told:
        done = _with_archive(lambda archive: retention.sweep(archive, told))
    if as_json:
        print_json([{"deleted": done}])
    else:
        typer.echo(f"{done} recordings deleted after their time")


@app.command()
def term(
    account: Annotated[str, typer.Option("--account", metavar="NAME", help="Whose recordings.")],
    days: Annotated[int | None, typer.Option(metavar="DAYS", help="Kept so many days after the call.")] = None,
    default: Annotated[bool, typer.Option("--default", help="As DARI_RECORDING_DAYS says.")] = False,
) -> None:
    """Set how long an account's recordings are kept, those that are there included."""
    if (days is None) is not default:
        raise Invalid("term: give --days or --default")

    async def deed(archive: Archive) -> int:
        return await retention.set_term(archive, operator(), (await _account(archive, account)).id, days)

    typer.echo(f"recordings of account {account} are kept {_with_archive(deed)} days")


@app.command()
def rekey(
    account: AccountName = "",
    old_master: Annotated[
        Path | None,
        typer.Option("--old-master", metavar="FILE", help="Put all keys under the present master key; the one before."),
    ] = None,
) -> None:
    """Give owners a new key for recordings from now on, or put all keys under a new master key."""

    async def deed(archive: Archive) -> int:
        if old_master is not None:
            old = MasterKey.of(old_master.read_text().strip())
            async with transaction(archive.database) as connection:
                return await wrap_anew(connection, old, archive.master)
        chosen = [await _account(archive, account)] if account else await _accounts(archive)
        async with transaction(archive.database) as connection:
            for each in chosen:
                await new_key(connection, archive.master, each.id, datetime.now(UTC))
        return len(chosen)

    done = _with_archive(deed)
    typer.echo(f"{done} keys are under the present master key now" if old_master else f"{done} owners have a new key")


@app.command()
def access(
    call: Annotated[str, typer.Argument(metavar="[CALL]", help="Only this call's.")] = "",
    limit: Annotated[int, typer.Option(min=1, max=100_000, help="How many, the newest first.")] = 100,
    as_json: AsJson = False,
) -> None:
    """Show who asked for recordings, when and why."""

    async def deed(archive: Archive) -> list[Access]:
        call_id = await _call_id(archive, call) if call else None
        return await playback.access_log(archive, call_id, limit=limit)

    found = _with_archive(deed)
    if as_json:
        print_json(found)
    elif found:
        print_table(_ACCESSES, [_access_row(each) for each in found])
    else:
        typer.echo("nobody asked for a recording", err=True)


def _with_archive(deed: Callable[[Archive], Awaitable[_T]]) -> _T:
    settings = connected(read_settings())
    return with_database(settings, lambda database: deed(archive_of(settings, database, SystemClock())))


async def _hold(
    archive: Archive,
    call: str,
    voicemail: bool,
    reason: str,
    deed: Callable[[Archive, Actor, Reader, UUID, RecordingKind], Awaitable[None]],
) -> Recording:
    recording = await _chosen(archive, call, voicemail)
    await deed(archive, operator(), _reader(recording, reason), recording.call_id, recording.kind)
    return recording


async def _chosen(archive: Archive, call: str, voicemail: bool) -> Recording:
    """The recording meant: the talk where there is one, unless the voicemail is asked for."""
    call_id = await _call_id(archive, call)
    found = await playback.recordings_of(archive, call_id)
    chosen = [each for each in found if each.kind is RecordingKind.VOICEMAIL] if voicemail else found
    if not chosen:
        raise NotFound(f"call {call_id}: no {'voicemail' if voicemail else 'recording'} of it is kept (yet)")
    return chosen[0]


async def _call_id(archive: Archive, call: str) -> UUID:
    async with transaction(archive.database) as connection:
        return (await find(connection, call)).call_id


def _reader(recording: Recording, reason: str) -> Reader:
    """Whoever types commands here, by the name of the system's user, with a recording of that owner."""
    return Reader(who=operator().peer, account_id=recording.account_id, reason=reason)


async def _accounts(archive: Archive) -> list[Account]:
    async with transaction(archive.database) as connection:
        return await accounts(connection)


async def _owners(archive: Archive) -> dict[UUID, str]:
    return {each.id: each.name for each in await _accounts(archive)}


async def _account(archive: Archive, name: str) -> Account:
    for each in await _accounts(archive):
        if each.name == name.strip():
            return each
    raise NotFound(f"account {name}: there is none of that name")


@contextmanager
def _bytes_done(what: str) -> Iterator[Callable[[int, int], None]]:
    """A bar on a terminal."""
    with _bar(TextColumn("{task.description}"), BarColumn(), DownloadColumn()) as bar:
        task = bar.add_task(what, total=None)
        yield lambda done, size: bar.update(task, completed=done, total=size)


@contextmanager
def _counting(what: str) -> Iterator[Callable[[int], None]]:
    """A number that grows, on a terminal."""
    with _bar(TextColumn("{task.completed:.0f} {task.description}")) as bar:
        task = bar.add_task(what, total=None)
        yield lambda done: bar.update(task, completed=done)


def _bar(*columns: TextColumn | BarColumn | DownloadColumn) -> Progress:
    return Progress(*columns, console=Console(stderr=True), transient=True, disable=not sys.stderr.isatty())


_RECORDINGS = (
    Column("Made"),
    Column("Call"),
    Column("Kind"),
    Column("Account", spare=2),
    Column("Length", right=True),
    Column("Size", right=True, spare=3),
    Column("Kept until", spare=1),
    Column("Held because", folds=True),
)


def _row(recording: Recording, owners: dict[UUID, str]) -> list[Text]:
    until = Text(f"{recording.delete_after:%Y-%m-%d}")
    return [
        day_and_time(recording.made_at),
        Text(short_id(recording.call_id)),
        Text(recording.kind.value),
        Text(printable(owners.get(recording.account_id, "-"))),
        Text(str(timedelta(seconds=round(recording.seconds))).removeprefix("0:")),
        Text(f"{recording.size / 1_000_000:.1f} MB"),
        Text(f"deleted {recording.deleted_at:%Y-%m-%d}", "dim") if recording.deleted_at else until,
        or_dash(recording.held and printable(recording.held), "yellow"),
    ]


_ACCESSES = (
    Column("When"),
    Column("Call"),
    Column("Who"),
    Column("What"),
    Column("Granted", spare=1),
    Column("Why", folds=True),
)


def _access_row(access: Access) -> list[Text]:
    return [
        day_and_time(access.at),
        Text(short_id(access.call_id)),
        Text(printable(access.who)),
        Text(f"{access.deed.value} {access.kind.value}"),
        Text("yes") if access.granted else Text("no", "bold red"),
        Text(printable(access.reason)),
    ]

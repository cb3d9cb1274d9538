"""`dari prompt`: an account's own announcements, by name and version."""

from __future__ import annotations

import shutil
import sys
from collections.abc import Awaitable, Callable
from contextlib import AbstractAsyncContextManager, AbstractContextManager, nullcontext
from datetime import UTC, datetime
from pathlib import Path
from typing import Annotated, TypeVar
from uuid import UUID

import typer
from rich.console import Console
from rich.text import Text
from sqlalchemy.ext.asyncio import AsyncConnection

from engine.accounts.book import account_named
from engine.app.speech import speech_setup
from engine.cli.account import account_of
from engine.cli.database import in_transaction
from engine.cli.printing import Column, day_and_time, or_dash, print_json, print_table
from engine.cli.this_machine import operator
from engine.events.call_log import printable
from engine.foundation.errors import Invalid
from engine.prompts import library
from engine.prompts.catalogue import path_of
from engine.prompts.library import Shelf, Spoken
from engine.prompts.mixing import Mix
from engine.prompts.model import Origin, Prompt, Version
from engine.prompts.speech.setup import opened_speech
from engine.prompts.speech.speech import Speech
from engine.routing import played_prompts
from engine.settings import read_settings

app = typer.Typer(
    add_completion=False,
    pretty_exceptions_enable=False,
    help="Make announcements (안내 멘트) out of recordings, texts and music, and keep their versions.",
)

_T = TypeVar("_T")

Name = Annotated[str, typer.Argument(metavar="NAME", help="The prompt, as the account calls it: 인사말, greeting.")]
Account = Annotated[
    str, typer.Option(metavar="NAME", help="Whose prompt it is; opened when new and something is made.")
]
Said = Annotated[
    str, typer.Argument(metavar="TEXT", help="What is said. Digits are read as in Korean: 3번째 is 세 번째.")
]
Voice = Annotated[str | None, typer.Option(metavar="VOICE", help="Who says it, like espeak/ko. Default: the system's.")]
AsJson = Annotated[bool, typer.Option("--json", help="One JSON object per line.")]
_MIX = Mix()


@app.command()
def add(
    name: Name,
    file: Annotated[Path, typer.Argument(metavar="FILE", help="Any audio file of 0.2 s to 5 min.")],
    account: Account = "main",
    as_json: AsJson = False,
) -> None:
    """Take in a recording (녹음 파일) as the prompt's new version."""
    library.checked_name(name)

    _make(name, account, as_json, lambda rows, shelf: library.add(rows, operator(), shelf, file))


@app.command()
def speak(
    name: Name,
    text: Said,
    voice: Voice = None,
    account: Account = "main",
    as_json: AsJson = False,
) -> None:
    """Have a text spoken (음성 합성) as the prompt's new version."""
    library.checked_name(name)

    async def deed(rows: AsyncConnection, shelf: Shelf) -> Version:
        async with _speech() as speech:
            return await library.speak(rows, operator(), shelf, Spoken(text=text, speech=speech, voice=voice))

    _make(name, account, as_json, deed)


@app.command()
def mix(
    name: Name,
    music: Annotated[Path, typer.Option(metavar="FILE", help="The music under the voice: looped or cut to fit.")],
    file: Annotated[Path | None, typer.Option("--voice-file", metavar="FILE", help="The recorded voice.")] = None,
    text: Annotated[str | None, typer.Option(metavar="TEXT", help="Or what is said.")] = None,
    voice: Voice = None,
    level: Annotated[
        float, typer.Option("--music-level", metavar="DB", help="Music alone, against the voice.")
    ] = _MIX.music_level,
    ducking: Annotated[
        float, typer.Option("--ducking", metavar="DB", help="How much softer the music is under the voice.")
    ] = _MIX.ducking,
    before: Annotated[
        float, typer.Option("--before", metavar="SECONDS", help="Music alone before the voice.")
    ] = _MIX.before,
    after: Annotated[
        float, typer.Option("--after", metavar="SECONDS", help="Music alone after the voice.")
    ] = _MIX.after,
    account: Account = "main",
    as_json: AsJson = False,
) -> None:
    """Put a voice over background music (배경 음악) as the prompt's new version."""
    library.checked_name(name)
    if (file is None) == (text is None):
        raise Invalid("voice: give either --voice-file FILE or --text TEXT")
    if file is not None and voice is not None:
        raise Invalid("voice: --voice says who speaks --text; leave it out with --voice-file")
    how = Mix(music_level=level, ducking=ducking, before=before, after=after)

    async def deed(rows: AsyncConnection, shelf: Shelf) -> Version:
        if file is not None:
            return await library.mix(rows, operator(), shelf, file, music, how)
        async with _speech() as speech:
            spoken = Spoken(text=text or "", speech=speech, voice=voice)
            return await library.mix(rows, operator(), shelf, spoken, music, how)

    _make(name, account, as_json, deed)


@app.command("list")
def list_(account: Account = "main", as_json: AsJson = False) -> None:
    """List an account's prompts, each as it is played now."""
    prompts = _of(account, library.listing)
    if as_json:
        print_json(prompts)
    elif prompts:
        print_table(_PROMPTS, [_prompt_row(prompt) for prompt in prompts])
    else:
        typer.echo(
            "no prompts yet; make one with `dari prompt speak NAME TEXT` or `dari prompt add NAME FILE`", err=True
        )


@app.command()
def versions(name: Name, account: Account = "main", as_json: AsJson = False) -> None:
    """List a prompt's versions, oldest first."""

    async def deed(rows: AsyncConnection, owner: UUID) -> tuple[list[Version], int]:
        current = (await library.find(rows, owner, name)).current.version
        return await library.versions(rows, owner, name), current

    found, current = _of(account, deed)
    if as_json:
        print_json(found)
    else:
        print_table(_VERSIONS, [_version_row(version, version.version == current) for version in found])


@app.command()
def use(
    name: Name,
    version: Annotated[int, typer.Argument(metavar="VERSION", help="As `dari prompt versions` numbers them.")],
    account: Account = "main",
) -> None:
    """Play another version of a prompt from the next call on (이전 버전으로 되돌리기)."""

    async def deed(rows: AsyncConnection, owner: UUID) -> Prompt:
        return await library.rollback(rows, operator(), owner, name, version, datetime.now(UTC))

    prompt = _of(account, deed)
    typer.echo(f"prompt {prompt.name}: version {prompt.current.version} is played from now on")


@app.command()
def remove(
    name: Name,
    version: Annotated[int | None, typer.Option(metavar="VERSION", help="Only this one, unless it is played.")] = None,
    account: Account = "main",
) -> None:
    """Remove a prompt that no number plays, or one of its former versions. Calls that play it are not touched."""

    async def deed(rows: AsyncConnection, owner: UUID) -> None:
        now = datetime.now(UTC)
        if version is None:
            await played_prompts.remove_prompt(rows, operator(), owner, name, now)
        else:
            await library.remove(rows, operator(), owner, name, now, version)

    _of(account, deed)
    typer.echo(f"prompt {name}{'' if version is None else f': version {version}'} removed")


@app.command()
def play(
    name: Name,
    out: Annotated[Path, typer.Option("--out", metavar="FILE", help="Where the 16 kHz wav file is put.")],
    version: Annotated[int | None, typer.Option(metavar="VERSION", help="Default: the one that is played.")] = None,
    account: Account = "main",
) -> None:
    """Write a prompt as callers hear it into a wav file (미리 듣기)."""
    found = _of(account, lambda rows, owner: library.version_of(rows, owner, name, version))
    narrow = path_of(found.sound, read_settings().paths.sounds)
    wide = narrow.with_suffix(".wav16")
    shutil.copyfile(wide if wide.is_file() else narrow, out)
    typer.echo(f"prompt {name}: version {found.version}, {found.seconds:.1f} s, in {out}")


_Deed = Callable[[AsyncConnection, Shelf], Awaitable[Version]]


def _make(name: str, account: str, as_json: bool, deed: _Deed) -> None:
    settings = read_settings()

    async def within(rows: AsyncConnection) -> Version:
        now = datetime.now(UTC)
        owner = await account_named(rows, operator(), account, now)
        return await deed(rows, Shelf(owner.id, name, settings.paths.sounds, now))

    with _progress(f"making {name} …"):
        made = in_transaction(settings, within)
    if as_json:
        print_json([made])
    else:
        typer.echo(f"prompt {name}: version {made.version}, {made.seconds:.1f} s, is played from now on")


def _of(account: str, deed: Callable[[AsyncConnection, UUID], Awaitable[_T]]) -> _T:
    async def within(rows: AsyncConnection) -> _T:
        return await deed(rows, await account_of(rows, account))

    return in_transaction(read_settings(), within)


def _speech() -> AbstractAsyncContextManager[Speech]:
    settings = read_settings()
    return opened_speech(speech_setup(settings), settings.paths.sounds)


def _progress(text: str) -> AbstractContextManager[object]:
    """Something that moves while decoding or speaking takes its time, for people only."""
    return Console(stderr=True).status(text) if sys.stderr.isatty() else nullcontext()


_PROMPTS = (
    Column("Name"),
    Column("Version", right=True),
    Column("Of", right=True, spare=2),
    Column("Seconds", right=True),
    Column("From", spare=1),
    Column("Made", spare=3),
    Column("What", folds=True),
)
_VERSIONS = (
    Column("Version", right=True),
    Column("Played", spare=1),
    Column("Seconds", right=True),
    Column("From"),
    Column("Made"),
    Column("What", folds=True),
)


def _prompt_row(prompt: Prompt) -> list[Text]:
    current = prompt.current
    return [
        Text(printable(prompt.name), "bold"),
        Text(str(current.version)),
        Text(str(prompt.versions), "dim"),
        Text(f"{current.seconds:.1f}"),
        Text(current.origin.value),
        day_and_time(current.created_at),
        _what(current),
    ]


def _version_row(version: Version, current: bool) -> list[Text]:
    return [
        Text(str(version.version), "bold" if current else ""),
        or_dash("yes" if current else None),
        Text(f"{version.seconds:.1f}"),
        Text(version.origin.value),
        day_and_time(version.created_at),
        _what(version),
    ]


def _what(version: Version) -> Text:
    told = Text(printable(version.source.replace("\n", " ")))
    if version.voice:
        told.append(f" ({version.voice})", "dim")
    if version.origin is Origin.MIX and version.music:
        told.append(f" over {printable(version.music)}", "dim")
    return told

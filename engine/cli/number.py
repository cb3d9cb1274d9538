"""`dari number`: numbers in service and what each does."""

from __future__ import annotations

import re
from datetime import UTC, datetime
from pathlib import Path
from typing import Annotated
from uuid import UUID

import msgspec
import typer
from msgspec import UNSET
from rich.text import Text
from sqlalchemy.ext.asyncio import AsyncConnection

from engine.accounts.book import account_named, accounts, register_sender
from engine.cli.database import in_transaction
from engine.cli.printing import Column, or_dash, print_json, print_table
from engine.events.call_log import printable
from engine.foundation.errors import Invalid
from engine.foundation.phone_number import parse, written
from engine.numbers import inventory
from engine.numbers.inventory import NumberChange
from engine.numbers.model import ServiceNumber
from engine.numbers.rules import checked, kind_of
from engine.prompts.catalogue import keep
from engine.settings import read_settings

app = typer.Typer(
    add_completion=False, pretty_exceptions_enable=False, help="Put numbers into service and change what they do."
)

Number = Annotated[str, typer.Argument(metavar="NUMBER", help="As people write it: 0507-1234-5678.")]
_WHOM = typer.Option(
    "--target", metavar="NUMBER", help="Whom its calls ring: a landline, mobile, 070, 080 or 15xx number."
)
Ringback = Annotated[
    Path | None, typer.Option(metavar="FILE", help="What callers hear while it rings: any audio file up to 5 min.")
]
Whisper = Annotated[Path | None, typer.Option(metavar="FILE", help="What the shop alone hears before it is connected.")]
Record = Annotated[
    bool | None, typer.Option("--record/--no-record", help="Record, after the notice was played to both sides.")
]
Callback = Annotated[str | None, typer.Option(metavar="TEXT", help="The message to the caller after an answered call.")]
Sender = Annotated[
    str | None, typer.Option(metavar="NUMBER", help="The account's own number that the message comes from.")
]
Evidence = Annotated[
    str, typer.Option(metavar="TEXT", help="Proof that the account may use the sender number, kept with it.")
]
RepeatWindow = Annotated[
    int | None, typer.Option(metavar="DAYS", help="One message per recipient in so many days; 0: no limit. Default 7.")
]
MinTalk = Annotated[
    int | None, typer.Option(metavar="SECONDS", help="The message goes only after so long a talk. Default 10.")
]
RingTime = Annotated[
    int | None,
    typer.Option("--ring-seconds", metavar="SECONDS", help="How long the target rings. Default: the system's."),
]

_WORD = "the operator's word"


@app.command()
def add(
    number: Number,
    target: Annotated[str, _WHOM],
    ringback: Ringback = None,
    whisper: Whisper = None,
    record: Record = None,
    callback: Callback = None,
    sender: Sender = None,
    sender_evidence: Evidence = _WORD,
    repeat_window: RepeatWindow = None,
    min_talk: MinTalk = None,
    ring_seconds: RingTime = None,
    account: Annotated[str, typer.Option(metavar="NAME", help="Whose number it is; opened when new.")] = "main",
) -> None:
    """Put a number into service. It takes calls at once, without a restart."""
    parsed = parse(number)
    wanted = ServiceNumber(
        number=parsed,
        kind=kind_of(parsed),
        account_id=UUID(int=0),
        target=parse(target, "target"),
        ring_seconds=ring_seconds,
        record=bool(record),
        callback=callback,
        sender=None if sender is None else parse(sender, "sender"),
        repeat_window_days=7 if repeat_window is None else repeat_window,
        min_talk_seconds=10 if min_talk is None else min_talk,
    )
    checked(wanted)

    async def deed(rows: AsyncConnection) -> ServiceNumber:
        owner = await account_named(rows, account, datetime.now(UTC))
        if wanted.sender:
            await register_sender(rows, owner.id, wanted.sender, sender_evidence)
        sounds = {"ringback": _kept(ringback, "ringback"), "whisper": _kept(whisper, "whisper")}
        return await inventory.add(rows, msgspec.structs.replace(wanted, account_id=owner.id, **sounds))

    _tell("in service", in_transaction(read_settings(), deed))


@app.command("set")
def set_(
    number: Number,
    target: Annotated[str | None, _WHOM] = None,
    ringback: Ringback = None,
    no_ringback: Annotated[bool, typer.Option("--no-ringback", help="Back to the standard ringing tone.")] = False,
    whisper: Whisper = None,
    no_whisper: Annotated[bool, typer.Option("--no-whisper", help="No whisper any more.")] = False,
    record: Record = None,
    callback: Callback = None,
    no_callback: Annotated[bool, typer.Option("--no-callback", help="No message any more.")] = False,
    sender: Sender = None,
    sender_evidence: Evidence = _WORD,
    repeat_window: RepeatWindow = None,
    min_talk: MinTalk = None,
    ring_seconds: RingTime = None,
) -> None:
    """Change what a number does; what is not named stays. The next call goes by it."""
    _check_one_of("ringback", ringback, no_ringback)
    _check_one_of("whisper", whisper, no_whisper)
    _check_one_of("callback", callback, no_callback)
    parsed = parse(number)
    wanted = NumberChange(
        target=UNSET if target is None else parse(target, "target"),
        ring_seconds=UNSET if ring_seconds is None else ring_seconds,
        ringback=None if no_ringback else UNSET,
        whisper=None if no_whisper else UNSET,
        record=UNSET if record is None else record,
        callback=None if no_callback else UNSET if callback is None else callback,
        sender=UNSET if sender is None else parse(sender, "sender"),
        repeat_window_days=UNSET if repeat_window is None else repeat_window,
        min_talk_seconds=UNSET if min_talk is None else min_talk,
    )
    if wanted == NumberChange() and not ringback and not whisper:
        raise Invalid(f"number {number}: nothing to change; name what is to be different, see `dari number set --help`")

    async def deed(rows: AsyncConnection) -> ServiceNumber:
        found = await inventory.find(rows, parsed)
        if wanted.sender:
            await register_sender(rows, found.account_id, wanted.sender, sender_evidence)
        sounds = {"ringback": _kept(ringback, "ringback"), "whisper": _kept(whisper, "whisper")}
        given = {name: sound for name, sound in sounds.items() if sound}
        return await inventory.change(rows, parsed, msgspec.structs.replace(wanted, **given))

    _tell("changed", in_transaction(read_settings(), deed))


@app.command()
def remove(number: Number) -> None:
    """Take a number out of service: its callers hear that it does not exist."""
    parsed = parse(number)
    in_transaction(read_settings(), lambda rows: inventory.remove(rows, parsed))
    typer.echo(f"number {written(parsed)} out of service")


@app.command("list")
def list_(as_json: Annotated[bool, typer.Option("--json", help="One JSON object per line.")] = False) -> None:
    """List the numbers in service."""
    numbers, owners = in_transaction(read_settings(), _listed)
    if as_json:
        print_json(numbers)
    elif numbers:
        print_table(_COLUMNS, [_row(number, owners.get(number.account_id, "-")) for number in numbers])
    else:
        typer.echo("no numbers yet; add one with `dari number add NUMBER --target NUMBER`", err=True)


async def _listed(rows: AsyncConnection) -> tuple[list[ServiceNumber], dict[UUID, str]]:
    return await inventory.listing(rows), {account.id: account.name for account in await accounts(rows)}


_COLUMNS = (
    Column("Number"),
    Column("Target"),
    Column("Account", spare=2),
    Column("Ringback", spare=4),
    Column("Whisper", spare=3),
    Column("Recorded", spare=1),
    Column("Message after the call", folds=True),
)


def _row(number: ServiceNumber, owner: str) -> list[Text]:
    return [
        Text(written(number.number), "bold"),
        Text(written(number.target)),
        Text(printable(owner)),
        _sound(number.ringback),
        _sound(number.whisper),
        or_dash("yes" if number.record else None),
        _message(number),
    ]


def _sound(name: str | None) -> Text:
    """Own sounds are named after their content: the beginning is enough to tell them apart."""
    return or_dash(name and re.sub(r"(own/.{8}).*", r"\1", name))


def _message(number: ServiceNumber) -> Text:
    if not number.callback or not number.sender:
        return or_dash(None)
    terms = (
        f" (from {written(number.sender)}, after {number.min_talk_seconds} s, once in {number.repeat_window_days} d)"
    )
    return Text.assemble(printable(number.callback.replace("\n", " ")), (terms, "dim"))


def _kept(file: Path | None, field: str) -> str | None:
    return keep(file, read_settings().paths.sounds, field=field) if file else None


def _check_one_of(field: str, given: object, taken_away: bool) -> None:
    if given is not None and taken_away:
        raise Invalid(f"{field}: give --{field} or --no-{field}, not both")


def _tell(deed: str, number: ServiceNumber) -> None:
    typer.echo(f"number {written(number.number)} {deed}: rings {written(number.target)}")

"""`dari number`: numbers in service and what each does."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime
from enum import Enum
from typing import Annotated, Any
from uuid import UUID

import msgspec
import typer
from msgspec import UNSET
from rich.text import Text
from sqlalchemy.ext.asyncio import AsyncConnection

from engine.accounts.book import account_named, accounts, register_sender
from engine.cli import number_life, number_transfer
from engine.cli.calendar import shown_closed_day
from engine.cli.database import in_transaction
from engine.cli.limits import LimitOptions
from engine.cli.number_choice import choose
from engine.cli.options import with_options, word, words_of
from engine.cli.printing import Column, console, or_dash, print_json, print_table, table
from engine.cli.rules_table import checked_against, print_findings, rules_table
from engine.cli.this_machine import operator
from engine.cli.treatment import TreatmentOptions, check_one_of, named_only, takes_in
from engine.cli.wording import limits_words, sound_words, treatment_words
from engine.events.call_log import printable
from engine.foundation.errors import Invalid
from engine.foundation.phone_number import parse, written
from engine.numbers import inventory, life
from engine.numbers.inventory import NumberChange
from engine.numbers.model import NumberKind, ServiceNumber
from engine.numbers.rules import checked, kind_of, without
from engine.numbers.states import State
from engine.numbers.treatment import RecordMode, Treatment
from engine.routing import book, current_lines, number_settings
from engine.routing.finding import Finding
from engine.routing.model import Line
from engine.settings import read_settings

app = typer.Typer(
    add_completion=False, pretty_exceptions_enable=False, help="Put numbers into service and change what they do."
)
app.command()(choose)

Number = Annotated[str, typer.Argument(metavar="NUMBER", help="As people write it: 0507-1234-5678.")]
Json = Annotated[bool, typer.Option("--json", help="One JSON object per line.")]
_WHOM = typer.Option(
    "--target", metavar="NUMBER", help="Whom its calls ring: a landline, mobile, 070, 080 or 15xx number."
)
_AFTER = "The message after an answered call"
_WORD = "the operator's word"


class Served(Enum):
    """The states of numbers that routing knows."""

    IN_SERVICE = State.IN_SERVICE.value
    SUSPENDED = State.SUSPENDED.value


@dataclass(frozen=True, slots=True, kw_only=True)
class MessageOptions:
    """As typed; None: not named."""

    callback: Annotated[
        str | None,
        typer.Option(metavar="TEXT", help="The message to the caller.", rich_help_panel=_AFTER),
    ] = None
    sender: Annotated[
        str | None,
        typer.Option(
            metavar="NUMBER", help="The account's own number that messages come from.", rich_help_panel=_AFTER
        ),
    ] = None
    sender_evidence: Annotated[
        str,
        typer.Option(
            metavar="TEXT",
            help="Proof that the account may use the sender number, kept with it.",
            rich_help_panel=_AFTER,
        ),
    ] = _WORD
    repeat_window: Annotated[
        int | None,
        typer.Option(
            metavar="DAYS",
            help="One message per recipient in so many days; 0: no limit. Default 7.",
            rich_help_panel=_AFTER,
        ),
    ] = None
    min_talk: Annotated[
        int | None,
        typer.Option(
            metavar="SECONDS", help="The message goes only after so long a talk. Default 10.", rich_help_panel=_AFTER
        ),
    ] = None

    def settings(self) -> dict[str, Any]:
        """What was named, by the field that it is of a number. Raises Invalid."""
        named = {
            "callback": self.callback,
            "sender": None if self.sender is None else parse(self.sender, "sender"),
            "repeat_window_days": self.repeat_window,
            "min_talk_seconds": self.min_talk,
        }
        return {field: value for field, value in named.items() if value is not None}


@app.command()
@with_options
def add(
    number: Number,
    target: Annotated[str, _WHOM],
    options: TreatmentOptions,
    message: MessageOptions,
    limits: LimitOptions,
    account: Annotated[str, typer.Option(metavar="NAME", help="Whose number it is; opened when new.")] = "main",
    kind: Annotated[
        NumberKind | None,
        typer.Option(
            metavar=words_of(NumberKind),
            parser=word(NumberKind),
            help="Why it is served: own, the shop's own; mo, it receives messages. Default: what its digits say.",
        ),
    ] = None,
) -> None:
    """Put a number into service. It takes calls at once, without a restart."""
    parsed = parse(number)
    wanted = ServiceNumber(
        number=parsed,
        kind=kind or kind_of(parsed),
        account_id=UUID(int=0),
        target=parse(target, "target"),
        treatment=options.treatment(named_only),
        limits=limits.limits(),
        **message.settings(),
    )
    checked(wanted)

    async def deed(rows: AsyncConnection) -> tuple[ServiceNumber, tuple[Finding, ...]]:
        now = datetime.now(UTC)
        owner = await account_named(rows, operator(), account, now)
        if wanted.sender:
            await register_sender(rows, operator(), owner.id, wanted.sender, message.sender_evidence, now)
        treatment = options.treatment(await takes_in(rows, owner.id))
        new = msgspec.structs.replace(wanted, account_id=owner.id, treatment=treatment)
        return await number_settings.put_into_service(rows, operator(), new, checked_against())

    _tell("in service", *in_transaction(read_settings(), deed))


@app.command("set")
@with_options
def set_(
    number: Number,
    options: TreatmentOptions,
    message: MessageOptions,
    limits: LimitOptions,
    target: Annotated[str | None, _WHOM] = None,
    no_callback: Annotated[
        bool, typer.Option("--no-callback", help="No message any more.", rich_help_panel=_AFTER)
    ] = False,
    while_suspended: Annotated[
        str | None,
        typer.Option(metavar="SOUND", help="Of a suspended number: what its callers hear; it stays suspended."),
    ] = None,
    unset: Annotated[
        list[str] | None,
        typer.Option(metavar="SETTING", help="Back to the default: targets, order, consent …; again for more."),
    ] = None,
) -> None:
    """Change what a number does; what is not named stays. The next call goes by it."""
    check_one_of("callback", message.callback, taken_away=no_callback)
    parsed = parse(number)
    settings = message.settings() | ({"callback": None} if no_callback else {})
    clear = tuple(name.replace("-", "_") for name in unset or ())
    without(Treatment(), clear)
    wanted = NumberChange(
        target=UNSET if target is None else parse(target, "target"),
        treatment=options.treatment(named_only),
        clear=clear,
        **settings,
    )
    if wanted == NumberChange(treatment=Treatment()) and not limits.named and while_suspended is None:
        raise Invalid(f"number {number}: nothing to change; name what is to be different, see `dari number set --help`")

    async def deed(rows: AsyncConnection) -> tuple[ServiceNumber, tuple[Finding, ...]]:
        found = await inventory.find(rows, parsed)
        if sender := settings.get("sender"):
            evidence = message.sender_evidence
            await register_sender(rows, operator(), found.account_id, sender, evidence, datetime.now(UTC))
        whole = msgspec.structs.replace(wanted, limits=limits.limits(found.limits))
        checked(inventory.changed(found, whole))  # before any file is taken in
        take = await takes_in(rows, found.account_id)
        suspended = UNSET if while_suspended is None else take(while_suspended, "while-suspended")
        whole = msgspec.structs.replace(whole, treatment=options.treatment(take), suspended=suspended)
        return await number_settings.change(rows, operator(), parsed, whole, checked_against())

    _tell("changed", *in_transaction(read_settings(), deed))


@app.command()
def remove(number: Number) -> None:
    """Take a number out of service: its callers hear that it does not exist. The same as release."""
    parsed = parse(number)

    async def deed(rows: AsyncConnection) -> None:
        await inventory.find(rows, parsed)
        await life.release(rows, operator(), parsed, datetime.now(UTC), number_life.standing_terms())

    in_transaction(read_settings(), deed)
    typer.echo(f"number {written(parsed)} out of service")


@app.command("list")
def list_(
    state: Annotated[
        Served | None,
        typer.Option("--state", metavar=words_of(Served), parser=word(Served), help="Only those in this state."),
    ] = None,
    as_json: Json = False,
) -> None:
    """List the numbers in service, suspended ones too."""
    every, owners = in_transaction(read_settings(), _listed)
    numbers = [number for number in every if state in (None, _state(number))]
    if as_json:
        print_json([{**msgspec.structs.asdict(number), "state": _state(number)} for number in numbers])
    elif numbers:
        print_table(_COLUMNS, [_row(number, owners.get(number.account_id, "-")) for number in numbers])
    elif every:
        typer.echo(f"no number is {state.value if state else 'there'}", err=True)
    else:
        typer.echo("no numbers yet; add one with `dari number add NUMBER --target NUMBER`", err=True)


@app.command()
def show(number: Number, as_json: Json = False) -> None:
    """Show everything about a number: its settings, its rules in their order, what is odd about them."""
    parsed = parse(number)

    async def deed(rows: AsyncConnection) -> tuple[Line, str, tuple[Finding, ...]]:
        line = await current_lines.find_as_set(rows, parsed)
        owners = {account.id: account.name for account in await accounts(rows)}
        return line, owners[line.number.account_id], await book.check_rules(rows, parsed, checked_against())

    line, owner, findings = in_transaction(read_settings(), deed)
    if as_json:
        print_json([_everything(line, owner, findings)])
    else:
        _print_everything(line, owner)
        print_findings(findings)


async def _listed(rows: AsyncConnection) -> tuple[list[ServiceNumber], dict[UUID, str]]:
    return await inventory.listing(rows), {account.id: account.name for account in await accounts(rows)}


def _everything(line: Line, owner: str, findings: tuple[Finding, ...]) -> dict[str, object]:
    groups = {name: len(numbers) for name, numbers in line.account.groups.items()}
    account = {"name": owner, "zone": line.account.zone, "limits": line.account.limits, "groups": groups}
    return {
        **msgspec.structs.asdict(line.number),
        "account": account | {"closed_days": line.account.closed_days},
        "rules": line.rules,
        "closed_days": line.closed_days,
        "findings": findings,
    }


def _print_everything(line: Line, owner: str) -> None:
    number = line.number
    made = table("", "")
    made.show_header = False
    closed = [*map(shown_closed_day, line.closed_days), *map(shown_closed_day, line.account.closed_days)]
    shown = {
        "number": f"{written(number.number)} ({number.kind.value})",
        "account": f"{printable(owner)} ({line.account.zone}), limits {limits_words(line.account.limits)}",
        "target": written(number.target),
        **({"suspended": f"all callers hear {number.suspended}"} if number.suspended else {}),
        **treatment_words(number.treatment),
        "limits": limits_words(number.limits),
        "closed days": ", ".join(closed) or "none",
        "message after a talk": _message(number).plain,
    }
    for name, text in shown.items():
        made.add_row(Text(name, "bold"), Text(printable(text)))
    console().print(made)
    if line.rules:
        console().print()
        print_table(*rules_table(line.rules))
    else:
        typer.echo(f"no rules yet; add one with `dari rule add {written(number.number)} NAME`")


_COLUMNS = (
    Column("Number"),
    Column("State"),
    Column("Target"),
    Column("Account", spare=2),
    Column("Ringback", spare=4),
    Column("Whisper", spare=3),
    Column("Recorded", spare=1),
    Column("Message after the call", folds=True),
)


def _row(number: ServiceNumber, owner: str) -> list[Text]:
    treatment = number.treatment
    recorded = treatment.recording if treatment.recording is not RecordMode.NEVER else None
    targets = treatment.targets
    return [
        Text(written(number.number), "bold"),
        Text(_state(number).value, "bold red" if number.suspended else "dim"),
        Text(", ".join(written(target.number) for target in targets) if targets else written(number.target)),
        Text(printable(owner)),
        or_dash(sound_words(treatment.ringback or ())),
        or_dash(printable(treatment_words(Treatment(whisper=treatment.whisper)).get("whisper", ""))),
        or_dash(recorded and recorded.value),
        _message(number),
    ]


def _state(number: ServiceNumber) -> Served:
    return Served.SUSPENDED if number.suspended is not None else Served.IN_SERVICE


def _message(number: ServiceNumber) -> Text:
    if not number.callback or not number.sender:
        return or_dash(None)
    terms = (
        f" (from {written(number.sender)}, after {number.min_talk_seconds} s, once in {number.repeat_window_days} d)"
    )
    return Text.assemble(printable(number.callback.replace("\n", " ")), (terms, "dim"))


def _tell(deed: str, number: ServiceNumber, findings: tuple[Finding, ...]) -> None:
    targets = number.treatment.targets
    rung = ", ".join(written(target.number) for target in targets) if targets else written(number.target)
    typer.echo(f"number {written(number.number)} {deed}: rings {rung}")
    print_findings(findings)


app.registered_commands += number_life.app.registered_commands
app.add_typer(number_transfer.app, name="transfer")

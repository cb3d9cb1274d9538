"""`dari rule`: when a number treats its calls otherwise."""

from __future__ import annotations

import sys
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

import msgspec
import typer
from msgspec import UNSET
from sqlalchemy.ext.asyncio import AsyncConnection

from engine.cli.condition import ConditionOptions
from engine.cli.database import in_transaction
from engine.cli.options import with_options
from engine.cli.printing import print_json, print_table
from engine.cli.rules_table import checked_against, print_findings, rules_table
from engine.cli.this_machine import operator
from engine.cli.treatment import Take, TreatmentOptions, check_one_of, named_only, takes_in
from engine.foundation.errors import Invalid
from engine.foundation.phone_number import PhoneNumber, parse, written
from engine.numbers import inventory
from engine.numbers.treatment import Treatment
from engine.routing import book
from engine.routing.book import Kept
from engine.routing.model import Rule
from engine.routing.rule_change import RuleChange
from engine.routing.rules import checked_rule
from engine.settings import read_settings
from engine.whatif.replay import RuleSet

app = typer.Typer(
    add_completion=False,
    pretty_exceptions_enable=False,
    help="Say when a number treats its calls otherwise. Of two rules that say the same setting, the first decides.",
)

Number = Annotated[str, typer.Argument(metavar="NUMBER", help="As people write it: 0507-1234-5678.")]
Name = Annotated[str, typer.Argument(metavar="NAME", help="The rule's name, of your own choice.")]
Json = Annotated[bool, typer.Option("--json", help="One JSON object per line.")]
_POSITION = typer.Option("--at", metavar="POSITION", help="Its place among the rules, counted from 1.")


@dataclass(frozen=True, slots=True, kw_only=True)
class CallbackOptions:
    """As typed; None: not named."""

    callback: Annotated[
        str | None,
        typer.Option(
            metavar="TEXT",
            help="The message after an answered call, instead of the number's.",
            rich_help_panel="Recording and messages",
        ),
    ] = None
    no_callback: Annotated[
        bool, typer.Option("--no-callback", help="No message.", rich_help_panel="Recording and messages")
    ] = False

    def treatment(self, options: TreatmentOptions, take: Take) -> Treatment:
        """With what `options` name. Raises Invalid."""
        check_one_of("callback", self.callback, taken_away=self.no_callback)
        named = "" if self.no_callback else self.callback
        return msgspec.structs.replace(options.treatment(take), callback=named)


@app.command("list")
def list_(number: Number, as_json: Json = False) -> None:
    """List a number's rules in the order in which they are asked."""
    parsed = parse(number)
    rules = in_transaction(read_settings(), lambda rows: book.rules(rows, parsed))
    if as_json:
        print_json(rules)
    elif rules:
        print_table(*rules_table(rules))
    else:
        typer.echo(f"no rules yet; add one with `dari rule add {written(parsed)} NAME`", err=True)


@app.command()
@with_options
def add(
    number: Number,
    name: Name,
    condition: ConditionOptions,
    options: TreatmentOptions,
    callback: CallbackOptions,
    position: Annotated[int | None, _POSITION] = None,
    disabled: Annotated[bool, typer.Option("--disabled", help="Keep it, and do not ask it yet.")] = False,
) -> None:
    """Add a rule. Where nothing is said, it goes behind those that are as special: callers, dates, kinds of day,
    weekdays and times, the rest.
    """
    parsed = parse(number)
    asked = condition.condition()

    def rule(take: Take) -> Rule:
        treatment = callback.treatment(options, take)
        return Rule(name=name, condition=asked, treatment=treatment, enabled=not disabled)

    checked_rule(rule(named_only), parsed)

    async def deed(rows: AsyncConnection) -> Kept:
        return await book.add_rule(
            rows, operator(), parsed, rule(await _takes_in(rows, parsed)), checked_against(), position
        )

    _do(parsed, name, "added", deed)


@app.command("set")
@with_options
def set_(
    number: Number,
    name: Name,
    condition: ConditionOptions,
    options: TreatmentOptions,
    callback: CallbackOptions,
    rename: Annotated[str | None, typer.Option(metavar="NAME", help="Its new name.")] = None,
    unset: Annotated[
        list[str] | None,
        typer.Option(
            metavar="SETTING", help="Says this no more: weekdays, callers, ringback, whisper …; again for more."
        ),
    ] = None,
) -> None:
    """Change a rule where it stands; what is not named stays."""
    parsed = parse(number)

    def wanted(take: Take) -> RuleChange:
        return RuleChange(
            name=UNSET if rename is None else rename,
            condition=condition.condition(),
            treatment=callback.treatment(options, take),
            clear=tuple(setting.replace("-", "_") for setting in unset or ()),
        )

    named = wanted(named_only)
    if named == RuleChange():
        raise Invalid(f"rule {name!r}: nothing to change; name what is to be different, see `dari rule set --help`")
    checked_rule(Rule(name=name, condition=named.condition, treatment=named.treatment), parsed)

    async def deed(rows: AsyncConnection) -> Kept:
        change = wanted(await _takes_in(rows, parsed))
        return await book.change_rule(rows, operator(), parsed, name, change, checked_against())

    _do(parsed, rename or name, "changed", deed)


@app.command()
def move(number: Number, name: Name, position: Annotated[int, _POSITION]) -> None:
    """Put a rule at another place: the first that says a setting decides it."""
    parsed = parse(number)
    _do(parsed, name, "moved", lambda rows: book.move_rule(rows, operator(), parsed, name, position, checked_against()))


@app.command()
def enable(number: Number, name: Name) -> None:
    """Let a rule be asked again."""
    parsed = parse(number)
    _switch(parsed, name, enabled=True)


@app.command()
def disable(number: Number, name: Name) -> None:
    """Keep a rule without asking it."""
    parsed = parse(number)
    _switch(parsed, name, enabled=False)


@app.command()
def remove(number: Number, name: Name) -> None:
    """Remove a rule."""
    parsed = parse(number)
    _do(parsed, name, "removed", lambda rows: book.remove_rule(rows, operator(), parsed, name, checked_against()))


@app.command()
def check(number: Number, as_json: Json = False) -> None:
    """Find rules that never hold, never decide or contradict themselves."""
    parsed = parse(number)
    findings = in_transaction(read_settings(), lambda rows: book.check_rules(rows, parsed, checked_against()))
    if as_json:
        print_json(findings)
    elif findings:
        for finding in findings:
            typer.echo(f"{finding.severity.value}: {finding.sentence}")
    else:
        typer.echo(f"number {written(parsed)}: nothing is odd about it")


@app.command()
def export(numbers: Annotated[list[str], typer.Argument(metavar="NUMBER…", help="One number or several.")]) -> None:
    """Write the rules of numbers as JSON, for `dari rule import`, another number, or `dari replay --with`."""
    parsed = [parse(number) for number in numbers]

    async def deed(rows: AsyncConnection) -> dict[str, RuleSet]:
        return {written(number): RuleSet(rules=await book.rules(rows, number)) for number in parsed}

    exported = in_transaction(read_settings(), deed)
    typer.echo(msgspec.json.format(msgspec.json.encode(exported), indent=2).decode())


@app.command("import")
def import_(
    number: Number, file: Annotated[str, typer.Argument(metavar="FILE", help="What was exported; - for stdin.")]
) -> None:
    """Replace all rules of a number by those in a file: its own, or those of the one number that it holds."""
    parsed = parse(number)
    rules = read_rules(file, parsed)
    kept = in_transaction(
        read_settings(), lambda rows: book.replace_rules(rows, operator(), parsed, rules, checked_against())
    )
    typer.echo(f"number {written(parsed)} has {len(kept.rules)} rules now")
    print_findings(kept.findings)


def read_rules(file: str, number: PhoneNumber) -> tuple[Rule, ...]:
    """The rules for a number in a file as `export` writes it, or a bare list of them; `-`: stdin. Raises Invalid."""
    try:
        content = sys.stdin.buffer.read() if file == "-" else Path(file).read_bytes()
        read = msgspec.json.decode(content, type=list[Rule] | dict[str, RuleSet])
    except (msgspec.MsgspecError, UnicodeDecodeError) as error:
        raise Invalid(f"rules: {file} cannot be read ({error}); give a file that `dari rule export` wrote") from None
    if isinstance(read, list):
        return tuple(read)
    sets: dict[PhoneNumber, RuleSet] = {parse(text, "rules"): wanted for text, wanted in read.items()}
    wanted = sets.get(number) or (next(iter(sets.values())) if len(sets) == 1 else None)
    if wanted is None or wanted.rules is None:
        raise Invalid(f"rules: {file} holds no rules for {written(number)}; export it, or one other number alone")
    return wanted.rules


async def _takes_in(rows: AsyncConnection, number: PhoneNumber) -> Take:
    return await takes_in(rows, (await inventory.find(rows, number)).account_id)


def _switch(number: PhoneNumber, name: str, *, enabled: bool) -> None:
    async def deed(rows: AsyncConnection) -> Kept:
        return await book.enable_rule(rows, operator(), number, name, checked_against(), enabled=enabled)

    _do(number, name, "enabled" if enabled else "disabled", deed)


def _do(number: PhoneNumber, name: str, deed: str, work: Callable[[AsyncConnection], Awaitable[Kept]]) -> None:
    kept = in_transaction(read_settings(), work)
    place = next((place for place, rule in enumerate(kept.rules, 1) if rule.name == name.strip()), None)
    where = f", number {place} of {len(kept.rules)}" if place else ""
    typer.echo(f"rule {name!r} of {written(number)} {deed}{where}")
    print_findings(kept.findings)

"""`dari trunk`: the carriers' lines."""

from __future__ import annotations

import asyncio
import sys
from datetime import UTC, datetime
from enum import Enum
from pathlib import Path
from typing import Annotated, TypeVar

import msgspec
import typer
from msgspec import UNSET, UnsetType
from rich.text import Text
from sqlalchemy.ext.asyncio import AsyncConnection

from engine.calls.control_all import engines_status
from engine.cli.database import in_transaction
from engine.cli.printing import Column, console, or_dash, print_json, print_table
from engine.cli.this_machine import operator
from engine.foundation.errors import Invalid, TryLater
from engine.settings import Settings, read_settings
from engine.trunks import registry
from engine.trunks.model import Health, Login, NumberFormat, Trunk, TrunkShown, TrunkState, shown
from engine.trunks.registry import TrunkChange

app = typer.Typer(
    add_completion=False,
    pretty_exceptions_enable=False,
    help="Name the carriers' lines: who may call in, how calls go out.",
)

T = TypeVar("T")


class CallerFormat(Enum):
    """`NumberFormat`, and the word for having none of its own."""

    NATIONAL = "national"
    E164 = "e164"
    INTERNATIONAL = "international"
    SAME = "same"


Name = Annotated[str, typer.Argument(metavar="NAME", help="Letters, digits and hyphens.")]
_FROM = typer.Option(
    "--match", metavar="IP", help="IPv4 address or network that its calls come from; give it again for more."
)
_TO = typer.Option("--contact", metavar="URI", help="Where calls go out: sip:host or sip:host:port.")
Format = Annotated[
    NumberFormat | None,
    typer.Option("--number-format", help="How it wants numbers: 0212345678, +82212345678 or 82212345678."),
]
Caller = Annotated[
    CallerFormat | None, typer.Option("--caller-format", help="How it wants the caller's number; same: as the others.")
]
Prefix = Annotated[str | None, typer.Option("--prefix", metavar="DIGITS", help="Dialled before every number.")]
Trusted = Annotated[
    bool | None, typer.Option("--trusted/--untrusted", help="Whether its word on the caller's number is believed.")
]
Outgoing = Annotated[
    bool | None, typer.Option("--outgoing/--incoming-only", help="Whether calls are sent to it as well.")
]
Priority = Annotated[int | None, typer.Option("--priority", help="The lowest is tried first; 100 unless named.")]
User = Annotated[str | None, typer.Option("--user", help="Who we are when the carrier asks for a password.")]
PasswordFile = Annotated[
    Path | None,
    typer.Option(
        "--password-file", metavar="FILE", help="File whose first line is that password; - reads it from the terminal."
    ),
]
Realm = Annotated[str | None, typer.Option("--realm", help="The only realm to answer; empty: any.")]
Register = Annotated[
    bool | None, typer.Option("--register/--no-register", help="Whether we register there (REGISTER) as that user.")
]
RegisteredAs = Annotated[
    str | None, typer.Option("--registered-as", metavar="NUMBER", help="What its calls then go to; empty: the user.")
]
MaxCalls = Annotated[
    int | None, typer.Option("--max-calls", help="Calls at once, both directions; 0 takes the limit off.")
]
Rate = Annotated[float | None, typer.Option("--calls-per-second", help="Calls sent to it; 0 takes the limit off.")]
Ringing = Annotated[
    int | None,
    typer.Option(
        "--longest-ringing", metavar="SECONDS", help="Less than its own no-answer time; 0 takes the limit off."
    ),
]
Provisional = Annotated[
    float | None,
    typer.Option(
        "--provisional-seconds", metavar="SECONDS", help="Silence after which a call goes on to the next trunk."
    ),
]
EarlyDtmf = Annotated[
    bool | None, typer.Option("--early-dtmf/--no-early-dtmf", help="Whether keys arrive before the answer.")
]
Options = Annotated[
    int | None,
    typer.Option("--options-seconds", metavar="SECONDS", help="How often it is asked whether it is there; 0: never."),
]
AsJson = Annotated[bool, typer.Option("--json", help="One JSON object per line.")]


@app.command()
def add(
    name: Name,
    match: Annotated[list[str], _FROM],
    contact: Annotated[str, _TO],
    number_format: Format = None,
    caller_format: Caller = None,
    prefix: Prefix = None,
    trusted: Trusted = None,
    outgoing: Outgoing = None,
    priority: Priority = None,
    user: User = None,
    password_file: PasswordFile = None,
    realm: Realm = None,
    register: Register = None,
    registered_as: RegisteredAs = None,
    max_calls: MaxCalls = None,
    calls_per_second: Rate = None,
    longest_ringing: Ringing = None,
    provisional_seconds: Provisional = None,
    early_dtmf: EarlyDtmf = None,
    options_seconds: Options = None,
) -> None:
    """Add a trunk. It takes calls at once, without a restart."""
    change = TrunkChange(
        login=_login(name, None, user, _password(name, password_file), realm),
        number_format=_given(number_format),
        caller_format=_caller_format(caller_format),
        prefix=_given(prefix),
        trusted=_given(trusted),
        outgoing=_given(outgoing),
        priority=_given(priority),
        register=_given(register),
        registered_as=_given(registered_as),
        max_calls=_limit(max_calls),
        calls_per_second=_limit(calls_per_second),
        longest_ringing=_limit(longest_ringing),
        provisional_seconds=_given(provisional_seconds),
        early_dtmf=_given(early_dtmf),
        options_seconds=_given(options_seconds),
    )
    trunk = registry.changed(Trunk(name=name, match=tuple(match), contact=contact), change)
    _tell(
        "added", in_transaction(read_settings(), lambda rows: registry.add(rows, operator(), trunk, datetime.now(UTC)))
    )


@app.command("set")
def set_(
    name: Name,
    match: Annotated[list[str] | None, _FROM] = None,
    contact: Annotated[str | None, _TO] = None,
    number_format: Format = None,
    caller_format: Caller = None,
    prefix: Prefix = None,
    trusted: Trusted = None,
    outgoing: Outgoing = None,
    priority: Priority = None,
    user: User = None,
    password_file: PasswordFile = None,
    realm: Realm = None,
    no_user: Annotated[bool, typer.Option("--no-user", help="Forget user, password and realm.")] = False,
    register: Register = None,
    registered_as: RegisteredAs = None,
    max_calls: MaxCalls = None,
    calls_per_second: Rate = None,
    longest_ringing: Ringing = None,
    provisional_seconds: Provisional = None,
    early_dtmf: EarlyDtmf = None,
    options_seconds: Options = None,
) -> None:
    """Change a trunk; what is not named stays, and 0 takes a limit off. --match names all its addresses anew."""
    change = TrunkChange(
        match=tuple(match) if match else UNSET,
        contact=_given(contact),
        number_format=_given(number_format),
        caller_format=_caller_format(caller_format),
        prefix=_given(prefix),
        trusted=_given(trusted),
        outgoing=_given(outgoing),
        priority=_given(priority),
        login=None if no_user else UNSET,
        register=_given(register),
        registered_as=_given(registered_as),
        max_calls=_limit(max_calls),
        calls_per_second=_limit(calls_per_second),
        longest_ringing=_limit(longest_ringing),
        provisional_seconds=_given(provisional_seconds),
        early_dtmf=_given(early_dtmf),
        options_seconds=_given(options_seconds),
    )
    password = _password(name, password_file)
    names_login = (user, password, realm) != (None, None, None)
    if no_user and names_login:
        raise Invalid(f"trunk {name}: --no-user forgets what --user, --password-file and --realm name; not both")
    if change == TrunkChange() and not names_login:
        raise Invalid(f"trunk {name}: nothing to change; name what is to be different, see `dari trunk set --help`")

    async def deed(rows: AsyncConnection) -> Trunk:
        wanted = change
        if names_login:
            login = _login(name, (await registry.one(rows, name)).login, user, password, realm)
            wanted = msgspec.structs.replace(change, login=login)
        return await registry.change(rows, operator(), name, wanted, datetime.now(UTC))

    _tell("changed", in_transaction(read_settings(), deed))


@app.command()
def remove(name: Name) -> None:
    """Remove a trunk: its calls are turned away from now on."""
    in_transaction(read_settings(), lambda rows: registry.remove(rows, operator(), name, datetime.now(UTC)))
    typer.echo(f"trunk {name} removed")


class Listed(TrunkShown, frozen=True, kw_only=True):
    """A trunk as it is set, and as it is."""

    state: TrunkState | None
    """None: no engine is there to say."""


@app.command("list")
def list_(as_json: AsJson = False) -> None:
    """List the trunks with their health and the calls that they have now."""
    settings = read_settings()
    trunks = in_transaction(settings, registry.listing)
    states = _states(settings) if trunks else {}
    listed = [_listed(trunk, states) for trunk in trunks]
    if as_json:
        print_json(listed)
    elif listed:
        print_table(_COLUMNS, [_row(trunk) for trunk in listed])
    else:
        typer.echo("no trunks yet; add one with `dari trunk add NAME --match IP --contact URI`", err=True)


@app.command()
def show(name: Name, as_json: AsJson = False) -> None:
    """Show everything about one trunk but its password."""
    settings = read_settings()
    trunk = in_transaction(settings, lambda rows: registry.one(rows, name))
    listed = _listed(trunk, _states(settings))
    if as_json:
        print_json([listed])
        return
    out = console()
    for what, value in _facts(listed):
        out.print(Text(f"{what:<18}{value}"))


_COLUMNS = (
    Column("Name"),
    Column("Calls come from", folds=True),
    Column("Calls go to"),
    Column("Health"),
    Column("Calls", right=True),
    Column("Priority", right=True, spare=1),
    Column("Registers", spare=3),
    Column("Numbers", spare=4),
    Column("Caller's number", spare=2),
)

_HEALTH_STYLE = {Health.UP: "green", Health.DOWN: "red", Health.UNKNOWN: "dim"}


def _row(trunk: Listed) -> list[Text]:
    state = trunk.state
    return [
        Text(trunk.name, "bold"),
        Text(", ".join(trunk.match)),
        Text(trunk.contact),
        Text(state.health.value, _HEALTH_STYLE[state.health]) if state else Text("-", "dim"),
        Text(_calls(trunk)),
        Text(str(trunk.priority) if trunk.outgoing else "incoming only"),
        or_dash(trunk.user if trunk.register else None),
        Text(trunk.number_format.value),
        Text("believed" if trunk.trusted else "not believed"),
    ]


def _calls(trunk: Listed) -> str:
    now = str(trunk.state.calls) if trunk.state else "-"
    return f"{now} of {trunk.max_calls}" if trunk.max_calls else now


def _facts(trunk: Listed) -> list[tuple[str, str]]:
    caller = trunk.caller_format or trunk.number_format
    return [
        ("name", trunk.name),
        ("calls come from", ", ".join(trunk.match)),
        ("calls go to", trunk.contact if trunk.outgoing else f"{trunk.contact}, but none are sent"),
        ("priority", str(trunk.priority)),
        ("numbers", f"{trunk.number_format.value}{f', after {trunk.prefix}' if trunk.prefix else ''}"),
        ("caller's number", f"{caller.value}, {'believed' if trunk.trusted else 'not believed'}"),
        ("user", f"{trunk.user}{f' at {trunk.realm}' if trunk.realm else ''}" if trunk.user else "-"),
        ("registers", f"yes, calls then go to {trunk.registered_as or trunk.user}" if trunk.register else "no"),
        ("calls at once", _calls(trunk)),
        ("calls per second", _or_no_limit(trunk.calls_per_second)),
        ("longest ringing", _or_no_limit(trunk.longest_ringing, " s")),
        ("counts as away", f"after {trunk.provisional_seconds:g} s without any answer"),
        ("early keys", "arrive" if trunk.early_dtmf else "do not arrive"),
        ("asked by OPTIONS", f"every {trunk.options_seconds} s" if trunk.options_seconds else "never"),
        ("health", _health(trunk.state)),
    ]


def _or_no_limit(value: float | None, unit: str = "") -> str:
    return "no limit" if value is None else f"{value:g}{unit}"


def _health(state: TrunkState | None) -> str:
    if state is None:
        return "not known: the engine does not answer"
    trip = f", answers in {state.round_trip_ms:.1f} ms" if state.round_trip_ms is not None else ""
    reason = f": {state.reason}" if state.reason else ""
    return f"{state.health.value}{reason}{trip}{', registered' if state.registered else ''}"


def _listed(trunk: Trunk, states: dict[str, TrunkState]) -> Listed:
    return Listed(**msgspec.structs.asdict(shown(trunk)), state=states.get(trunk.name))


def _states(settings: Settings) -> dict[str, TrunkState]:
    """How each trunk is, from the engine; empty when there is none."""
    try:
        status = asyncio.run(engines_status(settings.engine_sockets))
    except TryLater:
        return {}
    return {state.name: state for state in status.trunks}


def _given(value: T | None) -> T | UnsetType:
    return UNSET if value is None else value


def _limit(value: T | None) -> T | UnsetType | None:
    """0 takes a limit away."""
    if value is None:
        return UNSET
    return value or None


def _caller_format(value: CallerFormat | None) -> NumberFormat | UnsetType | None:
    if value is None:
        return UNSET
    return None if value is CallerFormat.SAME else NumberFormat(value.value)


def _login(
    name: str, before: Login | None, user: str | None, password: str | None, realm: str | None
) -> Login | UnsetType:
    """The login as it is to be; what is not named stays."""
    if (user, password, realm) == (None, None, None):
        return UNSET
    user = before.user if user is None and before else user
    password = before.password if password is None and before else password
    if not user or not password:
        missing = "--user" if not user else "--password-file"
        raise Invalid(f"trunk {name}: user and password belong together; name {missing} too")
    return Login(user=user, password=password, realm=realm if realm is not None else before.realm if before else "")


def _password(name: str, file: Path | None) -> str | None:
    """The first line of `file`. On the command line everybody on the machine could read it."""
    if file is None:
        return None
    try:
        text = _typed() if str(file) == "-" else file.read_text()
    except (OSError, UnicodeDecodeError) as error:
        reason = error.strerror if isinstance(error, OSError) else "it is no text"
        raise Invalid(f"trunk {name}: password file {file} cannot be read: {reason}") from None
    lines = text.splitlines()
    if not lines or not lines[0]:
        raise Invalid(f"trunk {name}: password file {file} has no password in its first line")
    return lines[0]


def _typed() -> str:
    return str(typer.prompt("Password", hide_input=True, err=True)) if sys.stdin.isatty() else sys.stdin.readline()


def _tell(deed: str, trunk: Trunk) -> None:
    out = f"calls out to {trunk.contact}" if trunk.outgoing else "no calls out"
    typer.echo(f"trunk {trunk.name} {deed}: calls from {', '.join(trunk.match)}, {out}")

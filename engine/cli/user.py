"""`dari user`: who signs in, and what they may."""

from __future__ import annotations

import sys
from collections.abc import Awaitable, Callable
from datetime import UTC, datetime
from typing import Annotated, TypeVar
from uuid import UUID

import msgspec
import typer
from rich.text import Text
from sqlalchemy.ext.asyncio import AsyncConnection

from engine.accounts import new_password, one_time_codes, sessions, users
from engine.accounts.book import account_called, accounts
from engine.accounts.model import Deed, Role
from engine.accounts.user import NewUser, Session, Token, User, UserChange, UserStatus
from engine.cli.database import in_transaction
from engine.cli.options import word, words_of
from engine.cli.printing import Column, day_and_time, or_dash, print_json, print_table
from engine.cli.this_machine import operator
from engine.events.call_log import KST, printable
from engine.foundation.errors import Conflict, Invalid
from engine.settings import read_settings

app = typer.Typer(
    add_completion=False,
    pretty_exceptions_enable=False,
    help="Invite people, say what they may, lock them out. Each sets their password with a token of their own.",
)

_T = TypeVar("_T")
_MOST = 100_000
Login = Annotated[str, typer.Argument(metavar="LOGIN", help="Their e-mail address.")]
AsJson = Annotated[bool, typer.Option("--json", help="One JSON object per line.")]
_ROLE = typer.Option("--role", metavar="ROLE", parser=word(Role), help=f"What they are: {words_of(Role)}.")
_ALLOW = typer.Option(
    "--allow", metavar="DEED", parser=word(Deed), help="For staff, beyond looking: change-rules …; again for more."
)


@app.command()
def add(
    login: Login,
    role: Annotated[Role, _ROLE],
    account: Annotated[str, typer.Option(metavar="NAME", help="Where they belong to.")] = "operator",
    name: Annotated[str, typer.Option(metavar="NAME", help="What they are called.")] = "",
    allow: Annotated[list[Deed] | None, _ALLOW] = None,
    as_json: AsJson = False,
) -> None:
    """Invite somebody; hand them the token, with which they set their password within seven days."""

    async def deed(rows: AsyncConnection) -> tuple[User, Token]:
        owner = await account_called(rows, account)
        wanted = NewUser(login=login, name=name or login, role=role, allowed=frozenset(allow or ()))
        return await users.add(rows, operator(), owner.id, wanted, _now())

    user, token = _done(deed)
    _tell_token(user, token, f"user {user.login} invited", as_json=as_json)


@app.command("list")
def list_(
    account: Annotated[str, typer.Option(metavar="NAME", help="Only this account's.")] = "",
    removed: Annotated[bool, typer.Option("--removed", help="Those that were removed too.")] = False,
    as_json: AsJson = False,
) -> None:
    """List the users."""

    async def deed(rows: AsyncConnection) -> tuple[list[User], dict[UUID, str]]:
        owner = (await account_called(rows, account)).id if account else None
        found = await users.listing(rows, operator(), account=owner, removed=removed, limit=_MOST)
        return found, {each.id: each.name for each in await accounts(rows)}

    found, owners = _done(deed)
    if as_json:
        print_json(map(_as_object, found))
    elif found:
        print_table(_USERS, [_row(user, owners.get(user.place.account, "operator")) for user in found])
    else:
        typer.echo("no users yet; invite one with `dari user add LOGIN --role ROLE --account NAME`", err=True)


@app.command("set")
def set_(
    login: Login,
    name: Annotated[str | None, typer.Option(metavar="NAME", help="What they are called.")] = None,
    role: Annotated[Role | None, _ROLE] = None,
    allow: Annotated[list[Deed] | None, _ALLOW] = None,
    allow_nothing: Annotated[bool, typer.Option("--allow-nothing", help="Staff that only look.")] = False,
) -> None:
    """Change a user; what is not named stays. What is allowed is named whole."""
    if allow and allow_nothing:
        raise Invalid("allow: give --allow or --allow-nothing, not both")
    allowed = frozenset(allow or ()) if allow or allow_nothing else None
    wanted = UserChange(name=name, role=role, allowed=allowed)
    if wanted == UserChange():
        raise Invalid(f"user {login}: nothing to change; name what is to be different, see `dari user set --help`")
    user = _done_to(login, lambda rows, found: users.change(rows, operator(), found.id, wanted, _now()))
    typer.echo(f"user {user.login} changed: {user.role.value}, {_allowed(user) or 'nothing allowed beyond it'}")


@app.command()
def lock(
    login: Login,
    off: Annotated[bool, typer.Option("--off", help="Let them in again, failed sign-ins forgotten.")] = False,
) -> None:
    """Keep somebody out; their sessions end at once."""
    deed = users.unlock if off else users.lock
    user = _done_to(login, lambda rows, found: deed(rows, operator(), found.id, _now()))
    typer.echo(f"user {user.login} is {user.status.value}")


@app.command()
def remove(login: Login) -> None:
    """Take somebody away for good; what they did stays written down."""
    user = _done_to(login, lambda rows, found: users.remove(rows, operator(), found.id, _now()))
    typer.echo(f"user {user.login} removed")


@app.command()
def reset(
    login: Login,
    password: Annotated[
        bool, typer.Option("--password", help="Type the new password here, or put it on standard input.")
    ] = False,
    codes: Annotated[bool, typer.Option("--codes", help="No one-time codes any more; the password stays.")] = False,
    as_json: AsJson = False,
) -> None:
    """Give somebody a token for a new password, or take lost one-time codes away."""
    if password and codes:
        raise Invalid("reset: give --password or --codes, not both")
    if codes:
        _done_to(login, lambda rows, found: one_time_codes.take_off(rows, operator(), found.id, _now()))
        typer.echo(f"user {login}: no one-time code is asked for any more")
        return
    typed = _typed_password() if password else None

    async def deed(rows: AsyncConnection, found: User) -> tuple[User, Token]:
        token = await users.reset(rows, operator(), found.id, _now())
        if typed is None:
            return found, token
        return await new_password.set_password(rows, token.secret, typed, _now(), peer=operator().peer), token

    user, token = _done_to(login, deed)
    if typed is None:
        _tell_token(user, token, f"user {user.login} may set a new password", as_json=as_json)
    elif user.status is UserStatus.LOCKED:
        raise Conflict(f"user {user.login} has the new password, and is locked; `dari user lock {user.login} --off`")
    else:
        typer.echo(f"user {user.login} has the new password; their sessions ended")


@app.command("sessions")
def sessions_(
    login: Login, end: Annotated[bool, typer.Option("--end", help="End them all.")] = False, as_json: AsJson = False
) -> None:
    """Show where somebody is signed in, or end that."""
    if end:
        ended = _done_to(login, lambda rows, found: sessions.end_all(rows, operator(), found.id, _now()))
        typer.echo(f"{ended} sessions of {login} ended")
        return
    found = _done_to(login, lambda rows, user: sessions.sessions_of(rows, operator(), user.id, _now()))
    if as_json:
        print_json(found)
    elif found:
        print_table(_SESSIONS, [_session_row(session) for session in found])
    else:
        typer.echo(f"user {login} is not signed in", err=True)


def _now() -> datetime:
    return datetime.now(UTC)


def _done(deed: Callable[[AsyncConnection], Awaitable[_T]]) -> _T:
    return in_transaction(read_settings(), deed)


def _done_to(login: str, deed: Callable[[AsyncConnection, User], Awaitable[_T]]) -> _T:
    """What a deed with the user of that login gives."""

    async def within(rows: AsyncConnection) -> _T:
        return await deed(rows, await users.find_by_login(rows, operator(), login))

    return _done(within)


def _typed_password() -> str:
    if sys.stdin.isatty():
        return str(typer.prompt("new password", hide_input=True, confirmation_prompt=True))
    return sys.stdin.readline().rstrip("\r\n")


def _tell_token(user: User, token: Token, done: str, *, as_json: bool) -> None:
    if as_json:
        told = {"user": _as_object(user), "token": token.secret, "kind": token.kind, "until": token.until}
        print_json([told])
        return
    until = token.until.astimezone(KST)
    typer.echo(f"{done}; the password is set once, until {until:%Y-%m-%d %H:%M}, with this token:\n{token.secret}")


def _as_object(user: User) -> dict[str, object]:
    return msgspec.structs.asdict(user) | {"allowed": sorted(deed.value for deed in user.allowed)}


def _allowed(user: User) -> str:
    return ", ".join(sorted(deed.value for deed in user.allowed))


_USERS = (
    Column("Login"),
    Column("Name", spare=3),
    Column("Account", spare=2),
    Column("Role"),
    Column("Status"),
    Column("Codes", spare=4),
    Column("Last sign-in", spare=1),
    Column("Allowed", folds=True),
)


def _row(user: User, owner: str) -> list[Text]:
    return [
        Text(printable(user.login), "bold"),
        Text(printable(user.name)),
        Text(printable(owner)),
        Text(user.role.value),
        Text(user.status.value, "" if user.status is UserStatus.ACTIVE else "yellow"),
        or_dash("on" if user.one_time_codes else None),
        day_and_time(user.signed_in_at) if user.signed_in_at else or_dash(None),
        or_dash(_allowed(user)),
    ]


_SESSIONS = (Column("Since"), Column("Last used"), Column("Until"), Column("From", folds=True))


def _session_row(session: Session) -> list[Text]:
    instants = (session.created_at, session.used_at, session.until)
    return [*map(day_and_time, instants), or_dash(printable(session.peer))]

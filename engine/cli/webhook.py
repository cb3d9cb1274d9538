"""`dari webhook`: receivers of events, how far each is, and what is sent to them again."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from datetime import UTC, datetime, timedelta
from typing import Annotated, TypeVar
from uuid import UUID

import typer
from rich.text import Text
from sqlalchemy.ext.asyncio import AsyncConnection, AsyncEngine

from engine.accounts.book import account_called, accounts
from engine.app.opened import webhook_rules_of
from engine.cli.database import in_transaction, with_database
from engine.cli.printing import Column, day_and_time, or_dash, print_json, print_table
from engine.cli.this_machine import operator
from engine.events import stream
from engine.events.call_log import printable
from engine.foundation.database import transaction
from engine.foundation.errors import Invalid, NotFound
from engine.settings import Settings, read_settings
from engine.supervisor.wiring import connected
from engine.webhooks import book, replays, trials
from engine.webhooks.addresses import shown_url
from engine.webhooks.egress import Egress
from engine.webhooks.ladder import Answer
from engine.webhooks.model import MOST_BATCH, DeadLetter, Replay, Webhook, WebhookStatus
from engine.webhooks.settings import Rules, WebhookSettings, settings_of

app = typer.Typer(
    add_completion=False,
    pretty_exceptions_enable=False,
    help="Send events to receivers: add them, see how far each is, test them, send again what they missed.",
)

_MOST = 100_000
_SHORT_ID = 8
_T = TypeVar("_T")

Id = Annotated[str, typer.Argument(metavar="WEBHOOK", help="Its id, or the last eight digits of it, as listed.")]
AsJson = Annotated[bool, typer.Option("--json", help="One JSON object per line.")]
Kinds = Annotated[
    list[str] | None, typer.Option("--kind", metavar="KIND", help="Only these events: call.ended, message.* …")
]


@app.command()
def add(
    url: Annotated[str, typer.Argument(metavar="URL", help="Where events are sent: https, a public address.")],
    account: Annotated[str, typer.Option(metavar="NAME", help="Whose events, and those of all accounts below it.")],
    kind: Kinds = None,
    fallback: Annotated[str | None, typer.Option(metavar="URL", help="Tried when the first address fails.")] = None,
    batch: Annotated[
        int, typer.Option(min=1, max=MOST_BATCH, help="Most events in one request; 1: each alone, without an envelope.")
    ] = 1,
    description: Annotated[str, typer.Option(metavar="TEXT", help="What it is for.")] = "",
    after: Annotated[
        int | None, typer.Option(metavar="PLACE", min=0, help="Begin behind this place of the stream; else now.")
    ] = None,
    as_json: AsJson = False,
) -> None:
    """Add a receiver; its secret is shown this once."""
    settings = read_settings()
    wanted = WebhookSettings(
        url=url, fallback_url=fallback, kinds=tuple(kind or ()), batch=batch, description=description
    )

    async def deed(rows: AsyncConnection, rules: Rules) -> tuple[Webhook, str]:
        owner = await account_called(rows, account)
        return await book.add(rows, rules, operator(), owner.id, wanted, datetime.now(UTC), after=after)

    webhook, secret = _with_rules(settings, deed)
    if as_json:
        print_json([{"webhook": webhook, "secret": secret}])
    else:
        typer.echo(f"webhook {_short(webhook)} of account {account}: keep its secret, it is not shown again:\n{secret}")


@app.command("list")
def list_(
    account: Annotated[str, typer.Option(metavar="NAME", help="Only of this account and of those below it.")] = "",
    as_json: AsJson = False,
) -> None:
    """List receivers and how far each is."""

    async def deed(rows: AsyncConnection) -> list[_Seen]:
        root = (await account_called(rows, account)).id if account else None
        found = await book.listing(rows, operator(), account=root, limit=_MOST)
        dead = await replays.dead_counts(rows, found)
        names = {each.id: each.name for each in await accounts(rows)}
        heads = {top: await stream.head(rows, top) for top in {webhook.top for webhook in found}}
        return [
            _Seen(webhook, names.get(webhook.account_id, "operator"), heads[webhook.top], dead.get(webhook.id, 0))
            for webhook in found
        ]

    found = in_transaction(read_settings(), deed)
    if as_json:
        print_json(seen.as_object() for seen in found)
    elif found:
        print_table(_COLUMNS, [seen.row() for seen in found])
    else:
        typer.echo("no webhooks yet; add one with `dari webhook add URL --account NAME`", err=True)


@app.command("set")
def set_(
    webhook: Id,
    url: Annotated[str | None, typer.Option(metavar="URL", help="Another address.")] = None,
    kind: Kinds = None,
    all_kinds: Annotated[bool, typer.Option("--all-kinds", help="All events again.")] = False,
    fallback: Annotated[str | None, typer.Option(metavar="URL", help='Another second address; "" for none.')] = None,
    batch: Annotated[int | None, typer.Option(min=1, max=MOST_BATCH, help="Most events in one request.")] = None,
    description: Annotated[str | None, typer.Option(metavar="TEXT", help="What it is for.")] = None,
) -> None:
    """Change a receiver; what is not named stays."""
    if all_kinds and kind:
        raise Invalid("kind: name some, or say --all-kinds, not both")

    async def deed(rows: AsyncConnection, rules: Rules) -> Webhook:
        found = await _found(rows, webhook)
        kinds = () if all_kinds else found.kinds if kind is None else tuple(kind)
        wanted = WebhookSettings(
            url=found.url if url is None else url,
            fallback_url=found.fallback_url if fallback is None else fallback or None,
            kinds=kinds,
            batch=found.batch if batch is None else batch,
            description=found.description if description is None else description,
        )
        if wanted == settings_of(found):
            raise Invalid(f"webhook {_short(found)}: nothing to change; see `dari webhook set --help`")
        return await book.change(rows, rules, operator(), found.id, wanted, datetime.now(UTC))

    typer.echo(f"webhook {_short(_with_rules(read_settings(), deed))} changed")


@app.command()
def pause(webhook: Id) -> None:
    """Send nothing until it is resumed; its place is kept."""
    typer.echo(f"webhook {_short(_done(book.pause, webhook))} paused")


@app.command()
def resume(webhook: Id) -> None:
    """Go on where it stopped; of one that fails, try at once what waits."""
    typer.echo(f"webhook {_short(_done(book.resume, webhook))} goes on")


@app.command()
def rotate(
    webhook: Id,
    hours: Annotated[
        int,
        typer.Option(min=0, max=book.LONGEST_OVERLAP.days * 24, help="So long the old secret signs as well."),
    ] = 24,
) -> None:
    """Give it a new secret, shown this once."""

    async def deed(rows: AsyncConnection, rules: Rules) -> str:
        found = await _found(rows, webhook)
        overlap = timedelta(hours=hours)
        return await book.rotate(rows, rules, operator(), found.id, datetime.now(UTC), both_valid_for=overlap)

    typer.echo(_with_rules(read_settings(), deed))


@app.command()
def remove(webhook: Id) -> None:
    """Remove a receiver with its dead letters."""
    _done(book.remove, webhook)
    typer.echo("removed")


@app.command()
def test(webhook: Id) -> None:
    """Send a test event to each of its addresses and show the answers; exits 1 when one is not taken."""
    settings = read_settings()
    rules = webhook_rules_of(connected(settings))

    async def deed(database: AsyncEngine) -> list[tuple[str, Answer]]:
        async with transaction(database) as rows:
            found = await _found(rows, webhook)
            trial = await trials.trial(rows, rules, operator(), found.id, datetime.now(UTC))
        async with Egress(rules.opened, timeout=settings.webhook_seconds) as egress:
            return await trial.send(egress)

    answers = with_database(settings, deed)
    for url, answer in answers:
        how = "taken" if answer.delivered else answer.reason
        typer.echo(f"{printable(shown_url(url))}  {answer.status or '-'}  {1000 * answer.seconds:.0f} ms  {how}")
    if not all(answer.delivered for _, answer in answers):
        raise typer.Exit(1)


@app.command()
def replay(
    webhook: Id,
    first: Annotated[int, typer.Option("--from", metavar="PLACE", min=1, help="The first place to send again.")] = 1,
    last: Annotated[
        int | None, typer.Option("--to", metavar="PLACE", min=1, help="The last; else up to the newest.")
    ] = None,
    dead: Annotated[bool, typer.Option("--dead", help="Only the dead letters among them.")] = False,
) -> None:
    """Send events once more, beside what is new; their ids stay the same.

    What the receiver has not come to yet comes once, as new.
    """

    async def deed(rows: AsyncConnection) -> list[Replay]:
        found, now = await _found(rows, webhook), datetime.now(UTC)
        upto = 10**18 - 1 if last is None else last
        if dead:
            return await replays.replay_dead(rows, operator(), found.id, now, first=first, last=upto)
        return [await replays.replay(rows, operator(), found.id, first, upto, now)]

    for made in in_transaction(read_settings(), deed):
        typer.echo(f"places {made.first_seq} to {made.last_seq} of stream {stream.stream_id(made.top)} are sent again")


@app.command("dead")
def dead_(webhook: Id, as_json: AsJson = False) -> None:
    """List its dead letters: what it did not take in three days, or found wrong."""

    async def deed(rows: AsyncConnection) -> list[DeadLetter]:
        found = await _found(rows, webhook)
        return await replays.dead_letters(rows, operator(), found.id, limit=_MOST)

    letters = in_transaction(read_settings(), deed)
    if as_json:
        print_json(letters)
    elif letters:
        print_table(_DEAD_COLUMNS, [_dead_row(letter) for letter in letters])
    else:
        typer.echo("no dead letters", err=True)


def _with_rules(settings: Settings, deed: Callable[[AsyncConnection, Rules], Awaitable[_T]]) -> _T:
    rules = webhook_rules_of(connected(settings))
    return in_transaction(settings, lambda rows: deed(rows, rules))


def _done(deed: Callable[..., Awaitable[_T]], webhook: str) -> _T:
    """A deed that needs no more than which one."""

    async def on_found(rows: AsyncConnection) -> _T:
        return await deed(rows, operator(), (await _found(rows, webhook)).id, datetime.now(UTC))

    return in_transaction(read_settings(), on_found)


async def _found(rows: AsyncConnection, named: str) -> Webhook:
    """By id or by the end of it. Raises NotFound, Invalid."""
    try:
        return await book.find(rows, operator(), UUID(named))
    except ValueError:
        pass
    digits = named.strip().lower()
    every = await book.listing(rows, operator(), limit=_MOST) if len(digits) >= _SHORT_ID else []
    found = [webhook for webhook in every if webhook.id.hex.endswith(digits)]
    if len(found) > 1:
        raise Invalid(
            f"webhook {named[:40]!r}: several end like that; name the whole id, see `dari webhook list --json`"
        )
    if not found:
        raise NotFound(f"webhook {named[:40]!r}: there is none; `dari webhook list` shows those that are")
    return found[0]


def _short(webhook: Webhook) -> str:
    return webhook.id.hex[-_SHORT_ID:]


class _Seen:
    """A receiver as it is listed."""

    def __init__(self, webhook: Webhook, account: str, head: int, dead: int) -> None:
        self._webhook = webhook
        self._account = account
        self._waiting = max(head - webhook.progress.position, 0)
        self._dead = dead

    def as_object(self) -> dict[str, object]:
        return {
            "webhook": self._webhook,
            "account": self._account,
            "waiting": self._waiting,
            "dead_letters": self._dead,
        }

    def row(self) -> list[Text]:
        webhook, progress = self._webhook, self._webhook.progress
        return [
            Text(_short(webhook), "bold"),
            Text(printable(self._account)),
            Text(printable(shown_url(webhook.url))),
            Text(webhook.status.value, "" if webhook.status is WebhookStatus.ACTIVE else "yellow"),
            Text(str(self._waiting)),
            Text(str(self._dead), "red" if self._dead else "dim"),
            day_and_time(progress.delivered_at) if progress.delivered_at else or_dash(None),
            or_dash(printable(webhook.reason or progress.failure), "red"),
            or_dash(", ".join(webhook.kinds)),
        ]


_COLUMNS = (
    Column("Webhook"),
    Column("Account", spare=2),
    Column("Address", folds=True),
    Column("Status"),
    Column("Behind", right=True),
    Column("Dead", right=True),
    Column("Last taken", spare=3),
    Column("Trouble", folds=True, spare=1),
    Column("Events", folds=True, spare=4),
)
_DEAD_COLUMNS = (
    Column("Place", right=True),
    Column("Stream", spare=2),
    Column("Event"),
    Column("When"),
    Column("Why", folds=True),
    Column("Given up", spare=1),
)


def _dead_row(letter: DeadLetter) -> list[Text]:
    return [
        Text(str(letter.seq)),
        Text(stream.stream_id(letter.top)),
        Text(letter.kind, "bold"),
        day_and_time(letter.at),
        Text(printable(letter.reason)),
        day_and_time(letter.died_at),
    ]

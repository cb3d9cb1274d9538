"""The `dari` command itself: the table of commands, and how errors reach the one who typed."""

from __future__ import annotations

import io
import os
import re
import sys
from importlib import import_module
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Annotated, Any, NamedTuple

import typer
from typer.core import TyperCommand, TyperGroup

from engine.events.call_log import printable
from engine.foundation.errors import DariError


class Entry(NamedTuple):
    """One command: the module whose `app` it is, what the help lists, and under which heading."""

    module: str
    help: str
    heading: str


RUN, SET_UP, LOOK = "Run", "Set up", "Look"

COMMANDS = {
    "up": Entry("engine.cli.up", "Bring everything up, keep it up, and stop it all on Ctrl-C.", RUN),
    "demo": Entry("engine.cli.demo", "Place six real calls on this machine and show what comes of them.", RUN),
    "down": Entry("engine.cli.down", "Stop everything.", RUN),
    "drain": Entry("engine.cli.drain", "Take no new calls; live ones go on.", RUN),
    "serve": Entry("engine.cli.serve", "Run one role; `dari up` does that for each.", RUN),
    "migrate": Entry("engine.cli.migrate", "Bring the database to the newest step.", RUN),
    "number": Entry("engine.cli.number", "Put numbers into service and change what they do.", SET_UP),
    "range": Entry("engine.cli.range", "Take on ranges of 050 numbers and bring their numbers in.", SET_UP),
    "order": Entry("engine.cli.order", "Order numbers by count and period of use.", SET_UP),
    "rule": Entry("engine.cli.rule", "Say when a number treats its calls otherwise.", SET_UP),
    "closed": Entry("engine.cli.closed", "Keep days off that rules go by.", SET_UP),
    "holiday": Entry("engine.cli.holiday", "Keep the public holidays that rules go by.", SET_UP),
    "group": Entry("engine.cli.group", "Keep groups of callers for rules, the blocked among them.", SET_UP),
    "account": Entry("engine.cli.account", "Set time zone and limits of an account.", SET_UP),
    "user": Entry("engine.cli.user", "Invite people, say what they may, lock them out.", SET_UP),
    "key": Entry("engine.cli.key", "Make and revoke keys of programs.", SET_UP),
    "webhook": Entry("engine.cli.webhook", "Send events to receivers, and again what they missed.", SET_UP),
    "prompt": Entry("engine.cli.prompt", "Make announcements out of recordings, texts and music.", SET_UP),
    "trunk": Entry("engine.cli.trunk", "Name the carriers' lines: who may call in, how calls go out.", SET_UP),
    "bench": Entry("engine.cli.bench", "Fill an empty database with a made-up past, to measure on.", SET_UP),
    "api": Entry("engine.cli.api", "Get the description of the API, or a client made from it.", SET_UP),
    "status": Entry("engine.cli.status", "Show every part and what the engine says.", LOOK),
    "doctor": Entry("engine.cli.doctor", "Check everything and say how to mend it.", LOOK),
    "tail": Entry("engine.cli.tail", "Show what happens to calls, as it happens.", LOOK),
    "call": Entry("engine.cli.call", "Watch live calls, place one, pause a recording.", LOOK),
    "calls": Entry("engine.cli.calls", "List call records.", LOOK),
    "messages": Entry("engine.cli.messages", "List messages sent and held back, with the reason.", LOOK),
    "recording": Entry(
        "engine.cli.recording", "List, export, hold and check recordings; every time is written down.", LOOK
    ),
    "audit": Entry("engine.cli.audit", "Show who did what, and check that nobody changed that.", LOOK),
    "explain": Entry("engine.cli.explain", "Say what would happen if somebody called, and let it be heard.", LOOK),
    "replay": Entry("engine.cli.replay", "Run past calls against other rules and list what changes.", LOOK),
    "listen": Entry("engine.cli.listen", "Hear a call that goes on now, in a browser; it is written down.", LOOK),
    "trace": Entry("engine.cli.trace", "Show one call as a ladder: its SIP messages and its steps.", LOOK),
}


_LONGEST_WORD = 256
"""Letters without a space at which a word of an error is cut in its middle; usual paths stay whole."""


class _LaterCommand(TyperCommand):
    """Stands for a command in the help; its module is imported only when it is run."""

    def make_context(self, *args: Any, **options: Any) -> Any:
        app: typer.Typer = import_module(COMMANDS[str(self.name)].module).app
        return typer.main.get_command(app).make_context(*args, **options)


class _Commands(TyperGroup):
    def __init__(self, **options: Any) -> None:
        super().__init__(**options)
        for name, entry in COMMANDS.items():
            self.add_command(_LaterCommand(name, help=entry.help, rich_help_panel=entry.heading))


app = typer.Typer(
    cls=_Commands,
    add_completion=False,
    pretty_exceptions_enable=False,
    invoke_without_command=True,
    context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100},
    epilog="Settings come from the environment, like DARI_HOME, DARI_SIP_BIND and DARI_DATABASE_URL.",
)


@app.callback()
def dari(
    context: typer.Context,
    show_version: Annotated[bool, typer.Option("--version", help="Show the version and exit.")] = False,
) -> None:
    """050 numbers beside Asterisk: whom a call rings, what everyone hears, what is written down."""
    if show_version:
        typer.echo(f"dari {_version()}")
    elif context.invoked_subcommand is None:
        typer.echo(context.get_help())


def main() -> None:
    """Runs this process's command line: exits 0 done, 1 refused or failed, 2 not understood, 130 Ctrl-C."""
    sys.exit(run(sys.argv[1:]))


def run(arguments: list[str]) -> int:
    """Runs one command line; the exit code. Whatever went wrong is one sentence on stderr."""
    nowhere = Path(os.devnull)
    sys.stdout = sys.stdout or nowhere.open("w")  # closed by whoever started us
    sys.stderr = sys.stderr or nowhere.open("w")
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):  # a terminal without Korean shows "?", it does not break
            stream.reconfigure(errors="replace")
    try:
        code = app(arguments, prog_name="dari", standalone_mode=False)
        sys.stdout.flush()
    except typer.TyperException as error:
        return _said(_usage(error), error.exit_code)
    except DariError as error:
        return _said(str(error), 1)
    except BrokenPipeError:  # the reader, such as `head`, has seen enough
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 1
    except OSError as error:
        reason = error.strerror or str(error)
        return _said(f"{error.filename}: {reason}" if error.filename else reason, 1)
    except (KeyboardInterrupt, typer.Abort):
        return 130
    return code if isinstance(code, int) else 0


def _said(sentence: str, code: int) -> int:
    """Tells it on one line; what was typed comes back in it, so nothing may steer the terminal or fill the screen."""
    line = printable(re.sub(r"\s*[\n\t]\s*", " ", sentence))
    typer.echo("dari: " + re.sub(rf"\S{{{_LONGEST_WORD},}}", _cut, line), err=True)
    return code


def _cut(word: re.Match[str]) -> str:
    return f"{word[0][:40]}…{word[0][-40:]}"


def _usage(error: typer.TyperException) -> str:
    """What was not understood, and where the help is."""
    context: typer.Context | None = getattr(error, "ctx", None)
    message = error.format_message().rstrip(".")
    return f"{message} (see {context.command_path} --help)" if context else message


def _version() -> str:
    try:
        return version("dari")
    except PackageNotFoundError:
        return "(not installed)"


if __name__ == "__main__":
    main()

"""The mend that an error names, as whoever is at this door makes it: deeds name commands, and here those are requests.

A sentence names a command in backquotes, in a clause of its own behind a semicolon. A command that has no request is
for whoever stands before the machine: its clause is left out.
"""

from __future__ import annotations

import re
from collections.abc import Mapping

REQUESTS: Mapping[str, str] = {
    "account list": "GET /accounts",
    "audit verify": "POST /audit/verify",
    "call list": "GET /live-calls",
    "closed list": "GET /numbers/{number}/closed-days",
    "group list": "GET /accounts/{account}/groups/{group}/members",
    "holiday list": "GET /holidays",
    "listen": "POST /live-calls/{call}/listening",
    "messages": "GET /messages",
    "number list": "GET /numbers",
    "number set": "PATCH /numbers/{number}",
    "prompt add": "POST /accounts/{account}/prompts/{prompt}/upload",
    "prompt list": "GET /accounts/{account}/prompts",
    "prompt versions": "GET /accounts/{account}/prompts/{prompt}",
    "range add": "POST /number-ranges",
    "range list": "GET /number-ranges",
    "rule list": "GET /numbers/{number}/rules",
    "rule set": "PATCH /numbers/{number}/rules/{rule}",
    "trunk list": "GET /trunks",
    "trunk set": "PATCH /trunks/{trunk}",
}
"""The request, under /api/v1, that does what the command does."""

AT_THE_MACHINE = frozenset({"migrate", "recording check", "status", "up"})
"""Commands that no request does the work of."""

_NAMED = re.compile(r"`dari ([^`]*)`")


def at_this_door(sentence: str) -> str:
    """The sentence with requests in place of commands."""
    if "`dari " not in sentence:
        return sentence
    clauses = [_NAMED.sub(_request, clause) for clause in sentence.split("; ") if not _for_the_machine(clause)]
    return "; ".join(clauses) or "this is mended at the machine itself; ask whoever runs it"


def command_of(named: str) -> str:
    """`number set` of `number set 0507-123-4567 --sender`."""
    return " ".join(re.match(r"(?:[a-z][a-z-]*(?: |$)){0,2}", named)[0].split())  # type: ignore[index]


def _for_the_machine(clause: str) -> bool:
    return any(command_of(named) not in REQUESTS for named in _NAMED.findall(clause))


def _request(found: re.Match[str]) -> str:
    named = found[1]
    option = re.search(r"--(?:no-)?([a-z-]+)$", named)
    field = f" (`{option[1].replace('-', '_')}`)" if option and option[1] != "json" else ""
    return f"`{REQUESTS[command_of(named)]}`{field}"

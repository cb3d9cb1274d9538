"""Whether the audit is what was written: every entry as it was, in its place, and none gone, the last one included."""

from __future__ import annotations

from collections.abc import Callable, Collection
from dataclasses import dataclass
from enum import Enum

from sqlalchemy.ext.asyncio import AsyncConnection

from engine.audit import store
from engine.audit.chain import digest_of, next_head
from engine.audit.model import START, Head
from engine.audit.store import Link

_AT_ONCE = 1000
_MOST_FINDINGS = 1000


class Trouble(Enum):
    """What is wrong with an entry or the chain."""

    CHANGED = "changed"
    """Its content is another than the one that was chained."""
    REMOVED = "removed"
    """It was chained and is gone."""
    MOVED = "out of place"
    """It is not what came after the one before it."""
    GAP = "gap"
    """Places of the chain are gone."""
    CUT = "cut off"
    """The chain is shorter than it was."""
    REWRITTEN = "rewritten"
    """The chain holds together, and is another than the one that was noted before."""
    ADRIFT = "not in the chain"
    """It neither is in the chain nor waits for it: put in, or taken out of the chain, by hand."""


@dataclass(frozen=True, slots=True)
class Finding:
    """Something that is not as it was written."""

    trouble: Trouble
    what: str
    """The number in the chain, or the id of an entry."""
    detail: str


@dataclass(frozen=True, slots=True)
class Verdict:
    """What a check came to."""

    checked: int
    """Places of the chain that were compared."""
    waiting: int
    """Entries that are not in the chain yet."""
    head: Head
    """Note it elsewhere: with it a later check sees whether the chain was rewritten up to here."""
    findings: tuple[Finding, ...]

    @property
    def whole(self) -> bool:
        return not self.findings


async def verify(
    connection: AsyncConnection,
    known: Collection[Head] = (),
    told: Callable[[int, int], None] = lambda _done, _all: None,
) -> Verdict:
    """Compares everything, against the heads `known` from notes too; `told` gets places done and in all.

    Reads only. What is written meanwhile is left for the next time. At most 1,000 findings are told.
    """
    noted = await store.head(connection)
    last = noted.number if noted else await store.last_number(connection)
    findings: list[Finding] = []
    head, checked = START, 0
    while some := await store.links(connection, head.number, last, _AT_ONCE):
        for link in some:
            findings += _compared(head, link)
            head = Head(link.number, link.hash)
        checked += len(some)
        told(checked, last)
    findings += _ending(head, noted)
    for one in known:
        findings += await _against(connection, one)
    findings += [
        Finding(Trouble.ADRIFT, str(each), f"entry {each} is not in the chain and does not wait for it")
        for each in await store.adrift(connection, _MOST_FINDINGS)
    ]
    return Verdict(checked, await store.count_waiting(connection), head, tuple(findings[:_MOST_FINDINGS]))


def _compared(before: Head, link: Link) -> list[Finding]:
    """What is wrong at one place. The next one is compared with what stands here, so that each fault is told once."""
    at = str(link.number)
    if link.number != before.number + 1:
        places = f"{before.number + 1} to {link.number - 1}"
        return [Finding(Trouble.GAP, at, f"the places {places} of the chain are gone"), *_content(link)]
    if next_head(before, link.digest).hash != link.hash:
        told = Finding(Trouble.MOVED, at, f"number {at} does not follow from number {before.number}")
        return [told, *_content(link)]
    return _content(link)


def _content(link: Link) -> list[Finding]:
    at = str(link.number)
    if link.entry is None:
        return [Finding(Trouble.REMOVED, at, f"entry {link.entry_id}, number {at} of the chain, is gone")]
    if digest_of(link.entry) != link.digest:
        return [Finding(Trouble.CHANGED, at, f"entry {link.entry_id}, number {at} of the chain, is not as written")]
    return []


def _ending(head: Head, noted: Head | None) -> list[Finding]:
    at = str(head.number)
    if noted is None:
        return [Finding(Trouble.CUT, at, "the note of the chain's end (audit_head) is gone")]
    if head.number < noted.number:
        return [Finding(Trouble.CUT, at, f"the chain ends at number {head.number} instead of {noted.number}")]
    if head.hash != noted.hash:
        return [Finding(Trouble.MOVED, at, f"number {at} is not the end that was noted (audit_head)")]
    return []


async def _against(connection: AsyncConnection, known: Head) -> list[Finding]:
    if known.number == 0:
        return []
    found = await store.hash_at(connection, known.number)
    at = str(known.number)
    if found is None:
        return [Finding(Trouble.CUT, at, f"number {at} was in the chain when it was noted, and is not any more")]
    if found != known.hash:
        return [Finding(Trouble.REWRITTEN, at, f"number {at} has another hash than was noted before")]
    return []

"""How the routes for the time without an engine lie in Asterisk's own database, as dialplan/README.md tells. Pure.

Keys and values hold digits, letters, sounds' names and signs that mean nothing in a dialplan; `checked` refuses others.
"""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from itertools import accumulate

from engine.cdr.model import Result
from engine.foundation.errors import Invalid
from engine.foundation.phone_number import PhoneNumber
from engine.numbers.sound_names import NOT_THERE, is_sound
from engine.numbers.treatment import CallerShown, Failure, Limits, RecordMode
from engine.routing.alone import Entry
from engine.routing.call_plan import Announce, Forward, Ring, Say, Stage
from engine.trunks.choice import candidates
from engine.trunks.load import Load
from engine.trunks.model import Health, Trunk

FAMILY = "dari"
WHOLE = "state/whole"
"""There once every number has been written: from then on one that is not there is not in service."""
TRUNKS = "state/trunks"
NOTICES = "state/notices"
"""The sizes of the two notices of a recording, the caller's first; not there when one of them is not whole."""
BLOCKED_CALLER = "blocked"
LONGEST_LINE = 700
"""Characters of a value that go into one line of the manager, which takes some 1,000 bytes."""
LONGEST_VALUE = 3_500
"""Characters of a value that the dialplan puts together."""
SILENT_LONGER = 8.0
"""Seconds, beside the trunk's `provisional_seconds`, in which something must ring there before another trunk is tried.

The dialplan cannot see 100 Trying, and mobile telephones begin to ring some seconds after it.
"""

LETTERS = {
    Failure.BUSY: "b",
    Failure.NO_ANSWER: "n",
    Failure.UNREACHABLE: "u",
    Failure.REJECTED: "r",
    Failure.NOT_ACCEPTED: "a",
    Failure.OVER_LIMIT: "o",
}
_SAFE = re.compile(r"[A-Za-z0-9 |&~:/=.,*+_-]*")


@dataclass(frozen=True, slots=True)
class Sounds:
    """What a plan's sounds have become."""

    music_class: Callable[[tuple[str, ...]], str | None]
    """The class that plays a ringback; None: the caller hears the plain ringing tone."""
    spoken: Callable[[str], str | None]
    """The sound of a whisper's text that has been spoken already."""
    cause: Callable[[Result], int]
    """The Q.850 cause with which a call that ends so is refused."""


def number_key(number: PhoneNumber, kind: str = "") -> str:
    """Where a number's entries are; `kind` of callers: "" for those of no kind."""
    return f"n{number[-2:]}/{number}" + (f".{kind}" if kind else "")


def caller_key(account: str, caller: PhoneNumber) -> str:
    """Where it is that a caller is blocked, or of a kind."""
    return f"c{caller[-2:]}/{account}.{caller}"


def trunk_key(name: str) -> str:
    return f"trunk/{name}"


def folders() -> list[str]:
    """The parts in which all keys lie, each of a size that can be read at once."""
    return [f"{letter}{place:02}" for place in range(100) for letter in "nc"]


def number_values(
    key: str, account: str, limits: tuple[Limits, Limits], found: tuple[Entry, ...], sounds: Sounds
) -> dict[str, str]:
    """All that is kept of a number, for one kind of callers, by key. `limits` are the number's and its account's."""
    head = f"{account}|{_limit(limits[0])}|{_limit(limits[1])}|"
    routes = [route_text(entry, sounds) for entry in found]
    if len(set(routes)) == 1:
        return checked(key, f"{head}={routes[0]}")
    places = {route: place for place, route in enumerate(dict.fromkeys(routes))}
    kept: dict[str, str] = {}
    for route, place in places.items():
        kept |= checked(f"{key}.{place}", route)
    return kept | checked(key, head + _times(found, [places[route] for route in routes]))


def _times(found: tuple[Entry, ...], places: list[int]) -> str:
    """Those that fit; the last one holds on."""
    times: list[str] = []
    for at, (entry, place) in enumerate(zip(found, places, strict=True)):
        last = at + 1 == len(found) or len("/".join(times)) > LONGEST_VALUE - 200
        if not last and at + 1 < len(found) and places[at + 1] == place:
            continue
        times.append(f"{'' if last or entry.until is None else math.ceil(entry.until.timestamp())}:{place}")
        if last:
            break
    return "/".join(times)


def route_text(entry: Entry, sounds: Sounds) -> str:
    """What a call goes through, in one line."""
    plan = entry.plan
    if isinstance(plan, Announce):
        return f"a|{_named(plan.sound)}|{plan.result.value}|{sounds.cause(plan.result)}"
    return _forward(plan, entry.targets, entry.shares, sounds)


def _forward(plan: Forward, targets: int, shares: tuple[int, ...], sounds: Sounds) -> str:
    stages = [_stage(stage) for stage in plan.stages]
    fields = [
        "f",
        "&".join(_named(notice.sound) for notice in plan.notices),
        sounds.music_class(plan.ringback) or "",
        _whisper(plan, sounds),
        "y" if plan.accept else "",
        "n" if plan.shown is CallerShown.NUMBER else "c",
        "y" if plan.recording is RecordMode.ALWAYS else "",
        str(targets),
        "&".join(map(str, accumulate(shares if sum(shares) else [1] * len(shares)))),
    ]
    head = "|".join(fields)
    while stages and len(head) + 1 + len("~".join(stages)) > LONGEST_VALUE - 300:
        stages.pop()
    return f"{head}|{'~'.join(stages)}"


def _stage(stage: Stage) -> str:
    on = "*" if stage.on is None else "".join(LETTERS[failure] for failure in Failure if failure in stage.on)
    match stage:
        case Ring(targets=targets, follows=follows):
            seconds = max(one.seconds for one in targets)
            return f"r:{on}:{'y' if follows else ''}:{seconds}:{'&'.join(one.number for one in targets)}"
        case Say(sounds=said):
            return f"s:{on}::{'&'.join(map(_named, said))}"
        case _:
            raise Invalid(f"{type(stage).__name__}: nobody keeps this without an engine; leave it out before")


def _whisper(plan: Forward, sounds: Sounds) -> str:
    if plan.whisper is None:
        return ""
    sound = (sounds.spoken(plan.whisper.text) if plan.whisper.text else None) or plan.whisper.sound
    return _named(sound) if sound else ""


def _named(sound: str) -> str:
    """What is no sound's name is treated as one that is not there."""
    return sound if is_sound(sound) else NOT_THERE


def _limit(limits: Limits) -> str:
    return "" if limits.at_once is None else str(limits.at_once)


def trunk_values(trunks: Iterable[Trunk]) -> dict[str, str]:
    """The trunks that calls are sent to, and their order, by key."""
    usable = candidates(trunks, None, Load(), lambda _name: Health.UNKNOWN, 0.0)
    kept = {trunk_key(trunk.name): _trunk(trunk) for trunk in usable}
    order = "&".join(trunk.name for trunk in usable)
    return kept | checked(TRUNKS, order)


def _trunk(trunk: Trunk) -> str:
    longest = "" if trunk.longest_ringing is None else str(trunk.longest_ringing)
    silent = math.ceil(trunk.provisional_seconds + SILENT_LONGER)
    callers = (trunk.caller_format or trunk.number_format).value
    return f"{trunk.number_format.value}|{callers}|{trunk.prefix}|{longest}|{silent}"


def checked(key: str, value: str) -> dict[str, str]:
    """The value under its key, in as many lines as it takes. Raises Invalid for what could mean something else."""
    if not _SAFE.fullmatch(value) or value.endswith("+") or len(value) > LONGEST_VALUE:
        raise Invalid(f"{key.partition('/')[0]}: a route cannot be kept in Asterisk; rename its sounds or shorten it")
    if len(value) <= LONGEST_LINE:
        return {key: value}
    parts = [value[at : at + LONGEST_LINE] for at in range(0, len(value), LONGEST_LINE)]
    kept: dict[str, str] = {}
    for place, part in enumerate(parts):
        more = "+" if place + 1 < len(parts) else ""
        kept[f"{key}~{place}" if place else key] = part + more
    return kept


def put_together(kept: Mapping[str, str], key: str) -> str:
    """The value that `checked` took apart, as the dialplan reads it."""
    value, place = kept.get(key, ""), 0
    while value.endswith("+"):
        place += 1
        value = value[:-1] + kept.get(f"{key}~{place}", "")
    return value


def owner_of(key: str) -> str:
    """Whose key it is: of what belongs to a number, the number's own key; of a caller's, the account; else itself."""
    folder, _, rest = key.partition("/")
    if folder.startswith("c"):
        return rest.partition(".")[0]
    return f"{folder}/{re.split(r'[.~]', rest)[0]}" if folder.startswith("n") else key

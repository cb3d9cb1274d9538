"""Whom a call rings, in which order, and what comes when nobody is reached. Pure."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Sequence
from datetime import UTC, datetime, timedelta

from engine.foundation.errors import NotAllowed
from engine.foundation.phone_number import PhoneNumber, check_target
from engine.numbers.treatment import Failure, Fallback, Target, TargetOrder, Then, Treatment
from engine.routing.call_plan import Ring, Ringing, Say, SendText, Stage, Voicemail
from engine.routing.model import History

OVER_LIMIT_SOUND = "ko/over-limit"
VOICEMAIL_GREETING = "ko/voicemail-greeting"
TEXT_FOLLOWS = "ko/text-only"

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_A_MILLISECOND = timedelta(milliseconds=1)
_EVERY_FAILURE = frozenset(Failure)


def may_ring(target: PhoneNumber, number: PhoneNumber) -> bool:
    """Whether calls to `number` may be forwarded to `target`: asked again here, whatever was set."""
    try:
        check_target(target)
    except NotAllowed:
        return False
    return target != number


def in_order(
    targets: Sequence[Target], order: TargetOrder, *, history: History, drawn: float
) -> tuple[tuple[Target, ...], ...]:
    """The targets as groups that ring together, one group after the other. `drawn` is a lot in [0, 1)."""
    match order:
        case TargetOrder.ALL_AT_ONCE:
            return (tuple(targets),)
        case TargetOrder.BY_SHARE:
            first = by_share(targets, drawn)
        case TargetOrder.LAST_TALKED:
            first = _last_talked(targets, history)
        case TargetOrder.IN_TURN:
            first = 0
    return ((targets[first],), *((target,) for at, target in enumerate(targets) if at != first))


def lot(number: PhoneNumber, caller: PhoneNumber | None, instant: datetime) -> float:
    """A lot in [0, 1), evenly spread, and the same again for the same call: asked at its instant, explain agrees."""
    drawn = f"{number} {caller or ''} {(instant - _EPOCH) // _A_MILLISECOND}"
    digest = hashlib.blake2b(drawn.encode(), digest_size=6).digest()
    return int.from_bytes(digest, "big") / 2**48


def by_share(targets: Sequence[Target], drawn: float) -> int:
    """Which target the lot falls on. Shares need not make 100; when all are 0, each has the same."""
    shares = [max(target.share, 0) for target in targets]
    whole = sum(shares)
    if whole == 0:
        return int(drawn * len(shares))
    reached = 0
    for at, share in enumerate(shares):
        reached += share
        if drawn * whole < reached:
            return at
    return max(at for at, share in enumerate(shares) if share)


def rings(groups: Iterable[tuple[Target, ...]], seconds: int) -> tuple[Ring, ...]:
    """One stage for each group; a target without a time of its own rings for `seconds`."""
    return tuple(Ring(tuple(_ringing(target, seconds) for target in group)) for group in groups)


def after_targets(treatment: Treatment, number: PhoneNumber, seconds: int) -> tuple[Stage, ...]:
    """The chain of fallbacks, then what is said to callers whom it leaves: busy sounds, and that there are too many."""
    stages: list[Stage] = []
    ended: set[Failure] = set()
    for fallback in treatment.fallbacks or ():
        stages += _stages_of(fallback, number, seconds)
        if fallback.then is not Then.RING:
            ended.update(fallback.on or _EVERY_FAILURE)
    if treatment.busy and Failure.BUSY not in ended:
        stages.append(Say(treatment.busy, frozenset({Failure.BUSY})))
    if Failure.OVER_LIMIT not in ended:
        stages.append(Say((OVER_LIMIT_SOUND,), frozenset({Failure.OVER_LIMIT})))
    return tuple(stages)


def _stages_of(fallback: Fallback, number: PhoneNumber, seconds: int) -> tuple[Stage, ...]:
    on = frozenset(fallback.on) or None
    match fallback.then:
        case Then.RING:
            allowed = [target for target in fallback.targets if may_ring(target.number, number)]
            return tuple(Ring((_ringing(target, seconds),), on, follows=at > 0) for at, target in enumerate(allowed))
        case Then.ANNOUNCE:
            return (Say(fallback.sounds, on),)
        case Then.VOICEMAIL:
            return (Voicemail(fallback.sounds[0] if fallback.sounds else VOICEMAIL_GREETING, on),)
        case Then.TEXT:
            return (SendText(fallback.sounds[0] if fallback.sounds else TEXT_FOLLOWS, fallback.text or "", on),)


def _ringing(target: Target, seconds: int) -> Ringing:
    return Ringing(target.number, target.ring_seconds or seconds)


def _last_talked(targets: Sequence[Target], history: History) -> int:
    places = {target.number: at for at, target in reversed(list(enumerate(targets)))}
    for past in history.calls if history.known else ():
        if past.talk_seconds > 0 and past.target in places:
            return places[past.target]
    return 0

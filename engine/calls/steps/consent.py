"""Offers the caller a message for a key press, and keeps the key press as evidence (X5)."""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from pathlib import Path

import structlog

from engine.calls.call import Call
from engine.cdr.model import Consent, Side, StepKind
from engine.events.call_log import CallEventKind
from engine.foundation.errors import DariError
from engine.numbers.treatment import ConsentOffer

log = structlog.get_logger(__name__)

KEY = "1"
THANKS = "ko/consent-thanks"
_ANSWER_WITHIN = 6.0
"""Seconds after the offer in which the key may come."""


async def offer_before_talk(call: Call, offer: ConsentOffer, ready: Callable[[], bool]) -> None:
    """While the target rings; only where keys arrive before the answer. Ends when the target is ready."""
    trunk = call.board.trunks.find(call.notes.arrival.trunk)
    was_asked = call.notes.was_heard(StepKind.CONSENT, Side.CALLER)
    if offer.before and trunk is not None and trunk.early_dtmf and not was_asked:
        await _offer(call, offer, ready, before_talk=True)


async def offer_after_talk(call: Call, offer: ConsentOffer) -> None:
    """To the caller who stays on when the shop has hung up, and has pressed no key before. Raises CallerHungUp."""
    if call.notes.consent is None:
        call.keep()
        try:
            await call.unbridge()
        except DariError as error:
            log.warning("no consent offered, the bridge does not go", call=str(call.id), reason=str(error))
            return
        await _offer(call, offer, lambda: False, before_talk=False)


async def _offer(call: Call, offer: ConsentOffer, ready: Callable[[], bool], *, before_talk: bool) -> None:
    caller, since = call.caller, len(call.caller.keys)

    def enough() -> bool:
        return ready() or caller.pressed(KEY, since) is not None

    await call.say(caller, StepKind.CONSENT, offer.sound, enough=enough)
    await call.until(enough, within=_ANSWER_WITHIN)
    if key := caller.pressed(KEY, since):
        call.notes.consent = Consent(
            key=key.digit,
            at=key.at.at,
            sound=offer.sound,
            sound_version=_version(call.board.sounds / f"{offer.sound}.wav"),
            before_talk=before_talk,
            text=offer.text,
        )
        call.keep()
        call.notes.tell(CallEventKind.CONSENT, "before the talk" if before_talk else "after the talk")
        if not ready():
            await call.say(caller, StepKind.CONSENT, THANKS, enough=ready)


def _version(sound: Path) -> str:
    """What the caller had heard, by its content; a few kilobytes."""
    try:
        return hashlib.sha256(sound.read_bytes()).hexdigest()
    except OSError as error:
        log.warning("the sound of a consent offer cannot be read", sound=sound.name, reason=error.strerror)
        return ""

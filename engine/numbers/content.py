"""What of a number's settings is content (K12): what callers hear and read, not whom they reach. Pure."""

from __future__ import annotations

import msgspec

from engine.numbers.model import ServiceNumber
from engine.numbers.treatment import ConsentOffer, Fallback, Treatment


def differ_in_content_only(old: ServiceNumber, new: ServiceNumber) -> bool:
    """Whether nothing but content became another."""
    return _frame(old) == _frame(new)


def _frame(number: ServiceNumber) -> ServiceNumber:
    """The number without its content: the message after a call, sounds, whispers, texts.

    An announcement instead of ringing anybody, and a message instead of the call, are content only as to which: that
    there is one decides about calls.
    """
    return msgspec.structs.replace(
        number,
        callback=None,
        suspended=_whether(number.suspended),
        treatment=_frame_of(number.treatment),
    )


def _frame_of(said: Treatment) -> Treatment:
    consent = said.consent
    return msgspec.structs.replace(
        said,
        notice=None,
        ringback=None,
        busy=None,
        whisper=None,
        label=None,
        announcement=_whether(said.announcement),
        consent=None if consent is None else ConsentOffer(text="", sound="", before=consent.before),
        fallbacks=None if said.fallbacks is None else tuple(map(_frame_of_link, said.fallbacks)),
    )


def _frame_of_link(link: Fallback) -> Fallback:
    return msgspec.structs.replace(link, sounds=(), text=_whether(link.text))


def _whether(said: str | None) -> str | None:
    return "said" if said else None

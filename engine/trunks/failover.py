"""Whether a call goes on to the next trunk after a leg failed. Pure.

What a failed leg looks like in ARI (ChannelDestroyed; measured on Asterisk 22.10.1):

| what happened | cause | tech_cause | when |
|---|---|---|---|
| the carrier said 408 / 500 / 502 / 503 / 504 | 18 / 38 / 27 / 34 / 102 | that code | at once |
| no route to the address, or its name cannot be resolved | 34 | 503 | at once |
| nobody at the port (ICMP refused), or silence | none until the dial time-out: 19 | 480 | never by itself |
| the trunk is not in Asterisk | `originate` raises AsteriskFailed, no event | | at once |

UDP tells nothing of a dead port, hence the timer of our own. Asterisk has no event for 100 Trying: whether the carrier
said anything at all is read from the leg's own HANGUPCAUSE_KEYS(), empty until the first answer.
"""

from __future__ import annotations

from dataclasses import dataclass

ANYTHING_HEARD = "HANGUPCAUSE_KEYS()"
"""Read as a variable of the leg: empty while the carrier has sent no answer at all, not even 100 Trying."""

_CARRIER_FAILED = frozenset({408, 500, 502, 503, 504})
_CARRIER_FAILED_WITHOUT_SIP = frozenset({27, 34, 38, 41, 42, 102})
"""Q.850 causes that say the same where Asterisk has no SIP code to give."""


@dataclass(frozen=True, slots=True, kw_only=True)
class FailedLeg:
    """How a leg that nobody answered ended."""

    provisional: bool
    """An 18x came: the number was reached."""
    sip_code: int = 0
    """0: there was none."""
    cause: int = 0
    """Q.850; 0: there was none."""
    timed_out: bool = False
    """We gave it up because the carrier had sent nothing at all within the trunk's `provisional_seconds`."""
    refused: bool = False
    """Asterisk would not even place it (`originate` raised AsteriskFailed)."""


def goes_on(leg: FailedLeg) -> bool:
    """True only when the carrier failed before it reached the number.

    A number that is busy, unknown, refusing or not answering is so on every trunk; and a telephone that has rung once
    shall not ring again for the same call.
    """
    if leg.provisional:
        return False
    if leg.timed_out or leg.refused:
        return True
    if leg.sip_code:
        return leg.sip_code in _CARRIER_FAILED
    return leg.cause in _CARRIER_FAILED_WITHOUT_SIP

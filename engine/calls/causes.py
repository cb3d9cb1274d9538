"""Why a leg ended, as a result; and what the caller is told by cause. Pure.

Asterisk turns the cause we give into the SIP answer of an unanswered caller (res_pjsip, measured on 22.10.1):
1 -> 404, 17 -> 486, 19 -> 480, 21 -> 403, 27 -> 502, 34 -> 503, 38 -> 500.
"""

from __future__ import annotations

from engine.cdr.model import Result
from engine.numbers.treatment import Failure

NORMAL_CLEARING = 16
ANSWERED_ELSEWHERE = 26
HUNG_UP_BY_US = 32
"""No Q.850 cause: what Asterisk tells of a channel that it ended because we said so."""

CAUSE_TOWARDS_CALLER: dict[Result, int] = {
    Result.ANSWERED: NORMAL_CLEARING,
    Result.BUSY: 17,
    Result.NO_ANSWER: 19,
    Result.UNREACHABLE: 27,
    Result.REJECTED: 21,
    Result.CONGESTION: 34,
    Result.NOT_ACCEPTED: 19,
    Result.OVER_LIMIT: 17,
    Result.CLOSED: 19,
    Result.BLOCKED: 21,
    Result.VOICEMAIL: NORMAL_CLEARING,
    Result.CALLER_GAVE_UP: NORMAL_CLEARING,
    Result.NOT_IN_SERVICE: 1,
    Result.NOT_FORWARDABLE: 1,
    Result.SWITCHED_OFF: 1,
    Result.FAILED: 38,
    Result.LOST: 38,
}

_BY_SIP_CODE: dict[int, Result] = {
    403: Result.REJECTED,
    404: Result.UNREACHABLE,
    410: Result.UNREACHABLE,
    433: Result.REJECTED,
    484: Result.UNREACHABLE,
    486: Result.BUSY,
    488: Result.UNREACHABLE,
    502: Result.UNREACHABLE,
    600: Result.BUSY,
    603: Result.REJECTED,
    604: Result.UNREACHABLE,
    607: Result.REJECTED,
    608: Result.REJECTED,
}

_BY_CAUSE: dict[int, Result] = {
    17: Result.BUSY,
    18: Result.NO_ANSWER,
    19: Result.NO_ANSWER,
    21: Result.REJECTED,
    34: Result.CONGESTION,
    38: Result.CONGESTION,
    42: Result.CONGESTION,
}


_FAILURES: dict[Result, Failure] = {
    Result.BUSY: Failure.BUSY,
    Result.NO_ANSWER: Failure.NO_ANSWER,
    Result.REJECTED: Failure.REJECTED,
    Result.NOT_ACCEPTED: Failure.NOT_ACCEPTED,
    Result.OVER_LIMIT: Failure.OVER_LIMIT,
}


def failure_of(result: Result) -> Failure:
    """The failure that the chain after the targets is asked with."""
    return _FAILURES.get(result, Failure.UNREACHABLE)


def result_of(cause: int, sip_code: int, *, rang: bool) -> Result:
    """How an unanswered leg ended, from its Q.850 cause and SIP code (0 when there was none).

    480 and 408 mean "no answer" only of a telephone that rang; of one that never rang they mean it was not there.
    """
    if sip_code in (408, 480):
        return Result.NO_ANSWER if rang else Result.UNREACHABLE
    if sip_code in _BY_SIP_CODE:
        return _BY_SIP_CODE[sip_code]
    if sip_code >= 600:
        return Result.REJECTED
    if sip_code >= 500:
        return Result.CONGESTION
    if sip_code >= 400:
        return Result.UNREACHABLE
    return _BY_CAUSE.get(cause, Result.UNREACHABLE)

"""What had happened up to an instant, read from the call records: the past of a call of that instant."""

from __future__ import annotations

from datetime import datetime

from sqlalchemy.ext.asyncio import AsyncConnection

from engine.cdr.past import load_then, past_of_caller
from engine.foundation.phone_number import PhoneNumber
from engine.numbers.treatment import Limits
from engine.routing.history import MOST, REACHES_BACK, needs_history
from engine.routing.model import History, Line, Load, PastCall

_NO_LIMITS = Limits()


async def history_at(connection: AsyncConnection, line: Line, caller: PhoneNumber | None, instant: datetime) -> History:
    """Only what the line's calls depend on is asked; the rest is left as if nothing had happened."""
    number = line.number
    past: tuple[PastCall, ...] = ()
    if caller is not None and needs_history(line):
        since = instant - REACHES_BACK
        found = await past_of_caller(connection, number.number, caller, since=since, before=instant, limit=MOST)
        past = tuple(PastCall(*call) for call in found)
    of_number = of_account = Load()
    if number.limits != _NO_LIMITS:
        of_number = Load(*await load_then(connection, number.number, instant))
    if line.account.limits != _NO_LIMITS:
        of_account = Load(*await load_then(connection, number.account_id, instant))
    return History(calls=past, number=of_number, account=of_account)

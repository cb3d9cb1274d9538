"""How old events are, whatever the machine's clock does. Pure.

A clock of our own runs from look to look: it goes back never, and forward by no more than `BELIEVED` at once, however
far the machine's clock has gone. At each look it is noted up to which event there were some. An event's age is the time
on that clock since it was noted, and it goes when it is older than its time by `BELIEVED`: a machine whose clock jumps
ahead deletes nothing before its time, and one that was off for longer than that keeps events longer by as much.
"""

from __future__ import annotations

from datetime import datetime, timedelta

BELIEVED = timedelta(days=1)
"""Looks are made each hour: what is longer may be a night without current, or a clock that was set."""


def reckoned(last: datetime, last_by_the_machine: datetime, now: datetime) -> datetime:
    """The instant on our clock, which showed `last` at the look before; the others are the machine's."""
    return last + min(max(now - last_by_the_machine, timedelta(0)), BELIEVED)


def noted_by(reckoned_now: datetime, days: int) -> datetime:
    """What was noted at that instant of our clock, or before, has been kept for so many days."""
    return reckoned_now - timedelta(days=days) - BELIEVED

"""Which trunks a call is tried on, and in which order. Pure."""

from __future__ import annotations

from collections.abc import Callable, Iterable

from engine.trunks.load import Load
from engine.trunks.model import Health, Trunk

HealthOf = Callable[[str], Health]
"""What is known of the trunk of that name."""


def candidates(
    trunks: Iterable[Trunk], came_in_by: str | None, load: Load, health: HealthOf, now: float
) -> list[Trunk]:
    """The trunks to try, best first; empty: none has room.

    First the one that the call came in by, then by priority and name. Full ones and those that would get calls too fast
    are left out, and so are those that are down: unless every one with room is down, for what we think of a trunk's
    health may be wrong, and no call at all is worse than one more try.
    """
    with_room = [trunk for trunk in trunks if trunk.outgoing and not load.full(trunk) and not load.too_fast(trunk, now)]
    with_room.sort(key=lambda trunk: (trunk.name != came_in_by, trunk.priority, trunk.name))
    return [trunk for trunk in with_room if health(trunk.name) is not Health.DOWN] or with_room

"""The trunks as a call sees them: on which to try it, how it is counted, how each is."""

from __future__ import annotations

from collections.abc import Callable, Iterable

from engine.trunks.choice import candidates
from engine.trunks.health import TrunkHealth
from engine.trunks.load import Load, Taken
from engine.trunks.model import Trunk, TrunkState


class Trunks:
    """All trunks with their load and health. Nothing here waits."""

    def __init__(
        self, trunks: Callable[[], Iterable[Trunk]], health: TrunkHealth, load: Load, now: Callable[[], float]
    ) -> None:
        """`trunks` gives those that there are; `now` is a monotonic clock."""
        self._trunks = trunks
        self._health = health
        self._load = load
        self._now = now

    def find(self, name: str) -> Trunk | None:
        """The trunk of that name as last known."""
        return next((trunk for trunk in self._trunks() if trunk.name == name), None)

    def candidates(self, came_in_by: str | None = None) -> list[Trunk]:
        """The trunks to try a call on, best first; empty: none has room. Ask again for each try: load changes."""
        return candidates(self._trunks(), came_in_by, self._load, self._health.health, self._now())

    def taken(self, name: str) -> Taken:
        """Counts a call that came in by that trunk until it is released."""
        return self._load.taken(name)

    def sent(self, trunk: Trunk) -> Taken:
        """Counts a call that is being sent to `trunk` until it is released: take it before the INVITE goes out."""
        return self._load.sent(trunk, self._now())

    def states(self) -> list[TrunkState]:
        """How each trunk is, by name: for `dari trunk list` and the metrics."""
        return [self._state(trunk) for trunk in sorted(self._trunks(), key=lambda trunk: trunk.name)]

    def _state(self, trunk: Trunk) -> TrunkState:
        seen = self._health.of(trunk.name)
        return TrunkState(
            name=trunk.name,
            health=seen.health,
            reason=seen.reason,
            round_trip_ms=seen.round_trip_ms,
            registered=seen.registered,
            calls=self._load.calls(trunk.name),
        )

"""Whether no engine is there for longer than one takes to come back; in virtual time."""

from __future__ import annotations

from collections.abc import Iterable
from itertools import count

import msgspec

from engine.foundation.process import Process
from engine.watchdog.absence import Absence, Sign

ENGINE = Process(pid=10, started=1, boot="b")
NEVER = 10_000.0
STEP = 0.5


class Watched:
    """One engine, looked at twice a second."""

    def __init__(self) -> None:
        self.absence = Absence()
        self.now = 1000.0
        self._beats = count()
        self._starts = count(2)
        self.engine: Process | None = ENGINE
        self.beat = 0

    def look(self) -> bool:
        self.now += STEP
        return self.absence.lasts(self.now, [Sign(self.engine, self.beat)])

    def beats_for(self, seconds: float) -> bool:
        """Whether nobody was there meanwhile."""
        absent = []
        for _ in range(round(seconds / STEP)):
            self.beat = next(self._beats)
            absent.append(self.look())
        return any(absent)

    def silent_for(self, seconds: float) -> float:
        """After how many seconds nobody was there, if within so many."""
        for number in range(1, round(seconds / STEP) + 1):
            if self.look():
                return number * STEP
        return NEVER

    def dies(self) -> None:
        self.engine = None

    def starts(self) -> None:
        self.engine = msgspec.structs.replace(ENGINE, started=next(self._starts))


def test_an_engine_that_beats_is_there() -> None:
    assert not Watched().beats_for(100)


def test_one_that_died_is_missed_only_after_the_time_in_which_it_comes_back() -> None:
    watched = Watched()
    watched.beats_for(60)
    watched.dies()
    assert 6.0 < watched.silent_for(60) <= 7.0


def test_one_that_comes_back_in_time_is_never_missed_however_slowly_it_starts() -> None:
    watched = Watched()
    watched.beats_for(60)
    watched.dies()
    assert watched.silent_for(5) == NEVER
    watched.starts()
    assert watched.silent_for(30) == NEVER
    assert not watched.beats_for(60)


def test_a_frozen_one_is_there_until_it_is_cut_off_and_the_next_has_its_time_to_start() -> None:
    watched = Watched()
    watched.beats_for(60)
    assert watched.silent_for(20) == NEVER
    watched.dies()
    assert 3.0 < watched.silent_for(60) <= 4.0


def test_one_that_dies_again_and_again_is_missed_between_two_of_its_lives() -> None:
    watched = Watched()
    watched.beats_for(60)
    watched.dies()
    since = watched.now
    assert missed_after(watched, [(0.5, 1.5), (0.5, 1.5), (1.0, 1.5), (1.5, 1.5), (3.0, 1.5)]) - since < 9.0


def test_beats_of_one_that_dies_again_and_again_count_for_nothing() -> None:
    watched = Watched()
    watched.beats_for(60)
    watched.dies()
    assert watched.silent_for(0.5) == NEVER
    since = watched.now
    while watched.now - since < 20.0:
        watched.starts()
        watched.beats_for(2.0)
        watched.dies()
        if watched.silent_for(0.5) != NEVER:
            break
    assert watched.now - since < 9.0


def test_once_it_lives_on_it_gets_the_whole_time_again() -> None:
    watched = Watched()
    watched.beats_for(60)
    watched.dies()
    assert watched.silent_for(60) < NEVER
    watched.starts()
    assert not watched.beats_for(30)
    watched.dies()
    assert watched.silent_for(5.5) == NEVER


def test_a_watcher_that_begins_or_slept_gives_everybody_time() -> None:
    began = Watched()
    began.dies()
    assert 6.0 < began.silent_for(60) <= 7.0
    slept = Watched()
    slept.beats_for(60)
    slept.dies()
    slept.now += 3600
    assert slept.silent_for(60) > 6.0


def test_with_two_engines_one_is_enough() -> None:
    absence, other = Absence(), Process(pid=11, started=1, boot="b")
    now = 1000.0
    for number in range(200):
        now += STEP
        assert not absence.lasts(now, [Sign(None, 1), Sign(other, number)])
    since = now
    while not absence.lasts(now, [Sign(None, 1), Sign(None, 7)]):
        now += STEP
    assert 6.0 < now - since < 8.0


def missed_after(watched: Watched, lives: Iterable[tuple[float, float]]) -> float:
    """The instant at which nobody was there; each of `lives` is the wait before it and its length."""
    for wait, length in lives:
        if watched.silent_for(wait) != NEVER:
            return watched.now
        watched.starts()
        assert watched.silent_for(length) == NEVER
        watched.dies()
    return watched.now + NEVER

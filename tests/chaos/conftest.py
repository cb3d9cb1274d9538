"""One table of all figures at the end of a run."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from tests.chaos.figures import Figures

TABLE: list[Figures] = []


@pytest.fixture(scope="module")
def figures(request: pytest.FixtureRequest) -> Figures:
    """What the module's faults came to; told at the end."""
    return _told_at_the_end((request.module.__doc__ or request.module.__name__).splitlines()[0])


@pytest.fixture(scope="session")
def figures_of() -> Callable[[str], Figures]:
    """What one kind of fault came to, where a module has several."""
    return _told_at_the_end


def _told_at_the_end(name: str) -> Figures:
    found = Figures(name)
    TABLE.append(found)
    return found


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    for found in TABLE:
        if found.values:
            terminalreporter.write_line("")
            for line in found.lines():
                terminalreporter.write_line(line)

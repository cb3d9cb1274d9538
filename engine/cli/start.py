"""The `dari` program's first lines: whoever stops it while it still loads sees no traceback."""

from __future__ import annotations

import signal


def main() -> None:
    """Loads the command line and runs it; Ctrl-C before that ends the process at once."""
    signal.signal(signal.SIGINT, signal.SIG_DFL)
    from engine.cli.main import main as run

    signal.signal(signal.SIGINT, signal.default_int_handler)
    run()

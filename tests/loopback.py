"""Where servers of the tests listen: a free port on loopback."""

from __future__ import annotations

import os

ANY_PORT = f"{os.environ.get('DARI_TEST_ADDRESS', '127.0.0.1')}:0"
"""The system gives each server a port of its own; DARI_TEST_ADDRESS names another loopback address."""

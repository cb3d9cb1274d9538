"""Where servers of the tests listen: a free port on loopback."""

from __future__ import annotations

import os
import socket

HOST = os.environ.get("DARI_TEST_ADDRESS", "127.0.0.1")
"""DARI_TEST_ADDRESS names another loopback address."""
ANY_PORT = f"{HOST}:0"
"""The system gives each server a port of its own."""


def free_port(kind: socket.SocketKind = socket.SOCK_STREAM) -> int:
    """One of that address that nobody has just now."""
    with socket.socket(socket.AF_INET, kind) as probe:
        probe.bind((HOST, 0))
        return int(probe.getsockname()[1])

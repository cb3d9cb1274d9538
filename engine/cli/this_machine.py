"""Who types commands here: the operator of this machine, with the name of the system's user for the audit."""

from __future__ import annotations

import getpass

import msgspec

from engine.accounts.model import LOCAL_OPERATOR, Actor


def operator() -> Actor:
    """As whom commands do their deeds."""
    return msgspec.structs.replace(LOCAL_OPERATOR, peer=f"command line: {getpass.getuser()}")

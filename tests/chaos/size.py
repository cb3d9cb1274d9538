"""How much is tried: a little in `make test`, all of it in `make chaos`. Every seed is printed and can be given."""

from __future__ import annotations

import os
import secrets

INSTANTS = int(os.environ.get("DARI_TEST_FAULTS", "1"))
"""At how many random instants each fault strikes."""
CALLS = int(os.environ.get("DARI_TEST_FAULT_CALLS", "18"))
"""How many calls are there, spread over all phases, when it does."""
JOB_SEEDS = int(os.environ.get("DARI_TEST_JOB_SEEDS", "14"))
"""How often a worker is killed."""
SECONDS = float(os.environ.get("DARI_TEST_FAULT_SECONDS", "4"))
"""How long a fault lasts that has a length."""
SEED = int(os.environ.get("DARI_TEST_SEED", "0")) or secrets.randbelow(2**31) + 1
"""Where all randomness of a run comes from."""


def seeds(how_many: int) -> list[int]:
    """One seed for each try; printed, so that a failure can be had again with DARI_TEST_SEED."""
    print(f"DARI_TEST_SEED={SEED}")
    return [SEED + number for number in range(how_many)]

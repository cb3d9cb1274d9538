"""A fault that did not happen proves nothing: each tells what it did, measured outside of what it was done to (I8)."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Proof:
    """What a fault did. `measured` is more than 0 only when it happened."""

    fault: str
    measured: float
    unit: str

    def __str__(self) -> str:
        return f"{self.fault}: {self.measured:g} {self.unit}"


class FaultMissed(AssertionError):  # noqa: N818 - what did not happen
    """The fault did not happen: whatever was seen afterwards says nothing."""


def landed(*proofs: Proof) -> None:
    """Raises FaultMissed unless every fault happened, and there was one."""
    missed = [str(proof) for proof in proofs if not proof.measured > 0]
    if missed or not proofs:
        raise FaultMissed(f"did not happen: {', '.join(missed) or 'any fault'}")

"""What faults came to, counted and measured, for the one table at the end of a run."""

from __future__ import annotations

from dataclasses import dataclass, field
from statistics import median


@dataclass(slots=True)
class Figures:
    """Of one kind of fault. Names that end in ` s` are seconds; the others are counts, added up."""

    of: str
    values: dict[str, list[float]] = field(default_factory=dict)

    def add(self, name: str, value: float) -> None:
        self.values.setdefault(name, []).append(value)

    def lines(self) -> list[str]:
        """For people: counts added, seconds as their median and the worst."""
        told = [self.of]
        for name, values in self.values.items():
            shown = f"{sum(values):g}"
            if name.endswith(" s"):
                shown = f"median {median(values):.2f}, worst {max(values):.2f}"
            told.append(f"  {name:<44} {shown}")
        return told

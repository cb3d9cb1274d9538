"""What routing knows, as a test says: in place of its cache."""

from __future__ import annotations

from dataclasses import dataclass, field

from engine.foundation.phone_number import PhoneNumber
from engine.numbers.model import ServiceNumber
from engine.routing.model import AccountRouting, Line


@dataclass(slots=True)
class HandNumbers:
    """Lines by their number."""

    lines: dict[PhoneNumber, Line] = field(default_factory=dict)
    known: bool = True

    def find(self, number: PhoneNumber) -> Line | None:
        return self.lines.get(number)

    def numbers(self) -> list[ServiceNumber]:
        return [line.number for line in self.lines.values()]

    def accounts(self) -> list[AccountRouting]:
        return list({line.account.account_id: line.account for line in self.lines.values()}.values())

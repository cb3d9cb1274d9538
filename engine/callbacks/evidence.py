"""What the decision about messages goes by beside the call itself. Values."""

from __future__ import annotations

from collections.abc import Mapping, Set
from dataclasses import dataclass, field
from datetime import datetime

from engine.foundation.phone_number import PhoneNumber
from engine.messages.model import Purpose


@dataclass(frozen=True, slots=True)
class Evidence:
    """Registered senders, and when the caller last got a message of each purpose."""

    senders: Set[PhoneNumber] = frozenset()
    last_at: Mapping[Purpose, datetime] = field(default_factory=dict)
